import {
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

/** Serialization failure, deadlock, lock not available; and a queue that was deleted while a message was on its way into it. */
const BUSY: ReadonlySet<string> = new Set(['40001', '40P01', '55P03', '23503']);
/** Somebody dropped the tables: connecting again makes them. */
const UNDEFINED_TABLE = '42P01';

/** SQLSTATE, of five characters; undefined: the error is not the server's. */
function stateOf(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as { readonly code?: unknown; readonly severity?: unknown };
  return typeof code === 'string' && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof MessagingError) return error instanceof ConnectionError ? 'lost' : 'failed';
  const state = stateOf(error);
  if (state === undefined) return isOfConnection(error) ? 'lost' : 'failed';
  if (BUSY.has(state)) return 'busy';
  // 08: connection exceptions. 57P0x: the server is shutting down, or a person ended the connection.
  return /^(08|57P0|25P0[34])/.test(state) || state === UNDEFINED_TABLE ? 'lost' : 'failed';
}

export function classify(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  const message = `postgresql: ${error instanceof Error ? error.message : String(error)}`;
  const state = stateOf(error);
  if (state !== undefined && /^28/.test(state)) return new AuthenticationError(message, { cause: error });
  if (state === '3D000') return new VhostNotFoundError(message, { cause: error });
  if (isOfTls(error)) return new TlsError(message, { cause: error });
  if (failureOf(error) === 'failed' && state !== '53300') return new StoreError(message, { cause: error });
  return new RecoverableConnectionError(message, { cause: error });
}

/** The same of what happened before the connection was open. */
export function classifyConnect(error: unknown): MessagingError {
  return asConnectError(classify(error));
}

/** Node's errors have words for codes; the client's own have none, and speak of the connection. */
function isOfConnection(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (typeof code === 'string' && /^(E[A-Z]+|ERR_(SOCKET|STREAM|TLS|SSL)\w*)$/.test(code)) return true;
  return typeof message === 'string' && /connection|client (was|has)|socket|timeout/i.test(message);
}

function isOfTls(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return message === 'The server does not support SSL connections' || isTlsCode(code);
}
