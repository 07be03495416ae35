/** Largest prefetch count that AMQP can say (basic.qos, a short). */
const MAX_PREFETCH = 65_535;

/**
 * A prefetch count that changes while messages are being handled (Kombu's `kombu.common.QoS`): increments and decrements
 * are noted at once and sent by {@link update}, when it suits the caller.
 *
 * @example
 * ```ts
 * const qos = new QoS((prefetch) => consumer.qos({ prefetch }), 10);
 * qos.incrementEventually(5);
 * await qos.update();
 * ```
 */
export class QoS {
  readonly #apply: (prefetch: number) => void | Promise<void>;
  readonly #max: number | undefined;
  #value: number;
  #applied: number | undefined;

  /**
   * @param apply - Carries a count to the broker, such as a consumer's `qos`.
   * @param initialValue - 0 means unlimited, and stays so.
   * @param options - `maxPrefetch` caps what increments can reach.
   */
  constructor(
    apply: (prefetch: number) => void | Promise<void>,
    initialValue: number,
    options: { readonly maxPrefetch?: number | undefined } = {},
  ) {
    this.#apply = apply;
    this.#value = initialValue;
    this.#max = options.maxPrefetch;
  }

  /** The count wanted now. {@link update} sends it. */
  get value(): number {
    return this.#value;
  }

  /** Raises the count, up to `maxPrefetch`. Unlimited stays unlimited. */
  incrementEventually(n = 1): number {
    if (this.#value > 0) this.#value = Math.min(this.#value + Math.max(n, 0), this.#max ?? Number.POSITIVE_INFINITY);
    return this.#value;
  }

  /** Lowers the count, to 1 at the least. Unlimited stays unlimited. */
  decrementEventually(n = 1): number {
    if (this.#value > 0) this.#value = Math.max(this.#value - Math.max(n, 0), 1);
    return this.#value;
  }

  /** Sends this count at once. More than AMQP can say (65,535) becomes unlimited. */
  async set(prefetch: number): Promise<number> {
    const sent = prefetch > MAX_PREFETCH ? 0 : prefetch;
    if (sent !== this.#applied) {
      this.#applied = sent;
      await this.#apply(sent);
    }
    this.#value = prefetch;
    return prefetch;
  }

  /** Sends the count wanted, if it differs from what was sent last. */
  update(): Promise<number> {
    return this.set(this.#value);
  }
}
