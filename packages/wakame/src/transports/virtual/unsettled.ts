import { inspect } from 'node:util';
import type { StoredMessage } from './driver.js';
import type { DeadLetterPolicy } from './queue-arguments.js';

/**
 * ```
 *   held ──▶ settled      the application decided; the store may not have answered yet
 *     └────▶ stale ──▶ settled    not ours any more: its lease was lost, or its channel gave it back
 * ```
 */
export type UnsettledState = 'held' | 'stale' | 'settled';

/** What an unsettled delivery counts against: the consumer that got it, and its channel. */
export interface Credited {
  /** One of its deliveries was settled. */
  settled(): void;
}

/** Where a dead letter of this delivery would go, with the message as it was before the application had it. */
export interface LastWill {
  readonly policy: DeadLetterPolicy;
  readonly message: StoredMessage;
}

/** A delivery that waits for its settlement. Its reference is the delivery tag. */
export class Unsettled {
  /** Of its channel, counting from 1: for people. */
  readonly number: number;
  readonly owner: UnsettledList;
  readonly consumer: Credited | undefined;
  readonly queue: string;
  readonly lease: unknown;
  readonly will: LastWill | undefined;
  /** Monotonic time of when its lease was last known to be ours. */
  leasedAt: number;
  state: UnsettledState = 'held';
  /** Whether it is in the list of its channel. */
  listed = false;
  // Neighbours there.
  previous: Unsettled | undefined = undefined;
  next: Unsettled | undefined = undefined;

  constructor(
    owner: UnsettledList,
    consumer: Credited | undefined,
    queue: string,
    lease: unknown,
    will: LastWill | undefined,
    leasedAt: number,
  ) {
    this.number = ++owner.lastNumber;
    this.owner = owner;
    this.consumer = consumer;
    this.queue = queue;
    this.lease = lease;
    this.will = will;
    this.leasedAt = leasedAt;
  }

  toString(): string {
    return String(this.number);
  }

  toJSON(): number {
    return this.number;
  }

  /** In a log, the number: not all that hangs on it. */
  [inspect.custom](): string {
    return `DeliveryTag ${this.number}`;
  }
}

/** The unsettled deliveries of a channel in the order of delivery. Adding and taking away cost the same however many there are. */
export class UnsettledList {
  lastNumber = 0;
  size = 0;
  #first: Unsettled | undefined;
  #last: Unsettled | undefined;

  add(item: Unsettled): void {
    item.listed = true;
    item.previous = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.size++;
  }

  remove(item: Unsettled): void {
    if (!item.listed) return;
    item.listed = false;
    const { previous, next } = item;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    item.previous = undefined;
    item.next = undefined;
    this.size--;
  }

  /** From the first to `item`, or to the last. */
  upTo(item?: Unsettled): Unsettled[] {
    const items: Unsettled[] = [];
    for (let at = this.#first; at !== undefined; at = at.next) {
      items.push(at);
      if (at === item) break;
    }
    return items;
  }
}
