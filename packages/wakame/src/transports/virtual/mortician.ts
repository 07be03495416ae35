import type { MessagingError } from '../../errors.js';
import { sleep } from '../../util/abort.js';
import { noop } from '../../util/noop.js';
import type { QueueRules } from './consumer.js';
import type { DeathReason } from './dead-letters/death.js';
import type { Driver, MaybePromise, StoredMessage, Taken } from './driver.js';
import type { Ledger } from './ledger.js';
import type { Publisher } from './publisher.js';
import type { DeadLetterPolicy } from './queue-arguments.js';
import { typed } from './refusals.js';
import type { LastWill, Unsettled } from './unsettled.js';

/** Before a message whose dead letter could not be stored is let go, in milliseconds. */
const PAUSE = 1000;

/**
 * Sees messages that died off: the dead letter is stored first, then the message goes. Should this process die in between, the message comes
 * back with its lease and dies again: twice rather than not at all. While there is no connection, dead letters wait for the next one.
 */
export class Mortician {
  readonly noRules: QueueRules = { policy: undefined, deliveryLimit: undefined, singleActive: false };
  readonly #driver: Driver;
  readonly #ledger: Ledger;
  /** Of the present incarnation. */
  #publisher: Publisher | undefined;
  #problem: (error: MessagingError) => void = noop;
  #disposed = false;
  #waiting: (() => void)[] = [];

  constructor(driver: Driver, ledger: Ledger) {
    this.#driver = driver;
    this.#ledger = ledger;
  }

  opened(publisher: Publisher, problem: (error: MessagingError) => void): void {
    this.#publisher = publisher;
    this.#problem = problem;
    this.#wake();
  }

  down(): void {
    this.#publisher = undefined;
  }

  dispose(): void {
    this.#disposed = true;
    this.#publisher = undefined;
    this.#wake();
  }

  /** Why a message that was taken must not be delivered; undefined: it may be. */
  causeOfDeath(taken: Taken, rules: QueueRules): DeathReason | undefined {
    if (taken.expired === true) return 'expired';
    const { deliveryLimit } = rules;
    return deliveryLimit !== undefined && (taken.deliveryCount ?? 0) > deliveryLimit ? 'delivery_limit' : undefined;
  }

  /** What was taken, by a consumer or by the sweep, and is not to be delivered. */
  async bury(taken: Taken, reason: DeathReason, rules: QueueRules): Promise<void> {
    const { lease, message, queue } = taken;
    const buried = rules.policy === undefined || (await this.#send(message, queue, reason, rules.policy));
    // It would die again at once, and the store not be better.
    if (!buried) await sleep(PAUSE, { ref: false });
    if (lease !== undefined) await this.#ledger.settleLease(lease, buried ? 'reject' : 'abandon');
  }

  /** What a consumer rejected. Answers whether the lease was still ours. */
  reject(item: Unsettled): MaybePromise<boolean> {
    return item.will === undefined ? this.#ledger.settle(item, 'reject') : this.#execute(item, item.will);
  }

  async #execute(item: Unsettled, { message, policy }: LastWill): Promise<boolean> {
    if (item.state === 'stale') return false;
    if (await this.#send(message, item.queue, 'rejected', policy)) return this.#ledger.settle(item, 'reject');
    // The dead letter could not be stored: the message stays, to be decided upon again.
    await this.#ledger.settle(item, 'abandon');
    return false;
  }

  /** Whether the dead letter is stored. */
  async #send(message: StoredMessage, queue: string, reason: DeathReason, policy: DeadLetterPolicy): Promise<boolean> {
    for (;;) {
      const publisher = this.#publisher;
      if (publisher === undefined) {
        if (this.#disposed) return false;
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        continue;
      }
      try {
        await publisher.bury(message, queue, reason, policy);
        return true;
      } catch (error) {
        // The store refused it, or the connection went: then the next one gets it.
        if (publisher !== this.#publisher) continue;
        this.#problem(typed(this.#driver, error));
        return false;
      }
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
