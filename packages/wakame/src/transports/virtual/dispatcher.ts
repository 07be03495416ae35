import type { MessagingError } from '../../errors.js';
import { jitteredBackoff } from '../../util/backoff.js';
import { type LocalConsumer, type QueueRules, toUnsettled } from './consumer.js';
import type { Driver, MaybePromise, Taken, TakeRequest } from './driver.js';
import { Feed } from './feed.js';
import type { Ledger } from './ledger.js';
import { isPromise } from './maybe-promise.js';
import type { Mortician } from './mortician.js';
import { typed } from './refusals.js';
import { nextTurn, TURN } from './turn.js';

/** Kombu's `queue_order_strategy`. */
export type QueueOrder = 'round_robin' | 'priority' | 'sorted';

/** Messages of one take, over all queues. Small enough that a busy queue keeps nobody waiting, large enough to be worth a round trip. */
const TAKE_LIMIT = 128;
/** How long a driver with `longPoll` waits in the store, in milliseconds. */
const LONG_POLL = 20_000;

/**
 * ```
 *            hint, credit, consumer                take answered: more to do
 *   idle ─────────────────────────▶ scheduled ─▶ taking ───────────────▶ scheduled
 *    ▲                                                │
 *    └──────────────── nothing to take for ───────────┘
 * ```
 */
type State = 'idle' | 'scheduled' | 'taking' | 'stopped';

export interface DispatcherOptions {
  readonly driver: Driver;
  readonly ledger: Ledger;
  readonly mortician: Mortician;
  readonly order: QueueOrder;
  /** Milliseconds between questions for messages that no hint told of; undefined: every message is told of. */
  readonly pollInterval: number | undefined;
  readonly problem: (error: MessagingError) => void;
  /** A queue with consumers was deleted. */
  readonly gone: (consumers: readonly LocalConsumer[]) => void;
}

/**
 * Fetches messages for the consumers of a connection and hands them out: one take at a time over all queues that may have
 * messages and whose consumers have room, an equal share from each, and within a queue the consumers in rotation.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #driver: Driver;
  readonly #feeds = new Map<string, Feed>();
  /** Those that are ready and may have a consumer with room, in the order of their turn. */
  readonly #active = new Set<Feed>();
  #state: State = 'idle';
  #feedCount = 0;
  #sinceTurn = 0;
  /** Ends the wait of a long poll. */
  #wait: AbortController | undefined;
  #poll: NodeJS.Timeout | undefined;
  #failures = 0;
  #taking = false;
  #quietWaiters: (() => void)[] = [];

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#driver = options.driver;
  }

  /** Starts to deliver to a consumer. */
  add(consumer: LocalConsumer, rules: QueueRules): MaybePromise<void> {
    let feed = this.#feeds.get(consumer.queue);
    const isNew = feed === undefined;
    if (feed === undefined) {
      feed = new Feed(consumer.queue, this.#feedCount++, rules);
      this.#feeds.set(consumer.queue, feed);
    }
    feed.rules = rules;
    feed.add(consumer);
    feed.ready = true;
    this.#activate(feed);
    return isNew ? this.#watch() : undefined;
  }

  /**
   * Stops deliveries to a consumer. What is being taken for it without acknowledgement still comes; resolves when that is over.
   */
  async remove(consumer: LocalConsumer): Promise<void> {
    if (consumer.state !== 'active') return;
    consumer.state = 'ending';
    // A long poll may be waiting on its behalf.
    this.#wait?.abort();
    await this.#quiet();
    consumer.state = 'ended';
    const feed = this.#feeds.get(consumer.queue);
    feed?.remove(consumer);
    if (feed === undefined) return;
    if (feed.consumers.length > 0) {
      // Somebody else may be the single active one now.
      feed.ready = true;
      if (this.#state !== 'stopped') this.#activate(feed);
      return;
    }
    this.#feeds.delete(feed.queue);
    this.#active.delete(feed);
    if (this.#state !== 'stopped') await this.#watch();
  }

  /** A consumer may get more than before. */
  credited(consumer: LocalConsumer): void {
    const feed = this.#feeds.get(consumer.queue);
    if (feed !== undefined) this.#feedCredited(feed);
  }

  /** All of them may. */
  creditedAll(): void {
    for (const feed of this.#feeds.values()) this.#feedCredited(feed);
  }

  /** Names of the queues consumed. */
  get queues(): string[] {
    return [...this.#feeds.keys()];
  }

  /** Ends the consumers of a queue that is no more. */
  queueGone(queue: string): void {
    const feed = this.#feeds.get(queue);
    if (feed === undefined) return;
    this.#feeds.delete(queue);
    this.#active.delete(feed);
    const consumers = feed.consumers.filter((consumer) => consumer.state === 'active');
    for (const consumer of feed.consumers) consumer.state = 'ended';
    this.#options.gone(consumers);
  }

  /** No more takes. Resolves when the one under way has been answered, and what it brought was given back. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#wait?.abort();
    clearTimeout(this.#poll);
    this.#poll = undefined;
    await this.#quiet();
    for (const feed of this.#feeds.values()) for (const consumer of feed.consumers) consumer.state = 'ended';
    this.#feeds.clear();
    this.#active.clear();
  }

  #feedCredited(feed: Feed): void {
    if (feed.ready) this.#activate(feed);
    else if (!this.#driver.features.longPoll) this.#schedulePoll();
    // A wait in the store that does not ask for this queue must ask anew.
    else if (feed.asked === 0) this.#activate(feed);
  }

  #watch(): MaybePromise<void> {
    return this.#driver.watch(this.queues, {
      ready: (queue) => {
        const feed = this.#feeds.get(queue);
        if (feed === undefined) return;
        feed.ready = true;
        this.#activate(feed);
      },
      gone: (queue) => queueMicrotask(() => this.queueGone(queue)),
    });
  }

  #activate(feed: Feed): void {
    this.#active.add(feed);
    if (this.#state === 'idle') this.#schedule();
    else this.#wait?.abort();
  }

  #schedule(): void {
    this.#state = 'scheduled';
    if (this.#sinceTurn < TURN) {
      queueMicrotask(() => this.#take());
    } else {
      this.#sinceTurn = 0;
      nextTurn(() => this.#take());
    }
  }

  // Taking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #take(): void {
    if (this.#state !== 'scheduled') return;
    clearTimeout(this.#poll);
    this.#poll = undefined;
    let requests = this.#requests();
    let waitMs = 0;
    if (requests.length === 0 && this.#driver.features.longPoll) {
      for (const feed of this.#feeds.values()) this.#active.add(feed);
      requests = this.#requests();
      waitMs = LONG_POLL;
    }
    if (requests.length === 0) {
      this.#state = 'idle';
      this.#schedulePoll();
      return;
    }
    this.#state = 'taking';
    this.#taking = true;
    this.#request(requests, waitMs);
  }

  #request(requests: readonly TakeRequest[], waitMs: number): void {
    const { ledger, order } = this.#options;
    const requestId = ledger.nextRequest();
    const takenAt = performance.now();
    if (waitMs > 0) this.#wait = new AbortController();
    let answer: MaybePromise<readonly Taken[]>;
    try {
      answer = this.#driver.take(requests, {
        requestId,
        limit: TAKE_LIMIT,
        order: order === 'round_robin' ? 'fair' : 'strict',
        waitMs,
        signal: this.#wait?.signal,
      });
    } catch (error) {
      return this.#takeFailed(requests, requestId, error);
    }
    if (!isPromise(answer)) return this.#takeAnswered(requests, answer, takenAt);
    answer.then(
      (taken) => this.#takeAnswered(requests, taken, takenAt),
      (error: unknown) => this.#takeFailed(requests, requestId, error),
    );
  }

  /** What to ask for: from each queue that may have messages, as much as its consumers have room for. */
  #requests(): TakeRequest[] {
    const requests: TakeRequest[] = [];
    const feeds = this.#inOrder();
    for (const feed of feeds) for (const consumer of feed.consumers) consumer.channel.reserved = 0;
    for (const feed of feeds) {
      let credit = 0;
      let hasNoAck = false;
      for (const consumer of feed.eligible) {
        const room = Math.min(consumer.room, TAKE_LIMIT - credit);
        if (room <= 0) continue;
        if (consumer.noAck) {
          hasNoAck = true;
        } else {
          credit += room;
          consumer.channel.reserved += room;
        }
      }
      feed.asked = credit + (hasNoAck ? TAKE_LIMIT : 0);
      feed.got = 0;
      // Until somebody has room again.
      this.#active.delete(feed);
      if (feed.asked === 0) continue;
      feed.ready = false;
      if (credit > 0) requests.push({ queue: feed.queue, credit, noAck: false });
      if (hasNoAck) requests.push({ queue: feed.queue, credit: TAKE_LIMIT, noAck: true });
    }
    for (const feed of feeds) for (const consumer of feed.consumers) consumer.channel.reserved = 0;
    return requests;
  }

  #inOrder(): Feed[] {
    const feeds = [...this.#active];
    if (this.#options.order === 'priority') return feeds.sort((a, b) => a.order - b.order);
    if (this.#options.order === 'sorted') return feeds.sort((a, b) => (a.queue < b.queue ? -1 : 1));
    return feeds;
  }

  #takeAnswered(requests: readonly TakeRequest[], taken: readonly Taken[], takenAt: number): void {
    this.#wait = undefined;
    this.#failures = 0;
    for (const one of taken) this.#handOut(one, takenAt);
    this.#sinceTurn += taken.length;
    const served: Feed[] = [];
    for (const { queue } of requests) {
      const feed = this.#feeds.get(queue);
      if (feed === undefined) continue;
      // Less than was asked for, and not for the limit's sake: it is empty, unless a hint said otherwise meanwhile.
      if (feed.got >= feed.asked || taken.length >= TAKE_LIMIT) feed.ready = true;
      if (!feed.ready) continue;
      // Those that got nothing come first next time.
      this.#active.delete(feed);
      if (feed.got > 0) served.push(feed);
      else this.#active.add(feed);
    }
    for (const feed of served) this.#active.add(feed);
    this.#taken();
    if (this.#state === 'stopped') return;
    this.#state = 'idle';
    if (this.#active.size > 0 || this.#driver.features.longPoll) this.#schedule();
    else this.#schedulePoll();
  }

  #takeFailed(requests: readonly TakeRequest[], requestId: number, error: unknown): void {
    this.#wait = undefined;
    this.#options.ledger.unanswered(requestId);
    for (const { queue } of requests) {
      const feed = this.#feeds.get(queue);
      if (feed !== undefined) feed.ready = true;
    }
    this.#taken();
    if (this.#state === 'stopped') return;
    this.#state = 'idle';
    this.#pollIn(jitteredBackoff(this.#failures++));
    // The loss of the connection fails takes too, and is told once: by itself.
    nextTurn(() => {
      if (this.#state !== 'stopped') this.#options.problem(typed(this.#driver, error));
    });
  }

  /** A take is over. */
  #taken(): void {
    this.#taking = false;
    for (const resolve of this.#quietWaiters.splice(0)) resolve();
  }

  /** Resolves when no take is under way. */
  #quiet(): Promise<void> {
    return this.#taking ? new Promise((resolve) => this.#quietWaiters.push(resolve)) : Promise.resolve();
  }

  // Handing out ────────────────────────────────────────────────────────────────────────────────────────────────────

  #handOut(taken: Taken, takenAt: number): void {
    const feed = this.#feeds.get(taken.queue);
    if (feed !== undefined) feed.got++;
    const { mortician, ledger } = this.#options;
    const rules = feed?.rules ?? mortician.noRules;
    const reason = mortician.causeOfDeath(taken, rules);
    if (reason !== undefined) return void mortician.bury(taken, reason, rules);
    const noAck = taken.lease === undefined;
    const consumer = feed?.pick(noAck);
    if (consumer === undefined) {
      if (!noAck) void ledger.settleLease(taken.lease, 'release', takenAt);
      return;
    }
    const item = noAck ? undefined : toUnsettled(taken, consumer.channel.unsettled, consumer, rules, takenAt);
    if (item !== undefined) ledger.track(item);
    try {
      consumer.deliver(taken.message, taken, item);
    } catch (error) {
      // A sink must not throw; if one does, the others get their messages all the same.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  // Polling ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks again after the interval, if the store does not tell of every message and somebody has room for one. */
  #schedulePoll(): void {
    const { pollInterval } = this.#options;
    if (pollInterval === undefined || this.#state !== 'idle' || this.#poll !== undefined) return;
    for (const feed of this.#feeds.values()) {
      if (feed.consumers.some((consumer) => consumer.room > 0)) return this.#pollIn(pollInterval);
    }
  }

  #pollIn(ms: number): void {
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => {
      this.#poll = undefined;
      for (const feed of this.#feeds.values()) {
        feed.ready = true;
        this.#active.add(feed);
      }
      if (this.#state === 'idle') this.#schedule();
    }, ms);
  }
}
