import type { MessagingError, PublishOutcome } from './errors.js';

/** Where a call was made: its `stack` is only rendered when an error needs it. */
export interface CallSite {
  stack?: string;
}

/** Remembers the caller of `from`. */
// biome-ignore lint/complexity/noBannedTypes: what Error.captureStackTrace takes
export function callSite(from: Function): CallSite {
  const site: CallSite = {};
  Error.captureStackTrace(site, from);
  return site;
}

/** Gives an error the stack of the call that it fails, instead of that of the event by which it was noticed. */
export function blame<E extends Error>(error: E, site: CallSite): E {
  const frames = (site.stack ?? '').split('\n').slice(1).join('\n');
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}

/**
 * A new error of the same class and with the same facts, for another place where the same thing hurts. `cause` is the
 * original, whose stack tells where it was noticed.
 */
export function copyError<E extends MessagingError>(error: E, outcome: PublishOutcome | undefined = error.outcome): E {
  // Not by its constructor, whose parameters only its class knows.
  const copy = Object.setPrototypeOf(new Error(error.message, { cause: error }), Object.getPrototypeOf(error));
  return Object.assign(copy, error, { outcome, stack: error.stack });
}
