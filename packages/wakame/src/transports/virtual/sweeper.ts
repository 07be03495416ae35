import type { MessagingError } from '../../errors.js';
import { type QueueRules, rulesOf } from './consumer.js';
import type { DeathReason } from './dead-letters/death.js';
import type { Driver, Taken } from './driver.js';
import type { Mortician } from './mortician.js';
import { typed } from './refusals.js';

/** At most this many of each kind at one time. */
const SWEEP_LIMIT = 100;

export interface SweeperOptions {
  readonly driver: Driver;
  readonly mortician: Mortician;
  readonly problem: (error: MessagingError) => void;
  /** Queues that have consumers here. */
  readonly consumed: () => readonly string[];
  /** A queue with consumers here does not exist any more. */
  readonly gone: (queue: string) => void;
}

/**
 * Does for the store what nobody's call does: returns what dead holders held, sees to the expired and the pushed-out, notices queues that are
 * gone. When the driver says that it is due, or else at intervals with jitter, so that the clients of one store do not come together.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: NodeJS.Timeout | undefined;
  #sweeping = false;
  /** It became due while sweeping. */
  #again = false;
  #stopped = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#scheduleNext();
  }

  /** There is something to do now. */
  due(): void {
    this.#again = true;
    if (!this.#sweeping) queueMicrotask(() => void this.#sweep());
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #scheduleNext(): void {
    const { sweepInterval } = this.#options.driver.features;
    if (sweepInterval === undefined || this.#stopped) return;
    this.#timer = setTimeout(() => void this.#sweep(), sweepInterval * (0.75 + Math.random() / 2));
    this.#timer.unref();
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping || this.#stopped) return;
    this.#sweeping = true;
    clearTimeout(this.#timer);
    try {
      do {
        this.#again = false;
        await this.#sweepOnce();
      } while (this.#again && !this.#stopped);
    } catch (error) {
      if (!this.#stopped) this.#options.problem(typed(this.#options.driver, error));
    }
    this.#sweeping = false;
    this.#scheduleNext();
  }

  async #sweepOnce(): Promise<void> {
    const { driver, gone } = this.#options;
    const { returned, expired, overflowed, deletedQueues } = await driver.sweep(SWEEP_LIMIT);
    for (const queue of deletedQueues) gone(queue);
    if (expired.length > 0 || overflowed.length > 0) await this.#bury(expired, overflowed);
    if (Math.max(returned, expired.length, overflowed.length) >= SWEEP_LIMIT) this.#again = true;
    if (driver.features.sweepInterval !== undefined) await this.#checkQueues();
  }

  async #bury(expired: readonly Taken[], overflowed: readonly Taken[]): Promise<void> {
    const { driver, mortician } = this.#options;
    const queues = [...new Set([...expired, ...overflowed].map((taken) => taken.queue))];
    const stats = await driver.stat(queues);
    const rules = new Map<string, QueueRules>(queues.map((queue, i) => [queue, rulesOf(stats[i])]));
    const buryAll = (taken: readonly Taken[], reason: DeathReason) =>
      taken.map((one) => mortician.bury(one, reason, rules.get(one.queue) ?? mortician.noRules));
    await Promise.all([...buryAll(expired, 'expired'), ...buryAll(overflowed, 'maxlen')]);
  }

  /** A store may not tell of a queue deleted by another client. */
  async #checkQueues(): Promise<void> {
    const queues = this.#options.consumed();
    if (queues.length === 0) return;
    const stats = await this.#options.driver.stat(queues);
    queues.forEach((queue, i) => {
      if (stats[i] === undefined) this.#options.gone(queue);
    });
  }
}
