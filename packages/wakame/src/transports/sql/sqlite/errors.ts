import { type MessagingError, RecoverableConnectionError, StoreError } from '../../../errors.js';
import type { Failure } from '../dialect.js';

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html). */
const BUSY = 5;
const LOCKED = 6;
const NOT_A_DATABASE = 26;
const PRIMARY: Readonly<Record<string, number>> = {
  SQLITE_BUSY: BUSY,
  SQLITE_LOCKED: LOCKED,
  SQLITE_READONLY: 8,
  SQLITE_IOERR: 10,
  SQLITE_CORRUPT: 11,
  SQLITE_CANTOPEN: 14,
  SQLITE_NOTADB: NOT_A_DATABASE,
};
/** After these the connection is of no use. */
const LOST: ReadonlySet<number> = new Set([8, 10, 11, 14, NOT_A_DATABASE]);

/** The primary result code: node:sqlite gives numbers (`errcode`), better-sqlite3 names (`code`). */
function codeOf(error: unknown): number | undefined {
  const { errcode, code } = (error ?? {}) as { readonly errcode?: unknown; readonly code?: unknown };
  if (typeof errcode === 'number') return errcode & 0xff;
  if (typeof code !== 'string') return undefined;
  const name = /^SQLITE_[A-Z]+/.exec(code)?.[0];
  return name === undefined ? undefined : PRIMARY[name];
}

export function failureOf(error: unknown): Failure {
  const code = codeOf(error);
  if (code === BUSY || code === LOCKED) return 'busy';
  if (code !== undefined && LOST.has(code)) return 'lost';
  // Somebody dropped our tables, or put another file in the place of the database.
  return error instanceof Error && /^no such table/.test(error.message) ? 'lost' : 'failed';
}

/** The file is something else. */
export function isNoDatabase(error: unknown): boolean {
  return codeOf(error) === NOT_A_DATABASE;
}

export function classify(error: unknown): MessagingError {
  const message = `sqlite: ${error instanceof Error ? error.message : String(error)}`;
  if (failureOf(error) === 'failed') return new StoreError(message, { cause: error });
  return new RecoverableConnectionError(message, { cause: error });
}
