import type { MessagingError } from '../../errors.js';
import { type Deferred, deferred } from '../../util/deferred.js';
import { noop } from '../../util/noop.js';
import type { Driver, MaybePromise, Outcome } from './driver.js';
import { isPromise } from './maybe-promise.js';
import { typed } from './refusals.js';
import type { Unsettled } from './unsettled.js';

/** A settlement that the store has not confirmed yet. */
interface Pending {
  readonly lease: unknown;
  readonly outcome: Outcome;
  readonly leasedAt: number;
  readonly answer: Deferred<boolean>;
  /** How often it was sent and no answer came. */
  failures: number;
}

/** How often a settlement is sent to a store that answers with errors, and the pause before it is sent again. */
const MOST_FAILURES = 3;
const RETRY_AFTER = 500;

/**
 * What a Connection holds, over all of its incarnations: leases are renewed while they are held, settled in batches, and kept for the
 * next incarnation while there is none, because a lease outlives the connection that took it.
 *
 * ```
 *   down ⇄ open ──▶ disposed
 * ```
 */
export class Ledger {
  readonly #driver: Driver;
  #state: 'down' | 'open' | 'disposed' = 'down';
  #problem: (error: MessagingError) => void = noop;
  /** Leases to renew. Empty where the store needs no renewal. */
  readonly #held = new Set<Unsettled>();
  #pending: Pending[] = [];
  /** Settlements not answered yet, pending or under way. */
  #unansweredCount = 0;
  #flushWaiters: (() => void)[] = [];
  #flushing = false;
  #lastRequest = 0;
  /** Takes whose answer was lost. */
  readonly #unanswered = new Set<number>();
  #renewal: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** The number of the next take. */
  nextRequest(): number {
    return ++this.#lastRequest;
  }

  /** The answer to a take was lost: what it took goes back as soon as the store can be asked. */
  unanswered(requestId: number): void {
    if (this.#state === 'disposed') return;
    this.#unanswered.add(requestId);
    if (this.#state === 'open') this.#retryLater();
  }

  /** Renews this lease until it is settled. */
  track(item: Unsettled): void {
    if (this.#driver.features.lease !== undefined) this.#held.add(item);
  }

  /** Carries out the outcome. Resolves with whether the lease was still ours: at once, after the tick, or after the next connect. */
  settle(item: Unsettled, outcome: Outcome): MaybePromise<boolean> {
    this.#held.delete(item);
    if (item.state === 'stale') return false;
    return this.settleLease(item.lease, outcome, item.leasedAt);
  }

  /** The same for what never became a delivery. */
  settleLease(lease: unknown, outcome: Outcome, leasedAt = performance.now()): MaybePromise<boolean> {
    if (this.#state === 'disposed') return false;
    if (this.#state === 'open' && this.#driver.features.synchronous && this.#pending.length === 0) {
      try {
        const answers = this.#driver.settle([{ lease, outcome }]) as readonly boolean[];
        return answers[0] === true;
      } catch {
        // It is tried again below, where failures are counted and told.
      }
    }
    const answer = deferred<boolean>();
    this.#pending.push({ lease, outcome, leasedAt, answer, failures: 0 });
    this.#unansweredCount++;
    this.#answerReleases();
    this.#flushSoon();
    return answer.promise;
  }

  /** A new incarnation is open. */
  opened(problem: (error: MessagingError) => void): void {
    this.#state = 'open';
    this.#problem = problem;
    const { lease } = this.#driver.features;
    if (lease !== undefined) {
      this.#renewal = setInterval(() => this.#renew(), Math.ceil(lease / 3));
      this.#renewal.unref();
      this.#renew();
    }
    this.#flush();
    this.#reclaim();
  }

  /** There is no incarnation any more. */
  down(): void {
    if (this.#state === 'disposed') return;
    this.#state = 'down';
    this.#stopTimers();
    this.#answerReleases();
  }

  /** There will be none again. */
  dispose(): void {
    this.#state = 'disposed';
    this.#stopTimers();
    this.#held.clear();
    this.#unanswered.clear();
    for (const pending of this.#pending.splice(0)) this.#answer(pending, false);
  }

  /** Resolves when all that was settled has been answered. */
  async flushed(): Promise<void> {
    if (this.#unansweredCount > 0) await new Promise<void>((resolve) => this.#flushWaiters.push(resolve));
  }

  /** Nobody waits for a release while there is no store: it is made when there is one, and without that the lease ends by itself. */
  #answerReleases(): void {
    if (this.#state !== 'down') return;
    for (const { outcome, answer } of this.#pending) if (outcome === 'release') answer.resolve(true);
  }

  #answer({ answer }: Pending, ours: boolean): void {
    answer.resolve(ours);
    if (--this.#unansweredCount > 0) return;
    for (const resolve of this.#flushWaiters.splice(0)) resolve();
  }

  #flushSoon(): void {
    if (this.#flushing || this.#state !== 'open') return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  /** Sends all that is pending as one batch. */
  #flush(): void {
    if (this.#state !== 'open' || this.#pending.length === 0) return;
    const batch = this.#pending;
    this.#pending = [];
    let answers: MaybePromise<readonly boolean[]>;
    try {
      answers = this.#driver.settle(batch);
    } catch (error) {
      return this.#failed(batch, error);
    }
    if (!isPromise(answers)) return this.#answered(batch, answers);
    answers.then(
      (settled) => this.#answered(batch, settled),
      (error: unknown) => this.#failed(batch, error),
    );
  }

  #answered(batch: readonly Pending[], settled: readonly boolean[]): void {
    batch.forEach((pending, i) => {
      this.#answer(pending, settled[i] === true || this.#wasOurs(pending));
    });
  }

  /**
   * A settlement that had to be sent twice finds nothing left when the first got through. Nobody but us can have taken it
   * away while the lease lasted.
   */
  #wasOurs(pending: Pending): boolean {
    const { lease } = this.#driver.features;
    return pending.failures > 0 && (lease === undefined || performance.now() < pending.leasedAt + lease);
  }

  #failed(batch: readonly Pending[], error: unknown): void {
    if (this.#state === 'disposed') {
      for (const pending of batch) this.#answer(pending, false);
      return;
    }
    const again: Pending[] = [];
    for (const pending of batch) {
      pending.failures++;
      // While the connection is down it was the loss that failed it, and it waits for the next one however often.
      if (this.#state === 'open' && pending.failures >= MOST_FAILURES) this.#answer(pending, false);
      else again.push(pending);
    }
    if (again.length < batch.length) this.#problem(typed(this.#driver, error));
    this.#pending = [...again, ...this.#pending];
    this.#answerReleases();
    if (this.#state === 'open') this.#retryLater();
  }

  #retryLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#flush();
      this.#reclaim();
    }, RETRY_AFTER);
  }

  /** Gives back what lost answers had brought. */
  #reclaim(): void {
    for (const requestId of this.#unanswered) {
      this.#unanswered.delete(requestId);
      void this.#reclaimOne(requestId);
    }
  }

  async #reclaimOne(requestId: number): Promise<void> {
    try {
      const options = { requestId, limit: 0, order: 'fair', waitMs: 0 } as const;
      const taken = await this.#driver.take([], options);
      await Promise.all(taken.map(({ lease }) => this.settleLease(lease, 'release')));
    } catch {
      // As the first answer was lost, so was this one.
      this.unanswered(requestId);
    }
  }

  #renew(): void {
    const items = [...this.#held];
    const askedAt = performance.now();
    Promise.resolve()
      .then(() => this.#driver.extend(items.map((item) => item.lease)))
      .then(
        (ours) => {
          items.forEach((item, i) => {
            if (ours[i] === true) item.leasedAt = askedAt;
            else this.#lose(item);
          });
        },
        (error: unknown) => {
          if (this.#state === 'open') this.#problem(typed(this.#driver, error));
        },
      );
  }

  #lose(item: Unsettled): void {
    if (this.#held.delete(item)) item.state = 'stale';
  }

  #stopTimers(): void {
    clearInterval(this.#renewal);
    clearTimeout(this.#retry);
    this.#renewal = undefined;
    this.#retry = undefined;
  }
}
