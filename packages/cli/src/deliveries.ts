/** Deliveries of queues, one by one, as the broker sent them: nothing is decoded, so nothing can fail to be. */
import type { Channel, Connection, Delivery, MessagingError } from 'wakame';

/** Node's timers count in 31 bits. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A delivery, and the queue it came from. */
export interface FromQueue {
  readonly queue: string;
  readonly delivery: Delivery;
}

export interface DeliveryOptions {
  /** Unsettled messages at most, for each queue. */
  readonly prefetch: number;
  /** Milliseconds without a message after which the stream ends. */
  readonly idle?: number | undefined;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/**
 * A consumer of raw deliveries, on a channel of its own. The stream ends when nothing came for `idle`, and by the signal; what was not
 * settled goes back to its place when the channel is closed.
 */
export class Deliveries {
  readonly channel: Channel;
  readonly #options: DeliveryOptions;
  readonly #waiting: FromQueue[] = [];
  readonly #tags: string[] = [];
  readonly #waits = new Set<() => void>();
  #over: { readonly error: MessagingError | undefined } | undefined;

  private constructor(channel: Channel, options: DeliveryOptions) {
    this.channel = channel;
    this.#options = options;
  }

  /** Rejects NOT_FOUND when a queue does not exist. */
  static async open(connection: Connection, queues: readonly string[], options: DeliveryOptions): Promise<Deliveries> {
    const stream = new Deliveries(connection.channel(), options);
    options.signal.addEventListener('abort', () => stream.#end(undefined), { once: true });
    await stream.channel.qos({ prefetch: options.prefetch });
    for (const queue of queues) {
      const consumerTag = await stream.channel.consume(queue, {
        onDelivery: (delivery) => {
          stream.#waiting.push({ queue, delivery });
          stream.#wake();
        },
        onCancel: (error) => stream.#end(error),
      });
      stream.#tags.push(consumerTag);
    }
    return stream;
  }

  /** The next one; undefined at the end of the stream. Rejects when the broker ended the consumer for good. */
  async next(): Promise<FromQueue | undefined> {
    const { idle } = this.#options;
    const deadline = idle === undefined ? Number.POSITIVE_INFINITY : performance.now() + idle;
    while (this.#over === undefined) {
      const first = this.#waiting.shift();
      if (first !== undefined) return first;
      const left = deadline - performance.now();
      if (left <= 0) return undefined;
      await this.#wait(left);
    }
    if (this.#over.error !== undefined) throw this.#over.error;
    return undefined;
  }

  /** Nothing further comes; what came already is dropped, and goes back when the channel is closed. */
  async stop(): Promise<void> {
    this.#end(undefined);
    this.#waiting.length = 0;
    await Promise.all(this.#tags.map((tag) => this.channel.cancel(tag)));
  }

  async close(): Promise<void> {
    await this.stop();
    await this.channel.close();
  }

  /** Until something has changed, or for so many milliseconds. */
  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waits.delete(done);
        resolve();
      };
      const timer = Number.isFinite(ms) ? setTimeout(done, Math.min(ms, LONGEST_TIMER)) : undefined;
      this.#waits.add(done);
    });
  }

  /** Whoever waits looks again. */
  #wake(): void {
    for (const done of [...this.#waits]) done();
  }

  #end(error: MessagingError | undefined): void {
    this.#over ??= { error };
    this.#wake();
  }
}
