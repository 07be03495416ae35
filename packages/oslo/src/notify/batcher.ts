import { after, type Deferred, deferred, noop } from 'wakame/util';

interface Waiting<T, R> {
  readonly item: T;
  readonly result: Deferred<R>;
}

/**
 * Collects items until there are `size` of them, or the first has waited for `timeout` milliseconds; then has them worked on together.
 *
 * ```
 *   empty ── add ──▶ filling ── full, late, flush ──▶ empty, and a batch at work
 * ```
 */
export class Batcher<T, R> {
  readonly #size: number;
  readonly #timeout: number;
  readonly #work: (items: readonly T[]) => Promise<readonly R[]>;
  #waiting: Waiting<T, R>[] = [];
  #offTimer: () => void = noop;

  /** @param work Gives a result for each item, in order. */
  constructor(size: number, timeout: number, work: (items: readonly T[]) => Promise<readonly R[]>) {
    this.#size = size;
    this.#timeout = timeout;
    this.#work = work;
  }

  /** Resolves with the result for this item; rejects as the work does. */
  add(item: T): Promise<R> {
    const result = deferred<R>();
    if (this.#waiting.length === 0) this.#offTimer = after(this.#timeout, () => this.flush());
    this.#waiting.push({ item, result });
    if (this.#waiting.length >= this.#size) this.flush();
    return result.promise;
  }

  /** What has been collected is worked on now. */
  flush(): void {
    this.#offTimer();
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length > 0) void this.#run(batch);
  }

  async #run(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.#work(batch.map(({ item }) => item));
      for (const [i, { result }] of batch.entries()) result.resolve(results[i] as R);
    } catch (error) {
      for (const { result } of batch) result.reject(error);
    }
  }
}
