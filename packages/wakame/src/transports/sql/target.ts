/**
 * Which database a URL means:
 *
 * ```
 *   sqlite:orders.db   sqlite:/var/lib/orders.db          a path, percent-encoded where need be
 *   sqlite:///orders.db   sqlite:////var/lib/orders.db    as SQLAlchemy writes them: three slashes are relative, four absolute
 *   sqla+sqlite:///orders.db                              as Kombu
 * ```
 */
import { resolve } from 'node:path';
import { InvalidArgumentError, InvalidUrlError } from '../../errors.js';
import { show } from '../../util/check.js';
import { didYouMean } from '../../util/nearest.js';
import { warnOnce } from '../../util/warnings.js';
import type { OpenDriver } from '../virtual/driver.js';
import { IGNORED_OPTIONS, SQL_OPTIONS } from './options.js';

type ConnectionParameters = OpenDriver['parameters'];

export type DatabaseKind = 'sqlite';

/** A database, and how to reach it. */
export interface Target {
  readonly kind: DatabaseKind;
  /** The absolute path of SQLite's file. */
  readonly database: string;
  /** From the query of a URL that only we read. */
  readonly query: Readonly<Record<string, string>>;
}

/** How SQLAlchemy calls the databases. */
const KINDS: ReadonlyMap<string, DatabaseKind> = new Map([['sqlite', 'sqlite']]);

/** Throws INVALID_URL, with no password in the message. */
export function targetOf(parameters: ConnectionParameters): Target {
  const { transport, hostname = '' } = parameters;
  if (transport === 'sqla' || transport === 'sqlalchemy') return sqlalchemyTarget(hostname);
  return sqliteTarget(hostname.replace(/^sqlite:/i, ''), true);
}

function kindOf(name: string): DatabaseKind {
  const kind = KINDS.get(name);
  if (kind !== undefined) return kind;
  const hint = didYouMean(name, [...KINDS.keys()]);
  throw new InvalidUrlError(
    `sqla+${name}: no such database is supported${hint}; supported are ${[...KINDS.keys()].join(', ')}`,
  );
}

/** A URL of SQLAlchemy's (`sqlalchemy.engine.make_url`), without the `sqla+`. */
function sqlalchemyTarget(url: string): Target {
  const [, name = '', rest = ''] = /^(\w+)(?:\+\w+)?:\/\/(.*)$/s.exec(url) ?? [];
  kindOf(name.toLowerCase());
  return sqliteTarget(`//${rest}`, false);
}

/** @param text What stands behind `sqlite:`. */
function sqliteTarget(text: string, isEncoded: boolean): Target {
  const mark = text.indexOf('?');
  const path = mark < 0 ? text : text.slice(0, mark);
  const [, slashes = '', rest = ''] = /^(\/\/)?(.*)$/s.exec(path) ?? [];
  if (slashes !== '' && rest !== '' && !rest.startsWith('/')) {
    throw new InvalidUrlError(
      `sqlite:${show(path)}: a file has no host; sqlite:name.db and sqlite:///name.db are relative paths`,
    );
  }
  const file = decodedPath(slashes === '' ? rest : rest.slice(1), isEncoded);
  if (file === '' || file === ':memory:') {
    throw new InvalidUrlError(
      'sqlite: a file is wanted: a database in memory is shared with nobody (memory:// is for that)',
    );
  }
  const query = queryOf(mark < 0 ? '' : text.slice(mark + 1));
  return {
    kind: 'sqlite',
    database: resolve(file),
    query,
  };
}

function decodedPath(path: string, isEncoded: boolean): string {
  if (!isEncoded) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    throw new InvalidUrlError(`sqlite:${path}: '%' stands before two hexadecimal digits (%25 is the character)`);
  }
}

const KNOWN: ReadonlySet<string> = new Set(SQL_OPTIONS);

function queryOf(text: string): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const ignored = IGNORED_OPTIONS[key];
    if (KNOWN.has(key)) query[key] = value;
    else if (ignored !== undefined)
      warnOnce(`sql option ${key}`, `'${key}' in the query of the URL has no effect: ${ignored}`);
    else throw new InvalidArgumentError(`'${key}' in the query of the URL is not known${didYouMean(key, [...KNOWN])}`);
  }
  return query;
}

/** Names the database, for those of this process that use the same one. */
export function keyOf({ kind, database }: Target): string {
  return JSON.stringify([kind, database]);
}
