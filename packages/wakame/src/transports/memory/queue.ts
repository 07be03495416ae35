import { FifoQueue } from '../../util/queue.js';
import type { ConsumerRecord, QueueOptions, QueueStat } from '../virtual/driver.js';
import type { Entry } from './entry.js';
import { Heap } from './heap.js';
import type { MemoryHolder } from './holder.js';
import type { Watchers } from './watchers.js';

/**
 * Ready messages of one priority. New ones come at the end, and messages are only ever taken from the front; so whatever comes back to its
 * place belongs before all of `fresh`, and a heap orders those few among themselves:
 *
 * ```
 *   next ◀── returned (by seq) ◀── fresh (FIFO) ◀── send
 * ```
 *
 * An entry that left from the middle (expired) stays as a tombstone until it is reached.
 */
class Level {
  readonly fresh = new FifoQueue<Entry>();
  readonly returned = new Heap<Entry>((a, b) => a.seq < b.seq);

  take(): Entry | undefined {
    for (;;) {
      const entry = this.returned.size > 0 ? this.returned.pop() : this.fresh.shift();
      if (entry === undefined || entry.state === 'ready') return entry;
    }
  }

  *entries(): Generator<Entry, undefined> {
    yield* [...this.returned].filter(isReady).sort((a, b) => a.seq - b.seq);
    for (const entry of this.fresh) if (isReady(entry)) yield entry;
  }

  dropTombstones(): void {
    this.returned.retain(isReady);
    for (const entry of this.fresh.drain()) if (isReady(entry)) this.fresh.push(entry);
  }
}

const isReady = (entry: Entry) => entry.state === 'ready';

/** A consumer of the queue, whoever's. */
export interface QueueConsumer extends ConsumerRecord {
  readonly holder: MemoryHolder;
}

/** A queue: its ready messages in order, and what is known about it. The broker keeps what is held, delayed and scheduled. */
export class MemoryQueue {
  readonly name: string;
  readonly options: QueueOptions;
  readonly watchers: Watchers;
  /** In the order of their coming. */
  consumers: QueueConsumer[] = [];
  /** Clock time of the last declaration or take without a consumer. */
  usedAt = 0;
  /** Whether the schedule has an event for its end. */
  expiryScheduled = false;
  /** Entries whose time has not come. */
  readonly delayed = new Set<Entry>();
  deleted = false;
  readyCount = 0;
  readyBytes = 0;
  readonly #levels: Level[] = [new Level()];
  /** No level above this has a message. */
  #top = 0;
  #tombstones = 0;
  #nextSeq = 0;

  constructor(name: string, options: QueueOptions, watchers: Watchers) {
    this.name = name;
    this.options = options;
    this.watchers = watchers;
  }

  /** Adds at the end. */
  append(entry: Entry): void {
    entry.seq = this.#nextSeq++;
    this.#levelOf(entry.priority).fresh.push(entry);
    this.#count(entry);
  }

  /** Puts back to its place what was taken from the front. */
  putBack(entry: Entry): void {
    this.#levelOf(entry.priority).returned.push(entry);
    this.#count(entry);
  }

  /** Takes the first of the highest priority. The caller gives it its next state. */
  takeFirst(): Entry | undefined {
    if (this.readyCount === 0) return undefined;
    for (; this.#top >= 0; this.#top--) {
      const entry = this.#levels[this.#top]?.take();
      if (entry !== undefined) {
        this.readyCount--;
        this.readyBytes -= entry.size;
        return entry;
      }
    }
    this.#top = 0;
    return undefined;
  }

  /** Takes a ready entry out, wherever it stands; it is gone. */
  remove(entry: Entry): void {
    entry.state = 'gone';
    this.readyCount--;
    this.readyBytes -= entry.size;
    this.#tombstones++;
    if (this.#tombstones <= 64 || this.#tombstones <= this.readyCount) return;
    for (const level of this.#levels) level.dropTombstones();
    this.#tombstones = 0;
  }

  /** Whether the limits on length are passed, were a message of `size` added. */
  isOver(extraCount: number, extraBytes: number): boolean {
    const { maxLength, maxLengthBytes } = this.options;
    return (
      (maxLength !== undefined && this.readyCount + extraCount > maxLength) ||
      (maxLengthBytes !== undefined && this.readyBytes + extraBytes > maxLengthBytes)
    );
  }

  /** The ready ones in the order of serving. */
  *ready(): Generator<Entry, undefined> {
    for (let i = this.#levels.length - 1; i >= 0; i--) {
      const level = this.#levels[i];
      if (level !== undefined) yield* level.entries();
    }
  }

  stat(): QueueStat {
    return {
      name: this.name,
      messageCount: this.readyCount,
      consumerCount: this.consumers.length,
      options: this.options,
    };
  }

  #count(entry: Entry): void {
    entry.state = 'ready';
    this.readyCount++;
    this.readyBytes += entry.size;
    if (entry.priority > this.#top) this.#top = entry.priority;
  }

  #levelOf(priority: number): Level {
    let level = this.#levels[priority];
    if (level === undefined) {
      // Priorities below are filled too, since an array with holes is slow.
      while (this.#levels.length <= priority) this.#levels.push(new Level());
      level = this.#levels[priority] as Level;
    }
    return level;
  }
}
