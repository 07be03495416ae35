import type {
  Driver,
  DriverFeatures,
  MaybePromise,
  Outbound,
  QueueStat,
  SendOptions,
  SendResult,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';
import { marked, markOf, unmarked } from './marks.js';
import { KnownOptions } from './queue-rules.js';
import { ownRequestId } from './request-id.js';
import { DriverWrapper } from './wrapper.js';

const MARK = 'x-wakame-expires-at';
/** How often to look for the expired when the store asks for no sweep of its own, and behind a message that stays, in milliseconds. */
const LOOK_INTERVAL = 1000;
/** Queues that are looked after. With more than that, the expired of the others wait for who takes them. */
const MOST_QUEUES = 10_000;

/**
 * Message TTL for a store that knows none: each message carries the time of its end, and whoever takes it after that sees that it has expired. At the
 * head of a queue it is looked for by the connections that sent there, as RabbitMQ does at the head only. It counts as ready until then.
 */
export class EmulatedMessageTtl extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #options: KnownOptions;
  /** When to look at the head of a queue next, on the clock. */
  readonly #looks = new Map<string, number>();

  constructor(inner: Driver) {
    super(inner);
    const sweepInterval = inner.features.sweepInterval ?? LOOK_INTERVAL;
    this.features = { ...inner.features, synchronous: false, messageTtl: true, sweepInterval };
    this.#options = new KnownOptions(inner);
  }

  override declare(queues: Parameters<Driver['declare']>[0]): MaybePromise<readonly QueueStat[]> {
    this.#options.forget(queues.map(({ name }) => name));
    return this.inner.declare(queues);
  }

  override async send(messages: readonly Outbound[], options?: SendOptions): Promise<readonly SendResult[]> {
    const known = await this.#options.of(messages.map(({ queue }) => queue));
    const withEnds = messages.map((outbound) => {
      const { queue, message, expiresAt, notBefore } = outbound;
      const ttl = known.get(queue)?.messageTtl;
      const readyAt = Math.max(notBefore ?? 0, Date.now());
      const end = Math.min(
        expiresAt ?? Number.POSITIVE_INFINITY,
        ttl === undefined ? Number.POSITIVE_INFINITY : readyAt + ttl,
      );
      if (end === Number.POSITIVE_INFINITY) return outbound;
      this.#lookAt(queue, Math.min(end, this.#looks.get(queue) ?? end));
      return { queue, notBefore, message: marked(message, MARK, end) };
    });
    return this.inner.send(withEnds, options);
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const taken = await this.inner.take(requests, options);
    return taken.map((one) => {
      const end = markOf(one.message, MARK);
      if (end === undefined) return one;
      const message = unmarked(one.message, MARK);
      return { ...one, message, expired: one.expired === true || end <= Date.now() };
    });
  }

  override async sweep(limit: number): Promise<SweepResult> {
    const swept = await this.inner.sweep(limit);
    const expired = [...swept.expired];
    for (const [queue, time] of [...this.#looks]) {
      if (time <= Date.now() && expired.length < limit) await this.#takeExpired(queue, limit, expired);
    }
    return { ...swept, expired };
  }

  async #takeExpired(queue: string, limit: number, expired: Taken[]): Promise<void> {
    while (expired.length < limit) {
      const [head] = await this.inner.peek(queue, 1);
      if (head === undefined) return void this.#looks.delete(queue);
      const end = markOf(head, MARK);
      if (end === undefined || end > Date.now()) return this.#lookAt(queue, end ?? Date.now() + LOOK_INTERVAL);
      const request = { queue, credit: 1, noAck: false };
      const options = { requestId: ownRequestId(), limit: 1, order: 'strict', waitMs: 0 } as const;
      const [taken] = await this.take([request], options);
      // Somebody else was faster, or may take it alone.
      if (taken === undefined) return this.#lookAt(queue, Date.now() + LOOK_INTERVAL);
      if (taken.expired === true) expired.push(taken);
      else await this.inner.settle([{ lease: taken.lease, outcome: 'release' }]);
    }
  }

  #lookAt(queue: string, time: number): void {
    if (this.#looks.size < MOST_QUEUES || this.#looks.has(queue)) this.#looks.set(queue, time);
  }
}
