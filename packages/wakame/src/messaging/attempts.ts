import { createHash } from 'node:crypto';
import type { Delivery } from '../transport/message.js';
import { asBuffer } from '../util/utf8.js';

/** Different messages remembered at most; the oldest are forgotten first. */
const MOST_MESSAGES = 10_000;

/**
 * Counts how often handlers have failed on a message, over its redeliveries.
 *
 * Where the broker counts deliveries (the header `x-delivery-count` of quorum queues, the stores' own count) that is the truth,
 * shared by all consumers. A classic queue only says `redelivered`; there a consumer remembers what it requeued itself, by a
 * fingerprint of the message. Messages that are alike to the byte cannot be told apart, and need not be: each requeue
 * leaves one number, each redelivery takes one.
 */
export class Attempts {
  readonly #requeued = new Map<string, number[]>();

  /** What is remembered of this message: how often handlers failed on it before. Call it once for each delivery. */
  take(delivery: Delivery): number {
    if (this.#requeued.size === 0 || !delivery.redelivered) return 0;
    const key = fingerprint(delivery);
    const numbers = this.#requeued.get(key);
    const number = numbers?.shift() ?? 0;
    if (numbers?.length === 0) this.#requeued.delete(key);
    return number;
  }

  /** The message goes back to its queue after its failed attempt number `attempt` (1 is the first). */
  requeued(delivery: Delivery, attempt: number): void {
    const key = fingerprint(delivery);
    const numbers = this.#requeued.get(key);
    if (numbers !== undefined) {
      numbers.push(attempt);
      return;
    }
    if (this.#requeued.size >= MOST_MESSAGES) {
      for (const oldest of this.#requeued.keys()) {
        this.#requeued.delete(oldest);
        break;
      }
    }
    this.#requeued.set(key, [attempt]);
  }
}

/** Failed deliveries of this message before, where the broker counts them; else 0. */
export function countedByBroker(delivery: Delivery): number {
  const count = delivery.deliveryCount ?? delivery.properties.headers?.['x-delivery-count'];
  return typeof count === 'number' || typeof count === 'bigint' ? Number(count) : 0;
}

/** Of what a redelivery has in common with the delivery before it. Headers change (`x-delivery-count`), so they are left out. */
function fingerprint(delivery: Delivery): string {
  const { messageId, correlationId, timestamp } = delivery.properties;
  const facts = [delivery.exchange, delivery.routingKey, messageId ?? '', correlationId ?? '', String(timestamp ?? '')];
  return createHash('sha256').update(facts.join('\0')).update('\0').update(asBuffer(delivery.body)).digest('base64');
}
