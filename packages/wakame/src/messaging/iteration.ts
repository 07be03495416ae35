import { setImmediate } from 'node:timers/promises';
import { type Deferred, deferred } from '../util/deferred.js';
import type { Arrival } from './intake.js';
import type { Message } from './message.js';
import { MOST_IN_A_TURN } from './turns.js';

/** What an iteration needs of its consumer. */
export interface IterationHost<T> {
  /** Starts consuming. */
  start(): Promise<void>;
  take(): Arrival<T> | undefined;
  /** Decodes. False: it could not be read, and has been dealt with. */
  read(arrival: Arrival<T>): boolean | Promise<boolean>;
  /** The message is the caller's from now on. */
  handedOut(message: Message<T>): void;
  /** The caller asked for the next: it is done with this one. */
  handedBack(message: Message<T>): void;
  /** It was taken, and nobody will look at it. */
  giveBack(arrival: Arrival<T>): void;
  /** Somebody waits for a message from now on. */
  waiting(): void;
  /** It goes on in the next turn of the event loop; until `resume`, nothing more should come. */
  pause(): void;
  resume(): void;
  /** Stops consuming and gives back what was never yielded. */
  leave(iteration: Iteration<T>): Promise<void>;
}

/** Over as soon as it is asked for something, and says so again and again. */
const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });

/** One `for await` loop over a consumer. Starts at the first `next()`; `return()` (leaving the loop) ends it. */
export class Iteration<T> implements AsyncIterator<Message<T>, undefined> {
  readonly #host: IterationHost<T>;
  readonly #auto: boolean;
  #state: 'new' | 'open' | 'done' = 'new';
  /** What the loop is to end with. */
  #failure: { readonly reason: unknown } | undefined;
  /** No more will come: ends when everything that came was handed out. */
  #drained: { readonly reason: unknown } | undefined;
  #inHand: Message<T> | undefined;
  /** Calls of `next` that have not found their message at once, one behind the other. */
  #tail: Promise<unknown> = Promise.resolve();
  #pending = 0;
  #arrival: Deferred<void> | undefined;
  #thisTurn = 0;

  /** @param auto Acknowledge each message when the next is asked for. */
  constructor(host: IterationHost<T>, auto: boolean) {
    this.#host = host;
    this.#auto = auto;
  }

  /** Whether a loop waits for a message now. */
  get isWaiting(): boolean {
    return this.#arrival !== undefined;
  }

  /** The message that the loop's body is working on. */
  get inHand(): Message<T> | undefined {
    return this.#inHand;
  }

  next(): Promise<IteratorResult<Message<T>, undefined>> {
    this.#putDown(this.#auto);
    return this.#immediate() ?? this.#enqueue();
  }

  /** The loop was left. The message in hand stays the caller's to settle. */
  async return(): Promise<IteratorResult<Message<T>, undefined>> {
    this.#putDown(false);
    this.end();
    await this.#host.leave(this);
    return DONE;
  }

  /** Something has come. */
  wake(): void {
    this.#arrival?.resolve();
    this.#arrival = undefined;
  }

  /** The loop ends, normally. */
  end(): void {
    this.#state = 'done';
    this.wake();
  }

  /** The loop ends with this error. */
  fail(reason: unknown): void {
    if (this.#state !== 'done') this.#failure = { reason };
    this.wake();
  }

  /** The loop ends with this error after what has come already. */
  drain(reason: unknown): void {
    this.#drained = { reason };
    this.wake();
  }

  /** More may come again. */
  undrain(): void {
    this.#drained = undefined;
  }

  /** The common case: a message is there, and is decoded at once. */
  #immediate(): Promise<IteratorResult<Message<T>, undefined>> | undefined {
    if (this.#pending > 0 || this.#state !== 'open' || this.#failure !== undefined) return undefined;
    if (this.#thisTurn >= MOST_IN_A_TURN) return undefined;
    for (;;) {
      const arrival = this.#host.take();
      if (arrival === undefined) return undefined;
      const readable = this.#host.read(arrival);
      if (typeof readable !== 'boolean') return this.#enqueue(() => this.#whenRead(arrival, readable));
      if (readable) return Promise.resolve(this.#handOut(arrival.message));
    }
  }

  #enqueue(
    first?: () => Promise<IteratorResult<Message<T>, undefined> | undefined>,
  ): Promise<IteratorResult<Message<T>, undefined>> {
    this.#pending++;
    const result = this.#tail.then(async () => {
      try {
        return (await first?.()) ?? (await this.#search());
      } finally {
        this.#pending--;
      }
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #search(): Promise<IteratorResult<Message<T>, undefined>> {
    if (this.#state === 'new') await this.#start();
    if (this.#thisTurn >= MOST_IN_A_TURN) {
      this.#host.pause();
      await setImmediate();
      this.#host.resume();
      this.#thisTurn = 0;
    }
    for (;;) {
      if (this.#failure !== undefined) return this.#finish(this.#failure.reason);
      if (this.#state === 'done') return DONE;
      const arrival = this.#host.take();
      if (arrival !== undefined) {
        const found = await this.#whenRead(arrival, this.#host.read(arrival));
        if (found !== undefined) return found;
      } else if (this.#drained !== undefined) {
        return this.#finish(this.#drained.reason);
      } else {
        this.#arrival = deferred();
        this.#host.waiting();
        await this.#arrival.promise;
      }
    }
  }

  async #start(): Promise<void> {
    this.#state = 'open';
    try {
      await this.#host.start();
    } catch (error) {
      // Ended while it was starting: that is what stopped the start.
      if (this.#isOver()) return;
      await this.#finish(this.#failure === undefined ? error : this.#failure.reason);
    }
  }

  #isOver(): boolean {
    return this.#state === 'done';
  }

  async #whenRead(
    arrival: Arrival<T>,
    reading: boolean | Promise<boolean>,
  ): Promise<IteratorResult<Message<T>, undefined> | undefined> {
    const readable = await reading;
    if (!readable) return undefined;
    if (this.#state === 'open' && this.#failure === undefined) return this.#handOut(arrival.message);
    // The loop was ended while the schema was at work.
    this.#host.giveBack(arrival);
    return undefined;
  }

  async #finish(reason: unknown): Promise<never> {
    this.#failure = undefined;
    this.#drained = undefined;
    this.#state = 'done';
    await this.#host.leave(this);
    throw reason;
  }

  #handOut(message: Message<T>): IteratorYieldResult<Message<T>> {
    this.#thisTurn++;
    this.#inHand = message;
    this.#host.handedOut(message);
    return { done: false, value: message };
  }

  #putDown(settle: boolean): void {
    const message = this.#inHand;
    if (message === undefined) return;
    this.#inHand = undefined;
    if (settle && message.state === 'RECEIVED') void message.ack();
    this.#host.handedBack(message);
  }
}
