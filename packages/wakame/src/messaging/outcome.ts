import { type ErrorDetails, MessagingError, PublishError, type PublishOutcome, UnroutableError } from '../errors.js';
import { show } from '../util/check.js';

/** Codes that say what became of one message, whatever became of its channel. */
const FATES: ReadonlySet<string> = new Set([
  ...['NACKED', 'UNROUTABLE', 'MESSAGE_TOO_LARGE', 'ENCODE_FAILED', 'INVALID_ARGUMENT', 'NOT_SUPPORTED'],
]);

/** Whether the error is the message's own, so that sending it again would be wrong or useless. */
export function isFate(error: MessagingError): boolean {
  return error.outcome === 'refused' || FATES.has(error.code);
}

/** A copy of the error, of its class, with this outcome: every publish has an error of its own, whose `cause` is what several share. */
export function withOutcome(error: MessagingError, outcome: PublishOutcome): MessagingError {
  const { code, replyCode, replyText, classId, methodId, method, phase, host, recoverable, message } = error;
  const facts: ErrorDetails = { code, replyCode, replyText, classId, methodId, method, phase, host, recoverable };
  const details = { ...facts, outcome, cause: error };
  if (error instanceof UnroutableError) return new UnroutableError(error.returned, details);
  const type = error.constructor as new (message: string, details: ErrorDetails) => MessagingError;
  return new type(message, details);
}

/** Whatever was thrown, as an error of ours with an outcome; `outcome` where it does not know itself. */
export function asPublishError(error: unknown, outcome: PublishOutcome): MessagingError {
  if (!(error instanceof MessagingError)) {
    const message = error instanceof Error ? error.message : show(error);
    return new PublishError(`the message could not be sent: ${message}`, { cause: error, outcome });
  }
  return error.outcome === undefined ? withOutcome(error, outcome) : error;
}
