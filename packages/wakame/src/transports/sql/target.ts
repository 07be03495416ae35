/**
 * Which database a URL means:
 *
 * ```
 *   sqlite:orders.db   sqlite:/var/lib/orders.db          a path, percent-encoded where need be
 *   sqlite:///orders.db   sqlite:////var/lib/orders.db    as SQLAlchemy writes them: three slashes are relative, four absolute
 *   postgresql://user:password@host:5432/database         also postgres://
 *   mysql://user:password@host:3306/database              also mariadb://
 *   sqla+sqlite:///orders.db   sqla+postgresql+psycopg2://…    as Kombu
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

export type DatabaseKind = 'sqlite' | 'postgresql' | 'mysql';

/** A database, and how to reach it. */
export interface Target {
  readonly kind: DatabaseKind;
  /** The absolute path of SQLite's file, or the name of the database. */
  readonly database: string;
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly ssl: ConnectionParameters['ssl'];
  /** From the query of a URL that only we read. */
  readonly query: Readonly<Record<string, string>>;
}

/** How SQLAlchemy and others call the databases. */
const KINDS: ReadonlyMap<string, DatabaseKind> = new Map([
  ['sqlite', 'sqlite'],
  ['postgresql', 'postgresql'],
  ['postgres', 'postgresql'],
  ['mysql', 'mysql'],
  ['mariadb', 'mysql'],
]);

const PORTS: Readonly<Record<DatabaseKind, number>> = { sqlite: 0, postgresql: 5432, mysql: 3306 };

/** Throws INVALID_URL, with no password in the message. */
export function targetOf(parameters: ConnectionParameters): Target {
  const { transport, hostname = '' } = parameters;
  if (transport === 'sqla' || transport === 'sqlalchemy') return sqlalchemyTarget(hostname, parameters);
  const kind = kindOf(transport);
  if (kind === 'sqlite') return sqliteTarget(hostname.replace(/^sqlite:/i, ''), true);
  const { port, userid, password, virtualHost, ssl } = parameters;
  const database = virtualHost === '/' ? undefined : virtualHost;
  return serverTarget(kind, { host: hostname, port, user: userid, password, database, ssl, query: {} });
}

function kindOf(name: string): DatabaseKind {
  const kind = KINDS.get(name);
  if (kind !== undefined) return kind;
  const hint = didYouMean(name, [...KINDS.keys()]);
  throw new InvalidUrlError(
    `sqla+${name}: no such database is supported${hint}; supported are ${[...KINDS.keys()].join(', ')}`,
  );
}

/** Parameters of Python's modules for MariaDB and MySQL, which SQLAlchemy passes on to them, and ours. */
const PYMYSQL_TLS: Readonly<Record<string, string>> = {
  ssl_ca: 'ca_certs',
  ssl_cert: 'certfile',
  ssl_key: 'keyfile',
  ssl_check_hostname: 'check_hostname',
};

/** A URL of SQLAlchemy's (`sqlalchemy.engine.make_url`), without the `sqla+`. */
function sqlalchemyTarget(url: string, parameters: ConnectionParameters): Target {
  const [, name = '', rest = ''] = /^(\w+)(?:\+\w+)?:\/\/(.*)$/.exec(url) ?? [];
  const kind = kindOf(name.toLowerCase());
  if (kind === 'sqlite') return sqliteTarget(`//${rest}`, false);
  let parts: URL;
  try {
    parts = new URL(`sql://${rest}`);
  } catch {
    throw new InvalidUrlError(`sqla+${name}: a URL such as sqla+${name}://user@host/database is wanted`);
  }
  const tlsKeys = kind === 'mysql' ? PYMYSQL_TLS : {};
  const { sslmode, ...others } = queryOf(parts.search.slice(1), ['sslmode', ...Object.keys(tlsKeys)]);
  const tls: Record<string, string> = {};
  for (const [key, name] of Object.entries(tlsKeys)) {
    if (others[key] !== undefined) tls[name] = others[key];
    delete others[key];
  }
  const isAsked = sslmode === undefined ? parameters.ssl : /^(require|verify-ca|verify-full)$/.test(sslmode);
  return serverTarget(kind, {
    host: parts.hostname.replace(/^\[|\]$/g, ''),
    port: parts.port === '' ? undefined : Number(parts.port),
    user: decoded(parts.username),
    password: decoded(parts.password),
    database: decoded(parts.pathname.slice(1)),
    ssl: Object.keys(tls).length > 0 ? tls : isAsked,
    query: others,
  });
}

interface ServerParts {
  readonly host: string;
  readonly port: number | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly ssl: Target['ssl'];
  readonly query: Target['query'];
}

function serverTarget(kind: DatabaseKind, parts: ServerParts): Target {
  const { host, port, database, user } = parts;
  const named = database ?? (kind === 'postgresql' ? user : undefined);
  if (named === undefined) {
    throw new InvalidUrlError(`${kind}://${host}: the URL names no database (${kind}://user@host/database)`);
  }
  return { ...parts, kind, host: host === '' ? 'localhost' : host, port: port ?? PORTS[kind], database: named };
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
  const query = queryOf(mark < 0 ? '' : text.slice(mark + 1), []);
  return {
    kind: 'sqlite',
    database: resolve(file),
    host: '',
    port: 0,
    user: undefined,
    password: undefined,
    ssl: false,
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

function decoded(text: string): string | undefined {
  return text === '' ? undefined : decodeURIComponent(text);
}

const KNOWN: ReadonlySet<string> = new Set(SQL_OPTIONS);

function queryOf(text: string, more: readonly string[]): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const ignored = IGNORED_OPTIONS[key];
    if (KNOWN.has(key) || more.includes(key)) query[key] = value;
    else if (ignored !== undefined)
      warnOnce(`sql option ${key}`, `'${key}' in the query of the URL has no effect: ${ignored}`);
    else
      throw new InvalidArgumentError(
        `'${key}' in the query of the URL is not known${didYouMean(key, [...KNOWN, ...more])}`,
      );
  }
  return query;
}

/** Names the database, for those of this process that use the same one. */
export function keyOf({ kind, host, port, database }: Target): string {
  return JSON.stringify([kind, host, port, database]);
}
