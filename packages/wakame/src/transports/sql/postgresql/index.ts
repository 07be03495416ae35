import type { Client, ClientConfig, Notification, PoolClient, QueryConfig, QueryResult } from 'pg';
import { InvalidArgumentError, MissingDependencyError } from '../../../errors.js';
import { show } from '../../../util/check.js';
import { tlsOptions } from '../../../util/tls.js';
import type { Backend, OpenSession, Session } from '../backend.js';
import type { Dialect } from '../dialect.js';
import type { Names } from '../names.js';
import { checkVersion, fillMeta } from '../schema.js';
import { type ServerClient, ServerSession } from '../server-session.js';
import { type Answer, all, first, run, runAsync, type Statement, type Steps } from '../steps.js';
import type { Target } from '../target.js';
import { postgresqlDialect } from './dialect.js';
import { classify, classifyConnect, failureOf } from './errors.js';

/** PostgreSQL, with the client library `pg`. */
export const postgresqlBackend: Backend = {
  singleWriter: false,
  // Node processes tell each other. It is for what Python sends that somebody must look.
  pace: { shortest: 100, longest: 1000 },
  failureOf,
  classify,

  async open(options: OpenSession): Promise<Session> {
    const { names, options: settings, notified } = options;
    const { client, end } =
      settings.pool === undefined ? await connect(options) : await fromPool(settings.pool, names.prefix);
    const server = new PostgresqlClient(client, end, names.prefix);
    const session = new ServerSession(server, settings.timeout, options.lost);
    server.listen({
      ended: (error) => session.drop(error),
      notified: (payload) => notified(payload === '*' ? undefined : new Set(payload.split(',').map(Number))),
    });
    try {
      await session.transact('read', () => begin(names));
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  },

  async prepare(session: Session, names: Names): Promise<void> {
    if (await session.transact('read', () => complete(names))) return;
    await session.transact('write', () => create(names));
  },

  async within<T>(_session: Session, transaction: unknown, _target: Target, work: () => Steps<T>): Promise<T> {
    const client = transaction as Client | null;
    if (typeof client !== 'object' || client === null || typeof client.query !== 'function') {
      const wanted = 'a client of pg, on the same database, with a transaction begun';
      throw new InvalidArgumentError(`transaction must be ${wanted}, not ${show(transaction)}`, {
        outcome: 'not-sent',
      });
    }
    if ('totalCount' in client) {
      const text = 'transaction must be a client of pg: a pool runs each statement on any connection';
      throw new InvalidArgumentError(text, { outcome: 'not-sent' });
    }
    // No statement is left behind on a client of somebody else's.
    const execute = ({ text, values }: Statement) => ask(client, { text: numbered(text), values: [...values] });
    await runAsync(requireTransaction(), execute);
    return runAsync(work(), execute);
  },
};

/** What holds for the connection as a whole. */
function* begin(names: Names): Steps<void> {
  yield* run(`LISTEN ${names.prefix}`);
  for (const [setting, value] of PLANNING) yield* run(`SET ${setting} = ${value}`);
}

/** PostgreSQL allows for a savepoint in a transaction only. */
function* requireTransaction(): Steps<void> {
  try {
    yield* run('SAVEPOINT wakame');
  } catch (cause) {
    const text = 'transaction: the client has none open; begin it first, or what is published stands at once';
    throw new InvalidArgumentError(text, { outcome: 'not-sent', cause });
  }
  yield* run('RELEASE SAVEPOINT wakame');
}

/**
 * How statements are planned. All of ours look up a few rows by an index, which is the quickest however full the tables are. A planner that counts on what it
 * knows of them, which may be that they were empty or full of one queue's messages, comes to think it quicker to read or sort all there is.
 */
const PLANNING: readonly (readonly [setting: string, value: string])[] = [
  // Not once and for all.
  ['plan_cache_mode', 'force_custom_plan'],
  ...['seqscan', 'bitmapscan', 'sort', 'hashjoin', 'mergejoin', 'material'].map(
    (way) => [`enable_${way}`, 'off'] as const,
  ),
  // What is done nevertheless, in tables of a few rows, counts as so dear that compiling it seems worth while.
  ['jit', 'off'],
];

interface Connected {
  readonly client: Client | PoolClient;
  /** @param broken It must not be used again. */
  readonly end: (broken: boolean) => Promise<void>;
}

async function connect({ target, connectTimeout, signal }: OpenSession): Promise<Connected> {
  const { host, port, user, password, database, ssl } = target;
  let library: { readonly default: { readonly Client: new (config: ClientConfig) => Client } };
  try {
    library = await import('pg');
  } catch (cause) {
    throw new MissingDependencyError('the postgresql transport', 'pg', '', { cause });
  }
  const client = new library.default.Client({
    host,
    port,
    user: user ?? 'postgres',
    // Not from the environment or a file of somebody's: what the URL does not say is not said.
    password: password ?? '',
    database,
    ssl: ssl === false ? false : tlsOptions(ssl, host),
    connectionTimeoutMillis: connectTimeout,
    keepAlive: true,
    application_name: 'wakame',
  });
  const abort = () => void client.end().catch(() => undefined);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    // An error on a client that nobody listens to would end the process.
    client.on('error', () => undefined);
    await client.connect();
  } catch (error) {
    throw classifyConnect(error);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  return {
    client,
    end: async (broken) => {
      if (broken) destroy(client);
      else await client.end();
    },
  };
}

/** What is used of a pool of pg's. */
interface PoolLike {
  connect(): Promise<PoolClient>;
}

async function fromPool(pool: unknown, channel: string): Promise<Connected> {
  if (typeof (pool as PoolLike | null)?.connect !== 'function') {
    throw new InvalidArgumentError(`pool must be a Pool of pg, not ${show(pool)}`);
  }
  const client = await (pool as PoolLike).connect();
  return {
    client,
    end: async (broken) => {
      if (!broken)
        await client.query([`UNLISTEN ${channel}`, ...PLANNING.map(([setting]) => `RESET ${setting}`)].join('; '));
      client.release(broken);
    },
  };
}

function destroy(client: Client | PoolClient): void {
  const { connection } = client as unknown as { readonly connection?: { readonly stream?: { destroy(): void } } };
  connection?.stream?.destroy();
}

class PostgresqlClient implements ServerClient<Dialect> {
  readonly dialect = postgresqlDialect;
  readonly #client: Client | PoolClient;
  readonly #end: (broken: boolean) => Promise<void>;
  readonly #channel: string;
  readonly #listeners: (() => void)[] = [];
  #ended = false;

  /** @param channel Of the notifications. */
  constructor(client: Client | PoolClient, end: (broken: boolean) => Promise<void>, channel: string) {
    this.#client = client;
    this.#end = end;
    this.#channel = channel;
  }

  listen(heard: { ended(error: unknown): void; notified(payload: string): void }): void {
    // What a client of a pool's hears besides is not ours to take from it.
    const client: NodeJS.EventEmitter = this.#client;
    const on = <A extends unknown[]>(event: string, listener: (...args: A) => void) => {
      client.on(event, listener as (...args: unknown[]) => void);
      this.#listeners.push(() => client.off(event, listener as (...args: unknown[]) => void));
    };
    on('error', (error: unknown) => heard.ended(error));
    on('end', () => heard.ended(new Error('Connection terminated')));
    on('notification', ({ processId, channel, payload = '*' }: Notification) => {
      if (channel === this.#channel && processId !== this.processId) heard.notified(payload);
    });
  }

  /** The server's process for this connection. */
  get processId(): number | undefined {
    return (this.#client as unknown as { readonly processID?: number }).processID;
  }

  execute(statement: Statement): Promise<Answer> {
    return query(this.#client, statement);
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    const { rows } = await this.#client.query('SHOW server_version');
    return {
      product: 'PostgreSQL',
      version: (rows[0] as { readonly server_version?: string } | undefined)?.server_version,
    };
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#finish();
    await this.#end(false);
  }

  destroy(): void {
    if (this.#ended) return destroy(this.#client);
    this.#finish();
    void this.#end(true).catch(() => undefined);
  }

  #finish(): void {
    this.#ended = true;
    // An error after this is nobody's, and without a listener it would end the process.
    this.#client.once('error', () => undefined);
    for (const off of this.#listeners.splice(0)) off();
  }
}

/** Statements with `$1`, and a name under which the server keeps each prepared, by their text. */
const prepared = new Map<string, { readonly text: string; readonly name: string }>();

function preparedOf(text: string): { readonly text: string; readonly name: string } {
  let statement = prepared.get(text);
  if (statement === undefined) {
    statement = { text: numbered(text), name: `wakame_${prepared.size + 1}` };
    prepared.set(text, statement);
  }
  return statement;
}

function numbered(text: string): string {
  let count = 0;
  return text.replace(/\?/g, () => `$${++count}`);
}

function query(client: Client | PoolClient, { text, values }: Statement): Promise<Answer> {
  return ask(client, values.length === 0 ? { text } : { ...preparedOf(text), values: [...values] });
}

async function ask(client: Client | PoolClient, config: QueryConfig): Promise<Answer> {
  const { rows, rowCount }: QueryResult = await client.query(config);
  return { rows, changes: rowCount ?? 0, insertId: 0 };
}

function* complete(names: Names): Steps<boolean> {
  const wanted = [names.queue, names.message, names.meta, `ix_${names.prefix}_ready`];
  const found = yield* first(
    `SELECT ${wanted.map(() => 'to_regclass(?) IS NOT NULL').join(' AND ')} AS complete`,
    ...wanted,
  );
  return found?.complete === true && (yield* checkVersion(names));
}

function* create(names: Names): Steps<void> {
  // "IF NOT EXISTS" does not keep two from making the same thing at the same time.
  yield* all('SELECT pg_advisory_xact_lock(?)', 8_702_315);
  for (const text of postgresqlDialect.schema(names)) yield* run(text);
  yield* fillMeta(names);
  yield* checkVersion(names);
}
