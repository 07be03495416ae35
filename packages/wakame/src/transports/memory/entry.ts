import type { StoredMessage } from '../virtual/driver.js';
import type { MemoryQueue } from './queue.js';

/**
 * ```
 *            ┌─────────▶ limbo (expired or pushed out, on its way to a dead-letter exchange)
 *   delayed ─▶ ready ⇄ held ─▶ gone
 * ```
 */
export type EntryState = 'delayed' | 'ready' | 'held' | 'limbo' | 'gone';

/** A message in a queue. */
export class Entry {
  readonly queue: MemoryQueue;
  readonly message: StoredMessage;
  readonly size: number;
  readonly priority: number;
  /** Order within its queue and priority. A delayed message gets its own when it becomes ready. */
  seq: number;
  state: EntryState = 'ready';
  readonly expiresAt: number | undefined;
  /** How often it came back, releases apart. */
  returns = 0;
  redelivered = false;
  /** Why it was put into limbo. */
  fate: 'expired' | 'overflowed' | undefined = undefined;
  /** Entries of the broker's schedule that speak of this one. */
  timers = 0;

  constructor(queue: MemoryQueue, message: StoredMessage, priority: number, expiresAt: number | undefined) {
    this.queue = queue;
    this.message = message;
    this.size = message.body.length;
    this.priority = priority;
    this.seq = 0;
    this.expiresAt = expiresAt;
  }

  /** The same message as another entry, for this one stays behind as a tombstone. */
  successor(): Entry {
    const successor = new Entry(this.queue, this.message, this.priority, this.expiresAt);
    successor.seq = this.seq;
    successor.returns = this.returns;
    successor.redelivered = this.redelivered;
    return successor;
  }
}
