import { onAbort } from './abort.js';
import { checkInteger } from './check.js';
import { deferred } from './deferred.js';

/** Lets at most `limit` holders in at a time; the others wait in the order of their asking. */
export class Semaphore {
  #limit: number;
  #held = 0;
  /** In order of arrival; a Set, so that an aborted wait leaves from the middle at once. */
  readonly #waiting = new Set<() => void>();

  constructor(limit: number) {
    this.#limit = checkInteger('limit', limit, { min: 1 });
  }

  get limit(): number {
    return this.#limit;
  }

  /** Raising lets waiters in; lowering takes nothing from those who hold. */
  set limit(limit: number) {
    this.#limit = checkInteger('limit', limit, { min: 1 });
    this.#admit();
  }

  /** How many hold it now. */
  get held(): number {
    return this.#held;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a place if one is free and nobody waits before. */
  tryAcquire(): boolean {
    if (this.#held >= this.#limit || this.#waiting.size > 0) return false;
    this.#held++;
    return true;
  }

  /** Waits for a place. Rejects with `signal.reason`; then it holds none. */
  acquire(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.tryAcquire()) return Promise.resolve();
    const turn = deferred();
    const enter = () => {
      off();
      turn.resolve();
    };
    this.#waiting.add(enter);
    const off = onAbort(signal, (reason) => {
      this.#waiting.delete(enter);
      turn.reject(reason);
    });
    return turn.promise;
  }

  /** Gives a place back. More releases than acquisitions are ignored. */
  release(): void {
    if (this.#held === 0) return;
    this.#held--;
    this.#admit();
  }

  #admit(): void {
    for (const enter of this.#waiting) {
      if (this.#held >= this.#limit) return;
      this.#waiting.delete(enter);
      this.#held++;
      enter();
    }
  }
}
