import { type Deferred, deferred } from '../util/deferred.js';
import type { Arrival } from './intake.js';
import type { Message } from './message.js';
import { MOST_IN_A_TURN } from './turns.js';

type Handler<T> = (message: Message<T>) => unknown;

export interface DispatcherHost<T> {
  take(): Arrival<T> | undefined;
  /** Handles it. A promise, which never rejects, while that takes. */
  work(arrival: Arrival<T>, handler: Handler<T>): Promise<void> | undefined;
  /** One more has been handled. */
  done(): void;
  /** It goes on in the next turn of the event loop; until `resume`, nothing more should come. */
  pause(): void;
  resume(): void;
}

/**
 * Hands arrivals to the handler, so many at a time, always in a turn of its own: what a handler does reaches neither the
 * transport's reader nor the caller of `wake`.
 */
export class Dispatcher<T> {
  /** Without one, arrivals wait. */
  handler: Handler<T> | undefined;
  readonly #concurrency: number;
  readonly #host: DispatcherHost<T>;
  #running = 0;
  #scheduled = false;
  /** Started since the event loop last had its turn. */
  #thisTurn = 0;
  #whenSettled: Deferred<void> | undefined;
  readonly #run = () => this.#dispatch();
  readonly #runInNextTurn = () => {
    this.#thisTurn = 0;
    this.#host.resume();
    this.#dispatch();
  };
  readonly #finished = () => {
    this.#running--;
    this.#host.done();
    this.#dispatch();
  };

  constructor(concurrency: number, host: DispatcherHost<T>) {
    this.#concurrency = concurrency;
    this.#host = host;
  }

  /** Handlers at work. */
  get running(): number {
    return this.#running;
  }

  /** There may be something to do. Cheap. */
  wake(): void {
    if (this.#scheduled || this.#running >= this.#concurrency) return;
    this.#scheduled = true;
    queueMicrotask(this.#run);
  }

  /** Resolves when no handler is at work and there is nothing to take. */
  settled(): Promise<void> {
    if (this.#running === 0 && !this.#scheduled) return Promise.resolve();
    this.#whenSettled ??= deferred();
    return this.#whenSettled.promise;
  }

  #dispatch(): void {
    this.#scheduled = false;
    if (this.handler !== undefined) this.#startHandlers(this.handler);
    if (this.#whenSettled === undefined || this.#running > 0 || this.#scheduled) return;
    this.#whenSettled.resolve();
    this.#whenSettled = undefined;
  }

  #startHandlers(handler: Handler<T>): void {
    while (this.#running < this.#concurrency) {
      if (this.#thisTurn >= MOST_IN_A_TURN) {
        this.#scheduled = true;
        this.#host.pause();
        setImmediate(this.#runInNextTurn);
        return;
      }
      const arrival = this.#host.take();
      if (arrival === undefined) return;
      this.#thisTurn++;
      const work = this.#host.work(arrival, handler);
      if (work === undefined) {
        this.#host.done();
        continue;
      }
      this.#running++;
      void work.then(this.#finished);
    }
  }
}
