import { closeDeadline } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { ConsumerChannel } from '../connection/consumer-channel.js';
import { asMessagingError } from '../connection/waiters.js';
import type { Queue } from '../entities/queue.js';
import { ConnectionClosedError, type MessagingError, TimeoutError } from '../errors.js';
import { newConsumerTag } from '../messaging/consumer-tag.js';
import { type Decoding, decodeMessage } from '../messaging/decode.js';
import { Message, type MessageOwner, setReleased } from '../messaging/message.js';
import type { Delivery, TransportChannel } from '../transport/contract.js';
import { onAbort } from '../util/abort.js';
import { Deadline, doneBefore } from '../util/deadline.js';
import { deferred } from '../util/deferred.js';
import { noop } from '../util/noop.js';
import { after } from '../util/timer.js';

/** How a {@link Taker} deals with what it takes. */
export interface TakerOptions<T> {
  readonly decoding: Decoding<T>;
  /** Acknowledge each message before it is handed out. */
  readonly noAck: boolean;
}

/** How long {@link Taker.take} waits. */
export interface TakeOptions {
  /** Milliseconds; 0: look once; `Infinity`: no end. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** A message, and the incarnation of the channel that brought it. */
interface Taken<T> {
  readonly message: Message<T>;
  readonly inner: TransportChannel;
}

/** A consumer at the broker, with a prefetch of 1. */
interface Tap<T> {
  readonly tag: string;
  /** Settled when the broker has answered. Never rejects. */
  readonly started: Promise<void>;
  /** What it brought last: until that is settled, it brings nothing. */
  last: Taken<T> | undefined;
}

/** Somebody who waits for a message. */
interface Wait<T> {
  tap: Tap<T>;
  readonly serve: (taken: Taken<T> | undefined | Promise<Taken<T>>) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Takes messages from a queue one by one, each when somebody asks for it. What nobody asked for stays in the queue, for others.
 *
 * ```
 *   take() ─┬─ the queue has one ──▶ basic.get ───────────────────────────▶ message
 *           └─ it is empty ────────▶ a consumer for as long as the wait ──▶ message
 * ```
 *
 * Each wait has a consumer of its own (a tap); what any of them brings is for who has waited longest. All are on one channel, which lives
 * until the last message handed out is settled. A queue that deletes itself with its last consumer gets one that stays: that
 * one brings a message ahead, for the next to ask.
 */
export class Taker<T> {
  readonly #connection: Connection;
  readonly #queue: Queue<T>;
  readonly #options: TakerOptions<T>;
  readonly #owner: MessageOwner;
  /** Who has waited longest comes first. */
  readonly #waits: Wait<T>[] = [];
  /** Handed out, or about to be, and not settled. */
  readonly #held = new Map<Message, TransportChannel>();
  #ahead: Taken<T>[] = [];
  /** The tap that stays. */
  #keeper: Tap<T> | undefined;
  #channel: ConsumerChannel | undefined;
  #offConnection: (() => void) | undefined;
  #closed: MessagingError | undefined;

  /** @param queue Bound to the connection. */
  constructor(connection: Connection, queue: Queue<T>, options: TakerOptions<T>) {
    this.#connection = connection;
    this.#queue = queue;
    this.#options = options;
    this.#owner = {
      get queue() {
        return queue.name;
      },
      noAck: false,
      connection,
      settled: (message) => this.#settled(message),
      problem: (error) => connection.problem(error),
    };
  }

  /** Messages that have come and that nobody has asked for. */
  get ahead(): number {
    return this.#ahead.length;
  }

  /**
   * The next message; undefined when none came in time. Rejects with what the broker refuses, the reason of `signal`, and DECODE_FAILED or
   * CONTENT_DISALLOWED when the message cannot be read: that one is rejected without requeue. Otherwise what is not handed out is not
   * taken.
   */
  async take(options: TakeOptions): Promise<Message<T> | undefined> {
    const { timeout, signal } = options;
    this.#mustBeOpen();
    signal?.throwIfAborted();
    const deadline = new Deadline(timeout);
    const taken = this.#nextAhead() ?? (await this.#look(options)) ?? (await this.#wait(deadline, signal));
    return taken && this.#handOut(taken.message);
  }

  /** Drops what has come and nobody has asked for. Resolves with the number of messages. */
  async dropAhead(): Promise<number> {
    if (this.#keeper === undefined) return 0;
    const last = await this.#look({ timeout: 0 });
    const dropped = this.#ahead.splice(0);
    if (last !== undefined) dropped.push(last);
    await Promise.all(dropped.map(({ message }) => message.ack()));
    return dropped.length;
  }

  /**
   * Ends the waits with `reason`, and gives back what nobody has asked for. The channel is closed when the last message handed out is
   * settled. Never rejects.
   */
  async close(reason: MessagingError, deadline: Deadline = closeDeadline({})): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    const waits = this.#waits.splice(0);
    const taps = new Set(waits.map(({ tap }) => tap));
    if (this.#keeper !== undefined) taps.add(this.#keeper);
    for (const wait of waits) wait.fail(reason);
    const released = this.#ahead.splice(0).map((taken) => this.#giveBack(taken));
    // With the channel its consumers end.
    if (this.#held.size > 0) released.push(...[...taps].map((tap) => this.#remove(tap)));
    await doneBefore(deadline, Promise.allSettled(released));
    await this.#closeWhenUnused();
  }

  #mustBeOpen(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  /** A message that is in the queue now. Whoever waits has found it empty, and comes first. */
  async #look({ timeout, signal }: TakeOptions): Promise<Taken<T> | undefined> {
    if (timeout > 0 && this.#waits.length > 0) return undefined;
    const wait = { timeout: timeout === 0 ? undefined : timeout, signal };
    try {
      const fetched = await this.#open().get(this.#queue.name, { noAck: false }, wait);
      if (fetched !== undefined) {
        const taken = this.#taken(fetched.delivery, fetched.inner);
        if (this.#closed === undefined) this.#ahead.push(taken);
        else await this.#giveBack(taken);
      }
      this.#mustBeOpen();
      // What was on its way to the tap that stays has come before the answer.
      return this.#nextAhead();
    } catch (error) {
      this.#mustBeOpen();
      // A slow answer to a caller in a hurry. While the connection is down nobody knows whether the queue is empty.
      if (error instanceof TimeoutError && timeout > 0 && this.#connection.connected) return undefined;
      throw error;
    }
  }

  #nextAhead(): Taken<T> | undefined {
    const taken = this.#ahead.shift();
    return taken && this.#hold(taken);
  }

  #wait(deadline: Deadline, signal: AbortSignal | undefined): Promise<Taken<T> | undefined> {
    if (deadline.passed) return Promise.resolve(undefined);
    if (this.#closed !== undefined || signal?.aborted) return Promise.reject(this.#closed ?? signal?.reason);
    const { promise, resolve, reject } = deferred<Taken<T> | undefined>();
    const settled = () => {
      offTimer();
      offAbort();
    };
    const wait: Wait<T> = {
      tap: this.#freeTap(),
      serve: (taken) => {
        settled();
        resolve(taken);
      },
      fail: (error) => {
        settled();
        reject(error);
      },
    };
    const offTimer = after(deadline.remaining, () => this.#leave(wait, () => wait.serve(undefined)));
    const offAbort = onAbort(signal, (reason) => this.#leave(wait, () => wait.fail(reason)));
    this.#waits.push(wait);
    return promise;
  }

  /** Ends a wait, unless it was served: a message cannot be taken back. */
  #leave(wait: Wait<T>, end: () => void): void {
    const index = this.#waits.indexOf(wait);
    if (index < 0) return;
    this.#waits.splice(index, 1);
    void this.#remove(wait.tap);
    end();
  }

  /** A tap for one more wait: the one that stays, when it is free. */
  #freeTap(): Tap<T> {
    if (!this.#queue.autoDelete) return this.#newTap();
    const keeper = this.#keeper;
    if (keeper === undefined) {
      this.#keeper = this.#newTap();
      return this.#keeper;
    }
    const isBusy = keeper.last?.message.acknowledged === false || this.#waits.some(({ tap }) => tap === keeper);
    return isBusy ? this.#newTap() : keeper;
  }

  #newTap(): Tap<T> {
    const tag = newConsumerTag();
    const options = { consumerTag: tag, noAck: false, arguments: this.#queue.consumerArguments };
    const sink = {
      onDelivery: (delivery: Delivery, inner: TransportChannel) => this.#brought(tap, this.#taken(delivery, inner)),
      onInterrupted: (error: MessagingError) => this.#connection.problem(error),
      onCancel: (error: MessagingError) => this.#over(tap, error),
    };
    // Without an end: the wait has its own, and a start that is given up would leave a consumer behind.
    const start = this.#open().subscribe(this.#queue.name, options, sink, { timeout: Number.POSITIVE_INFINITY });
    const started = start.then(noop, (error: unknown) => this.#over(tap, error));
    const tap: Tap<T> = { tag, started, last: undefined };
    return tap;
  }

  /** A message has come: for the one who has waited longest. Whoever owned the tap goes on with the other's. */
  #brought(tap: Tap<T>, taken: Taken<T>): void {
    tap.last = taken;
    const isKeeper = tap === this.#keeper;
    const owner = this.#waits.find((wait) => wait.tap === tap);
    if (owner === undefined && !isKeeper) {
      // It came while the tap was being removed.
      void this.#giveBack(taken);
      return;
    }
    const first = this.#waits.shift();
    if (first === undefined) {
      this.#ahead.push(taken);
      return;
    }
    this.#hold(taken);
    const spent = owner === undefined ? first.tap : tap;
    if (owner !== undefined) owner.tap = first.tap;
    // Removed before the message is handed out and settled, or it would bring another.
    first.serve(this.#remove(spent).then(() => taken));
  }

  /** A tap could not be started, or the broker has ended it for good. */
  #over(tap: Tap<T>, error: unknown): void {
    if (this.#keeper === tap) this.#keeper = undefined;
    const index = this.#waits.findIndex((wait) => wait.tap === tap);
    if (index >= 0) this.#waits.splice(index, 1)[0]?.fail(error);
  }

  /** Ends a tap, unless it is the one that stays. Never rejects. */
  async #remove(tap: Tap<T>): Promise<void> {
    if (tap === this.#keeper && this.#closed === undefined) return;
    await tap.started;
    await this.#channel?.unsubscribe(tap.tag).catch((error: unknown) => {
      this.#connection.problem(asMessagingError(error));
    });
  }

  #taken(delivery: Delivery, inner: TransportChannel): Taken<T> {
    return { message: new Message<T>(delivery, inner, this.#owner), inner };
  }

  #hold(taken: Taken<T>): Taken<T> {
    this.#held.set(taken.message, taken.inner);
    return taken;
  }

  async #handOut(message: Message<T>): Promise<Message<T>> {
    const failure = await decodeMessage(message, this.#options.decoding);
    this.#connection.eventHandled();
    if (failure !== undefined) {
      await message.reject();
      throw failure;
    }
    if (this.#options.noAck) await message.ack();
    return message;
  }

  async #giveBack({ message, inner }: Taken<T>): Promise<void> {
    setReleased(message);
    try {
      await inner.release([message.deliveryTag]);
    } catch (error) {
      this.#connection.problem(asMessagingError(error));
    }
  }

  #open(): ConsumerChannel {
    if (this.#channel !== undefined) return this.#channel;
    const channel = new ConsumerChannel(this.#connection, { lost: (inner) => this.#lost(inner) });
    this.#channel = channel;
    this.#offConnection = this.#connection.beforeClose((options) =>
      this.close(new ConnectionClosedError('the connection was closed'), closeDeadline(options)),
    );
    // Not open yet, so there is nothing to wait for.
    void channel.qos({ prefetch: 1, scope: 'consumer' });
    return channel;
  }

  /** An incarnation is gone. Where its deliveries went with it, they will come again. */
  #lost(inner: TransportChannel): void {
    if (this.#connection.transport?.features.deliveriesOutliveConnection === true) return;
    this.#ahead = this.#ahead.filter((taken) => taken.inner !== inner);
    for (const [message, from] of this.#held) if (from === inner) this.#held.delete(message);
    if (this.#keeper?.last?.inner === inner) this.#keeper.last = undefined;
    // In a turn of its own: the channel is in the middle of ending.
    queueMicrotask(() => void this.#closeWhenUnused());
  }

  #settled(message: Message): void {
    this.#held.delete(message);
    void this.#closeWhenUnused();
  }

  async #closeWhenUnused(): Promise<void> {
    if (this.#closed === undefined || this.#held.size > 0) return;
    const channel = this.#channel;
    this.#channel = undefined;
    this.#offConnection?.();
    await channel?.close();
  }
}
