import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import type { Queue } from '../entities/queue.js';
import type { MessagingError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions } from '../messaging/consumer-options.js';
import type { Message } from '../messaging/message.js';
import type { Producer } from '../messaging/producer.js';
import { onAbort } from '../util/abort.js';
import { deferred } from '../util/deferred.js';

/** Makes a Consumer on the mixin's channel. */
export type ConsumerFactory = <T>(
  queues: Queue<T> | readonly Queue<T>[],
  options?: Omit<ConsumerOptions<T>, 'queues'>,
) => Consumer<T>;

/** How often `onIteration` is called. */
const ITERATION_INTERVAL = 1_000;

/**
 * A service built around consumers, as a class to extend (`kombu.mixins.ConsumerMixin`).
 *
 * ```ts
 * class Worker extends ConsumerMixin {
 *   constructor(readonly connection: Connection) { super(); }
 *   getConsumers(consumer: ConsumerFactory) {
 *     return [consumer(tasks, { settle: 'auto', onMessage: handle })];
 *   }
 * }
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * await new Worker(connection).run({ signal: stop.signal });
 * ```
 *
 * The connection rebuilds channel and consumers after a loss; `getConsumers` is called once a run.
 */
export abstract class ConsumerMixin {
  /** The connection to run on. It is left open when the run ends. */
  abstract readonly connection: Connection;
  #shouldStop = false;
  #stop: (() => void) | undefined;

  /** The consumers of the service. `consumer` makes one on `channel`; others may be made by hand, on other channels. */
  abstract getConsumers(consumer: ConsumerFactory, channel: Channel): Consumer<never>[] | Promise<Consumer<never>[]>;

  /** Every consumer has started. */
  onConsumeReady?(
    connection: Connection,
    channel: Channel,
    consumers: readonly Consumer<never>[],
  ): void | Promise<void>;
  /** Every consumer has ended, and the channel is closed. */
  onConsumeEnd?(connection: Connection, channel: Channel): void | Promise<void>;
  /** About once a second while running. */
  onIteration?(): void | Promise<void>;
  /** A message could not be decoded. By default it is rejected without requeue, as every Consumer does. */
  onDecodeError?(message: Message<unknown>, error: unknown): void | Promise<void>;
  /** A try to connect failed; the next is due in `interval` ms. */
  onConnectionError?(error: MessagingError, interval: number): void;
  /** The connection is back, and the consumers consume again. */
  onConnectionRevived?(): void;
  /** What must live as long as the consumers. Disposed of after them. */
  extraContext?(connection: Connection, channel: Channel): AsyncDisposable | Promise<AsyncDisposable>;

  /** Set it to end the run, from any handler: those at work finish first. */
  get shouldStop(): boolean {
    return this.#shouldStop;
  }

  set shouldStop(value: boolean) {
    this.#shouldStop = value;
    if (value) this.#stop?.();
  }

  /**
   * Connects, starts the consumers, and resolves once `shouldStop` was set or `signal` aborted, and all of it has
   * ended. Rejects with what `getConsumers` or a hook throws, and with what makes connecting hopeless.
   */
  async run(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    if (this.shouldStop || signal?.aborted) return;
    const stopped = deferred();
    this.#stop = stopped.resolve;
    const off = onAbort(signal, () => stopped.resolve());
    const revived = () => this.onConnectionRevived?.();
    this.connection.on('recovered', revived);
    try {
      await this.connection.ensureConnection({
        signal,
        errback: (error, interval) => this.onConnectionError?.(error, interval),
      });
      await this.serve(stopped.promise);
    } catch (error) {
      // Being told to stop while still connecting is no failure.
      if (!signal?.aborted || error !== signal.reason) throw error;
    } finally {
      off();
      this.connection.off('recovered', revived);
      this.#stop = undefined;
    }
  }

  /** One life of channel and consumers, until `stopped` resolves. */
  protected async serve(stopped: Promise<void>): Promise<void> {
    const { connection } = this;
    const channel = connection.channel();
    const consumers = await this.getConsumers(this.#factory(channel), channel);
    const context = await this.extraContext?.(connection, channel);
    const failed = deferred<never>();
    const timer = setInterval(() => {
      Promise.resolve(this.onIteration?.()).catch(failed.reject);
    }, ITERATION_INTERVAL);
    try {
      await Promise.all(consumers.map((consumer) => consumer.consume()));
      await this.onConsumeReady?.(connection, channel, consumers);
      await Promise.race([stopped, failed.promise]);
    } finally {
      clearInterval(timer);
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await context?.[Symbol.asyncDispose]();
      await channel.close();
      await this.onConsumeEnd?.(connection, channel);
    }
  }

  #factory(channel: Channel): ConsumerFactory {
    const onDecodeError = this.onDecodeError?.bind(this);
    return (queues, options) =>
      new Consumer(channel, { onDecodeError, ...options, queues: Array.isArray(queues) ? queues : [queues] });
  }
}

/** A {@link ConsumerMixin} that publishes as well, over a connection of its own (`kombu.mixins.ConsumerProducerMixin`). */
export abstract class ConsumerProducerMixin extends ConsumerMixin {
  #producerConnection: Connection | undefined;
  #producer: Producer | undefined;

  /** A copy of the connection, made when first used and closed when the run ends. */
  get producerConnection(): Connection {
    this.#producerConnection ??= this.connection.clone();
    return this.#producerConnection;
  }

  /** A producer over `producerConnection`. */
  get producer(): Producer {
    this.#producer ??= this.producerConnection.producer();
    return this.#producer;
  }

  protected override async serve(stopped: Promise<void>): Promise<void> {
    try {
      await super.serve(stopped);
    } finally {
      const connection = this.#producerConnection;
      this.#producer = undefined;
      this.#producerConnection = undefined;
      await connection?.close();
    }
  }
}
