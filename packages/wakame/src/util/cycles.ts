import { checkOneOf } from './check.js';

/**
 * In which order the queues of a consumer are asked (`kombu.utils.scheduling`, the transport option
 * `queue_order_strategy`).
 */
export interface Cycle<T> {
  /** Replaces the items. */
  update(items: Iterable<T>): void;
  /** The first `count` items in the order in which they should be asked now. */
  consume(count: number): T[];
  /** Tells that `lastUsed` has just given something. */
  rotate(lastUsed: T): void;
}

/** The names of the strategies, as in Kombu. */
export const CYCLE_NAMES = ['round_robin', 'priority', 'sorted'] as const;
export type CycleName = (typeof CYCLE_NAMES)[number];

/** `round_robin`: an item that has given something goes to the end. */
export class RoundRobinCycle<T> implements Cycle<T> {
  protected items: T[] = [];

  update(items: Iterable<T>): void {
    this.items = [...items];
  }

  consume(count: number): T[] {
    return this.items.slice(0, count);
  }

  rotate(lastUsed: T): void {
    const at = this.items.indexOf(lastUsed);
    if (at < 0) return;
    this.items.splice(at, 1);
    this.items.push(lastUsed);
  }
}

/** `priority`: always in the order given. */
export class PriorityCycle<T> extends RoundRobinCycle<T> {
  override rotate(_lastUsed: T): void {
    // The order stays.
  }
}

/** `sorted`: the first items given, in the order of their names by code unit. */
export class SortedCycle<T> extends PriorityCycle<T> {
  override consume(count: number): T[] {
    return this.items.slice(0, count).sort();
  }
}

/** The strategy of that name. Throws INVALID_ARGUMENT for another one. */
export function cycleByName<T>(name: string): Cycle<T> {
  switch (checkOneOf('queue_order_strategy', name, CYCLE_NAMES)) {
    case 'round_robin':
      return new RoundRobinCycle<T>();
    case 'priority':
      return new PriorityCycle<T>();
    case 'sorted':
      return new SortedCycle<T>();
  }
}
