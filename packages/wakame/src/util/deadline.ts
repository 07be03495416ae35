import { TimeoutError } from '../errors.js';
import { onAbort } from './abort.js';
import { deferred } from './deferred.js';
import { LONGEST_TIMER } from './timer.js';

/**
 * A moment after which an operation of several steps has failed. `undefined` and `Infinity` milliseconds never pass.
 */
export class Deadline {
  /** Aborting it ends the patience at once. */
  readonly signal: AbortSignal | undefined;
  readonly #at: number;

  constructor(ms: number | undefined, signal?: AbortSignal | undefined) {
    this.#at = ms === undefined ? Number.POSITIVE_INFINITY : performance.now() + ms;
    this.signal = signal;
  }

  /** Milliseconds left, never negative; `Infinity` when there is no end. */
  get remaining(): number {
    return this.signal?.aborted === true ? 0 : Math.max(0, this.#at - performance.now());
  }

  get passed(): boolean {
    return this.remaining === 0;
  }

  /** The shorter of what is left and `ms`, for one step of the operation. */
  atMost(ms: number): number {
    return Math.min(this.remaining, ms);
  }
}

/** What bounds a wait. */
export interface WaitOptions {
  /** Milliseconds. Absent or `Infinity`: no end. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The outcome of `promise`, unless the time passes first (rejects TIMEOUT: `<what>: no answer within 5000 ms`) or
 * the signal is aborted (rejects with its reason). Timer and listener are gone once it is settled; a later rejection of
 * `promise` is not unhandled.
 */
export function withDeadline<T>(promise: PromiseLike<T>, what: string, options: WaitOptions): Promise<T> {
  const { timeout = Number.POSITIVE_INFINITY, signal } = options;
  if (timeout === Number.POSITIVE_INFINITY && signal === undefined) return Promise.resolve(promise);
  const result = deferred<T>();
  let timer: NodeJS.Timeout | undefined;
  if (timeout <= LONGEST_TIMER) {
    timer = setTimeout(() => {
      off();
      result.reject(new TimeoutError(`${what}: no answer within ${timeout} ms`));
    }, timeout);
  }
  const off = onAbort(signal, (reason) => {
    clearTimeout(timer);
    result.reject(reason);
  });
  const clear = () => {
    clearTimeout(timer);
    off();
  };
  promise.then(
    (value) => {
      clear();
      result.resolve(value);
    },
    (error: unknown) => {
      clear();
      result.reject(error);
    },
  );
  return result.promise;
}

/** Waits until `work` is done: true; or until the deadline has passed or its signal is aborted: false. Rejects as `work` does. */
export async function doneBefore(deadline: Deadline, work: PromiseLike<unknown>): Promise<boolean> {
  const late = Symbol('late');
  const over = deferred<typeof late>();
  const { remaining } = deadline;
  const timer = remaining <= LONGEST_TIMER ? setTimeout(() => over.resolve(late), remaining) : undefined;
  const off = onAbort(deadline.signal, () => over.resolve(late));
  try {
    return (await Promise.race([work, over.promise])) !== late;
  } finally {
    clearTimeout(timer);
    off();
  }
}
