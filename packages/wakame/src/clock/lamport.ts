import { checkInteger } from '../util/check.js';

/**
 * Lamport's logical clock (`kombu.clocks.LamportClock`): count on for each event of ours, and past the sender's count for
 * each message received, so that what caused something always has the smaller number.
 */
export class LamportClock {
  #value: number;

  constructor(initialValue = 0) {
    this.#value = checkInteger('initialValue', initialValue);
  }

  /** The count of the last event. */
  get value(): number {
    return this.#value;
  }

  /** Counts an event of ours, such as sending. Returns the new count, which the message carries. */
  forward(): number {
    this.#value += 1;
    return this.#value;
  }

  /**
   * Counts the receipt of a message that carries the count `other`. Returns the new count. What is not a count (a
   * foreign peer's header) is passed over, and only the event itself counted.
   */
  adjust(other: unknown): number {
    const known = typeof other === 'number' && Number.isSafeInteger(other) && other >= 0 && other < MOST;
    this.#value = (known ? Math.max(this.#value, other) : this.#value) + 1;
    return this.#value;
  }

  /** Of events sorted by their clocks, the one to take first: the first, or among equals that of the lowest process. */
  sortHeap<Event extends readonly [clock: number, process: string, ...rest: unknown[]]>(
    events: readonly Event[],
  ): Event | undefined {
    let first = events[0];
    for (const event of events) {
      if (first === undefined || event[0] !== first[0]) break;
      if (event[1] < first[1]) first = event;
    }
    return first;
  }
}

/** A peer may not push our count so far that it stops counting exactly. */
const MOST = 2 ** 52;
