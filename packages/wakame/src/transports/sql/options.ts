import { InvalidArgumentError } from '../../errors.js';
import { checkOneOf, show } from '../../util/check.js';
import { secondsToMs } from '../../util/seconds.js';
import { type Names, tableNames } from './names.js';
import { LIBRARIES, type SqliteLibrary } from './sqlite/library.js';

/** What SQLite waits for before a commit is done: its own words. */
const SYNCHRONOUS = ['OFF', 'NORMAL', 'FULL', 'EXTRA'] as const;

/** Names of our transport options; see docs/guides/sql.md. */
export const SQL_OPTIONS = [
  'queue_tablename',
  'message_tablename',
  'lease',
  'read_timeout',
  'synchronous',
  'sqlite_driver',
  'prune_after',
  'body_encoding',
  'pool',
] as const;

export const DURATION_OPTIONS = ['lease', 'read_timeout', 'prune_after'] as const;

/** Keys that SQLAlchemy or Python's database modules take, in a URL's query or beside it. */
export const IGNORED_OPTIONS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    'echo',
    'echo_pool',
    'pool_size',
    'max_overflow',
    'pool_recycle',
    'pool_timeout',
    'pool_pre_ping',
    'pool_use_lifo',
    'poolclass',
    'isolation_level',
    'connect_args',
    'future',
    'charset',
    'client_encoding',
    'check_same_thread',
    'timeout',
    'application_name',
  ].map((name) => [name, "it is SQLAlchemy's, or of the Python module beneath it"]),
);

export interface SqlOptions {
  readonly names: Names;
  /** Milliseconds. */
  readonly lease: number;
  /** Milliseconds that an answer of the database, or a lock, is waited for before the connection is given up. */
  readonly timeout: number;
  readonly synchronous: (typeof SYNCHRONOUS)[number];
  /** Undefined: the one that there is. */
  readonly sqliteLibrary: SqliteLibrary | undefined;
  /** Milliseconds; undefined: what Python took stays in the table. */
  readonly pruneAfter: number | undefined;
  readonly bodyEncoding: 'base64' | 'utf-8';
  /** A pool of the user's to take the connection from. */
  readonly pool: unknown;
}

/** What a driver has before it is opened. */
export const DEFAULT_LEASE = 30_000;

/**
 * Reads them. Values from a URL are text.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT, naming the value.
 */
export function sqlOptions(given: Readonly<Record<string, unknown>>): SqlOptions {
  const { queue_tablename: queue, message_tablename: message, synchronous, sqlite_driver: library } = given;
  const { body_encoding: encoding, pool } = given;
  const upper = typeof synchronous === 'string' ? synchronous.toUpperCase() : synchronous;
  return {
    names: tableNames(queue as string | undefined, message as string | undefined),
    lease: duration('lease', given.lease, 0.1) ?? DEFAULT_LEASE,
    timeout: duration('read_timeout', given.read_timeout, 0.05) ?? 10_000,
    synchronous: upper === undefined ? 'FULL' : checkOneOf('synchronous', upper, SYNCHRONOUS),
    sqliteLibrary: library === undefined ? undefined : checkOneOf('sqlite_driver', library, LIBRARIES),
    pruneAfter: duration('prune_after', given.prune_after, 60),
    bodyEncoding: encoding === undefined ? 'base64' : checkOneOf('body_encoding', encoding, ['base64', 'utf-8']),
    pool,
  };
}

/** Seconds as milliseconds. */
function duration(name: string, value: unknown, atLeast: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = secondsToMs(name, value);
  if (ms >= atLeast * 1000 && ms < 2 ** 31) return ms;
  throw new InvalidArgumentError(`${name} must be from ${atLeast} s up to 24 days, not ${show(value)}`);
}
