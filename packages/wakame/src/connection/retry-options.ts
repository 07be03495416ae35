import type { MessagingError } from '../errors.js';
import { checkDuration, checkFunction, checkInteger } from '../util/check.js';

/** How often and at what pace something is tried again: Kombu's retry policy, in milliseconds. */
export interface RetryPolicy {
  /** Tries after the first one. Absent: no limit of their own. */
  readonly maxRetries?: number | undefined;
  /** The first pause. Any interval given replaces the library's own jittered pauses. */
  readonly intervalStart?: number | undefined;
  /** What each following pause is longer by. */
  readonly intervalStep?: number | undefined;
  /** The pauses stop growing at this and `intervalStart`. */
  readonly intervalMax?: number | undefined;
}

/** {@link RetryPolicy}, with what is told of the waiting. */
export interface RetryOptions extends RetryPolicy {
  /** Called with each failed try that another one follows, and the pause until then. What it throws ends the wait. */
  readonly errback?: ((error: MessagingError, interval: number) => void) | undefined;
  /** Called before a pause and after each second of it. What it throws ends the wait. */
  readonly callback?: (() => void) | undefined;
}

/** Throws INVALID_ARGUMENT for values that are no retry options. */
export function checkRetry(options: RetryOptions): void {
  if (options.maxRetries !== undefined) checkInteger('maxRetries', options.maxRetries);
  for (const name of ['intervalStart', 'intervalStep', 'intervalMax'] as const) {
    if (options[name] !== undefined) checkDuration(name, options[name]);
  }
  if (options.errback !== undefined) checkFunction('errback', options.errback);
  if (options.callback !== undefined) checkFunction('callback', options.callback);
}

/** The pauses that a policy asks for, with `defaults` for the members it lacks; undefined when it names none. */
export function givenIntervals(
  policy: RetryPolicy,
  defaults: { readonly start: number; readonly step: number; readonly max: number },
): { start: number; step: number; max: number } | undefined {
  const { intervalStart, intervalStep, intervalMax } = policy;
  if (intervalStart === undefined && intervalStep === undefined && intervalMax === undefined) return undefined;
  return {
    start: intervalStart ?? defaults.start,
    step: intervalStep ?? defaults.step,
    max: intervalMax ?? defaults.max,
  };
}
