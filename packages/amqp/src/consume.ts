import type { Channel } from './channel.js';
import type { ConsumeOptions, IterationOptions } from './channel-options.js';
import type { Consumer } from './consumers.js';
import { MessagingError } from './errors.js';
import type { Delivery } from './messages.js';
import { duration } from './parameters.js';

/** Starts the consumer of an iteration on the channel. */
export type Subscribe = (
  options: ConsumeOptions,
  handlers: Pick<Consumer, 'onDelivery' | 'onCancel' | 'onChannelClose'>,
) => Promise<string>;

const DEFAULT_PREFETCH = 100;
/** Consumed places at the head of the queue before they are given back. */
const COMPACT_FROM = 1024;

/** Deliveries that wait to be yielded, and whoever waits for one. */
class Backlog {
  #items: Delivery[] = [];
  #head = 0;
  /** Set when no more will come; `error` undefined when that is in order. */
  #end: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(delivery: Delivery): void {
    this.#items.push(delivery);
    this.#wake?.();
  }

  /** @param drop what waits is worth nothing any more */
  end(error: unknown, drop: boolean): void {
    this.#end ??= { error };
    if (drop) this.#items.length = this.#head = 0;
    this.#wake?.();
  }

  shift(): Delivery | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.#head >= COMPACT_FROM) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The next delivery; undefined at the end or after `idleTimeout` milliseconds. Throws what it was ended with. */
  async next(idleTimeout: number | undefined): Promise<Delivery | undefined> {
    if (this.#head === this.#items.length && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        // It keeps the process no more alive than the connection does.
        const timer = idleTimeout === undefined ? undefined : setTimeout(resolve, idleTimeout).unref();
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const item = this.shift();
    if (item === undefined && this.#end?.error !== undefined) throw this.#end.error;
    return item;
  }
}

/** See {@link Channel.consume}. */
export async function* iterate(
  channel: Channel,
  subscribe: Subscribe,
  options: IterationOptions,
): AsyncGenerator<Delivery, void, undefined> {
  const { signal, noAck = false, prefetch, idleTimeout, exclusive, consumerTag } = options;
  if (idleTimeout !== undefined) duration('idleTimeout', idleTimeout);
  signal?.throwIfAborted();
  if (!noAck) await channel.basicQos({ prefetchCount: prefetch ?? DEFAULT_PREFETCH, signal });

  const backlog = new Backlog();
  const tag = await subscribe(
    { consumerTag, exclusive, noAck, arguments: options.arguments, signal },
    {
      onDelivery: (delivery) => backlog.push(delivery),
      onCancel: (error) => backlog.end(error, false),
      // Deliveries of a closed channel cannot be settled any more.
      onChannelClose: (error) => backlog.end(error, !noAck),
    },
  );
  const onAbort = () => backlog.end(signal?.reason, false);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const delivery = await backlog.next(idleTimeout);
      // On a channel that closes, what is not settled goes back to its queue.
      if (delivery === undefined || (channel.state === 'closing' && !noAck)) return;
      yield delivery;
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await release(channel, tag, backlog, noAck);
  }
}

/** Ends the consumer and gives back, in order, what was never yielded. A channel that is closed has done so itself. */
async function release(channel: Channel, tag: string, backlog: Backlog, noAck: boolean): Promise<void> {
  if (channel.state !== 'open') return;
  try {
    await channel.basicCancel(tag);
    for (let left = backlog.shift(); left !== undefined && !noAck; left = backlog.shift()) {
      channel.basicReject(left.deliveryTag, { requeue: true });
    }
  } catch (error) {
    if (!(error instanceof MessagingError) || channel.state === 'open') throw error;
  }
}
