import { LONGEST_TIMER } from '../../util/timer.js';

/** Rings at the earliest of the times that it was set to. It keeps no process alive. */
export class Alarm {
  readonly #ring: () => void;
  #at = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** @param time Clock time in milliseconds. */
  at(time: number | undefined): void {
    if (time === undefined || time >= this.#at || this.#stopped) return;
    this.#at = time;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#wake(),
      Math.min(LONGEST_TIMER, Math.max(0, Math.ceil(time - Date.now())) + 1),
    );
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wake(): void {
    const at = this.#at;
    this.#at = Number.POSITIVE_INFINITY;
    // A timer may be early by a clock that was set, or by its longest delay.
    if (at > Date.now()) this.at(at);
    else this.#ring();
  }
}
