import type { MessagingError } from '../errors.js';
import { show } from '../util/check.js';
import { warnOnce } from '../util/warnings.js';
import type { FailureInfo } from './handling.js';
import type { Message } from './message.js';

/** What is told of a failure: identifies the cause, and describes it. */
export interface Report {
  readonly cause: string;
  readonly text: string;
}

export function decodeReport(error: MessagingError, message: Message): Report {
  const text = `a message of queue '${message.queue}' could not be read and was rejected: ${error.message}`;
  return { cause: `decode:${message.queue}:${error.code}`, text };
}

export function handlerReport(error: Error, message: Message, info: FailureInfo): Report {
  const { name, stack } = error;
  const which = `attempt ${info.attempts} of ${info.maxAttempts}`;
  return {
    cause: `handler:${message.queue}:${name}`,
    text: `a handler of queue '${message.queue}' failed (${which}): ${stack}`,
  };
}

/** For consumers without events: one warning per cause. */
export function decodeWarning(error: MessagingError, message: Message): void {
  const { cause, text } = decodeReport(error, message);
  warnOnce(cause, text);
}

/** For consumers without events: one warning per cause. */
export function handlerWarning(error: unknown, message: Message, info: FailureInfo, isUnforeseen: boolean): void {
  if (!isUnforeseen) return;
  const { cause, text } = handlerReport(error instanceof Error ? error : new Error(show(error)), message, info);
  warnOnce(cause, text);
}
