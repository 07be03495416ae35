import { LONGEST_TIMER } from '../../util/timer.js';
import type { Entry } from './entry.js';
import { Heap } from './heap.js';
import type { MemoryQueue } from './queue.js';

/** What happens at a time. */
export type Event =
  | { readonly at: number; readonly order: number; readonly kind: 'delay' | 'expiry'; readonly entry: Entry }
  | { readonly at: number; readonly order: number; readonly kind: 'queue'; readonly queue: MemoryQueue };

function isLive(event: Event): boolean {
  return event.kind === 'queue' ? !event.queue.deleted : event.entry.state !== 'gone';
}

/**
 * What is to happen by the clock, with one timer for the next of it. Two things of one millisecond happen in the order in which they were
 * added. The timer exists while something is scheduled and somebody is connected, and keeps the process alive only while somebody
 * consumes: a delayed message alone does not.
 */
export class Schedule {
  readonly #fire: () => void;
  readonly #events = new Heap<Event>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order));
  #order = 0;
  /** Events whose entry or queue is still there. */
  #live = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #running = false;
  #holdsProcess = false;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  get isEmpty(): boolean {
    return this.#live === 0;
  }

  addEntry(at: number, kind: 'delay' | 'expiry', entry: Entry): void {
    entry.timers++;
    this.#add({ at, order: this.#order++, kind, entry });
  }

  addQueue(at: number, queue: MemoryQueue): void {
    this.#add({ at, order: this.#order++, kind: 'queue', queue });
  }

  /** Takes out the next event that is due. */
  next(now: number): Event | undefined {
    for (let event = this.#events.peek(); event !== undefined && event.at <= now; event = this.#events.peek()) {
      this.#events.pop();
      if (!isLive(event)) continue;
      this.#live--;
      if (event.kind !== 'queue') event.entry.timers--;
      if (this.#live === 0) this.#tidy();
      return event;
    }
    return undefined;
  }

  /** This many events have become pointless. */
  forget(count: number): void {
    this.#live -= count;
    if (this.#events.size > 64 && this.#live < this.#events.size / 2) this.#events.retain(isLive);
    if (this.#live === 0) this.#tidy();
  }

  /** Whether the timer runs, and whether it keeps the process alive. */
  run(running: boolean, holdsProcess: boolean): void {
    this.#running = running;
    this.#holdsProcess = holdsProcess;
    if (!running) this.#stop();
    else if (this.#timer === undefined) this.rearm();
    else if (holdsProcess) this.#timer.ref();
    else this.#timer.unref();
  }

  /** Sets the timer to the next event. */
  rearm(): void {
    const next = this.#events.peek();
    if (!this.#running || next === undefined) return this.#stop();
    if (this.#timer !== undefined && this.#timerAt === next.at) return;
    this.#stop();
    this.#timerAt = next.at;
    this.#timer = setTimeout(() => this.#onTimer(), Math.min(Math.max(next.at - Date.now(), 0), LONGEST_TIMER));
    if (!this.#holdsProcess) this.#timer.unref();
  }

  #add(event: Event): void {
    this.#events.push(event);
    this.#live++;
    if (this.#timer === undefined || event.at < this.#timerAt) this.rearm();
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#fire();
    this.rearm();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #tidy(): void {
    this.#events.retain(isLive);
    this.#stop();
  }
}
