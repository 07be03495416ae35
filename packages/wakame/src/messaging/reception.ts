import type { CloseOptions } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { ConsumerChannel } from '../connection/consumer-channel.js';
import { asMessagingError, type WaitOptions } from '../connection/waiters.js';
import { declareEntity } from '../entities/declare.js';
import type { Queue } from '../entities/queue.js';
import { ConsumerCancelled, InvalidArgumentError, type MessagingError } from '../errors.js';
import { debug } from '../tracing.js';
import type { Delivery, TransportChannel } from '../transport/contract.js';
import type { ConsumerSettings } from './consumer-options.js';
import { newConsumerTag } from './consumer-tag.js';
import { type Arrival, Intake, type Source, type Subscription } from './intake.js';
import { Message, ownerOf, settlerOf } from './message.js';

/** What a reception tells its consumer. */
export interface ReceptionEvents<T> {
  /** There is something to take. */
  arrived(): void;
  /** The broker ended the consumption of a queue. `over`: it cannot be started again. */
  cancelled(queue: string, error: MessagingError, over: boolean): void;
  /** A message was settled too late. */
  stale(message: Message<T>): void;
  /** The connection is about to close. */
  closing(options: CloseOptions): Promise<void>;
}

/**
 * The side of a consumer that faces the broker: its channel, its queues, what came from them, and what was handed out
 * and is not settled.
 *
 * ```
 *   broker ──▶ Source.arrivals ──take()──▶ held ──ack, reject, requeue──▶ broker
 *                    └───────── stop(): released, in order ─────────────▶
 * ```
 *
 * The channel is opened when the first queue is started. When nothing is consumed any more, it lives until the last message held
 * is settled.
 */
export class Reception<T> {
  readonly #settings: ConsumerSettings<T>;
  readonly #events: ReceptionEvents<T>;
  readonly #intake: Intake<T>;
  /** Handed out and not settled. */
  readonly #held = new Set<Message<T>>();
  #connection: Connection;
  #channel: ConsumerChannel | undefined;
  #offConnection: (() => void) | undefined;
  #prefetch: number;
  /** Queues being consumed, or about to be. */
  #subscribed = 0;
  #flow = true;
  #added = 0;
  /** The incarnation that was told to read no more. */
  #paused: TransportChannel | undefined;

  constructor(connection: Connection, settings: ConsumerSettings<T>, events: ReceptionEvents<T>) {
    this.#connection = connection;
    this.#settings = settings;
    this.#events = events;
    this.#prefetch = settings.prefetch;
    this.#intake = new Intake<T>(connection.queueOrder);
    for (const queue of settings.queues) this.add(queue);
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** The queues, bound to the connection. */
  get queues(): Queue<T>[] {
    return [...this.#intake.sources.values()].map((source) => source.queue);
  }

  /** Names of the queues that are being consumed. */
  get consuming(): string[] {
    const sources = [...this.#intake.sources.values()].filter((source) => source.subscription !== undefined);
    return sources.map((source) => source.queue.name);
  }

  /** Arrivals not taken yet. */
  get waiting(): number {
    return this.#intake.size;
  }

  /** Messages handed out and not settled. */
  get held(): ReadonlySet<Message<T>> {
    return this.#held;
  }

  /** The next message to be handled. */
  take(): Arrival<T> | undefined {
    return this.#intake.take();
  }

  /** The message is the application's from now on. */
  hold(message: Message<T>): void {
    if (message.state === 'RECEIVED') this.#held.add(message);
  }

  /** Adds a queue, not started yet. One that is there already under that name is left as it is. */
  add(queue: Queue<T>): void {
    // Queues that the broker will name are different ones.
    const key = queue.name === '' ? `#${++this.#added}` : queue.name;
    if (this.#intake.sources.has(key)) return;
    const { accept, schema = queue.schema } = this.#settings;
    this.#intake.add(key, queue, queue.bind(this.#connection), { accept, schema });
  }

  /** Declares the queues, with their exchanges and bindings. */
  async declare(wait: WaitOptions): Promise<void> {
    for (const queue of this.queues) await declareEntity(queue, this.#connection.topology, wait);
  }

  /**
   * Starts every queue that is not being consumed. When one cannot be started, those that this call has started are stopped
   * again, and it rejects with the reason.
   */
  async start(noAck: boolean | undefined, wait: WaitOptions): Promise<void> {
    // Claimed at once: a second start leaves them alone, and stopping ends this one.
    const claims = [...this.#intake.sources.values()].flatMap((source) => this.#claim(source, noAck) ?? []);
    if (claims.length === 0) return;
    const starts = await Promise.allSettled(claims.map((claim) => this.#start(claim, wait)));
    const failed = starts.find((start) => start.status === 'rejected');
    if (failed === undefined) return;
    await this.stop(claims.filter((_, i) => starts[i]?.status === 'fulfilled').map(({ source }) => source));
    throw failed.reason;
  }

  /** The queues of that name (or that queue). */
  sourcesOf(queue: Queue<T> | string): Source<T>[] {
    const name = typeof queue === 'string' ? queue : queue.name;
    return [...this.#intake.sources.values()].filter((source) => source.queue.name === name || source.key === name);
  }

  /** Stops consuming queues (all of them by default), and gives back in order what came from them and was not taken. Never rejects. */
  async stop(sources: Iterable<Source<T>> = this.#intake.sources.values()): Promise<void> {
    await Promise.all([...sources].map((source) => this.#stopSource(source)));
    this.#closeWhenUnused();
  }

  /** More has come than can be handled in this turn of the event loop: see `TransportChannel.pause`. */
  pause(): void {
    if (this.#paused !== undefined) return;
    this.#paused = this.#channel?.managed.current;
    this.#paused?.pause();
  }

  resume(): void {
    this.#paused?.resume();
    this.#paused = undefined;
  }

  /** Gives back a message that was taken and that nobody looked at. */
  giveBack(arrival: Arrival<T>): void {
    this.#held.delete(arrival.message);
    this.#intake.push(arrival);
    this.#intake.release(arrival.source).catch((error) => this.#connection.problem(error));
  }

  /** Gives back everything: what is held as a decision to requeue, what was not taken to its old place. */
  async recover(): Promise<void> {
    await Promise.all([...this.#held].map((message) => message.requeue()));
    await Promise.all([...this.#intake.sources.values()].map((source) => this.#intake.release(source)));
  }

  /**
   * Changes the prefetch. It counts for consumers started from now on, so those at work are replaced: the new one first,
   * because an auto-delete queue goes with its last consumer. What is unsettled of the former one counts until it is settled;
   * then the new one is replaced by one with the whole prefetch (and what is unsettled of that one comes on top, until it is settled).
   */
  async qos(prefetch: number, wait: WaitOptions): Promise<void> {
    this.#prefetch = prefetch;
    const channel = this.#channel;
    if (channel === undefined) return;
    for (const source of [...this.#intake.sources.values()]) await this.#replace(source, channel, wait);
    await channel.qos({ prefetch, scope: 'consumer' }, wait);
  }

  async #replace(source: Source<T>, channel: ConsumerChannel, wait: WaitOptions): Promise<void> {
    const old = source.subscription;
    if (old?.channel !== channel || old.noAck) return;
    const whole = this.#prefetch;
    const left = this.#unsettledOf(source).length;
    const rest = whole === 0 ? 0 : Math.max(whole - left, 1);
    await channel.qos({ prefetch: rest, scope: 'consumer' }, wait);
    const replacement = this.#newSubscription(source, false);
    await this.#subscribe(replacement, channel, wait);
    await channel.unsubscribe(old.tag, wait);
    if (rest === whole) return;
    replacement.waitsFor = new Set(this.#unsettledOf(source).filter((message) => ownerOf(message) !== replacement));
    if (replacement.waitsFor.size === 0) await this.#replace(source, channel, wait);
  }

  /** What came from a queue and is not settled, whether it was handed out or not. */
  #unsettledOf(source: Source<T>): Message<T>[] {
    const held = [...this.#held].filter((message) => (ownerOf(message) as Subscription<T>).source === source);
    const waiting = [...source.arrivals].map(({ message }) => message);
    return [...held, ...waiting.filter((message) => !message.acknowledged)];
  }

  /** The replacement of a consumer need not leave room for its predecessor's messages any more. */
  async #makeWhole(source: Source<T>, replacement: Subscription<T>): Promise<void> {
    const { channel } = replacement;
    if (source.subscription !== replacement || channel === undefined) return;
    try {
      await channel.qos({ prefetch: this.#prefetch, scope: 'consumer' });
      await this.#subscribe(this.#newSubscription(source, false), channel, {});
      await channel.unsubscribe(replacement.tag);
    } catch (error) {
      this.#connection.problem(asMessagingError(error));
    }
  }

  /** Stops or resumes what the broker sends, also on the channel's later incarnations. */
  async flow(active: boolean, wait: WaitOptions): Promise<void> {
    this.#flow = active;
    await this.#channel?.managed.run((inner) => inner.flow(active), { ...wait, idempotent: true });
  }

  /** Closes the channel: what is held goes back to its queue. Never rejects. */
  async close(): Promise<void> {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#offConnection?.();
    await channel?.close();
  }

  /** Moves to another connection. Nothing is consumed until it is started again. */
  async move(connection: Connection): Promise<void> {
    await this.stop();
    await this.close();
    this.#connection = connection;
    const sources = [...this.#intake.sources.values()];
    for (const source of sources) {
      this.#intake.remove(source);
      this.add(source.given);
    }
  }

  #openChannel(): ConsumerChannel {
    if (this.#channel !== undefined) return this.#channel;
    const channel = new ConsumerChannel(this.#connection, {
      opened: async (inner) => {
        if (!this.#flow) await inner.flow(false);
      },
      lost: (inner) => this.#lost(inner),
    });
    this.#channel = channel;
    this.#offConnection = this.#connection.beforeClose((options) => this.#events.closing(options));
    // Not open yet, so there is nothing to wait for.
    void channel.qos({ prefetch: this.#prefetch, scope: 'consumer' });
    return channel;
  }

  #claim(source: Source<T>, noAck = this.#settings.noAck ?? source.queue.noAck): Subscription<T> | undefined {
    if (source.subscription !== undefined) return undefined;
    const claim = this.#newSubscription(source, noAck);
    source.stopping = false;
    this.#setSubscription(source, claim);
    return claim;
  }

  async #start(claim: Subscription<T>, wait: WaitOptions): Promise<void> {
    const { source } = claim;
    try {
      if (this.#settings.autoDeclare) await declareEntity(source.queue, this.#connection.topology, wait);
      if (source.queue.name === '') throw new InvalidArgumentError('a queue without a name must be declared');
      mustStand(claim);
      const channel = this.#openChannel();
      await this.#subscribe(claim, channel, wait);
    } catch (error) {
      if (source.subscription === claim) this.#setSubscription(source, undefined);
      this.#closeWhenUnused();
      throw error;
    }
  }

  /** Starts it at the broker; it takes the place of the source's subscription, unless the source is stopped meanwhile. */
  async #subscribe(subscription: Subscription<T>, channel: ConsumerChannel, wait: WaitOptions): Promise<void> {
    const { source, tag, noAck } = subscription;
    const { queue, position } = source;
    const sink = {
      onDelivery: (delivery: Delivery, inner: TransportChannel) => {
        position?.delivered(delivery.properties.headers);
        this.#intake.push({ message: new Message<T>(delivery, inner, subscription), source, inner });
        this.#events.arrived();
      },
      onInterrupted: (error: MessagingError) => {
        position?.reset();
        if (source.subscription === subscription) this.#events.cancelled(queue.name, error, false);
      },
      onCancel: (error: MessagingError) => {
        if (source.subscription !== subscription) return;
        this.#setSubscription(source, undefined);
        this.#events.cancelled(queue.name, error, true);
      },
    };
    const before = source.subscription;
    const args = position?.arguments ?? queue.consumerArguments;
    await channel.subscribe(queue.name, { consumerTag: tag, noAck, arguments: args }, sink, wait);
    subscription.channel = channel;
    if (source.subscription === before) {
      this.#setSubscription(source, subscription);
      if (debug.enabled) debug('consuming queue %s as %s', queue.name, tag);
      return;
    }
    await channel.unsubscribe(tag, wait);
    await this.#intake.release(source);
    mustStand(subscription);
  }

  #settledOne(source: Source<T>, message: Message<T>): void {
    const { subscription } = source;
    const { waitsFor } = subscription ?? {};
    if (subscription === undefined || waitsFor?.delete(message) !== true || waitsFor.size > 0) return;
    subscription.waitsFor = undefined;
    void this.#makeWhole(source, subscription);
  }

  #setSubscription(source: Source<T>, subscription: Subscription<T> | undefined): void {
    this.#subscribed += Number(subscription !== undefined) - Number(source.subscription !== undefined);
    source.subscription = subscription;
  }

  #newSubscription(source: Source<T>, noAck: boolean): Subscription<T> {
    return {
      ...{ source, noAck, channel: undefined, waitsFor: undefined, tag: newConsumerTag(this.#settings.tagPrefix) },
      get queue() {
        return source.queue.name;
      },
      connection: this.#connection,
      settled: (message, live) => {
        if (live) source.position?.settled(message.headers);
        this.#held.delete(message as Message<T>);
        this.#settledOne(source, message as Message<T>);
        if (!live) this.#events.stale(message as Message<T>);
        if (this.#subscribed === 0) this.#closeWhenUnused();
      },
      problem: (error) => this.#connection.problem(error),
    };
  }

  async #stopSource(source: Source<T>): Promise<void> {
    const { subscription } = source;
    this.#setSubscription(source, undefined);
    source.stopping = true;
    try {
      if (subscription !== undefined) await subscription.channel?.unsubscribe(subscription.tag);
      if (source.subscription === undefined) await this.#intake.release(source);
    } catch (error) {
      // The channel does not answer. Without it the consumer ends, and what came from it goes back.
      this.#connection.problem(asMessagingError(error));
      if (this.#subscribed === 0) await this.close();
    }
    source.stopping = false;
    // What was delivered with `noAck` is still to be handled.
    if (source.arrivals.size > 0) this.#events.arrived();
  }

  /** An incarnation is gone. Where its deliveries went with it, they will come again. */
  #lost(inner: TransportChannel): void {
    if (this.#connection.transport?.features.deliveriesOutliveConnection === true) return;
    this.#intake.dropFrom(inner);
    for (const message of this.#held) if (settlerOf(message) === inner) this.#held.delete(message);
    // In a turn of its own: the channel is in the middle of ending.
    queueMicrotask(() => this.#closeWhenUnused());
  }

  /** Nothing is consumed and nothing left to settle: the channel is not needed. */
  #closeWhenUnused(): void {
    if (this.#channel === undefined || this.#subscribed > 0) return;
    if (this.#held.size === 0 && !this.#intake.hasUnsettled) void this.close();
  }
}

function mustStand<T>(subscription: Subscription<T>): void {
  const { source } = subscription;
  if (source.subscription === subscription) return;
  throw new ConsumerCancelled(`the consumer of queue '${source.queue.name}' was cancelled while it was starting`, {
    recoverable: false,
  });
}
