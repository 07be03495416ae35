import { type CloseOptions, closeDeadline } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import type { WaitOptions } from '../connection/waiters.js';
import type { Queue } from '../entities/queue.js';
import { type ChannelOrConnection, checkTarget } from '../entities/target.js';
import { ChannelError, ConsumerBusyError, InvalidArgumentError, type MessagingError, TimeoutError } from '../errors.js';
import { onAbort } from '../util/abort.js';
import { checkFunction, show } from '../util/check.js';
import { type Deadline, doneBefore } from '../util/deadline.js';
import { TypedEmitter } from '../util/emitter.js';
import { warnOnce } from '../util/warnings.js';
import {
  asQueue,
  type ConsumerCallback,
  type ConsumerOptions,
  type ConsumerSettings,
  checkPrefetch,
  consumerSettings,
  type SchemaConsumerOptions,
} from './consumer-options.js';
import { Dispatcher } from './dispatcher.js';
import { type FailureInfo, Handling, type SettleMode } from './handling.js';
import { IdleTimer } from './idle-timer.js';
import { Iteration } from './iteration.js';
import type { Message } from './message.js';
import { Reception } from './reception.js';
import { decodeReport, handlerReport, type Report } from './reports.js';

/** What a Consumer tells by events. */
export interface ConsumerEvents<T> {
  /** A handler threw or rejected (what is no Error is the `cause` of one). The message is dealt with as `onHandlerError` and `maxAttempts` say. */
  handlerError: [error: Error, message: Message<T>, info: FailureInfo];
  /** A message could not be decoded, is not accepted or does not fit the schema, and was rejected. */
  decodeError: [error: MessagingError, message: Message];
  /** A message was settled too late: it will be, or has been, delivered again. */
  stale: [message: Message<T>];
  /**
   * The broker ended the consumption of a queue: it was deleted, or its node left (CONSUMER_CANCELLED, NOT_FOUND …). The queue is declared
   * and consumed again; with `over`, that could not be done, and it is left alone until the next `consume()`.
   */
  cancelled: [queue: string, error: MessagingError, over: boolean];
}

/** How {@link Consumer.consume} goes about it. */
export interface ConsumeStartOptions extends WaitOptions {
  /** For the queues that it starts; the consumer's own option otherwise. */
  readonly noAck?: boolean | undefined;
}

/**
 * Receives messages from queues (`kombu.Consumer`), on a channel of its own, and goes on over losses of the connection.
 *
 * It is started by {@link consume}, which calls handlers, or by iteration, not by both:
 *
 * ```ts
 * const consumer = connection.consumer(video, { callbacks: [async (body, message) => { … }], settle: 'auto' });
 * await consumer.consume();
 *
 * for await (const message of connection.consumer(video)) { …; await message.ack(); }
 * ```
 *
 * Handlers run outside of the transport's reader. What they throw becomes the event `handlerError`, and the message is tried
 * again after a pause.
 */
export class Consumer<T = unknown> extends TypedEmitter<ConsumerEvents<T>> implements AsyncIterable<Message<T>> {
  readonly #settings: ConsumerSettings<T>;
  readonly #reception: Reception<T>;
  readonly #handling: Handling<T>;
  readonly #dispatcher: Dispatcher<T>;
  readonly #idle: IdleTimer | undefined;
  #callbacks: readonly ConsumerCallback<T>[];
  #mode: 'idle' | 'callbacks' | 'iteration' = 'idle';
  #iteration: Iteration<T> | undefined;
  /** Handlers wait until all queues are being consumed, so that the first does not get ahead of the others. */
  #starting = false;
  #closing: Promise<void> | undefined;
  #offSignal: (() => void) | undefined;
  /** Closed while a loop's body was at work on a message. */
  #loopEnding = false;

  /** Throws INVALID_ARGUMENT for options that cannot be used. Nothing is sent before it is started. */
  constructor(target: ChannelOrConnection, options: SchemaConsumerOptions<T>);
  constructor(target: ChannelOrConnection, options?: ConsumerOptions<T>);
  constructor(target: ChannelOrConnection, options: ConsumerOptions<T> | SchemaConsumerOptions<T> = {}) {
    super();
    this.#settings = consumerSettings(options);
    this.#callbacks = this.#settings.callbacks;
    this.#reception = new Reception<T>(checkTarget(target).connection, this.#settings, {
      arrived: () => this.#arrived(),
      cancelled: (queue, error, over) => this.#cancelled(queue, error, over),
      stale: (message) => this.emit('stale', message),
      closing: (wait) => this.close(wait),
    });
    this.#handling = new Handling<T>(this.#settings.settle, this.#settings, {
      decodeError: (error, message) => this.#report('decodeError', decodeReport(error, message), error, message),
      handlerError: (thrown, message, info, isUnforeseen) => {
        const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
        if (!isUnforeseen) this.emit('handlerError', error, message, info);
        else this.#report('handlerError', handlerReport(error, message, info), error, message, info);
      },
    });
    this.#dispatcher = new Dispatcher<T>(this.#settings.concurrency, {
      take: () => (this.#starting ? undefined : this.#reception.take()),
      work: ({ message, source }, handler) => {
        this.#reception.hold(message);
        return this.#handling.run(message, source.decoding, handler);
      },
      done: () => {
        this.#idle?.touch();
        this.connection.eventHandled();
      },
      pause: () => this.#reception.pause(),
      resume: () => this.#reception.resume(),
    });
    const { idleTimeout } = this.#settings;
    if (idleTimeout !== undefined) {
      this.#idle = new IdleTimer(
        idleTimeout,
        () => this.#isIdle(),
        () => void this.cancel(),
      );
    }
  }

  /** The connection that its channel belongs to. */
  get connection(): Connection {
    return this.#reception.connection;
  }

  /** The queues, bound to the connection. */
  get queues(): readonly Queue<T>[] {
    return this.#reception.queues;
  }

  /** Who settles: the option `settle`. */
  get settle(): SettleMode {
    return this.#settings.settle;
  }

  /** Messages handed out and not settled. */
  get unsettled(): number {
    return this.#reception.held.size;
  }

  /**
   * Starts consuming, with the callbacks, or `onMessage`, as handlers. Called again, it starts the queues added since and
   * those cancelled by {@link cancelByQueue}. Resolves with the consumer itself when the broker has accepted all of them; rejects
   * with what refuses one (NOT_FOUND, ACCESS_REFUSED, PRECONDITION_FAILED …), TIMEOUT, or CONSUMER_BUSY while it is
   * iterated over.
   */
  async consume(options: ConsumeStartOptions = {}): Promise<this> {
    const { noAck, ...wait } = options;
    this.#enter('callbacks');
    this.#dispatcher.handler = this.#handler();
    try {
      await this.#start(noAck, wait);
    } catch (error) {
      this.#leaveWhenStopped();
      throw error;
    }
    return this;
  }

  /**
   * The messages, one by one. Starts consuming at the first `next()`; leaving the loop stops it, and gives back in order what was never
   * yielded. The message in hand stays the caller's to settle.
   *
   * The loop ends with {@link cancel}, {@link close} or after `idleTimeout`; with an exception, the reason of `signal`, CONSUMER_CANCELLED
   * or NOT_FOUND when the broker has ended the consumption of all queues. Throws CONSUMER_BUSY when the consumer is in
   * use already.
   */
  [Symbol.asyncIterator](): AsyncIterator<Message<T>, undefined> {
    this.#enter('iteration');
    this.#dispatcher.handler = undefined;
    const iteration: Iteration<T> = new Iteration<T>(
      {
        start: () => this.#startLoop(),
        take: () => this.#reception.take(),
        read: ({ message, source }) => {
          this.#reception.hold(message);
          return this.#handling.read(message, source.decoding, 'caller');
        },
        handedOut: () => this.connection.eventHandled(),
        handedBack: () => this.#closeAfterLoop(),
        giveBack: (arrival) => this.#reception.giveBack(arrival),
        waiting: () => this.#idle?.touch(),
        pause: () => this.#reception.pause(),
        resume: () => this.#reception.resume(),
        leave: (which) => this.#leaveLoop(which),
      },
      this.#settings.settle === 'auto',
    );
    this.#iteration = iteration;
    return iteration;
  }

  /**
   * Stops consuming; what came and was not handed out is back in its queue, in order, when this resolves. Handlers at work go on, and a
   * loop ends. {@link consume} or iteration starts it again. Never rejects.
   */
  async cancel(): Promise<void> {
    const iteration = this.#iteration;
    this.#iteration = undefined;
    iteration?.end();
    await this.#reception.stop();
    this.#leaveWhenStopped();
  }

  /**
   * {@link cancel} for good: waits until the handlers at work are done, at most `timeout` milliseconds (10 s) and until `signal` is aborted,
   * then closes the channel.
   * Messages that are still unsettled go back to their queues, but the one that a loop has in hand: it can be settled until
   * the loop asks for the next. Never rejects; more calls wait for the same end.
   *
   * A handler that waits for it waits for itself; there, use {@link cancel}.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(closeDeadline(options));
    await this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Stops consuming one queue, as {@link cancel} does all. It stays one of the consumer's: {@link consume} starts it again. */
  async cancelByQueue(queue: Queue<T> | string): Promise<void> {
    await this.#reception.stop(this.#reception.sourcesOf(queue));
  }

  /** Adds a queue; {@link consume} starts it. */
  addQueue(queue: Queue<T> | string): void {
    this.#reception.add(asQueue(queue));
  }

  /** Whether a queue is being consumed. */
  consumingFrom(queue: Queue<T> | string): boolean {
    return this.#reception.sourcesOf(queue).some((source) => source.subscription !== undefined);
  }

  /** Declares the queues, with their exchanges and bindings. */
  async declare(wait: WaitOptions = {}): Promise<void> {
    await this.#reception.declare(wait);
  }

  /** Removes the messages that nobody holds from all queues. Resolves with their number. */
  async purge(wait: WaitOptions = {}): Promise<number> {
    const counts = await Promise.all(this.queues.map((queue) => queue.purge(wait)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Stops (`false`) or resumes what the broker sends. Rejects NOT_SUPPORTED where it cannot: RabbitMQ. */
  async flow(active: boolean, wait: WaitOptions = {}): Promise<void> {
    await this.#reception.flow(active, wait);
  }

  /** Changes how many messages of each queue may be unsettled (0: no limit), also for the queues being consumed. */
  async qos(options: WaitOptions & { readonly prefetch: number }): Promise<void> {
    const { prefetch, ...wait } = options;
    await this.#reception.qos(checkPrefetch(prefetch), wait);
  }

  /**
   * Puts back to their queues all messages that are not settled; they will be delivered again. Settling them afterwards
   * rejects MESSAGE_STATE. (Kombu's `requeue` argument has no counterpart: without requeue, RabbitMQ closes the connection.)
   */
  async recover(): Promise<void> {
    await this.#reception.recover();
  }

  /** Adds a callback. Messages that came while there was none are handled now. */
  registerCallback(callback: ConsumerCallback<T>): void {
    checkFunction('callback', callback);
    if (this.#settings.onMessage !== undefined) {
      throw new InvalidArgumentError('a consumer with onMessage has no callbacks: onMessage gets every message');
    }
    this.#callbacks = [...this.#callbacks, callback];
    this.#dispatcher.handler = this.#handler();
    this.#dispatcher.wake();
  }

  /** Hands a body and its message to the callbacks, one after the other. Rejects with what one of them throws, INVALID_ARGUMENT without any. */
  async receive(body: T, message: Message<T>): Promise<void> {
    if (this.#callbacks.length === 0) throw new InvalidArgumentError('the consumer has no callbacks');
    for (const callback of this.#callbacks) await callback(body, message);
  }

  /** Moves to another channel's connection. Consuming stops, as by {@link cancel}; {@link consume} starts it there. */
  async revive(target: ChannelOrConnection): Promise<void> {
    const { connection } = checkTarget(target);
    this.#mustBeOpen();
    await this.cancel();
    await this.#reception.move(connection);
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw new ChannelError('the consumer was closed');
  }

  #enter(mode: 'callbacks' | 'iteration'): void {
    this.#mustBeOpen();
    if (this.#mode !== 'idle' && (mode === 'iteration' || this.#mode === 'iteration')) {
      const use = this.#mode === 'iteration' ? 'iterated over' : 'started by consume()';
      throw new ConsumerBusyError(`the consumer has been ${use}: use another one, or cancel() it first`);
    }
    this.#mode = mode;
  }

  async #start(noAck: boolean | undefined, wait: WaitOptions): Promise<void> {
    const { signal } = this.#settings;
    signal?.throwIfAborted();
    this.#handling.resume();
    this.#offSignal ??= onAbort(signal, (reason) => this.#aborted(reason));
    const either =
      signal !== undefined && wait.signal !== undefined ? AbortSignal.any([signal, wait.signal]) : undefined;
    const isFirst = this.#reception.consuming.length === 0;
    this.#starting ||= isFirst;
    try {
      await this.#reception.start(noAck, { ...wait, signal: either ?? wait.signal ?? signal });
    } finally {
      if (isFirst) this.#starting = false;
    }
    this.#iteration?.undrain();
    this.#idle?.start();
    this.#dispatcher.wake();
  }

  #startLoop(): Promise<void> {
    if (this.queues.length > 0) return this.#start(undefined, {});
    throw new InvalidArgumentError('the consumer has no queues to iterate over');
  }

  #handler(): ((message: Message<T>) => unknown) | undefined {
    if (this.#settings.onMessage !== undefined) return this.#settings.onMessage;
    const [only, ...others] = this.#callbacks;
    if (only === undefined) return undefined;
    if (others.length === 0) return (message) => only(message.payload, message);
    return (message) => this.receive(message.payload, message);
  }

  #arrived(): void {
    this.#idle?.touch();
    if (this.#iteration !== undefined) this.#iteration.wake();
    else this.#dispatcher.wake();
    if (this.#mode === 'callbacks' && this.#dispatcher.handler === undefined) {
      const text = 'messages have come for a consumer that has no callback: they wait for registerCallback()';
      warnOnce('consumer-without-callback', text);
    }
  }

  #cancelled(queue: string, error: MessagingError, over: boolean): void {
    this.connection.eventHandled();
    const fate = over ? 'is not consumed any more' : 'is not consumed, and is being started again';
    const report = { cause: `cancelled:${queue}:${over}`, text: `queue '${queue}' ${fate}: ${error.message}` };
    this.#report('cancelled', report, queue, error, over);
    if (this.#reception.consuming.length === 0) this.#iteration?.drain(error);
  }

  #aborted(reason: unknown): void {
    this.#iteration?.fail(reason);
    void this.close();
  }

  #isIdle(): boolean {
    if (this.#iteration !== undefined) return this.#iteration.isWaiting;
    return this.#dispatcher.running === 0 && this.#reception.waiting === 0;
  }

  async #leaveLoop(iteration: Iteration<T>): Promise<void> {
    if (this.#iteration !== iteration) return;
    this.#iteration = undefined;
    await this.#reception.stop();
    this.#leaveWhenStopped();
  }

  /** Nothing is consumed any more: free for another use. */
  #leaveWhenStopped(): void {
    if (this.#reception.consuming.length > 0 || this.#iteration !== undefined) return;
    this.#mode = 'idle';
    this.#idle?.stop();
    this.#offSignal?.();
    this.#offSignal = undefined;
  }

  async #close(deadline: Deadline): Promise<void> {
    const start = performance.now();
    const { inHand } = this.#iteration ?? {};
    const stopped = this.cancel().then(() => {
      // Not before, or what it requeues would come back here.
      this.#handling.hurry();
      return this.#dispatcher.settled();
    });
    if (!(await doneBefore(deadline, stopped))) {
      const waited = Math.round(performance.now() - start);
      this.connection.problem(new TimeoutError(`handlers were still at work ${waited} ms after close()`));
    }
    this.#leaveWhenStopped();
    if (inHand?.state === 'RECEIVED') this.#loopEnding = true;
    else await this.#reception.close();
  }

  #closeAfterLoop(): void {
    if (this.#loopEnding) void this.#reception.close();
  }

  #report<Name extends keyof ConsumerEvents<T>>(name: Name, report: Report, ...args: ConsumerEvents<T>[Name]): void {
    this.emitOrWarn(name, report.cause, report.text, ...args);
  }
}
