import { type CloseOptions, closeDeadline, closeOptions } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { declareEntity } from '../entities/declare.js';
import { Exchange, type ExchangeOptions } from '../entities/exchange.js';
import { Queue } from '../entities/queue.js';
import type { QueueOptions } from '../entities/queue-options.js';
import { type ChannelOrConnection, checkTarget } from '../entities/target.js';
import { ChannelError, Empty, InvalidArgumentError, NotFound } from '../errors.js';
import type { Message } from '../messaging/message.js';
import { Producer } from '../messaging/producer.js';
import type { PublishOptions, PublishResult } from '../messaging/publish-options.js';
import { type Serializer, serialization } from '../serialization/index.js';
import { raceSignal } from '../util/abort.js';
import { checkBoolean, checkDuration, checkKeys, show } from '../util/check.js';
import type { Deadline } from '../util/deadline.js';
import { Taker } from './taker.js';

/** Options of {@link SimpleQueue} and {@link SimpleBuffer}. */
export interface SimpleQueueOptions<T = unknown> {
  /** What `get` returns is settled already. Default: `false` for SimpleQueue, `true` for SimpleBuffer. */
  readonly noAck?: boolean | undefined;
  /** Options of a queue given by its name, over the class's own. */
  readonly queueOptions?: QueueOptions<T> | undefined;
  /** Options of the exchange of a queue given by its name, over the class's own. */
  readonly exchangeOptions?: ExchangeOptions | undefined;
  /** The format of what is `put`: its name or MIME type, or itself. Default: by the body, as {@link Producer.publish}. */
  readonly serializer?: string | Serializer | undefined;
  /** Compression of `put`. Default: none. */
  readonly compression?: string | undefined;
  /** Serializers or MIME types that `get` reads. Default: JSON, `text/plain` and `application/data`. */
  readonly accept?: Iterable<string> | undefined;
}

/** How long {@link SimpleQueue.get} waits. */
export interface SimpleGetOptions {
  /** Milliseconds to wait for a message; 0 looks once. Connecting and declaring at first use are not counted. Default: no end. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`, and no message is taken. */
  readonly signal?: AbortSignal | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...['noAck', 'queueOptions', 'exchangeOptions', 'serializer', 'compression', 'accept'],
]);

/**
 * A queue as a data structure: `put` and `get` (`kombu.simple`). Its durable direct exchange, the queue and the routing key have the
 * same name. A message is taken from the broker when `get` asks for it and not before, so that others can have the rest.
 *
 * ```ts
 * await using queue = connection.simpleQueue('thumbnails');
 * await queue.put({ path: '/tmp/a.png' });
 * const message = await queue.get({ timeout: 1_000 });
 * await message.ack();
 * ```
 */
export class SimpleQueue<T = unknown> implements AsyncDisposable {
  /** Bound to the connection. */
  readonly queue: Queue<T>;
  readonly producer: Producer<T>;
  readonly noAck: boolean;
  readonly #connection: Connection;
  readonly #taker: Taker<T>;
  #declared: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Sends nothing; the first use declares the queue.
   *
   * @param queue A name, or a queue of any kind, to which `put` publishes by its own exchange and routing key.
   * @throws InvalidArgumentError (INVALID_ARGUMENT) for options that cannot be used.
   */
  constructor(target: ChannelOrConnection, queue: string | Queue<T>, options: SimpleQueueOptions<T> = {}) {
    checkKeys('SimpleQueue', options, OPTIONS);
    const { serializer, compression, noAck, accept } = options;
    const { connection } = checkTarget(target);
    const defaults = this.defaults();
    this.#connection = connection;
    this.queue = entity(queue, options, defaults).bind(connection);
    this.noAck = checkBoolean('noAck', noAck ?? (this.queue.noAck || defaults.noAck));
    const { exchange, routingKey } = this.queue;
    const isDefault = exchange === undefined || exchange.name === '';
    // The queue's declaration includes the exchange's.
    const producing = { serializer, compression, autoDeclare: false };
    this.producer = new Producer<T>(connection, isDefault ? producing : { ...producing, exchange, routingKey });
    const decoding = { accept: serialization.prepareAccept(accept), schema: this.queue.schema };
    this.#taker = new Taker<T>(connection, this.queue, { decoding, noAck: this.noAck });
  }

  /**
   * Publishes a message. Resolves when the broker has it. Rejects as {@link Producer.publish}; with what refuses the declaration
   * (PRECONDITION_FAILED …); CHANNEL_CLOSED after `close()`.
   */
  put(body: T, options: PublishOptions = {}): Promise<PublishResult> {
    // Each goes by the same way, so that they are published in the order of the calls.
    const publishing = this.#declare().then(() => this.producer.publish(body, this.#addressed(options)));
    return raceSignal(publishing, options.signal);
  }

  /**
   * Takes the next message. Those who wait are served in their order.
   *
   * Rejects {@link Empty} (EMPTY) when none came in time; DECODE_FAILED or CONTENT_DISALLOWED for a message that cannot be read, which is
   * rejected without requeue; what the broker refuses; TIMEOUT or CONNECTION_LOST when the connection was down all the time;
   * CHANNEL_CLOSED after `close()`; the reason of `signal`. Whenever it rejects, but for the unreadable, the message is still in the queue.
   */
  async get(options: SimpleGetOptions = {}): Promise<Message<T>> {
    const { timeout = Number.POSITIVE_INFINITY, signal } = options;
    checkDuration('timeout', timeout, { allowInfinity: true });
    await this.#declare(signal);
    const message = await this.#taker.take({ timeout, signal }).catch((error: unknown) => {
      // Somebody deleted it: the next call declares it again.
      if (error instanceof NotFound) {
        this.#connection.topology.forget('queue', this.queue.name);
        this.#declared = undefined;
      }
      throw error;
    });
    if (message === undefined) throw new Empty(`queue '${this.queue.name}' is empty`);
    return message;
  }

  /** Takes the next message, or rejects {@link Empty} (EMPTY) when there is none now. */
  getNoWait(): Promise<Message<T>> {
    return this.get({ timeout: 0 });
  }

  /** Removes every message that nobody has taken. Resolves with their number. */
  async clear(): Promise<number> {
    await this.#declare();
    const purged = await this.queue.purge();
    return purged + (await this.#taker.dropAhead());
  }

  /** How many messages wait. */
  async qsize(): Promise<number> {
    await this.#declare();
    return this.#taker.ahead + (await this.queue.queueDeclare({ passive: true })).messageCount;
  }

  /**
   * Waits for publishes under way, at most `timeout` milliseconds (10 s) and until `signal` is aborted, and ends each `get` that waits (CHANNEL_CLOSED). Messages handed
   * out can still be settled. The connection stays open. Never rejects.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(closeDeadline(options));
    await this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What the class decides where the options say nothing. */
  protected defaults(): SimpleDefaults {
    return { noAck: false, queue: {}, exchange: {} };
  }

  /** Declares the queue, once for this object. After a loss the connection does. */
  #declare(signal?: AbortSignal): Promise<unknown> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.queue.name));
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.#declared ??= declareEntity(this.queue, this.#connection.topology).catch((error: unknown) => {
      this.#declared = undefined;
      throw error;
    });
    return raceSignal(this.#declared, signal);
  }

  /** To the default exchange, by the queue's name: the broker may have chosen it, and another one since. */
  #addressed(options: PublishOptions): PublishOptions {
    const { exchange } = this.queue;
    if (options.exchange !== undefined || (exchange !== undefined && exchange.name !== '')) return options;
    return { ...options, routingKey: options.routingKey ?? this.queue.name };
  }

  async #close(deadline: Deadline): Promise<void> {
    const taker = this.#taker.close(closedError(this.queue.name), deadline);
    await Promise.all([this.producer.close(closeOptions(deadline)), taker]);
  }
}

/**
 * A {@link SimpleQueue} for what may be lost: transient messages in a queue of this connection's own, which goes with it or with the
 * last `SimpleBuffer` that got from it. Messages come settled (`kombu.simple.SimpleBuffer`).
 */
export class SimpleBuffer<T = unknown> extends SimpleQueue<T> {
  protected override defaults(): SimpleDefaults {
    return {
      noAck: true,
      queue: { durable: false, autoDelete: true, exclusive: true },
      exchange: { durable: false, autoDelete: true, deliveryMode: 'transient' },
    };
  }
}

/** See {@link SimpleQueue.defaults}. */
export interface SimpleDefaults {
  readonly noAck: boolean;
  readonly queue: Pick<QueueOptions, 'durable' | 'autoDelete' | 'exclusive'>;
  readonly exchange: ExchangeOptions;
}

function entity<T>(queue: string | Queue<T>, options: SimpleQueueOptions<T>, defaults: SimpleDefaults): Queue<T> {
  const { queueOptions, exchangeOptions } = options;
  if (typeof queue === 'string') {
    const exchange = new Exchange(queue, { ...defaults.exchange, ...given(exchangeOptions) });
    return new Queue<T>(queue, { exchange, routingKey: queue, ...defaults.queue, ...given(queueOptions) });
  }
  if (!(queue instanceof Queue)) throw new InvalidArgumentError(`a queue or its name is needed, not ${show(queue)}`);
  if (queueOptions === undefined && exchangeOptions === undefined) return queue;
  throw new InvalidArgumentError('queueOptions and exchangeOptions describe a queue that is given by its name');
}

/** Without the members that are undefined: they must not hide a default. */
function given<O extends object>(options: O | undefined): Partial<O> {
  const members = Object.entries(options ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members) as Partial<O>;
}

function closedError(queue: string): ChannelError {
  return new ChannelError(`the SimpleQueue of '${queue}' was closed`);
}
