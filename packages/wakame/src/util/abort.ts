import { deferred } from './deferred.js';

const doNothing = (): void => undefined;

/**
 * Calls `listener` once when `signal` is aborted; at once when it is already. The function returned takes the listener
 * off again, which a long-lived signal needs: each wait would leave one behind.
 */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (signal === undefined) return doNothing;
  if (signal.aborted) {
    listener(signal.reason);
    return doNothing;
  }
  const onEvent = () => listener(signal.reason);
  signal.addEventListener('abort', onEvent, { once: true });
  return () => signal.removeEventListener('abort', onEvent);
}

/**
 * The outcome of `promise`, unless `signal` is aborted first: then rejects with `signal.reason`. What becomes of
 * `promise` afterwards is nobody's concern any more; its rejection is not unhandled.
 */
export function raceSignal<T>(promise: PromiseLike<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return Promise.resolve(promise);
  const result = deferred<T>();
  const off = onAbort(signal, result.reject);
  promise.then(
    (value) => {
      off();
      result.resolve(value);
    },
    (error: unknown) => {
      off();
      result.reject(error);
    },
  );
  return result.promise;
}

/** How {@link sleep} waits. */
export interface SleepOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether the timer keeps the process alive. Default `true`. */
  readonly ref?: boolean | undefined;
}

/** Resolves after `ms` milliseconds; rejects with `signal.reason` when aborted before, and leaves no timer behind. */
export function sleep(ms: number, options: SleepOptions = {}): Promise<void> {
  const { signal, ref = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  const result = deferred();
  const timer = setTimeout(() => {
    off();
    result.resolve();
  }, ms);
  if (!ref) timer.unref();
  const off = onAbort(signal, (reason) => {
    clearTimeout(timer);
    result.reject(reason);
  });
  return result.promise;
}
