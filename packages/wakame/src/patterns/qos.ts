import { checkFunction, checkInteger } from '../util/check.js';
import { noop } from '../util/noop.js';

/** Largest prefetch count that AMQP can say (0-9-1, basic.qos: a short). */
const MOST_PREFETCH = 65_535;

/** Options of {@link QoS}. */
export interface QoSOptions {
  /** Increments stop here. Default: no limit. */
  readonly maxPrefetch?: number | undefined;
}

/**
 * A prefetch count that changes while messages are being handled (`kombu.common.QoS`): increments and decrements are noted at once,
 * and sent by {@link update} when it suits the caller.
 *
 * ```ts
 * const qos = new QoS((prefetch) => consumer.qos({ prefetch }), 10);
 * qos.incrementEventually(5);
 * await qos.update();
 * ```
 */
export class QoS {
  readonly #apply: (prefetch: number) => unknown;
  readonly #max: number;
  #value: number;
  /** What the broker was told last. */
  #applied: number | undefined;
  /** One at a time, so that the last one sent is the last one asked for. */
  #sending: Promise<unknown> = Promise.resolve();

  /**
   * Throws INVALID_ARGUMENT for what is no count.
   *
   * @param apply Carries a count to the broker, such as a consumer's `qos`. A promise is waited for.
   * @param initialValue 0 means unlimited, and stays so until `set`.
   */
  constructor(apply: (prefetch: number) => unknown, initialValue: number, options: QoSOptions = {}) {
    const { maxPrefetch } = options;
    this.#apply = checkFunction('apply', apply);
    this.#value = checkInteger('initialValue', initialValue);
    this.#max =
      maxPrefetch === undefined ? Number.POSITIVE_INFINITY : checkInteger('maxPrefetch', maxPrefetch, { min: 1 });
  }

  /** The count wanted now. {@link update} sends it. */
  get value(): number {
    return this.#value;
  }

  /** Raises the count, up to `maxPrefetch`, and returns it. Unlimited stays unlimited. */
  incrementEventually(n = 1): number {
    checkInteger('n', n);
    if (this.#value > 0) this.#value = Math.max(this.#value, Math.min(this.#value + n, this.#max));
    return this.#value;
  }

  /** Lowers the count, to 1 at the least, and returns it. Unlimited stays unlimited. */
  decrementEventually(n = 1): number {
    checkInteger('n', n);
    if (this.#value > 0) this.#value = Math.max(this.#value - n, 1);
    return this.#value;
  }

  /** Sends this count now. More than AMQP can say (65 535) is sent as unlimited. Rejects as `apply`; the next `update` sends it then. */
  set(prefetch: number): Promise<number> {
    this.#value = checkInteger('prefetch', prefetch);
    return this.update();
  }

  /** Sends the count wanted, unless the broker has it. Resolves with it; rejects as `apply`. */
  async update(): Promise<number> {
    const sending = this.#sending.then(() => this.#send());
    this.#sending = sending.catch(noop);
    return sending;
  }

  async #send(): Promise<number> {
    const wanted = this.#value;
    const count = wanted > MOST_PREFETCH ? 0 : wanted;
    if (count !== this.#applied) {
      await this.#apply(count);
      this.#applied = count;
    }
    return wanted;
  }
}
