import type { ErrorDetails } from './errors.js';
import { methodName } from './protocol/methods.js';

/** What channel.close and connection.close say. */
export interface CloseArguments {
  readonly replyCode: number;
  readonly replyText: string;
  readonly classId: number;
  readonly methodId: number;
}

/** The facts of a close for an error, the blamed method by name where the peer names one (class 0 means none). */
export function replyDetails(close: CloseArguments): ErrorDetails {
  const { replyCode, replyText, classId, methodId } = close;
  if (classId === 0) return { replyCode, replyText };
  const method = methodName((classId << 16) | methodId);
  return { replyCode, replyText, classId, methodId, ...(method === undefined ? {} : { method }) };
}
