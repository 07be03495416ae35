import { DEFAULTS } from '../connection/defaults.js';
import { givenIntervals, type RetryOptions } from '../connection/retry-options.js';
import { MessagingError, type PublishOutcome } from '../errors.js';
import type { OutgoingMessage, Receipt, TransportChannel } from '../transport/contract.js';
import type { PublishResult } from './publish-options.js';

/**
 * Where a message is on its way.
 *
 * ```
 *  gated ──▶ queued ──▶ sent ──▶ done        gated: what it needs is being declared
 *              ▲  ▲      │ │
 *              │  └─loss─┘ └─▶ orphaned      its channel is gone and it is not to be sent again: waits to hear its fate
 *              └─pause─ paused ◀─ sent       the store could not take it just now
 * ```
 */
export type EntryState = 'gated' | 'queued' | 'sent' | 'paused' | 'orphaned' | 'done';

/** Whom a message tells what the transport says of it: its outbox. */
interface Keeper {
  taken(entry: Entry, inner: TransportChannel): void;
  refused(entry: Entry, inner: TransportChannel, error: MessagingError): void;
}

/** The answer of almost every publish. */
const ONCE: PublishResult = Object.freeze({ attempts: 1 });
const ANSWERED_ONCE = Promise.resolve(ONCE);

type Settle = (result: PublishResult | Promise<PublishResult>) => void;

/** Takes the function out of a promise's constructor, without a closure for each promise. */
let captured: Settle;
const capture = (resolve: Settle): void => {
  captured = resolve;
};

/**
 * A message from `publish()` until its outcome; a link of the outbox's list. It is the receipt of its own first attempt: thousands may be
 * under way, each of which the garbage collector meets several times, so it is one object and a promise.
 */
export class Entry implements Receipt {
  readonly #keeper: Keeper;
  state: EntryState;
  previous: Entry | undefined;
  next: Entry | undefined;
  /** Counts the messages of its outbox. */
  sequence = 0;
  /** Absent while gated by a schema that has to wait. */
  message: OutgoingMessage | undefined;
  /** What it counts for in the outbox's budget, in bytes. */
  size: number;
  /** How often it was handed to the transport. */
  attempts = 0;
  /** An attempt before the present one ended without an answer: whatever the answer to this one is, the message may be there. */
  mayHaveArrived = false;
  /** Where it was sent last. */
  inner: TransportChannel | undefined;
  /** On the clock of `performance.now()`; set when it is not answered at once. */
  deadline = Number.POSITIVE_INFINITY;
  /** Its own time limit in milliseconds. */
  readonly timeout: number;
  readonly confirm: boolean;
  /** Undefined: never sent again. */
  readonly retry: RetryOptions | undefined;
  /** Takes the listener off the caller's signal. */
  offAbort: (() => void) | undefined;
  /** Ends its wait for the connection by its own retry policy. */
  waiting: AbortController | undefined;
  /** Ends its pause. */
  timer: NodeJS.Timeout | undefined;
  /** What the transport said of it last, when that was no outcome yet. */
  answer: MessagingError | undefined;
  /** Why it is orphaned. */
  loss: MessagingError | undefined;
  /** The caller has its answer; what happens now is told by the event `lost`. */
  answered = false;
  #promise: Promise<PublishResult> | undefined;
  #settle: Settle | undefined;

  constructor(
    keeper: Keeper,
    message: OutgoingMessage | undefined,
    size: number,
    options: {
      readonly state: 'gated' | 'queued';
      readonly timeout: number;
      readonly confirm: boolean;
      readonly retry: RetryOptions | undefined;
    },
  ) {
    this.#keeper = keeper;
    this.state = options.state;
    this.previous = undefined;
    this.next = undefined;
    this.message = message;
    this.size = size;
    this.inner = undefined;
    this.timeout = options.timeout;
    this.confirm = options.confirm;
    this.retry = options.retry;
    this.offAbort = undefined;
    this.waiting = undefined;
    this.timer = undefined;
    this.answer = undefined;
    this.loss = undefined;
    this.#promise = undefined;
    this.#settle = undefined;
  }

  /** What the caller gets. */
  get promise(): Promise<PublishResult> {
    if (this.#promise === undefined) {
      this.#promise = new Promise(capture);
      this.#settle = captured;
    }
    return this.#promise;
  }

  /** The caller gets its answer: the message is sent. */
  resolve(): void {
    if (this.#settle !== undefined) this.#settle(this.attempts === 1 ? ONCE : { attempts: this.attempts });
    else this.#promise = this.attempts === 1 ? ANSWERED_ONCE : Promise.resolve({ attempts: this.attempts });
  }

  /** The caller gets this reason. */
  reject(reason: unknown): void {
    if (this.#settle !== undefined) this.#settle(rejection(reason));
    else this.#promise = rejection(reason);
  }

  /** On whichever incarnation it was sent: one attempt has one. */
  confirmed(): void {
    if (this.attempts === 1 && this.inner !== undefined) this.#keeper.taken(this, this.inner);
  }

  failed(error: MessagingError): void {
    if (this.attempts === 1 && this.inner !== undefined) this.#keeper.refused(this, this.inner, error);
  }

  /** Who is to hear of the attempt that begins. A further one has a receipt of its own: the former may still be answered. */
  receipt(inner: TransportChannel): Receipt {
    return this.attempts === 1 ? this : new LaterReceipt(this.#keeper, this, inner);
  }

  /** What is known of a message that is given up. */
  get outcome(): PublishOutcome {
    return this.attempts > 0 ? 'unknown' : 'not-sent';
  }

  /** It is sent on the next incarnation. `isSuspect`: it may be the one that the broker has refused. */
  enqueueAgain(isSuspect: boolean): void {
    clearTimeout(this.timer);
    const outcome = this.answer?.outcome ?? 'unknown';
    // It never left.
    if (outcome === 'not-sent') this.attempts--;
    if (outcome === 'unknown' && !isSuspect) this.mayHaveArrived = true;
    this.state = 'queued';
  }

  /** Whether the present incarnation is to answer for it. */
  get isUnderWay(): boolean {
    return this.state === 'sent' || this.state === 'paused';
  }

  /**
   * Whether it may be sent once more, and how long after, in milliseconds, where that is up to us; undefined: not again.
   */
  get pause(): number | undefined {
    if (this.retry === undefined) return undefined;
    const { maxRetries } = this.retry;
    if (maxRetries !== undefined && this.attempts > maxRetries) return undefined;
    const { start, step, max } = givenIntervals(this.retry, DEFAULTS.ensure) ?? DEFAULTS.ensure;
    return Math.min(start + step * Math.max(this.attempts - 1, 0), start + max);
  }
}

/** Of a message that is sent again, on one incarnation of the channel. */
class LaterReceipt implements Receipt {
  readonly #keeper: Keeper;
  readonly #entry: Entry;
  readonly #inner: TransportChannel;

  constructor(keeper: Keeper, entry: Entry, inner: TransportChannel) {
    this.#keeper = keeper;
    this.#entry = entry;
    this.#inner = inner;
  }

  confirmed(): void {
    this.#keeper.taken(this.#entry, this.#inner);
  }

  failed(error: MessagingError): void {
    this.#keeper.refused(this.#entry, this.#inner, error);
  }
}

const TICK = Promise.resolve();

/**
 * Rejects with the reason; an error of ours gets the stack of whoever awaits the publish. V8 finds those functions from within an async
 * one whose promise they wait for, that is, once the entry's promise has been resolved with this one: two ticks later. Publishes that
 * succeed pay nothing for it.
 */
async function rejection(reason: unknown): Promise<never> {
  await TICK;
  await TICK;
  if (reason instanceof MessagingError) Error.captureStackTrace(reason, rejection);
  throw reason;
}
