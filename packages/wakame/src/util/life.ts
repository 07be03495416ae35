/**
 * The life of a driver's incarnation. Its store may be found lost at any time, by whatever touches it, and more than once.
 *
 * ```
 *  opening ──opened──▶ open ──leave──▶ leaving
 *     │ lose            │ lose: told      │ lose, end
 *     └─────────────────┴─────────────────┴────────▶ ended
 * ```
 *
 * A loss while it opens is the failure of the opening, by {@link check}; and who leaves does not want to know.
 */
export class Life {
  readonly #lost: (error: unknown) => void;
  readonly #stop: (error: unknown) => void;
  #state: 'opening' | 'open' | 'leaving' | 'ended' = 'opening';
  #reason: unknown;

  /**
   * @param lost Told of a loss in the state `open`, when everything has stopped.
   * @param stop Called once, at the end: nothing more is done. What is under way rejects with the error.
   */
  constructor(lost: (error: unknown) => void, stop: (error: unknown) => void) {
    this.#lost = lost;
    this.#stop = stop;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Throws why it ended, when it has. */
  check(): void {
    if (this.#state === 'ended') throw this.#reason;
  }

  /** All is done that opening it takes. Throws when it ended meanwhile. */
  opened(): void {
    this.check();
    this.#state = 'open';
  }

  /** It is about to end in order. */
  leave(): void {
    if (this.#state !== 'ended') this.#state = 'leaving';
  }

  /** The store is lost. */
  lose(error: unknown): void {
    const { isOpen } = this;
    this.end(error);
    if (isOpen) this.#lost(error);
  }

  end(reason: unknown): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#reason = reason;
    this.#stop(reason);
  }
}
