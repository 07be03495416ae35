import {
  AccessRefused,
  AuthenticationError,
  ConnectionError,
  MessagingError,
  RecoverableConnectionError,
  StoreError,
  TlsError,
  VhostNotFoundError,
} from '../../../errors.js';
import { asConnectError, isTlsCode } from '../connect-errors.js';
import type { Failure } from '../dialect.js';

/**
 * Deadlock, lock not got or not waited for, a row that changed since the transaction's snapshot, a statement that took longer than the server allows; and a queue that was deleted while
 * a message was on its way into it.
 */
const BUSY: ReadonlySet<number> = new Set([1213, 1205, 3572, 1020, 1969, 1452]);
/** Shutdown, connection or query killed, disconnected as idle, too many connections; and tables or sequences that somebody dropped: connecting again makes them. */
const LOST: ReadonlySet<number> = new Set([1053, 1927, 3169, 1317, 4031, 1040, 1203, 1146, 4091]);

/** Of the server; undefined: the error is not the server's. */
function numberOf(error: unknown): number | undefined {
  const { errno, sqlState } = (error ?? {}) as { readonly errno?: unknown; readonly sqlState?: unknown };
  return typeof errno === 'number' && typeof sqlState === 'string' ? errno : undefined;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof MessagingError) return error instanceof ConnectionError ? 'lost' : 'failed';
  const number = numberOf(error);
  if (number === undefined) return isOfConnection(error) ? 'lost' : 'failed';
  if (BUSY.has(number)) return 'busy';
  return LOST.has(number) || (error as { readonly fatal?: unknown }).fatal === true ? 'lost' : 'failed';
}

export function classify(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  const message = `mysql: ${error instanceof Error ? error.message : String(error)}`;
  const number = numberOf(error) ?? 0;
  if (number === 1045 || number === 1698) return new AuthenticationError(message, { cause: error });
  if (number === 1044 || number === 1142) return new AccessRefused(message, { cause: error });
  if (number === 1049) return new VhostNotFoundError(message, { cause: error });
  if (isTlsCode((error as { readonly code?: unknown } | null)?.code)) return new TlsError(message, { cause: error });
  if (failureOf(error) === 'failed') return new StoreError(message, { cause: error });
  return new RecoverableConnectionError(message, { cause: error });
}

/** The same of what happened before the connection was open. */
export function classifyConnect(error: unknown): MessagingError {
  return asConnectError(classify(error));
}

/** Node's errors have words for codes, as has what the client itself says of the connection. */
function isOfConnection(error: unknown): boolean {
  const { code, message, fatal } = (error ?? {}) as {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly fatal?: unknown;
  };
  if (fatal === true) return true;
  if (typeof code === 'string' && /^(E[A-Z]+|PROTOCOL_\w+|ERR_(SOCKET|STREAM|TLS|SSL)\w*)$/.test(code)) return true;
  return typeof message === 'string' && /connection|closed state|socket|timeout/i.test(message);
}
