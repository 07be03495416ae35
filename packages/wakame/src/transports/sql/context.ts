import type { Dialect } from './dialect.js';
import type { Names } from './names.js';

/** What all operations of one connection need. */
export interface Context {
  readonly dialect: Dialect;
  readonly names: Names;
  /** The holder's id: a UUID. */
  readonly holder: string;
  /** Milliseconds for which something taken is held without renewal. */
  readonly lease: number;
  readonly clock: Clock;
  /** Told by operations; what they tell counts once their transaction is committed. */
  readonly effects: Effects;
}

/** The database's clock against ours. */
export interface Clock {
  /** Milliseconds that it is ahead. Rather too much than too little, for nothing must happen before its time. */
  offset: number;
}

/** What a transaction did that others may want to know. */
export class Effects {
  /** Queues that may have got ready messages, by id. */
  readonly ready = new Set<number>();
  /** There may be something to sweep. */
  due = false;
  /** Queues, consumers or exclusiveness changed: anybody may be concerned. */
  changed = false;

  get any(): boolean {
    return this.ready.size > 0 || this.due || this.changed;
  }

  clear(): void {
    this.ready.clear();
    this.due = false;
    this.changed = false;
  }
}
