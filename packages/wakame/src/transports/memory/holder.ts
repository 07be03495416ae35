import type { Entry } from './entry.js';

/** One who takes messages: a Connection, over all its incarnations. */
export class MemoryHolder {
  readonly id: string;
  /** Milliseconds after which what it holds and did not renew goes back; undefined: when it retires. */
  readonly lease: number | undefined;
  /** Clock time of the last sign of life. */
  aliveAt = 0;
  #first: Entry | undefined;
  #last: Entry | undefined;

  constructor(id: string, lease: number | undefined) {
    this.id = id;
    this.lease = lease;
  }

  /** Adds what it took. */
  hold(entry: Entry, requestId: number): void {
    entry.state = 'held';
    entry.holder = this;
    entry.requestId = requestId;
    entry.previous = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
  }

  /** It holds this one no longer; what follows is the caller's to decide. */
  drop(entry: Entry): void {
    const { previous, next } = entry;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    entry.previous = undefined;
    entry.next = undefined;
    entry.holder = undefined;
  }

  /** What it holds, in the order of taking. Safe against `drop` of the one at hand. */
  *held(): Generator<Entry, undefined> {
    let entry = this.#first;
    while (entry !== undefined) {
      const { next } = entry;
      yield entry;
      entry = next;
    }
  }
}
