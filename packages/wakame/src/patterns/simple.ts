import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import { Exchange, type ExchangeOptions } from '../entities/exchange.js';
import { Queue } from '../entities/queue.js';
import type { QueueOptions } from '../entities/queue-options.js';
import { Empty, TimeoutError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { Message } from '../messaging/message.js';
import { Producer } from '../messaging/producer.js';
import type { PublishOptions, PublishResult } from '../messaging/publish-options.js';
import { withDeadline } from '../util/deadline.js';
import { noop } from '../util/noop.js';

/** Options of {@link SimpleQueue} and {@link SimpleBuffer}. */
export interface SimpleQueueOptions<T = unknown> {
  /** What `get` returns is settled already. Default `false` for SimpleQueue, `true` for SimpleBuffer. */
  readonly noAck?: boolean | undefined;
  /** Options of the queue, over the class's own. */
  readonly queueOptions?: QueueOptions<T> | undefined;
  /** Options of the exchange, over the class's own. */
  readonly exchangeOptions?: ExchangeOptions | undefined;
  /** Serializer of `put`. Default `json`. */
  readonly serializer?: string | undefined;
  /** Compression of `put`. Default none. */
  readonly compression?: string | undefined;
  /** Content types that `get` accepts; see Consumer's `accept`. */
  readonly accept?: readonly string[] | undefined;
}

/** How long {@link SimpleQueue.get} waits. */
export interface SimpleGetOptions {
  /** Milliseconds to wait for a message; 0 looks once. Default: no end. Rejects with {@link Empty}. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`. Nothing is taken then. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A queue as a data structure: `put` and `get` (`kombu.simple`). Direct exchange, queue and routing key all have the same
 * name. A message is taken from the broker when `get` is called and not before, so that others can have the rest.
 *
 * ```ts
 * await using queue = connection.simpleQueue('thumbnails');
 * await queue.put({ path: '/tmp/a.png' });
 * const message = await queue.get({ timeout: 1_000 });
 * await message.ack();
 * ```
 */
export class SimpleQueue<T = unknown> {
  readonly queue: Queue<T>;
  readonly producer: Producer<T>;
  readonly noAck: boolean;
  protected readonly connection: Connection;
  protected readonly accept: readonly string[] | undefined;
  #declared: Promise<unknown> | undefined;

  constructor(
    channelOrConnection: Channel | Connection,
    nameOrQueue: string | Queue<T>,
    options: SimpleQueueOptions<T> = {},
  ) {
    this.connection = channelOrConnection.connection;
    this.noAck = options.noAck ?? false;
    this.accept = options.accept;
    this.queue = typeof nameOrQueue === 'string' ? simpleEntity(nameOrQueue, options) : nameOrQueue;
    const exchange = this.queue.exchange;
    this.producer = new Producer<T>(this.connection, {
      exchange,
      routingKey: exchange === undefined || exchange.name === '' ? this.queue.name : this.queue.routingKey,
      serializer: options.serializer,
      compression: options.compression,
    });
  }

  /**
   * Publishes a message. Settles when the broker has it.
   *
   * @throws What {@link Producer.publish} rejects with.
   */
  async put(body: T, options: PublishOptions = {}): Promise<PublishResult> {
    await this.declare();
    return this.producer.publish(body, options);
  }

  /** Takes the next message. Rejects with {@link Empty} (EMPTY) when none came within the time. */
  async get(options: SimpleGetOptions = {}): Promise<Message<T>> {
    const { timeout, signal } = options;
    signal?.throwIfAborted();
    await this.declare();
    const message =
      (await this.queue.bind(this.connection).get({ accept: this.accept })) ??
      (timeout === 0 ? undefined : await this.#wait(timeout, signal));
    signal?.throwIfAborted();
    if (message === undefined) throw new Empty(`queue '${this.queue.name}' is empty`);
    if (this.noAck) await message.ack();
    return message;
  }

  /** Takes the next message, or rejects with {@link Empty} (EMPTY) at once. */
  getNoWait(): Promise<Message<T>> {
    return this.get({ timeout: 0 });
  }

  /** Removes every message that nobody has taken. Resolves with their number. */
  async clear(): Promise<number> {
    await this.declare();
    return this.queue.bind(this.connection).purge();
  }

  /** How many messages wait. */
  async qsize(): Promise<number> {
    await this.declare();
    return (await this.queue.bind(this.connection).queueDeclare({ passive: true })).messageCount;
  }

  /** Waits for publishes under way, then frees the channel. The connection stays. */
  async close(): Promise<void> {
    await this.producer.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Declares the queue, once for this object. */
  protected declare(): Promise<unknown> {
    this.#declared ??= this.queue
      .bind(this.connection)
      .declare()
      .catch((error: unknown) => {
        this.#declared = undefined;
        throw error;
      });
    return this.#declared;
  }

  /** One message, pushed by the broker. The consumer takes no second one, and lives only as long as the wait. */
  async #wait(timeout: number | undefined, signal: AbortSignal | undefined): Promise<Message<T> | undefined> {
    const consumer = new Consumer<T>(this.connection, {
      queues: [this.queue],
      prefetch: 1,
      accept: this.accept,
      idleTimeout: timeout,
      signal,
      autoDeclare: false,
    });
    for await (const message of consumer) return message;
    return undefined;
  }
}

/**
 * A {@link SimpleQueue} for what may be lost: transient messages in a queue of this connection's own, which goes when it is closed.
 * Messages come settled (`kombu.simple.SimpleBuffer`).
 */
export class SimpleBuffer<T = unknown> extends SimpleQueue<T> {
  #consumer: Consumer<T> | undefined;
  #messages: AsyncIterator<Message<T>> | undefined;
  /** Waits whose `get` gave up: the next `get` takes what they bring, or it would be lost. */
  readonly #abandoned: Wait<T>[] = [];

  constructor(
    channelOrConnection: Channel | Connection,
    nameOrQueue: string | Queue<T>,
    options: SimpleQueueOptions<T> = {},
  ) {
    super(channelOrConnection, nameOrQueue, {
      noAck: true,
      ...options,
      queueOptions: { durable: false, autoDelete: true, exclusive: true, ...options.queueOptions },
      exchangeOptions: { durable: false, autoDelete: true, deliveryMode: 'transient', ...options.exchangeOptions },
    });
  }

  override async get(options: SimpleGetOptions = {}): Promise<Message<T>> {
    const { timeout, signal } = options;
    signal?.throwIfAborted();
    await this.declare();
    const wait = this.#abandoned.shift() ?? this.#wait();
    let result: IteratorResult<Message<T>>;
    try {
      result = await withDeadline(wait.next, 'get', { timeout, signal });
    } catch (error) {
      this.#abandoned.push(wait);
      if (error instanceof TimeoutError) throw new Empty(`buffer '${this.queue.name}' is empty`);
      throw error;
    }
    if (result.done === true) throw new Empty(`buffer '${this.queue.name}' is closed`);
    if (this.noAck) await result.value.ack();
    return result.value;
  }

  override async qsize(): Promise<number> {
    return (await super.qsize()) + this.#abandoned.filter((wait) => wait.arrived).length;
  }

  override async close(): Promise<void> {
    await this.#consumer?.close();
    await super.close();
  }

  #wait(): Wait<T> {
    // The queue deletes itself with its last consumer, so one stays from the first use on. It takes one message ahead.
    this.#consumer ??= new Consumer<T>(this.connection, { queues: [this.queue], accept: this.accept, prefetch: 1 });
    this.#messages ??= this.#consumer[Symbol.asyncIterator]();
    const wait: Wait<T> = { next: this.#messages.next(), arrived: false };
    wait.next.then(
      (result) => {
        wait.arrived = result.done !== true;
      },
      noop, // The `get` that takes this wait rejects with it.
    );
    return wait;
  }
}

interface Wait<T> {
  readonly next: Promise<IteratorResult<Message<T>>>;
  /** A message is here. */
  arrived: boolean;
}

function simpleEntity<T>(name: string, options: SimpleQueueOptions<T>): Queue<T> {
  const exchange = new Exchange(name, { type: 'direct', ...options.exchangeOptions });
  return new Queue<T>(name, { exchange, routingKey: name, ...options.queueOptions });
}
