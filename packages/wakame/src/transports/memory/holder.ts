import type { Entry } from './entry.js';

/** One taking of a message: what a driver gives as its lease. It is void for good once the message was settled or given back. */
export class Lease {
  readonly entry: Entry;
  readonly requestId: number;
  /** Undefined: void. */
  holder: MemoryHolder | undefined;
  /** Clock time; when its holder has leases that end. */
  until = Number.POSITIVE_INFINITY;
  // Neighbours in the holder's list.
  previous: Lease | undefined = undefined;
  next: Lease | undefined = undefined;

  constructor(entry: Entry, holder: MemoryHolder, requestId: number) {
    this.entry = entry;
    this.holder = holder;
    this.requestId = requestId;
  }
}

/** One who takes messages: a Connection, over all its incarnations. */
export class MemoryHolder {
  readonly id: string;
  /** Milliseconds after which what it holds and did not renew goes back; undefined: when it retires. */
  readonly lease: number | undefined;
  /** Clock time of the last sign of life. */
  aliveAt = 0;
  #first: Lease | undefined;
  #last: Lease | undefined;

  constructor(id: string, lease: number | undefined) {
    this.id = id;
    this.lease = lease;
  }

  get holdsNothing(): boolean {
    return this.#first === undefined;
  }

  /** Adds what it took. */
  hold(entry: Entry, requestId: number): Lease {
    const lease = new Lease(entry, this, requestId);
    entry.state = 'held';
    lease.previous = this.#last;
    if (this.#last === undefined) this.#first = lease;
    else this.#last.next = lease;
    this.#last = lease;
    return lease;
  }

  /** It holds this one no longer; what becomes of the message is the caller's to decide. */
  drop(lease: Lease): void {
    const { previous, next } = lease;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    lease.previous = undefined;
    lease.next = undefined;
    lease.holder = undefined;
  }

  /** What it holds, in the order of taking. Safe against `drop` of the one at hand. */
  *held(): Generator<Lease, undefined> {
    let lease = this.#first;
    while (lease !== undefined) {
      const { next } = lease;
      yield lease;
      lease = next;
    }
  }
}
