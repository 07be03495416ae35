/** The package `mysql2`: connections of our own and of a pool's, and questions to them. */
import type { Connection, ConnectionOptions, ResultSetHeader } from 'mysql2';
import { InvalidArgumentError, MissingDependencyError } from '../../../errors.js';
import { show } from '../../../util/check.js';
import { noop } from '../../../util/noop.js';
import { tlsOptions } from '../../../util/tls.js';
import type { OpenSession } from '../backend.js';
import type { ServerClient } from '../server-session.js';
import type { Answer, Row, Statement } from '../steps.js';
import type { MysqlDialect } from './dialect.js';
import { classifyConnect } from './errors.js';
import { anyServer } from './servers.js';

export interface Connected {
  readonly connection: Connection;
  readonly end: () => Promise<void>;
}

/** Rejects with errors of ours. */
export async function connect({ target, connectTimeout, signal }: OpenSession): Promise<Connected> {
  const { host, port, user, password, database, ssl } = target;
  let library: { readonly default: { createConnection(options: ConnectionOptions): Connection } };
  try {
    library = await import('mysql2');
  } catch (cause) {
    throw new MissingDependencyError('the mysql transport', 'mysql2', '', { cause });
  }
  const connection = library.default.createConnection({
    ...{ host, port, database, user: user ?? 'root', password: password ?? '', connectTimeout },
    ...(ssl === false ? {} : { ssl: tlsOf(ssl, host) }),
    charset: 'utf8mb4',
    enableKeepAlive: true,
    supportBigNumbers: true,
  });
  // An error on a connection that nobody listens to would end the process.
  connection.on('error', () => undefined);
  let abort: () => void = noop;
  try {
    await new Promise<void>((resolve, reject) => {
      abort = () => reject(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      connection.connect((error) => (error === null ? resolve() : reject(classifyConnect(error))));
    });
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  const end = () => new Promise<void>((resolve) => connection.end(() => resolve()));
  return { connection, end };
}

/** All that mysql2 passes on. */
const TLS_OPTIONS = [
  'ca',
  'cert',
  'key',
  'passphrase',
  'ciphers',
  'minVersion',
  'maxVersion',
  'rejectUnauthorized',
] as const;

/** mysql2 verifies that the certificate is the host's only when it is asked to, and only by the name that it connects to. */
function tlsOf(ssl: true | Readonly<Record<string, unknown>>, host: string): NonNullable<ConnectionOptions['ssl']> {
  const { servername, checkServerIdentity, ...options } = tlsOptions(ssl, host);
  const known: readonly string[] = TLS_OPTIONS;
  const own = ssl !== true && ssl.checkServerIdentity !== undefined ? ['checkServerIdentity'] : [];
  for (const key of [...Object.keys(options), ...own]) {
    if (!known.includes(key)) throw new InvalidArgumentError(`TLS option '${key}' is nothing that mysql2 knows`);
  }
  const verifyIdentity = checkServerIdentity === undefined && options.rejectUnauthorized !== false;
  if (verifyIdentity && servername !== host) {
    const remedy = 'name the host as its certificate does, or say ssl_check_hostname=false';
    throw new InvalidArgumentError(`TLS: mysql2 verifies no other name than that of the host '${host}': ${remedy}`);
  }
  return { ...options, verifyIdentity } as NonNullable<ConnectionOptions['ssl']>;
}

/** What is used of a pool of mysql2's: with callbacks, or what its promises are wrapped around. */
interface PoolLike {
  getConnection(callback: (error: Error | null, connection: Connection) => void): void;
}

export async function fromPool(given: unknown): Promise<Connected> {
  const { pool = given } = (given ?? {}) as { readonly pool?: unknown };
  if (typeof (pool as PoolLike | null)?.getConnection !== 'function') {
    throw new InvalidArgumentError(`pool must be a pool of mysql2, not ${show(given)}`);
  }
  const connection = await new Promise<Connection>((resolve, reject) => {
    (pool as PoolLike).getConnection((error, one) => (error ? reject(classifyConnect(error)) : resolve(one)));
  });
  // Its session has settings of ours: the pool makes another one when it needs one.
  return { connection, end: async () => connection.destroy() };
}

export class MysqlClient implements ServerClient<MysqlDialect> {
  /** Set as soon as the server has said which it is. */
  dialect = anyServer;
  readonly #connection: Connection;
  readonly #end: () => Promise<void>;
  readonly #listeners: (() => void)[] = [];

  constructor(connection: Connection, end: () => Promise<void>) {
    this.#connection = connection;
    this.#end = end;
  }

  listen(ended: (error: unknown) => void): void {
    const connection: NodeJS.EventEmitter = this.#connection;
    for (const event of ['error', 'end']) {
      const listener = (error?: unknown) => ended(error ?? new Error('the connection was closed'));
      connection.on(event, listener);
      this.#listeners.push(() => connection.off(event, listener));
    }
  }

  execute(statement: Statement): Promise<Answer> {
    return query(this.#connection, this.dialect, statement);
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    const { rows } = await this.execute({ text: 'SELECT VERSION() AS version', values: [], returns: true });
    return { product: this.dialect.product, version: String(rows[0]?.version) };
  }

  async end(): Promise<void> {
    this.#finish();
    await this.#end();
  }

  destroy(): void {
    this.#finish();
    this.#connection.destroy();
  }

  #finish(): void {
    // An error after this is nobody's, and without a listener it would end the process.
    this.#connection.on('error', () => undefined);
    for (const off of this.#listeners.splice(0)) off();
  }
}

/** Whether a transaction is open, as the server says with every answer: SERVER_STATUS_IN_TRANS. MySQL has no variable for that. */
export function isInTransaction(connection: Connection): Promise<boolean> {
  return new Promise((resolve, reject) => {
    connection.query<ResultSetHeader>('DO 0', (error, result) => {
      if (error !== null) reject(error);
      else resolve((result.serverStatus & 1) === 1);
    });
  });
}

/** By the text protocol: the client writes the values, and lists of them, into the statement. */
export function query(
  connection: Connection,
  { skipping }: MysqlDialect,
  { text, values }: Statement,
): Promise<Answer> {
  const sql = text.endsWith('SKIP LOCKED') ? skipping + text : text;
  const options = { sql, values: [...values], rowsAsArray: false, namedPlaceholders: false, typeCast: true };
  return new Promise((resolve, reject) => {
    connection.query(options, (error, result) => {
      if (error !== null) return reject(error);
      if (Array.isArray(result)) return resolve({ rows: result as Row[], changes: 0, insertId: 0 });
      resolve({ rows: [], changes: result.affectedRows, insertId: result.insertId });
    });
  });
}
