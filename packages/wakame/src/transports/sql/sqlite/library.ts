/** The two libraries that a SQLite database can be opened with, as one. */
import { createRequire } from 'node:module';
import { MissingDependencyError } from '../../../errors.js';
import type { Row } from '../steps.js';

/** A prepared statement of either library. */
export interface PreparedStatement {
  all(...values: unknown[]): unknown[];
  run(...values: unknown[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
}

/** A database of either library: what both have in common. */
export interface SqliteDatabase {
  prepare(text: string): PreparedStatement;
  exec(text: string): unknown;
  close(): unknown;
}

export type SqliteLibrary = 'node:sqlite' | 'better-sqlite3';

export const LIBRARIES: readonly SqliteLibrary[] = ['node:sqlite', 'better-sqlite3'];

export type OpenSqlite = (file: string) => SqliteDatabase;

/** What is to be installed: from 13 on it is for Node.js 22 and later. */
const BETTER = Number.parseInt(process.versions.node, 10) < 22 ? 'better-sqlite3@12' : 'better-sqlite3';

type NodeSqlite = typeof import('node:sqlite');
type BetterSqlite = new (file: string, options: { readonly timeout: number }) => SqliteDatabase;

/** What is loaded: replaced in tests. */
export interface Loaders {
  readonly node: () => Promise<Pick<NodeSqlite, 'DatabaseSync'>>;
  readonly better: () => Promise<{ readonly default: unknown }>;
}

const LOADERS: Loaders = {
  node: () => import('node:sqlite'),
  better: () => {
    const { version, engines } = createRequire(import.meta.url)('better-sqlite3/package.json') as Manifest;
    checkRelease(version, engines?.node, process.versions.node);
    return import('better-sqlite3');
  },
};

interface Manifest {
  readonly version: string;
  readonly engines?: { readonly node?: string } | undefined;
}

/** Throws when a release of better-sqlite3 is for later releases of Node than this one, on which it would end the process. */
export function checkRelease(version: string, engines: string | undefined, node: string): void {
  const [, least] = /^>=\s*(\d+)/.exec(engines ?? '') ?? [];
  if (least === undefined || Number.parseInt(node, 10) >= Number(least)) return;
  throw new Error(`better-sqlite3 ${version} needs Node.js ${least} or later, and this is ${node}`);
}

/**
 * Node's own SQLite where this Node has it (from 22.13 without a flag), else better-sqlite3.
 *
 * @param wanted Only this one.
 * @throws MissingDependencyError MISSING_DEPENDENCY when there is neither.
 */
export async function loadSqlite(wanted: SqliteLibrary | undefined, loaders: Loaders = LOADERS): Promise<OpenSqlite> {
  const failures: unknown[] = [];
  for (const library of wanted === undefined ? LIBRARIES : [wanted]) {
    try {
      return library === 'node:sqlite' ? await openWithNode(loaders) : await openWithBetter(loaders);
    } catch (error) {
      failures.push(error);
    }
  }
  const hint = 'or run a Node.js that has node:sqlite: 22.13 or later';
  throw new MissingDependencyError('the sqlite transport', BETTER, hint, { cause: failures.at(-1) });
}

async function openWithNode(loaders: Loaders): Promise<OpenSqlite> {
  const { DatabaseSync } = await loaders.node();
  // No lock is ever waited for within a call: that would stop the event loop.
  return (file) => new DatabaseSync(file, { timeout: 0 }) as SqliteDatabase;
}

async function openWithBetter(loaders: Loaders): Promise<OpenSqlite> {
  const Database = (await loaders.better()).default as BetterSqlite;
  return (file) => new Database(file, { timeout: 0 });
}

/** Statements of one database, prepared once. */
export class Statements {
  readonly #database: Pick<SqliteDatabase, 'prepare'>;
  readonly #prepared = new Map<string, PreparedStatement>();

  constructor(database: Pick<SqliteDatabase, 'prepare'>) {
    this.#database = database;
  }

  all(text: string, values: readonly unknown[]): readonly Row[] {
    return this.#prepare(text).all(...values) as Row[];
  }

  run(text: string, values: readonly unknown[]): { readonly changes: number; readonly insertId: number } {
    const { changes, lastInsertRowid } = this.#prepare(text).run(...values);
    return { changes: Number(changes), insertId: Number(lastInsertRowid) };
  }

  #prepare(text: string): PreparedStatement {
    let statement = this.#prepared.get(text);
    if (statement === undefined) {
      statement = this.#database.prepare(text);
      this.#prepared.set(text, statement);
    }
    return statement;
  }
}
