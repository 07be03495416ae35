/**
 * A managed channel with consumers that stay alive. The rule: while the connection is open, every subscription is
 * consuming, or is being brought back.
 *
 * ```
 *              new incarnation                consume-ok
 *   waiting ──────────────────▶ starting ───────────────────▶ consuming
 *      ▲                           │ refused                      │ cancelled by the broker, or channel lost
 *      └───────── pause ───────────┴──────────────────────────────┘
 * ```
 *
 * A subscription whose start closes the channel would take the others down each time it is tried; so it gets a channel of its
 * own, and stays there.
 */
import { ConnectionClosedError, InvalidArgumentError, type MessagingError, TimeoutError } from '../errors.js';
import type { ConsumeOptions, Delivery, DeliverySink, TransportChannel } from '../transport/contract.js';
import { sleep } from '../util/abort.js';
import { jitteredBackoff } from '../util/backoff.js';
import { Deadline, withDeadline } from '../util/deadline.js';
import { DEFAULTS } from './defaults.js';
import { type ChannelHost, type ChannelUser, ManagedChannel } from './managed-channel.js';
import { isNotFound, type Topology } from './topology.js';
import { asMessagingError, isCollateral, type WaitOptions } from './waiters.js';

/** Where the messages of a subscription go. Neither function may throw. */
export interface SubscriptionSink {
  /** `inner` is the incarnation that delivered, and where to settle. */
  onDelivery(delivery: Delivery, inner: TransportChannel): void;
  /** The broker ended the consumer (its queue was deleted, its node left). It is being started again. */
  onInterrupted?(error: MessagingError): void;
  /** The subscription is over: the broker ended it, its queue is gone, and nothing here can make the queue again. */
  onCancel(error: MessagingError): void;
}

export interface QosOptions {
  /** Unsettled deliveries allowed. 0: no limit. */
  readonly prefetch: number;
  /** Of each consumer, or of all those of the channel together. */
  readonly scope: 'consumer' | 'channel';
}

/** What consumer channels need of their connection. */
export interface ConsumerHost extends ChannelHost {
  readonly topology: Topology;
  /** Those that exist, but the channels of single subscriptions. */
  readonly consumerChannels: Set<ConsumerChannel>;
}

/** How a consumer is. `forgotten`: it does not consume, and nothing is being done about it. That must never be. */
export interface SubscriptionStatus {
  readonly consumerTag: string;
  /** The present name. */
  readonly queue: string;
  readonly state: 'consuming' | 'returning' | 'forgotten';
}

/** A message fetched, with the incarnation to settle it on. */
export interface Fetched {
  readonly delivery: Delivery;
  readonly inner: TransportChannel;
}

interface Subscription {
  /** As the subscriber named it; the topology knows its present name. */
  readonly queue: string;
  readonly options: ConsumeOptions;
  readonly sink: SubscriptionSink;
  /** Where it consumes. */
  inner: TransportChannel | undefined;
  /** A start under way. Never rejects. */
  starting: Promise<void> | undefined;
  /** Set while it is being brought back by itself. */
  reviving: boolean;
  /** When it last started, and how often in a row it ended soon after. */
  startedAt: number;
  failures: number;
  ended: boolean;
  /** Tells the topology that it is over. */
  over: (() => void) | undefined;
  /** The channel of its own, when it has one. */
  apart: ConsumerChannel | undefined;
}

/** A consumer that ends sooner than this, in milliseconds, waits before it starts again. */
const SHORT_LIFE = 1_000;

export class ConsumerChannel {
  readonly managed: ManagedChannel;
  readonly #host: ConsumerHost;
  readonly #user: ChannelUser;
  /** Fetches whose callers did not wait for the answer. */
  readonly #abandoned = new Set<Promise<unknown>>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #apart = new Set<ConsumerChannel>();
  readonly #closed = new AbortController();
  /** This is the channel of one troublesome subscription. */
  #isApart = false;
  #qos: QosOptions | undefined;

  /**
   * @param user Hears of every incarnation, those of subscriptions with a channel of their own included. Its `opened` runs after
   * qos and consumers were restored.
   */
  constructor(host: ConsumerHost, user: ChannelUser = {}) {
    this.#host = host;
    this.#user = user;
    host.consumerChannels.add(this);
    this.managed = new ManagedChannel(host, 'consume', {
      opened: (inner) => this.#opened(inner),
      lost: (inner, error) => this.#lost(inner, error),
      returned: (returned) => this.#user.returned?.(returned),
    });
  }

  /** The open incarnation. */
  get current(): TransportChannel | undefined {
    return this.managed.current;
  }

  /** All incarnations that are open: the channel's, and those of subscriptions with a channel of their own. */
  get incarnations(): TransportChannel[] {
    return [this, ...this.#apart].flatMap((channel) => channel.current ?? []);
  }

  /** What is subscribed, by tag: the queue's present name, and whether it is consuming now. */
  get subscriptions(): ReadonlyMap<string, { readonly queue: string; readonly consuming: boolean }> {
    return new Map(
      this.status.map(({ consumerTag, queue, state }) => [consumerTag, { queue, consuming: state === 'consuming' }]),
    );
  }

  /** How each subscription is. */
  get status(): SubscriptionStatus[] {
    return [...this.#subscriptions.values()].map((subscription) => ({
      consumerTag: subscription.options.consumerTag,
      queue: this.#host.topology.currentName(subscription.queue),
      state: this.#stateOf(subscription),
    }));
  }

  #stateOf({ inner, starting, reviving, apart, options }: Subscription): SubscriptionStatus['state'] {
    if (apart !== undefined) {
      return apart.status.find(({ consumerTag }) => consumerTag === options.consumerTag)?.state ?? 'forgotten';
    }
    if (inner?.state === 'open' && starting === undefined) return 'consuming';
    // On its way by itself, or with the channel: `current` is also undefined while the news of an end is on its way.
    const isReturning = starting !== undefined || reviving || this.managed.isComing || inner !== undefined;
    return isReturning ? 'returning' : 'forgotten';
  }

  /** Applied now when the channel is open, and to each new incarnation before its consumers start. */
  async qos(options: QosOptions, wait: WaitOptions = {}): Promise<void> {
    this.#qos = options;
    if (this.managed.current !== undefined) {
      await this.managed.run((inner) => inner.qos(options), { ...wait, idempotent: true });
    }
    await Promise.all([...this.#apart].map((channel) => channel.qos(options, wait)));
  }

  /**
   * Starts a consumer and keeps it alive until `unsubscribe`. Resolves with its tag. Rejects when it cannot be started now (NOT_FOUND,
   * ACCESS_REFUSED, …); it is not kept then.
   */
  async subscribe(
    queue: string,
    options: ConsumeOptions,
    sink: SubscriptionSink,
    wait: WaitOptions = {},
  ): Promise<string> {
    const { consumerTag } = options;
    if (this.#subscriptions.has(consumerTag)) {
      throw new InvalidArgumentError(`consumer tag '${consumerTag}' is in use on this channel`);
    }
    const { topology } = this.#host;
    const deadline = new Deadline(wait.timeout ?? DEFAULTS.operationTimeout);
    const { signal } = wait;
    // A queue that does not exist would cost the other consumers their channel.
    if (this.#subscriptions.size > 0 && !topology.isKnown(queue)) {
      await topology.ensureQueue(queue, { timeout: deadline.remaining, signal });
    }
    const subscription = newSubscription(queue, options, sink);
    const start = () => {
      const run = { timeout: deadline.remaining, signal, idempotent: true };
      return this.managed.run((inner) => this.#consume(subscription, inner), run);
    };
    try {
      await start();
    } catch (error) {
      if (!isNotFound(error) || !topology.isKnown(queue)) throw error;
      // Somebody has deleted it since it was declared here, and nobody told us.
      topology.forget('queue', queue);
      await topology.ensureQueue(queue, { timeout: deadline.remaining, signal });
      await start();
    }
    this.#subscriptions.set(consumerTag, subscription);
    subscription.over = topology.consumerStarted(queue);
    // The channel may have been lost between the broker's answer and now, and have come back without it.
    if (subscription.inner === undefined) void this.#revive(subscription);
    return consumerTag;
  }

  /** Ends a subscription; after it resolves, no delivery comes for its tag. An unknown tag is none of its business. */
  async unsubscribe(consumerTag: string, wait: WaitOptions = {}): Promise<void> {
    const subscription = this.#subscriptions.get(consumerTag);
    if (subscription === undefined) return;
    this.#end(subscription);
    await subscription.starting;
    const { inner, apart } = subscription;
    await apart?.unsubscribe(consumerTag, wait);
    if (inner === undefined || inner.state !== 'open') return;
    const timeout = Math.min(wait.timeout ?? DEFAULTS.operationTimeout, this.#host.rpcTimeout);
    try {
      await withDeadline(inner.cancel(consumerTag), 'cancel', { timeout, signal: wait.signal });
    } catch (error) {
      // Without its channel the consumer has ended anyway.
      if (inner.state === 'open') throw error;
    }
  }

  /** Fetches a message; undefined when the queue is empty. One that arrives after the caller gave up goes back to its queue. */
  async get(
    queue: string,
    options: { readonly noAck?: boolean | undefined },
    wait: WaitOptions = {},
  ): Promise<Fetched | undefined> {
    const isHeld = options.noAck !== true;
    const release = ({ delivery, inner }: Fetched) => (isHeld ? inner.release([delivery.deliveryTag]) : undefined);
    let isWanted = true;
    let fetched: Fetched | undefined;
    let asked: Promise<unknown> | undefined;
    const fetch = async (inner: TransportChannel) => {
      fetched = undefined;
      // Calls that were given up are under way still. No more is asked for before they are answered: with little patience they would pile up.
      while (this.#abandoned.size > 0 && isWanted) await Promise.allSettled(this.#abandoned);
      if (!isWanted) return undefined;
      const asking = inner.get(this.#host.topology.currentName(queue), options);
      asked = asking;
      const delivery = await asking;
      if (delivery === undefined) return undefined;
      fetched = { delivery, inner };
      if (!isWanted) await release(fetched);
      return fetched;
    };
    try {
      // What was fetched by an incarnation that ended before we heard of it has gone back to the queue.
      return await this.managed.run(fetch, { ...wait, idempotent: isHeld });
    } catch (error) {
      isWanted = false;
      if (asked !== undefined) this.#abandon(asked);
      if (isNotFound(error)) this.#host.topology.forget('queue', queue);
      // It may have come in the very moment in which the caller gave up.
      if (fetched !== undefined) await release(fetched);
      throw error;
    }
  }

  #abandon(asked: Promise<unknown>): void {
    this.#abandoned.add(asked);
    const over = () => void this.#abandoned.delete(asked);
    asked.then(over, over);
  }

  /** Ends all subscriptions. Unsettled deliveries go back to their queues. Never rejects. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#host.consumerChannels.delete(this);
    for (const subscription of [...this.#subscriptions.values()]) this.#end(subscription);
    await Promise.all([this.managed.close(), ...[...this.#apart].map((channel) => channel.close())]);
  }

  /** A new incarnation: qos first, then the consumers, all at once. */
  async #opened(inner: TransportChannel): Promise<void> {
    const qos = this.#qos;
    if (qos !== undefined) await this.#timed(inner.qos(qos));
    const failures: { readonly subscription: Subscription; readonly error: unknown }[] = [];
    const restart = (subscription: Subscription) =>
      this.#restart(subscription, inner).catch((error: unknown) => failures.push({ subscription, error }));
    await Promise.all([...this.#subscriptions.values()].map(restart));
    for (const { subscription, error } of failures) {
      if (!isCollateral(error)) this.#startRefused(subscription, error, inner);
    }
    const [first] = failures;
    if (first !== undefined && inner.state !== 'open') throw first.error;
    if (this.#qos !== undefined && this.#qos !== qos) await this.#timed(inner.qos(this.#qos));
    await this.#user.opened?.(inner);
  }

  /** Starts a subscription on a new incarnation when its queue is there; goes after the queue by itself when not. */
  async #restart(subscription: Subscription, inner: TransportChannel): Promise<void> {
    if (subscription.apart !== undefined || subscription.reviving) return;
    const { topology, rpcTimeout: timeout } = this.#host;
    if (!topology.isKnown(subscription.queue)) {
      try {
        await topology.ensureQueue(subscription.queue, { timeout, signal: this.#closed.signal });
      } catch {
        // Told and mended there.
        void this.#revive(subscription);
        return;
      }
    }
    if (!subscription.ended && inner.state === 'open') await this.#start(subscription, inner);
  }

  /** A start was refused: the subscription gets a channel of its own. Throws when it was not its fault. */
  #startRefused(subscription: Subscription, error: unknown, inner: TransportChannel): void {
    const innocent = inner.connection.state !== 'open' || isCollateral(error) || error instanceof TimeoutError;
    if (innocent || this.#isApart) throw error;
    this.#setApart(subscription);
    this.#host.problem(asMessagingError(error));
  }

  #start(subscription: Subscription, inner: TransportChannel): Promise<void> {
    const start = this.#timed(this.#consume(subscription, inner));
    const over = () => {
      subscription.starting = undefined;
    };
    subscription.starting = start.then(over, over);
    return start;
  }

  async #consume(subscription: Subscription, inner: TransportChannel): Promise<void> {
    const { queue, options, sink } = subscription;
    const deliver: DeliverySink = {
      onDelivery: (delivery) => sink.onDelivery(delivery, inner),
      onCancel: (error) => this.#cancelled(subscription, inner, error),
    };
    subscription.startedAt = performance.now();
    subscription.inner = inner;
    try {
      await inner.consume(this.#host.topology.currentName(queue), options, deliver);
    } catch (error) {
      if (subscription.inner === inner) subscription.inner = undefined;
      throw error;
    }
  }

  /** The broker ended a consumer. */
  #cancelled(subscription: Subscription, inner: TransportChannel, error: MessagingError): void {
    if (subscription.inner !== inner) return;
    subscription.inner = undefined;
    if (subscription.ended) return;
    const { topology } = this.#host;
    topology.forget('queue', subscription.queue);
    // After a deletion of our own it will not be started again.
    if (!topology.isDeletedHere(subscription.queue)) subscription.sink.onInterrupted?.(error);
    void this.#revive(subscription, error);
  }

  /**
   * Brings a subscription back that ended while the channel lives. Its queue is declared again as the topology recorded it; one that was
   * not declared here gets some time to come back.
   */
  async #revive(subscription: Subscription, cause?: MessagingError): Promise<void> {
    if (subscription.reviving || subscription.ended) return;
    subscription.reviving = true;
    const { signal } = this.#closed;
    const { topology } = this.#host;
    const grace = new Deadline(DEFAULTS.cancelledGrace);
    const told = new Set<string>();
    if (performance.now() - subscription.startedAt >= SHORT_LIFE) subscription.failures = 0;
    try {
      while (!subscription.ended) {
        if (subscription.failures > 0) {
          const pause = jitteredBackoff(subscription.failures - 1, DEFAULTS.reopen);
          await sleep(grace.passed ? pause : Math.min(pause, grace.remaining + 1), { signal });
        }
        subscription.failures++;
        try {
          await topology.ensureQueue(subscription.queue, { timeout: Number.POSITIVE_INFINITY, signal });
          const inner = await this.managed.open({ timeout: Number.POSITIVE_INFINITY, signal });
          if (!subscription.ended) await this.#startAgain(subscription, inner);
          return;
        } catch (thrown) {
          if (subscription.ended || signal.aborted) return;
          const error = asMessagingError(thrown);
          if (this.#isOver(subscription, error, grace)) return this.#giveUp(subscription, cause ?? error);
          if (!told.has(error.code)) this.#host.problem(error);
          told.add(error.code);
        }
      }
    } catch {
      // Closed during a pause.
    } finally {
      subscription.reviving = false;
    }
  }

  async #startAgain(subscription: Subscription, inner: TransportChannel): Promise<void> {
    try {
      await this.#start(subscription, inner);
    } catch (error) {
      if (inner.state === 'open') throw error;
      this.#startRefused(subscription, error, inner);
    }
  }

  #isOver(subscription: Subscription, error: unknown, grace: Deadline): boolean {
    if (error instanceof ConnectionClosedError) return true;
    const { topology } = this.#host;
    if (!isNotFound(error) || topology.isRecorded(subscription.queue)) return false;
    return grace.passed || topology.isDeletedHere(subscription.queue);
  }

  #giveUp(subscription: Subscription, error: MessagingError): void {
    this.#end(subscription);
    subscription.sink.onCancel(error);
  }

  #end(subscription: Subscription): void {
    if (subscription.ended) return;
    subscription.ended = true;
    this.#subscriptions.delete(subscription.options.consumerTag);
    subscription.over?.();
  }

  /** Gives a subscription a channel of its own, which comes up by itself. */
  #setApart(subscription: Subscription): void {
    const { queue, options, sink } = subscription;
    const apart = new ConsumerChannel(this.#host, {
      lost: (inner, error) => this.#user.lost?.(inner, error),
      returned: (returned) => this.#user.returned?.(returned),
    });
    apart.#isApart = true;
    this.#host.consumerChannels.delete(apart);
    apart.#qos = this.#qos;
    const inApart = newSubscription(queue, options, {
      onDelivery: sink.onDelivery.bind(sink),
      onInterrupted: (error) => sink.onInterrupted?.(error),
      onCancel: (error) => this.#giveUp(subscription, error),
    });
    apart.#subscriptions.set(options.consumerTag, inApart);
    subscription.apart = apart;
    this.#apart.add(apart);
    apart.managed.persist();
  }

  #lost(inner: TransportChannel, error: MessagingError | undefined): void {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.inner === inner) subscription.inner = undefined;
    }
    this.#user.lost?.(inner, error);
  }

  #timed<T>(request: Promise<T>): Promise<T> {
    return withDeadline(request, 'request to the broker', { timeout: this.#host.rpcTimeout });
  }
}

function newSubscription(queue: string, options: ConsumeOptions, sink: SubscriptionSink): Subscription {
  return {
    ...{ queue, options, sink, inner: undefined, apart: undefined, starting: undefined, over: undefined },
    ...{ reviving: false, ended: false, startedAt: 0, failures: 0 },
  };
}
