/**
 * Those who wait for a connection: each with its own deadline, budget of tries and signal.
 */
import { ChannelError, ConnectionError, type ErrorDetails, MessagingError, TimeoutError } from '../errors.js';
import { onAbort } from '../util/abort.js';
import { fxrange } from '../util/backoff.js';
import { type Deferred, deferred } from '../util/deferred.js';
import { LONGEST_TIMER } from '../util/timer.js';
import { givenIntervals, type RetryOptions } from './retry-options.js';

/** Bounds a wait. */
export interface WaitOptions {
  /** Milliseconds in all. Default 30 s. */
  readonly timeout?: number | undefined;
  /** Aborting rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How a wait for the connection is bounded and told of failed tries. */
export interface ReadyOptions extends WaitOptions, RetryOptions {}

/** One wait. Settled exactly once; leaves no timer or listener behind. */
export class Waiter<T> {
  readonly #result: Deferred<T> = deferred<T>();
  readonly #options: ReadyOptions;
  readonly #what: string;
  readonly #left: () => void;
  readonly #cause: () => unknown;
  readonly #pauses: Generator<number, never> | undefined;
  /** Where the caller waits; only its stack is used. */
  readonly #origin = new Error('waiting');
  readonly #offAbort: () => void;
  readonly #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lastError: MessagingError | undefined;
  #done = false;

  /**
   * @param left Called when the wait ended by itself: deadline, signal, budget or a throwing `errback`.
   * @param cause Why there is still nothing at the deadline, when the waiter itself saw no failure.
   */
  constructor(
    what: string,
    timeout: number,
    options: ReadyOptions,
    left: () => void,
    cause: () => unknown = () => undefined,
  ) {
    this.#cause = cause;
    this.#what = what;
    this.#options = options;
    this.#left = left;
    const intervals = givenIntervals(options, { start: 0, step: 0, max: 0 });
    this.#pauses = intervals === undefined ? undefined : fxrange(intervals);
    if (timeout <= LONGEST_TIMER) this.#timer = setTimeout(() => this.#expired(timeout), timeout);
    this.#offAbort = onAbort(options.signal, (reason) => this.#leave(reason));
  }

  get promise(): Promise<T> {
    return this.#result.promise;
  }

  get ticks(): (() => void) | undefined {
    return this.#options.callback;
  }

  resolve(value: T): void {
    if (this.#finish()) this.#result.resolve(value);
  }

  reject(error: unknown): void {
    this.#settleWith(error instanceof ConnectionError ? remake(error, error.message, this.#origin) : error);
  }

  /** The pause that this waiter's policy asks for next; undefined when it has none of its own. */
  nextPause(): number | undefined {
    return this.#pauses?.next().value;
  }

  /** Counts a failed try. False when the budget is spent: then it has rejected. */
  failed(error: MessagingError): boolean {
    this.#lastError = error;
    this.#failures++;
    const { maxRetries } = this.#options;
    if (maxRetries === undefined || this.#failures <= maxRetries) return true;
    this.#leave(error);
    return false;
  }

  /** Tells of a failed try that another one follows. */
  tell(error: MessagingError, interval: number): void {
    this.guard(() => this.#options.errback?.(error, interval));
  }

  /** Runs a function of the caller's; what it throws ends the wait. */
  guard(fn: () => void): void {
    if (this.#done) return;
    try {
      fn();
    } catch (thrown) {
      this.#leave(thrown);
    }
  }

  #leave(error: unknown): void {
    if (this.#done) return;
    this.reject(error);
    this.#left();
  }

  #expired(timeout: number): void {
    const waited = `${this.#what}: gave up after ${Math.round(timeout)} ms`;
    const last = this.#lastError ?? this.#cause();
    if (last instanceof ConnectionError) {
      this.#settleWith(remake(last, `${waited}: ${last.message}`, this.#origin));
    } else {
      this.#settleWith(new TimeoutError(waited, last === undefined ? {} : { cause: last }));
    }
    this.#left();
  }

  #settleWith(error: unknown): void {
    if (this.#finish()) this.#result.reject(error);
  }

  #finish(): boolean {
    if (this.#done) return false;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#offAbort();
    return true;
  }
}

/** The same class and facts, the original as cause, and the stack of the caller: several of them may share an original. */
function remake(error: ConnectionError, message: string, origin: Error): ConnectionError {
  const { code, replyCode, replyText, classId, methodId, method, phase, host, outcome, recoverable } = error;
  const details: ErrorDetails = {
    ...{ code, replyCode, replyText, classId, methodId, method, phase, host, outcome, recoverable },
    cause: error,
  };
  const type = error.constructor as new (message: string, details: ErrorDetails) => ConnectionError;
  const copy = new type(message, details);
  copy.stack = [`${copy.name}: ${message}`, ...(origin.stack?.split('\n').slice(1) ?? [])].join('\n');
  return copy;
}

/**
 * Whether a request failed because of what befell its channel or connection, rather than of what it asked for (see
 * `TransportChannel`).
 */
export function isCollateral(error: unknown): boolean {
  if (error instanceof ConnectionError) return error.recoverable;
  return error instanceof ChannelError && error.code === 'CHANNEL_CLOSED';
}

/** What went wrong as one of our errors. */
export function asMessagingError(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  return new MessagingError(error instanceof Error ? error.message : String(error), { cause: error });
}
