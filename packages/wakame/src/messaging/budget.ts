import { DEFAULTS } from '../connection/defaults.js';
import { type Deferred, deferred } from '../util/deferred.js';

/** Bytes in memory, and who waits for there to be fewer. */
export class Budget {
  /** Most bytes that may be held. */
  readonly limit: number;
  /** Below this there is room for more: `ready()`. */
  readonly #window: number;
  #used = 0;
  #waiting: Deferred<void> | undefined;

  constructor(limit: number) {
    this.limit = limit;
    this.#window = Math.min(DEFAULTS.publishWindowBytes, Math.ceil(limit / 2));
  }

  get used(): number {
    return this.#used;
  }

  get isBelowWindow(): boolean {
    return this.#used < this.#window;
  }

  /** Whether so many more may be held. One message always may, however large. */
  fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit;
  }

  add(bytes: number): void {
    this.#used += bytes;
  }

  remove(bytes: number): void {
    this.#used -= bytes;
    if (this.#waiting === undefined || !this.isBelowWindow) return;
    this.#waiting.resolve();
    this.#waiting = undefined;
  }

  /** Resolves as soon as there is room for more. */
  belowWindow(): Promise<void> {
    if (this.isBelowWindow) return Promise.resolve();
    this.#waiting ??= deferred();
    return this.#waiting.promise;
  }
}
