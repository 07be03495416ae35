import type { ErrorDetails, MessagingError, PublishOutcome } from './errors.js';

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

/**
 * A new error of the same class and with the same facts, for another place where the same thing hurts. `cause` is the
 * original, whose stack tells where it was noticed.
 */
export function copyError(
  error: MessagingError,
  changes: { outcome?: PublishOutcome | undefined; site?: CallSite | undefined },
): MessagingError {
  const type = error.constructor as new (message: string, details: ErrorDetails) => MessagingError;
  const copy = new type(error.message, {
    code: error.code,
    recoverable: error.recoverable,
    replyCode: error.replyCode,
    replyText: error.replyText,
    classId: error.classId,
    methodId: error.methodId,
    method: error.method,
    phase: error.phase,
    host: error.host,
    outcome: changes.outcome ?? error.outcome,
    cause: error,
  });
  if (changes.site !== undefined) {
    const frames = (changes.site.stack ?? '').split('\n').slice(1).join('\n');
    copy.stack = `${copy.name}: ${copy.message}\n${frames}`;
  }
  return copy;
}
