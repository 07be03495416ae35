/**
 * Counting events for `drainEvents`: scripts and ported code wait for "something happened". Nothing of ours is built on it.
 */
import type { TimeoutError } from '../errors.js';
import { withDeadline } from '../util/deadline.js';
import { type Deferred, deferred } from '../util/deferred.js';
import { noop } from '../util/noop.js';

/** How long to wait for an event. */
export interface DrainEventsOptions {
  /** Milliseconds to wait for a first event; then it rejects with {@link TimeoutError}. Default: no end. */
  readonly timeout?: number | undefined;
  /** Ends the wait; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

export class EventCounter {
  #count = 0;
  #waiting: Deferred<number> | undefined;

  /** An event was handled. */
  handled(): void {
    this.#count++;
    if (this.#waiting === undefined) return;
    this.#waiting.resolve(this.#take());
    this.#waiting = undefined;
  }

  /** No event will come any more. */
  end(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** The number of events handled since the last call; waits for one when there were none. */
  async drain(options: DrainEventsOptions): Promise<number> {
    if (this.#count > 0) return this.#take();
    this.#waiting ??= deferred<number>();
    const { promise } = this.#waiting;
    // Whoever waits may have given up when it ends.
    promise.catch(noop);
    return withDeadline(promise, 'drainEvents', options);
  }

  #take(): number {
    const count = this.#count;
    this.#count = 0;
    return count;
  }
}
