/**
 * What is written down during a run: one record a line, as JSON. All processes append to one file, each record by one `write`, so the
 * order of the lines is the order of what happened, and nothing is lost with a process that is killed.
 */

interface Stamp {
  /** Milliseconds of the machine's monotonic clock, the same for every process; see `now`. */
  readonly at: number;
}

/** By a worker. `by` is one life of it: `consumer-2.3` is the third process in the place `consumer-2`. */
interface Told extends Stamp {
  readonly by: string;
}

/** A queue of the account. */
export interface AccountedQueue {
  readonly name: string;
  /** One consumer at a time: messages that were sent again have to be in order, too. */
  readonly single: boolean;
}

/** What a run is held to. */
export interface Rules {
  readonly queues: readonly AccountedQueue[];
  /**
   * Milliseconds after `ack()` has resolved in which a fault may still undo it. AMQP's acks have no answer: they are on their way
   * when `ack()` resolves. A store answers: 0.
   */
  readonly ackGrace: number;
  /**
   * Milliseconds that a message may wait in its holder before a handler gets it, while a lease runs out: a fault that hit the holder meanwhile
   * is a reason when the ack came too late. 0 where nothing is handled that is known to be lost.
   */
  readonly waiting: number;
  /** What a consumer took and no handler of it has seen goes back without a mark, so that another one may get it out of order. */
  readonly returnsUnmarked: boolean;
  /** Milliseconds after the end of a fault within which everybody must be at work again. */
  readonly patience: number;
}

export type LedgerRecord =
  | (Stamp & { readonly event: 'run'; readonly stand: string; readonly seed: number; readonly rules: Rules })
  /** The parent started a process. */
  | (Told & { readonly event: 'started'; readonly role: 'producer' | 'consumer'; readonly language: string })
  /** Its program has begun, which on a busy machine is long after it was started. */
  | (Told & { readonly event: 'awake' })
  | (Told & { readonly event: 'ready' })
  /** About to publish. Numbers rise by one for each message of a producer's life, over all its queues. */
  | (Told & { readonly event: 'publish'; readonly queue: string; readonly number: number })
  | (Told & { readonly event: 'confirmed'; readonly number: number; readonly attempts: number })
  | (Told & {
      readonly event: 'rejected';
      readonly number: number;
      readonly outcome: 'not-sent' | 'refused' | 'unknown';
      readonly code: string;
    })
  /** A handler got a message. `delivery` counts the deliveries of this process. `redelivered: null`: nobody tells it whether the message came back. */
  | (Told & {
      readonly event: 'delivered';
      readonly queue: string;
      readonly delivery: number;
      readonly producer: string;
      readonly number: number;
      readonly redelivered: boolean | null;
    })
  /** `live: false`: it came too late. */
  | (Told & { readonly event: 'acked'; readonly delivery: number; readonly live: boolean })
  /** What was delivered is not what was published. */
  | (Told & { readonly event: 'damaged'; readonly queue: string; readonly text: string })
  /** The connection was lost. */
  | (Told & { readonly event: 'lost'; readonly why: string })
  /** A message of the side queue, which nobody accounts for, arrived. */
  | (Told & { readonly event: 'side' })
  /** Peak resident memory, in bytes. */
  | (Told & { readonly event: 'memory'; readonly bytes: number })
  /** Told to finish, it has: a producer's publishes have their outcomes, a consumer has closed. */
  | (Told & { readonly event: 'finished' })
  /** The parent is about to kill it with SIGKILL. */
  | (Told & { readonly event: 'kill' })
  /** The parent has told it to finish. */
  | (Told & { readonly event: 'told' })
  /** The process is gone. */
  | (Told & { readonly event: 'ended'; readonly code: number | null; readonly signal: string | null })
  | (Stamp & {
      readonly event: 'fault';
      readonly fault: number;
      readonly kind: string;
      /** The places of the workers that it hits; `all`. */
      readonly targets: readonly string[] | 'all';
      readonly detail: string;
      /** The broker loses what it has not written: also its notes of what was delivered before. */
      readonly crash: boolean;
      /** It also ends consumption of the side queues. */
      readonly side: boolean;
    })
  | (Stamp & { readonly event: 'fault-over'; readonly fault: number })
  /** Producers are told to finish: from now on nothing new is to be expected. */
  | (Stamp & { readonly event: 'last-call' });

/** Milliseconds of the machine's monotonic clock. (Python: `time.monotonic() * 1000`.) */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return Math.round(seconds * 1e6 + nanoseconds / 1e3) / 1e3;
}

/** The place of a worker: `consumer-2` for `consumer-2.3`. */
export function placeOf(by: string): string {
  return by.slice(0, by.lastIndexOf('.'));
}
