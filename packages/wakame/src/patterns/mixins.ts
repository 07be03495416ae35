import type { Channel } from '../connection/channel.js';
import { type CloseOptions, closeDeadline } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import { asMessagingError } from '../connection/waiters.js';
import { ConnectionClosedError, ConsumerBusyError, type MessagingError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions, PayloadOf, QueueInput, SchemaConsumerOptions } from '../messaging/consumer-options.js';
import type { Message } from '../messaging/message.js';
import type { Producer } from '../messaging/producer.js';
import { onAbort, sleep } from '../util/abort.js';
import { noop } from '../util/noop.js';

/** Makes a Consumer for {@link ConsumerMixin.getConsumers}: with the mixin's `onDecodeError`, unless the options have one. */
export interface ConsumerFactory {
  <T>(queues: QueueInput, options: Omit<SchemaConsumerOptions<T>, 'queues'>): Consumer<T>;
  <T = unknown>(queues?: QueueInput<T>, options?: Omit<ConsumerOptions<T>, 'queues'>): Consumer<T>;
  /** Of queues with different payloads. */
  <const Q extends QueueInput>(
    queues: Q,
    options?: Omit<ConsumerOptions<PayloadOf<Q>>, 'queues'>,
  ): Consumer<PayloadOf<Q>>;
}

/** How {@link ConsumerMixin.run} goes about it. */
export interface RunOptions {
  /** Aborting it ends the run in good order. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds that handlers at work get to finish when the run ends; messages that are not settled then go back to their queues.
   * Default 10 s. Mind how long whoever stops the service waits before it kills (Kubernetes: 30 s).
   */
  readonly closeTimeout?: number | undefined;
}

/** How often `onIteration` is called, in milliseconds. */
const ITERATION_INTERVAL = 1_000;

/**
 * A service built around consumers, as a class to extend (`kombu.mixins.ConsumerMixin`).
 *
 * ```ts
 * class Worker extends ConsumerMixin {
 *   getConsumers(consumer: ConsumerFactory) {
 *     return [consumer(tasks, { settle: 'auto', onMessage: handle })];
 *   }
 * }
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * await new Worker(connection).run({ signal: stop.signal });
 * ```
 *
 * A run calls, in this order: `extraContext`, `getConsumers`; once they consume, `onConsumeReady`; `onIteration` now and again; in the end,
 * when the handlers are done and the consumers closed, it disposes of the context and calls `onConsumeEnd`. The connection
 * rebuilds channel and consumers after a loss, so all this happens once a run. (Kombu begins anew after each loss.)
 */
export abstract class ConsumerMixin {
  /** The connection to run on. It stays open when the run ends. */
  readonly connection: Connection;
  /** Tries to connect after a failed one, each time. Default: no limit. When they are used up, the run rejects. */
  connectMaxRetries: number | undefined;
  #shouldStop = false;
  /** How the consumers end. */
  #close: CloseOptions = {};
  /** Aborted when the run is to end: with an error to reject with, or because it was asked to. */
  #end: AbortController | undefined;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /**
   * The consumers of the service. `consumer` makes them; others may be made by hand. Each has a channel of its own; `channel` is another
   * one, for whatever else there is to do, closed when the run ends.
   */
  abstract getConsumers(
    consumer: ConsumerFactory,
    channel: Channel,
  ): readonly Consumer[] | Promise<readonly Consumer[]>;

  /** Every consumer has started. */
  onConsumeReady?(connection: Connection, channel: Channel, consumers: readonly Consumer[]): void | Promise<void>;
  /** Every consumer has ended. */
  onConsumeEnd?(connection: Connection, channel: Channel): void | Promise<void>;
  /** When the consumers are ready, and then a second after it last ended. */
  onIteration?(): void | Promise<void>;
  /** Decides about a message that could not be decoded; see the Consumer's option. Default: the Consumer's event, and reject without requeue. */
  onDecodeError?(message: Message, error: MessagingError): void | Promise<void>;
  /** A try to connect failed; the next is due in `interval` milliseconds. */
  onConnectionError?(error: MessagingError, interval: number): void;
  /** After a loss: the connection is back, and the consumers consume again. */
  onConnectionRevived?(): void | Promise<void>;
  /** Makes what handlers need as long as there are any. Disposed of after the last one is done. */
  extraContext?(
    connection: Connection,
    channel: Channel,
  ): AsyncDisposable | Disposable | Promise<AsyncDisposable | Disposable>;

  /** Set it to end the run, from any handler: those at work finish first. As long as it is set, `run` does nothing. */
  get shouldStop(): boolean {
    return this.#shouldStop;
  }

  set shouldStop(value: boolean) {
    this.#shouldStop = value;
    if (value) this.#end?.abort();
  }

  /**
   * Connects, starts the consumers, and resolves once `shouldStop` was set or `signal` aborted, and all has ended in good order.
   *
   * Rejects, after the same good end, with what a hook or `getConsumers` throws; what makes connecting hopeless (AUTH_FAILED …), or the last
   * failure after `connectMaxRetries`; what refuses a consumer (NOT_FOUND, ACCESS_REFUSED …); CONSUMER_CANCELLED or NOT_FOUND when
   * the broker has ended all queues of a consumer for good; CONNECTION_CLOSED when the connection was closed. CONSUMER_BUSY while
   * it is running already. INVALID_ARGUMENT for a `closeTimeout` that is no duration.
   */
  async run(options: RunOptions = {}): Promise<void> {
    const { signal } = options;
    this.#close = { timeout: options.closeTimeout ?? DEFAULTS.closeTimeout };
    closeDeadline(this.#close);
    if (this.#end !== undefined) throw new ConsumerBusyError('run() is under way already');
    if (this.#shouldStop || signal?.aborted) return;
    const end = new AbortController();
    this.#end = end;
    let failure: { readonly error: unknown } | undefined;
    const fail = (error: unknown) => {
      // What ends the run is the first of them; that it was asked to end is no failure.
      if (end.signal.aborted) return;
      failure = { error };
      end.abort(error);
    };
    const offSignal = onAbort(signal, () => end.abort());
    const offConnection = this.#watchConnection(end.signal, fail);
    try {
      await this.#ensureConnection(end.signal).then(
        () => (end.signal.aborted ? undefined : this.serve(end.signal, fail)),
        fail,
      );
    } catch (error) {
      failure ??= { error };
    } finally {
      offSignal();
      offConnection();
      this.#end = undefined;
    }
    if (failure !== undefined) throw failure.error;
  }

  /** One life of consumers, until `end` is aborted. Rejects when it could not begin or end in good order. */
  protected async serve(end: AbortSignal, fail: (error: unknown) => void): Promise<void> {
    const { connection } = this;
    const channel = connection.channel();
    const atEnd: (() => unknown)[] = [() => channel.close()];
    const consume = async () => {
      const context = await this.extraContext?.(connection, channel);
      if (context !== undefined) atEnd.push(() => dispose(context));
      const consumers = await this.getConsumers(this.#factory(channel), channel);
      atEnd.push(() => Promise.all(consumers.map((consumer) => consumer.close(this.#close))));
      const off = consumers.map((consumer) => watchConsumer(consumer, fail));
      atEnd.push(() => off.map((each) => each()));
      if (end.aborted) return;
      // After the context, so before it in this list.
      atEnd.splice(1, 0, () => this.onConsumeEnd?.(connection, channel));
      await Promise.all(consumers.map((consumer) => consumer.consume({ signal: end })));
      await this.onConsumeReady?.(connection, channel, consumers);
      await this.#iterate(end);
    };
    const errors: unknown[] = [];
    const attempt = async (step: () => unknown) => {
      try {
        await step();
      } catch (error) {
        if (!end.aborted || error !== end.reason) errors.push(error);
      }
    };
    await attempt(consume);
    for (const step of atEnd.reverse()) await attempt(step);
    const [first, ...others] = errors;
    for (const error of others) connection.problem(asMessagingError(error));
    if (errors.length > 0) throw first;
  }

  /** Resolves at the end. Rejects with what `onIteration` throws. */
  async #iterate(end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      await this.onIteration?.();
      const pause = this.onIteration === undefined ? Number.POSITIVE_INFINITY : ITERATION_INTERVAL;
      await untilAborted(end, pause);
    }
  }

  /** Waits for the connection, whoever brings it back, and hears of each failed try. */
  #ensureConnection(signal: AbortSignal): Promise<unknown> {
    return this.connection.ensureConnection({
      signal,
      maxRetries: this.connectMaxRetries,
      errback: (error, interval) => this.onConnectionError?.(error, interval),
    });
  }

  #watchConnection(end: AbortSignal, fail: (error: unknown) => void): () => void {
    const { connection } = this;
    const disconnected = () => void this.#ensureConnection(end).catch(fail);
    const recovered = () => {
      const done = async () => this.onConnectionRevived?.();
      done().catch(fail);
    };
    const closed = () => fail(new ConnectionClosedError('the connection was closed while run() was under way'));
    connection.on('disconnected', disconnected).on('recovered', recovered).on('closed', closed);
    return () => {
      connection.off('disconnected', disconnected).off('recovered', recovered).off('closed', closed);
    };
  }

  #factory(channel: Channel): ConsumerFactory {
    const onDecodeError = this.onDecodeError?.bind(this);
    return <T>(
      queues: QueueInput<T> = [],
      options: Omit<ConsumerOptions<T>, 'queues'> | Omit<SchemaConsumerOptions<T>, 'queues'> = {},
    ) => {
      const all = { ...options, onDecodeError: options.onDecodeError ?? onDecodeError, queues };
      return new Consumer<T>(channel, all as ConsumerOptions<T>);
    };
  }
}

/**
 * A {@link ConsumerMixin} whose handlers publish as well, over a connection of their own (`kombu.mixins.ConsumerProducerMixin`).
 */
export abstract class ConsumerProducerMixin extends ConsumerMixin {
  #producerConnection: Connection | undefined;
  #producer: Producer | undefined;

  /** A copy of the connection, made when first asked for, and closed when the run ends. */
  get producerConnection(): Connection {
    this.#producerConnection ??= this.connection.clone();
    return this.#producerConnection;
  }

  /** A producer over `producerConnection`. */
  get producer(): Producer {
    this.#producer ??= this.producerConnection.producer();
    return this.#producer;
  }

  protected override async serve(end: AbortSignal, fail: (error: unknown) => void): Promise<void> {
    try {
      await super.serve(end, fail);
    } finally {
      const connection = this.#producerConnection;
      this.#producer = undefined;
      this.#producerConnection = undefined;
      await connection?.close();
    }
  }
}

/** Fails the run when the broker has ended all that a consumer consumes. Returns how to stop listening. */
function watchConsumer(consumer: Consumer, fail: (error: unknown) => void): () => void {
  const cancelled = (_queue: string, error: MessagingError, over: boolean) => {
    if (over && !consumer.queues.some((queue) => consumer.consumingFrom(queue))) fail(error);
    // This listener must not keep it from being heard of.
    else if (consumer.listenerCount('cancelled') === 1) consumer.connection.problem(error);
  };
  consumer.on('cancelled', cancelled);
  return () => consumer.off('cancelled', cancelled);
}

/** Resolves after a time, or at once when `end` is aborted. */
async function untilAborted(end: AbortSignal, ms: number): Promise<void> {
  if (ms !== Number.POSITIVE_INFINITY) return sleep(ms, { signal: end }).catch(noop);
  await new Promise<void>((resolve) => onAbort(end, () => resolve()));
}

async function dispose(context: AsyncDisposable | Disposable): Promise<void> {
  if (Symbol.asyncDispose in context) await context[Symbol.asyncDispose]();
  else context[Symbol.dispose]();
}
