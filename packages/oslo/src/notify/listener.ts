import {
  type Consumer,
  DEFAULTS,
  InvalidArgumentError,
  type Message,
  MessagingError,
  type Queue,
  type WaitOptions,
} from 'wakame';
import { checkBoolean, checkDuration, checkInteger, checkKeys, noop, show, TypedEmitter } from 'wakame/util';
import { consumeShared } from '../consuming.js';
import { InvalidTarget } from '../errors.js';
import { NoOpSerializer, type Serializer } from '../serializer.js';
import { Target, type TargetOptions } from '../target.js';
import type { Topology } from '../topology.js';
import type { Transport } from '../transport.js';
import { DuplicateFilter } from '../wire/duplicates.js';
import { unseal } from '../wire/envelope.js';
import { Batcher } from './batcher.js';
import { type BatchEndpoint, type Callback, callbacksOf, type NotificationEndpoint } from './endpoints.js';
import { type Notification, type Priority, readNotification } from './message.js';

/** Options of a {@link NotificationListener}. */
export interface ListenerOptions {
  /** Default {@link NoOpSerializer}. */
  readonly serializer?: Serializer | undefined;
  /** Whether an endpoint may give a notification back to its queue, by `requeue` or by an exception. Default `false`: then it is done with. */
  readonly allowRequeue?: boolean | undefined;
  /** Listeners of one pool share what comes; each pool gets everything. Default: those without a pool are one. */
  readonly pool?: string | undefined;
  /** Notifications at work at one time. Default: the option `executor_thread_pool_size`, 64. */
  readonly concurrency?: number | undefined;
}

/** Options of a {@link BatchNotificationListener}. */
export interface BatchListenerOptions extends Omit<ListenerOptions, 'concurrency'> {
  /** Notifications at most at once. */
  readonly batchSize: number;
  /** Milliseconds after the first of them, when they are handed out though there are fewer. Default 1 s. */
  readonly batchTimeout?: number | undefined;
}

/** What a listener tells by events. */
export interface ListenerEvents {
  /** An endpoint threw. The notifications are back in their queue where that is allowed, else done with. */
  handlerError: [error: Error, notifications: readonly Notification[]];
  /** What came is no notification. It was rejected. */
  decodeError: [error: MessagingError, message: Message];
}

/** A notification that came, with its message. */
interface Arrival {
  readonly message: Message;
  readonly priority: Priority;
  readonly notification: Notification;
}

type Decision = 'ack' | 'requeue';

const KEYS: ReadonlySet<string> = new Set(['serializer', 'allowRequeue', 'pool', 'concurrency']);
const BATCH_KEYS: ReadonlySet<string> = new Set(['serializer', 'allowRequeue', 'pool', 'batchSize', 'batchTimeout']);

/** What both kinds of listeners do. */
abstract class Listener extends TypedEmitter<ListenerEvents> implements AsyncDisposable {
  readonly transport: Transport;
  readonly #sources: readonly Source[];
  readonly #pool: string | undefined;
  readonly #serializer: Serializer;
  readonly #allowRequeue: boolean;
  readonly #duplicates = new DuplicateFilter();
  #consumer: Consumer | undefined;
  #offTransport: () => void = noop;

  constructor(
    transport: Transport,
    targets: readonly (Target | TargetOptions)[],
    priorities: Iterable<Priority>,
    options: ListenerOptions,
  ) {
    super();
    const { serializer, allowRequeue, pool } = options;
    this.transport = transport;
    this.#serializer = serializer ?? new NoOpSerializer();
    this.#allowRequeue = allowRequeue === undefined ? false : checkBoolean('allowRequeue', allowRequeue);
    this.#sources = sourcesOf(targets, [...priorities]);
    this.#pool = pool === undefined ? undefined : checkPool(pool);
  }

  /**
   * Declares its queues and hears what comes. Resolves when the broker has accepted it; does nothing when it is started. Waits for the broker as long as
   * it takes, unless `timeout` says otherwise. Rejects as `consumer.consume`.
   */
  async start(wait: WaitOptions = {}): Promise<void> {
    if (this.#consumer !== undefined) return;
    const { connection, conf, topology } = this.transport;
    const concurrency = this.concurrency;
    const { rabbit_qos_prefetch_count: prefetch } = conf;
    const queues = queuesOf(topology, this.#sources, this.#pool);
    const make = (shared: readonly Queue[]): Consumer => {
      this.#consumer = connection.consumer(shared, {
        ...{ accept: ['json'], concurrency },
        prefetch: prefetch === 0 ? Math.max(DEFAULTS.prefetch, concurrency) : prefetch,
        onMessage: (message) => this.#receive(message),
        onDecodeError: (message, error) => this.#unreadable(message, error),
      });
      return this.#consumer;
    };
    this.#offTransport = this.transport.addUser((options) => this.close(options));
    try {
      await consumeShared(this.transport, wait, queues, make);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Hears no more; endpoints at work go on. Never rejects. */
  async stop(): Promise<void> {
    await this.#consumer?.cancel();
    this.finish();
  }

  /** {@link Listener.stop}, then waits for the endpoints at work, at most `timeout` milliseconds (10 s). `start` starts it again. Never rejects. */
  async close(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const consumer = this.#consumer;
    if (consumer === undefined) return;
    this.#offTransport();
    await this.stop();
    await consumer.close({ timeout: options.timeout ?? DEFAULTS.closeTimeout });
    this.#consumer = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Messages at work at one time. */
  protected abstract readonly concurrency: number;

  /** What becomes of a notification. */
  protected abstract handle(arrival: Arrival): Promise<Decision>;

  /** What waits for more to come waits no longer. */
  protected finish(): void {
    // Nothing waits, unless a listener says so.
  }

  /** Hands notifications to one method. */
  protected async run<T>(callback: Callback<T>, given: T, notifications: readonly Notification[]): Promise<Decision> {
    try {
      return (await callback.call(given)) === 'requeue' && this.#allowRequeue ? 'requeue' : 'ack';
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
      const text = `an endpoint failed on a notification: ${error.name}: ${error.message}`;
      this.emitOrWarn('handlerError', `oslo notification ${error.message}`, text, error, notifications);
      return this.#allowRequeue ? 'requeue' : 'ack';
    }
  }

  async #receive(message: Message): Promise<void> {
    let read: ReturnType<typeof readNotification>;
    try {
      read = readNotification(unseal(message.payload));
    } catch (error) {
      this.#unreadable(message, error);
      return;
    }
    const { priority, uniqueId, ...rest } = read;
    // A notification that is delivered again, because it was given back, is no duplicate.
    const isDuplicate = !message.redelivered && this.#duplicates.isDuplicate(uniqueId);
    if (priority === undefined || isDuplicate) {
      await message.ack();
      return;
    }
    const context = this.#serializer.deserializeContext(rest.context);
    const payload = this.#serializer.deserializeEntity(context, rest.payload);
    const decision = await this.handle({ message, priority, notification: { ...rest, context, payload } });
    await (decision === 'ack' ? message.ack() : message.requeue());
  }

  #unreadable(message: Message, error: unknown): void {
    void message.reject();
    if (!(error instanceof MessagingError)) throw error;
    const text = `a listener rejected a message that is no notification: ${error.message}`;
    this.emitOrWarn('decodeError', `oslo notification ${error.code}`, text, error, message);
  }
}

/**
 * Hears notifications (`oslo_messaging.get_notification_listener`), and acknowledges each when its endpoints are done with it.
 *
 * ```ts
 * const listener = new NotificationListener(transport, [{ topic: 'notifications' }], [
 *   { info: ({ eventType, payload }) => console.log(eventType, payload) },
 * ]);
 * await listener.start();
 * ```
 */
export class NotificationListener extends Listener {
  protected readonly concurrency: number;
  readonly #callbacks: ReadonlyMap<Priority, readonly Callback<Notification>[]>;

  /** Throws INVALID_ARGUMENT. */
  constructor(
    transport: Transport,
    targets: readonly (Target | TargetOptions)[],
    endpoints: readonly NotificationEndpoint[],
    options: ListenerOptions = {},
  ) {
    checkKeys('NotificationListener', options, KEYS);
    const callbacks = callbacksOf<Notification>(endpoints);
    super(transport, targets, callbacks.keys(), options);
    this.#callbacks = callbacks;
    const { concurrency = transport.conf.executor_thread_pool_size } = options;
    this.concurrency = checkInteger('concurrency', concurrency, { min: 1 });
  }

  protected async handle({ priority, notification }: Arrival): Promise<Decision> {
    for (const callback of this.#callbacks.get(priority) ?? []) {
      if (callback.filter?.matches(notification) === false) continue;
      // Those after it get it when it comes again.
      if ((await this.run(callback, notification, [notification])) === 'requeue') return 'requeue';
    }
    return 'ack';
  }
}

/** Hears notifications several at once (`oslo_messaging.get_batch_notification_listener`). */
export class BatchNotificationListener extends Listener {
  protected readonly concurrency: number;
  readonly #callbacks: ReadonlyMap<Priority, readonly Callback<readonly Notification[]>[]>;
  readonly #batcher: Batcher<Arrival, Decision>;

  /** Throws INVALID_ARGUMENT. */
  constructor(
    transport: Transport,
    targets: readonly (Target | TargetOptions)[],
    endpoints: readonly BatchEndpoint[],
    options: BatchListenerOptions,
  ) {
    checkKeys('BatchNotificationListener', options, BATCH_KEYS);
    const { batchSize, batchTimeout = 1000, ...rest } = options;
    const callbacks = callbacksOf<readonly Notification[]>(endpoints);
    super(transport, targets, callbacks.keys(), rest);
    this.#callbacks = callbacks;
    this.concurrency = checkInteger('batchSize', batchSize, { min: 1, max: 10_000 });
    checkDuration('batchTimeout', batchTimeout);
    this.#batcher = new Batcher(batchSize, batchTimeout, (arrivals) => this.#together(arrivals));
  }

  protected handle(arrival: Arrival): Promise<Decision> {
    return this.#batcher.add(arrival);
  }

  protected override finish(): void {
    this.#batcher.flush();
  }

  /** The decisions for a batch, in its order. */
  async #together(arrivals: readonly Arrival[]): Promise<readonly Decision[]> {
    const decisions = new Map<Arrival, Decision>();
    for (const [priority, callbacks] of this.#callbacks) {
      for (const callback of callbacks) {
        const theirs = arrivals.filter(
          (arrival) =>
            arrival.priority === priority &&
            decisions.get(arrival) !== 'requeue' &&
            callback.filter?.matches(arrival.notification) !== false,
        );
        if (theirs.length === 0) continue;
        const notifications = theirs.map(({ notification }) => notification);
        const decision = await this.run(callback, notifications, notifications);
        for (const arrival of theirs) decisions.set(arrival, decision);
      }
    }
    return arrivals.map((arrival) => decisions.get(arrival) ?? 'ack');
  }
}

/** An exchange, and the key by which it is heard. */
type Source = readonly [exchange: string | undefined, key: string];

/** What is heard: each topic in each priority. Throws INVALID_ARGUMENT. */
function sourcesOf(targets: readonly (Target | TargetOptions)[], priorities: readonly Priority[]): readonly Source[] {
  if (!Array.isArray(targets) || targets.length === 0) {
    throw new InvalidArgumentError(`a listener needs at least one target, not ${show(targets)}`);
  }
  return targets.flatMap((given) => {
    const { topic, exchange } = Target.from(given);
    if (topic === undefined) throw new InvalidTarget('the target of a listener must have a topic');
    return priorities.map((priority): Source => [exchange, `${topic}.${priority}`]);
  });
}

/** One for each source; of a pool, one for all of them. */
function queuesOf(topology: Topology, sources: readonly Source[], pool: string | undefined): readonly Queue[] {
  if (pool === undefined) return sources.map(([exchange, key]) => topology.topicQueue(exchange, key));
  return [topology.queue(pool, sources)];
}

function checkPool(pool: unknown): string {
  if (typeof pool === 'string' && pool !== '' && Buffer.byteLength(pool) <= 255) return pool;
  throw new InvalidArgumentError(`pool must have 1 to 255 bytes, not ${show(pool)}`);
}
