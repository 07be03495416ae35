import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  InvalidArgumentError,
  MessagingError,
  RecoverableConnectionError,
  VhostNotFoundError,
} from '../../../errors.js';
import { sleep } from '../../../util/abort.js';
import { jitteredBackoff } from '../../../util/backoff.js';
import { show } from '../../../util/check.js';
import type { Backend, Mode, OpenSession, Session } from '../backend.js';
import type { Names } from '../names.js';
import type { SqlOptions } from '../options.js';
import { checkVersion, fillMeta } from '../schema.js';
import { type Answer, all, run, runSync, type Statement, type Steps } from '../steps.js';
import type { Target } from '../target.js';
import { sqliteDialect } from './dialect.js';
import { classify, failureOf, isNoDatabase } from './errors.js';
import { loadSqlite, type SqliteDatabase, Statements } from './library.js';
import { checkLibrary, pathOf, useFile } from './one-library.js';

/** The file of a SQLite database, in this process. */
export const sqliteBackend: Backend = {
  singleWriter: true,
  // What is asked at this pace is a number in shared memory.
  pace: { shortest: 4, longest: 50 },
  failureOf,
  classify,

  async open({ target, options, signal }: OpenSession): Promise<Session> {
    const file = target.database;
    const open = await loadSqlite(options.sqliteLibrary);
    let database: SqliteDatabase;
    try {
      database = open(file);
    } catch (cause) {
      throw cannotOpen(file, cause);
    }
    let leave: (() => void) | undefined;
    try {
      leave = useFile(file, database);
      await untilFree(() => configure(database, options), signal);
      return new SqliteSession(file, database, leave);
    } catch (cause) {
      leave?.();
      database.close();
      if (signal?.aborted === true) throw signal.reason;
      throw cannotOpen(file, cause);
    }
  },

  async prepare(session: Session, names: Names): Promise<void> {
    const isComplete = await session.transact('read', () => complete(names));
    if (isComplete) return;
    await untilFree(() => session.transact('write', () => create(names)), undefined);
  },

  async within<T>(_session: Session, transaction: unknown, target: Target, work: () => Steps<T>): Promise<T> {
    const statements = statementsOf(checkTransaction(transaction, target.database));
    return runSync(work(), (statement) => execute(statements, statement));
  },
};

class SqliteSession implements Session {
  readonly dialect = sqliteDialect;
  readonly #file: string;
  readonly #database: SqliteDatabase;
  readonly #statements: Statements;
  readonly #inode: number;
  readonly #leave: () => void;
  #version = -1;
  #open = true;

  /** @param leave Called when the file is closed. */
  constructor(file: string, database: SqliteDatabase, leave: () => void) {
    this.#leave = leave;
    this.#file = file;
    this.#database = database;
    this.#statements = new Statements(database);
    this.#inode = statSync(file).ino;
  }

  /** Begins and ends within the call: nothing else of this process can come in between. */
  transact<T>(mode: Mode, work: () => Steps<T>): T {
    if (!this.#open) throw new RecoverableConnectionError(`sqlite: ${this.#file} is closed`);
    // Taken at once, so that a transaction that has read never finds that it may not write.
    this.#statements.run(mode === 'write' ? 'BEGIN IMMEDIATE' : 'BEGIN', []);
    try {
      const result = runSync(work(), (statement) => execute(this.#statements, statement));
      this.#statements.run('COMMIT', []);
      return result;
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  /** Sees what other connections committed, in this process and others, not what this one did. */
  changed(): boolean {
    if (!this.#open) return false;
    const [row] = this.#statements.all('PRAGMA data_version', []);
    const version = Number(row?.data_version);
    const changed = version !== this.#version;
    this.#version = version;
    return changed;
  }

  /** A file that was deleted or replaced can be written to as if nothing had happened. */
  async check(): Promise<void> {
    const found = await stat(this.#file).catch(() => undefined);
    if (!this.#open || found?.ino === this.#inode) return;
    throw new RecoverableConnectionError(`sqlite: ${this.#file} was deleted or replaced`);
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    const [row] = this.#statements.all('SELECT sqlite_version() AS version', []);
    return { product: 'SQLite', version: row?.version, file: this.#file };
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#leave();
    try {
      this.#database.close();
    } catch {
      // It is given up either way.
    }
  }

  #rollback(): void {
    try {
      this.#statements.run('ROLLBACK', []);
    } catch {
      // Some errors have rolled back already.
    }
  }
}

function execute(statements: Statements, { text, values, returns }: Statement): Answer {
  if (returns) return { rows: statements.all(text, values), changes: 0, insertId: 0 };
  return { rows: [], ...statements.run(text, values) };
}

function configure(database: SqliteDatabase, options: SqlOptions): void {
  database.exec('PRAGMA busy_timeout = 0');
  // Kept in the file: whoever opens it, Python too, uses the write-ahead log from now on. Readers and the writer do not wait for each other then.
  database.exec('PRAGMA journal_mode = WAL');
  database.exec(`PRAGMA synchronous = ${options.synchronous}`);
}

function* complete(names: Names): Steps<boolean> {
  const wanted = [names.queue, names.message, names.meta, `ix_${names.prefix}_ready`];
  const found = yield* all(
    `SELECT name FROM sqlite_master WHERE name IN (${wanted.map(() => '?').join(', ')})`,
    ...wanted,
  );
  return found.length === wanted.length && (yield* checkVersion(names));
}

function* create(names: Names): Steps<void> {
  for (const text of sqliteDialect.schema(names)) yield* run(text);
  yield* fillMeta(names);
  yield* checkVersion(names);
}

/** Tries again while others are in the way, until the signal ends it. */
async function untilFree<T>(action: () => T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const patience = performance.now() + 30_000;
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (failureOf(error) !== 'busy' || performance.now() > patience) throw error;
      await sleep(jitteredBackoff(attempt, { start: 2, max: 50 }), { signal });
    }
  }
}

function cannotOpen(file: string, cause: unknown): MessagingError {
  if (cause instanceof MessagingError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `sqlite: cannot open ${file}: ${reason}`;
  const folder = dirname(file);
  try {
    statSync(folder);
  } catch {
    return new VhostNotFoundError(`${message}: there is no folder ${folder}`, { cause });
  }
  if (isNoDatabase(cause)) return new VhostNotFoundError(message, { cause });
  return new RecoverableConnectionError(message, { code: 'CONNECT_FAILED', cause });
}

// A transaction of the user's ────────────────────────────────────────────────────────────────────────────────────

/** What is looked at of a database handle: node:sqlite's `DatabaseSync`, or better-sqlite3's `Database`. */
interface UserDatabase {
  prepare(text: string): unknown;
  readonly isTransaction?: unknown;
  readonly inTransaction?: unknown;
  location?(): string | null;
  readonly name?: unknown;
}

const userStatements = new WeakMap<object, Statements>();

function statementsOf(database: object): Statements {
  let statements = userStatements.get(database);
  if (statements === undefined) {
    statements = new Statements(database as SqliteDatabase);
    userStatements.set(database, statements);
  }
  return statements;
}

function checkTransaction(transaction: unknown, file: string): object {
  const database = transaction as UserDatabase | null;
  const wanted = "the database of node:sqlite or better-sqlite3 on the connection's own file";
  if (typeof database !== 'object' || database === null || typeof database.prepare !== 'function') {
    throw new InvalidArgumentError(`transaction must be ${wanted}, not ${show(transaction)}`, { outcome: 'not-sent' });
  }
  const location = typeof database.location === 'function' ? database.location() : database.name;
  if (typeof location !== 'string' || pathOf(location) !== pathOf(file)) {
    throw new InvalidArgumentError(`transaction must be ${wanted}, ${file}, not on ${show(location)}`, {
      outcome: 'not-sent',
    });
  }
  checkLibrary(file, database);
  if (database.isTransaction !== true && database.inTransaction !== true && !inTransaction(database)) {
    const text = 'transaction: the database has none open; begin it first, or what is published stands at once';
    throw new InvalidArgumentError(text, { outcome: 'not-sent' });
  }
  return database;
}

/** On a node:sqlite that has no `isTransaction` (before 22.16): within a transaction, BEGIN is refused. */
function inTransaction(database: UserDatabase): boolean {
  if ('isTransaction' in database || 'inTransaction' in database) return false;
  const { exec } = database as unknown as SqliteDatabase;
  try {
    exec.call(database, 'BEGIN');
  } catch {
    return true;
  }
  exec.call(database, 'ROLLBACK');
  return false;
}
