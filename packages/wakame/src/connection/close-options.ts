import { checkDuration } from '../util/check.js';
import { Deadline } from '../util/deadline.js';
import { DEFAULTS } from './defaults.js';

/** Bounds an orderly end. */
export interface CloseOptions {
  /** Milliseconds that it may take; what is not done then is given up. Default 10 s. `Infinity`: as long as it takes. */
  readonly timeout?: number | undefined;
  /** Aborting it has the effect of the end of that time. */
  readonly signal?: AbortSignal | undefined;
}

/** The deadline that the options of a close mean. Throws INVALID_ARGUMENT. */
export function closeDeadline({ timeout = DEFAULTS.closeTimeout, signal }: CloseOptions): Deadline {
  return new Deadline(checkDuration('timeout', timeout, { allowInfinity: true }), signal);
}

/** The same for a step of it. */
export interface CloseLimits {
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

/** What is left of a deadline, to be passed on. */
export function closeOptions(deadline: Deadline): CloseLimits {
  return { timeout: deadline.remaining, signal: deadline.signal };
}
