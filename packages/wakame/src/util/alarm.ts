import { LONGEST_TIMER } from './timer.js';

const GRAIN = 20;

/** One timer for many deadlines, all on the clock of `performance.now()`: setting one costs a comparison, unless it is the next. */
export class Alarm {
  readonly #ring: (now: number) => void;
  readonly #grain: number;
  #at = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #keepsAlive = false;

  /**
   * @param ring Called when a deadline may have passed. It sets those again that have not.
   * @param grain Deadlines closer together than this, in milliseconds, are looked at together.
   */
  constructor(ring: (now: number) => void, grain: number = GRAIN) {
    this.#ring = ring;
    this.#grain = grain;
  }

  /** Whether the process is to live until the next deadline. */
  keepAlive(keepAlive: boolean): void {
    if (keepAlive === this.#keepsAlive) return;
    this.#keepsAlive = keepAlive;
    if (keepAlive) this.#timer?.ref();
    else this.#timer?.unref();
  }

  set(deadline: number): void {
    if (deadline >= this.#at || deadline === Number.POSITIVE_INFINITY) return;
    clearTimeout(this.#timer);
    this.#at = deadline;
    const wait = Math.min(Math.max(deadline - performance.now(), this.#grain), LONGEST_TIMER);
    this.#timer = setTimeout(() => this.#fired(), wait);
    if (!this.#keepsAlive) this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
  }

  #fired(): void {
    this.stop();
    this.#ring(performance.now());
  }
}
