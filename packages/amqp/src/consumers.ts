import type { ConsumerCancelled, MessagingError } from './errors.js';
import type { Delivery } from './messages.js';

/** What a channel knows of one consumer. */
export interface Consumer {
  readonly tag: string;
  readonly noAck: boolean;
  readonly onDelivery: (delivery: Delivery) => unknown;
  /** The broker ended the consumer (basic.cancel). */
  readonly onCancel?: ((error: ConsumerCancelled) => unknown) | undefined;
  /** The channel is over; `undefined` when it was closed by this program. */
  readonly onChannelClose?: ((error: MessagingError | undefined) => void) | undefined;
}

/**
 * The consumers of one channel by tag. Tags are made here, by the client, so that a consumer is known before the broker
 * hears of it: a delivery may come before basic.consume-ok.
 */
export class Consumers {
  readonly #byTag = new Map<string, Consumer>();
  /**
   * Tags of no-ack consumers that were cancelled without waiting. What still comes for them must not be rejected: the broker
   * would close the channel, because there is nothing to settle.
   */
  readonly #cancelledNoAck = new Set<string>();
  #lastNumber = 0;

  newTag(): string {
    let tag: string;
    do {
      this.#lastNumber += 1;
      tag = `ctag-${this.#lastNumber}`;
    } while (this.#byTag.has(tag));
    return tag;
  }

  has(tag: string): boolean {
    return this.#byTag.has(tag);
  }

  get(tag: string): Consumer | undefined {
    return this.#byTag.get(tag);
  }

  add(consumer: Consumer): void {
    this.#byTag.set(consumer.tag, consumer);
    this.#cancelledNoAck.delete(consumer.tag);
  }

  /** Forgets a consumer that the broker no longer knows. */
  remove(tag: string): Consumer | undefined {
    const consumer = this.#byTag.get(tag);
    this.#byTag.delete(tag);
    return consumer;
  }

  /** Forgets a consumer whose cancellation is under way: deliveries for it may still come. */
  removeEarly(tag: string): void {
    if (this.remove(tag)?.noAck) this.#cancelledNoAck.add(tag);
  }

  /** Whether a delivery for an unknown tag must be given back to its queue. */
  mustReject(tag: string): boolean {
    return !this.#cancelledNoAck.has(tag);
  }

  /** Forgets all consumers, because the channel is over. */
  clear(): Consumer[] {
    const all = [...this.#byTag.values()];
    this.#byTag.clear();
    this.#cancelledNoAck.clear();
    return all;
  }
}
