import { InvalidArgumentError } from '../errors.js';
import { sleep } from './abort.js';
import { show } from './check.js';

/**
 * Limits how often something happens (`kombu.utils.limits.TokenBucket`): the bucket holds at most `capacity` tokens and
 * gets `fillRate` new ones a second; whoever wants to go on takes one.
 */
export class TokenBucket {
  readonly fillRate: number;
  readonly capacity: number;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;

  /**
   * @param fillRate Tokens a second.
   * @param capacity Most tokens held, and those at the start. Default 1.
   * @param now A clock in milliseconds, for tests.
   */
  constructor(fillRate: number, capacity = 1, now: () => number = () => performance.now()) {
    if (!(fillRate > 0)) throw new InvalidArgumentError(`fillRate must be above 0, not ${show(fillRate)}`);
    if (!(capacity > 0)) throw new InvalidArgumentError(`capacity must be above 0, not ${show(capacity)}`);
    this.fillRate = fillRate;
    this.capacity = capacity;
    this.#now = now;
    this.#tokens = capacity;
    this.#filledAt = now();
  }

  /** Takes `tokens` and returns `true`, or takes none and returns `false`. */
  canConsume(tokens = 1): boolean {
    if (tokens > this.#fill()) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Milliseconds until `tokens` will be there, if nobody else takes any. `Infinity` for more than the capacity. */
  expectedTime(tokens = 1): number {
    if (tokens > this.capacity) return Number.POSITIVE_INFINITY;
    return (Math.max(0, tokens - this.#fill()) / this.fillRate) * 1000;
  }

  /** Waits until `tokens` are there and takes them. Rejects with `signal.reason`, or INVALID_ARGUMENT beyond the capacity. */
  async consume(tokens = 1, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (!(tokens <= this.capacity)) {
      throw new InvalidArgumentError(`a bucket of ${this.capacity} never holds ${show(tokens)} tokens`);
    }
    options.signal?.throwIfAborted();
    while (!this.canConsume(tokens)) await sleep(Math.ceil(this.expectedTime(tokens)), options);
  }

  #fill(): number {
    const now = this.#now();
    this.#tokens = Math.min(this.capacity, this.#tokens + ((now - this.#filledAt) / 1000) * this.fillRate);
    this.#filledAt = now;
    return this.#tokens;
  }
}
