import {
  ChannelError,
  type Consumer,
  DEFAULTS,
  InvalidArgumentError,
  type Message,
  OperationalError,
  type Queue,
  type WaitOptions,
} from 'wakame';
import {
  checkDuration,
  checkFunction,
  checkInteger,
  checkKeys,
  checkOneOf,
  checkString,
  noop,
  show,
  TypedEmitter,
} from 'wakame/util';
import { consumeShared } from './consuming.js';
import { MessageDeliveryFailure } from './errors.js';
import { takeName, type UniqueName } from './queue-names.js';
import type { Address, Topology } from './topology.js';
import type { Transport } from './transport.js';
import { seal, unseal } from './wire/envelope.js';

/** What a {@link DriverConnection} is for. */
export type Purpose = 'send' | 'listen';

/** How a driver sends. */
export interface DriverSendOptions {
  /** Milliseconds that sending may take, and that the message may then wait in its queue. Default: for ever. */
  readonly timeout?: number | undefined;
  /** How often it is tried again: -1 as often as it takes, 0 never. Default: the option `rabbit_max_retries`, which is for ever. */
  readonly retry?: number | undefined;
  /** Reject MessageUndeliverable when it reaches no queue. Default `false`; for {@link DriverConnection.directSend} the option `direct_mandatory_flag`. */
  readonly mandatory?: boolean | undefined;
  /** Aborting rejects with its reason. What has been sent already may still arrive. */
  readonly signal?: AbortSignal | undefined;
}

/** A message that came to a consumer of a {@link DriverConnection}: to be settled once. */
export interface DriverMessage {
  /** The message without its envelope. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Resolves `false` when it came too late, and the message will come again. */
  acknowledge(): Promise<boolean>;
  /** Back to its queue. */
  requeue(): Promise<boolean>;
}

/** Gets messages; what it throws rejects the message it got. */
export type DriverCallback = (message: DriverMessage) => unknown;

/** Events of a {@link DriverConnection}. */
export interface DriverEvents {
  /** What came is no message of oslo.messaging, or the callback threw. It was rejected. */
  problem: [error: Error, message: Message];
}

interface Consuming {
  readonly queue: Queue;
  readonly callback: DriverCallback;
  /** Of a fanout queue. */
  readonly name: UniqueName | undefined;
  /** While it is started, or being started. */
  consumer?: Consumer | undefined;
}

const SEND_KEYS: ReadonlySet<string> = new Set<keyof DriverSendOptions>([
  ...(['timeout', 'retry', 'mandatory', 'signal'] as const),
]);

/**
 * oslo.messaging's driver beneath RPC and notifications, for what speaks to its exchanges and queues in ways of its own: a connection that either sends, or listens.
 * (Both share the transport's sockets, where oslo.messaging opens one for each.)
 *
 * ```ts
 * const sending = new DriverConnection(transport, 'send');
 * await sending.topicSend('nova', 'compute', { method: 'ping', args: {} }, { timeout: 5000 });
 *
 * const listening = new DriverConnection(transport, 'listen');
 * listening.declareTopicConsumer('nova', 'compute', async ({ body, acknowledge }) => …);
 * await listening.consume();
 * ```
 */
export class DriverConnection extends TypedEmitter<DriverEvents> implements AsyncDisposable {
  readonly transport: Transport;
  readonly purpose: Purpose;
  readonly #consuming: Consuming[] = [];
  readonly #offTransport: () => void;
  #isClosed = false;

  /** Throws INVALID_ARGUMENT. */
  constructor(transport: Transport, purpose: Purpose) {
    super();
    this.transport = transport;
    this.purpose = checkOneOf('purpose', purpose, ['send', 'listen']);
    this.#offTransport = purpose === 'send' ? noop : transport.addUser((options) => this.close(options));
  }

  /**
   * Runs a function again after each loss of the connection, `retry` times (-1, the default: as often as it takes; 0: never). Rejects MessageDeliveryFailure when that
   * was not enough; with everything else that the function throws, at once.
   */
  async ensure<T>(fn: () => T | Promise<T>, options: Pick<DriverSendOptions, 'retry' | 'signal'> = {}): Promise<T> {
    checkKeys('ensure', options, new Set(['retry', 'signal']));
    const { retry = -1, signal } = options;
    checkInteger('retry', retry, { min: -1 });
    const maxRetries = retry < 0 ? undefined : retry;
    try {
      return await this.transport.connection.ensure(undefined, fn, { maxRetries, signal })();
    } catch (error) {
      throw error instanceof OperationalError ? MessageDeliveryFailure.from(error) : error;
    }
  }

  /**
   * To the queue of that name: an answer to its caller. Rejects MessageUndeliverable when the queue is not there, which it may be again soon; as all that is sent:
   * MessageDeliveryFailure after `retry` tries or at `timeout`, ENCODE_FAILED, MESSAGE_TOO_LARGE, CONNECTION_CLOSED, the reason of `signal`.
   */
  directSend(queue: string, message: object, options: DriverSendOptions = {}): Promise<void> {
    const mandatory = options.mandatory ?? this.transport.conf.direct_mandatory_flag;
    return this.#send(this.#addresses.direct(checkString('queue', queue)), message, { ...options, mandatory });
  }

  /** To whoever listens to a topic: one of them gets it. */
  topicSend(exchange: string, topic: string, message: object, options?: DriverSendOptions): Promise<void> {
    return this.#send(this.#addresses.topic(exchange, checkString('topic', topic)), message, options);
  }

  /** To all who listen to a topic. */
  fanoutSend(topic: string, message: object, options?: DriverSendOptions): Promise<void> {
    return this.#send(this.#addresses.all(checkString('topic', topic)), message, options);
  }

  /** To the queue of a notification's topic and priority (`notifications.info`), which is declared, so that it is kept for a listener that is yet to come. */
  notifySend(exchange: string, topic: string, message: object, options?: DriverSendOptions): Promise<void> {
    return this.#send(this.#addresses.notification(exchange, checkString('topic', topic)), message, options);
  }

  /** Answers that go to this queue, `reply_…`. Nothing comes before {@link consume}. */
  declareDirectConsumer(queue: string, callback: DriverCallback): void {
    const [, unique] = /^reply_(.+)$/.exec(checkString('queue', queue)) ?? [];
    if (unique === undefined) {
      throw new InvalidArgumentError(
        `a queue of answers is called reply_ and something that is unique, not ${show(queue)}`,
      );
    }
    this.#declare({ queue: this.#addresses.replyQueue(unique), callback, name: undefined });
  }

  /** What is sent to a topic, by default from a queue of that name. */
  declareTopicConsumer(
    exchange: string,
    topic: string,
    callback: DriverCallback,
    options: { readonly queue?: string | undefined } = {},
  ): void {
    checkKeys('declareTopicConsumer', options, new Set(['queue']));
    const { queue = checkString('topic', topic) } = options;
    this.#declare({ queue: this.#addresses.queue(queue, [[exchange, topic]]), callback, name: undefined });
  }

  /** What is sent to all of a topic, from a queue of its own, or the stream of all. */
  async declareFanoutConsumer(topic: string, callback: DriverCallback): Promise<void> {
    const name = await takeName(this.transport.conf);
    this.#declare({ queue: this.#addresses.fanoutQueue(checkString('topic', topic), name.text), callback, name });
  }

  /**
   * Starts the consumers that were declared since. Resolves when the broker has accepted them, for which it waits as long as it takes, unless `timeout` says otherwise. They go
   * on after each loss of the connection. Rejects as `consumer.consume`.
   */
  async consume(wait: WaitOptions = {}): Promise<void> {
    const { connection, conf } = this.transport;
    const { rabbit_qos_prefetch_count: prefetch } = conf;
    for (const consuming of this.#consuming) {
      if (consuming.consumer !== undefined) continue;
      const started = consumeShared(this.transport, wait, [consuming.queue], (queues) => {
        consuming.consumer = connection.consumer(queues, {
          accept: ['json'],
          ...(prefetch > 0 && { prefetch }),
          onMessage: (message) => this.#arrived(message, consuming.callback),
          onDecodeError: (message, error) => this.#failed(message, error),
        });
        return consuming.consumer;
      });
      await started.catch((error: unknown) => {
        consuming.consumer = undefined;
        throw error;
      });
    }
  }

  /** Ends its consumers, and forgets them: others may be declared. What was not handled is back in its queue. Never rejects. */
  async reset(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { connection } = this.transport;
    const { timeout = DEFAULTS.closeTimeout } = options;
    await Promise.all(
      this.#consuming.splice(0).map(async ({ consumer, queue, name }) => {
        await consumer?.close({ timeout });
        name?.release();
        const isOurs = name !== undefined && consumer !== undefined && this.#addresses.dropsFanoutQueues;
        const canDelete = connection.state === 'open' || connection.state === 'closing';
        // Of a broker that is away it goes by itself, in time.
        if (isOurs && canDelete) await queue.bind(connection).delete({ timeout }).catch(noop);
      }),
    );
  }

  /** The same, for good. The transport stays open. */
  async close(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    this.#offTransport();
    this.#isClosed = true;
    await this.reset(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #addresses(): Topology {
    return this.transport.topology;
  }

  #declare(consuming: Consuming): void {
    this.#mustBe('listen');
    checkFunction('callback', consuming.callback);
    this.#consuming.push(consuming);
  }

  async #send(address: Address, message: object, options: DriverSendOptions = {}): Promise<void> {
    this.#mustBe('send');
    checkKeys('a driver send', options, SEND_KEYS);
    const { timeout, retry, mandatory, signal } = options;
    if (timeout !== undefined) checkDuration('timeout', timeout, { min: 1 });
    if (retry !== undefined) checkInteger('retry', retry, { min: -1 });
    signal?.throwIfAborted();
    await this.transport.send(seal(message), { ...address, timeout, expiration: timeout, retry, mandatory, signal });
  }

  #mustBe(purpose: Purpose): void {
    if (this.#isClosed) throw new ChannelError('the connection of a driver was closed');
    if (this.purpose !== purpose) {
      throw new InvalidArgumentError(`a connection with the purpose '${this.purpose}' does not ${purpose}`);
    }
  }

  async #arrived(message: Message, callback: DriverCallback): Promise<void> {
    try {
      const body = unseal(message.payload);
      await callback({ body, acknowledge: () => message.ack(), requeue: () => message.requeue() });
    } catch (error) {
      this.#failed(message, error);
    }
  }

  #failed(message: Message, thrown: unknown): void {
    if (!message.acknowledged) void message.reject();
    const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
    this.emitOrWarn(
      'problem',
      `oslo driver ${error.message}`,
      `a message was rejected: ${error.message}`,
      error,
      message,
    );
  }
}
