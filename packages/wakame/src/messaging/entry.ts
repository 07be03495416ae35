import { DEFAULTS } from '../connection/defaults.js';
import { givenIntervals, type RetryOptions } from '../connection/retry-options.js';
import { MessagingError, type PublishOutcome } from '../errors.js';
import type { OutgoingMessage, TransportChannel } from '../transport/contract.js';
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

/** A message from `publish()` until its outcome; a link of the outbox's list. */
export class Entry {
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
  readonly promise: Promise<PublishResult>;
  readonly resolve: (result: PublishResult | Promise<PublishResult>) => void;

  constructor(
    message: OutgoingMessage | undefined,
    size: number,
    options: {
      readonly state: 'gated' | 'queued';
      readonly timeout: number;
      readonly confirm: boolean;
      readonly retry: RetryOptions | undefined;
    },
  ) {
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
    let settle!: Entry['resolve'];
    this.promise = new Promise((resolve) => {
      settle = resolve;
    });
    this.resolve = settle;
  }

  /** The caller gets this reason. */
  reject(reason: unknown): void {
    this.resolve(rejection(reason));
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
