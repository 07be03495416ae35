/** Tells when nothing has happened for some time. `touch` is cheap: the timer is set anew only when it fires. */
export class IdleTimer {
  readonly #ms: number;
  readonly #isIdle: () => boolean;
  readonly #expired: () => void;
  #timer: NodeJS.Timeout | undefined;
  #touchedAt = 0;

  /**
   * @param isIdle Whether it counts now; while not, the time begins anew.
   */
  constructor(ms: number, isIdle: () => boolean, expired: () => void) {
    this.#ms = ms;
    this.#isIdle = isIdle;
    this.#expired = expired;
  }

  start(): void {
    if (this.#timer !== undefined || this.#ms > 2 ** 31 - 1) return;
    this.touch();
    this.#arm(this.#ms);
  }

  /** Something has happened. */
  touch(): void {
    this.#touchedAt = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#fired(), ms);
  }

  #fired(): void {
    if (!this.#isIdle()) this.touch();
    // A timer may fire a fraction of a millisecond early.
    const left = this.#touchedAt + this.#ms - performance.now();
    if (left > 1) return this.#arm(left);
    this.#timer = undefined;
    this.#expired();
  }
}
