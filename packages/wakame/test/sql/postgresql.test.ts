/** What is PostgreSQL's own: its tables, its connections and pools. What every store must do is in the contract and the conformance suite. */
import { inspect } from 'node:util';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, type ConnectionOptions, Queue } from 'wakame';
import { run } from '../../src/transports/sql/steps.js';
import { keyOf, targetOf } from '../../src/transports/sql/target.js';
import { openSession } from './operations.js';
import { postgresqlDatabases, serverParameters } from './support.js';

const { newUrl } = postgresqlDatabases();
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function connect(url: string, options?: ConnectionOptions): Connection {
  const connection = new Connection(url, options);
  open.push(() => connection.close());
  return connection;
}

async function psql(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  open.push(() => client.end());
  return client;
}

async function declared(connection: Connection, name = 'q'): Promise<Queue<number>> {
  const queue = new Queue<number>(name).bind(connection);
  await queue.declare();
  return queue;
}

/** What SQLAlchemy 2 makes of Kombu's models, in its order. */
const KOMBU_SCHEMA = [
  'CREATE SEQUENCE queue_id_sequence',
  'CREATE TABLE kombu_queue (id INTEGER NOT NULL, name VARCHAR(200), PRIMARY KEY (id), UNIQUE (name))',
  'CREATE SEQUENCE message_id_sequence',
  `CREATE TABLE kombu_message (id INTEGER NOT NULL, visible BOOLEAN, timestamp TIMESTAMP WITHOUT TIME ZONE, payload TEXT NOT NULL,
    version SMALLINT NOT NULL, queue_id INTEGER, PRIMARY KEY (id),
    CONSTRAINT "FK_kombu_message_queue" FOREIGN KEY(queue_id) REFERENCES kombu_queue (id))`,
  'CREATE INDEX ix_kombu_message_visible ON kombu_message (visible)',
  'CREATE INDEX ix_kombu_message_timestamp_id ON kombu_message (timestamp, id)',
  'CREATE INDEX ix_kombu_message_timestamp ON kombu_message (timestamp)',
];

/** Kombu's tables as the catalogue knows them: columns, constraints, indexes, sequences. */
async function kombuSchemaOf(client: pg.Client): Promise<unknown[]> {
  const { rows } = await client.query(`
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || COALESCE(character_maximum_length::text, '')
        || ' ' || is_nullable || ' ' || COALESCE(column_default, '') AS text
      FROM information_schema.columns WHERE table_name LIKE 'kombu%'
    UNION SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'kombu%'
    UNION SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ix_kombu%'
    UNION SELECT sequence_name || ' ' || data_type || ' ' || start_value || ' ' || increment FROM information_schema.sequences
      WHERE sequence_name IN ('queue_id_sequence', 'message_id_sequence')
    ORDER BY text`);
  return rows.map(({ text }) => text);
}

describe('tables', () => {
  test("are made as Kombu's, and those that Kombu made are used with what is in them", async () => {
    const [ours, theirs] = [await newUrl(), await newUrl()];
    await connect(ours).connect();
    const python = await psql(theirs);
    for (const statement of KOMBU_SCHEMA) await python.query(statement);
    await python.query("INSERT INTO kombu_queue (id, name) VALUES (nextval('queue_id_sequence'), 'q')");
    await python.query(
      `INSERT INTO kombu_message (id, visible, payload, version, queue_id)
        SELECT nextval('message_id_sequence'), true, $1, 1, id FROM kombu_queue`,
      [
        JSON.stringify({
          body: 'NDI=',
          'content-type': 'application/json',
          'content-encoding': 'utf-8',
          headers: {},
          properties: { body_encoding: 'base64', delivery_tag: 't', delivery_info: { exchange: '', routing_key: 'q' } },
        }),
      ],
    );
    const message = await (await declared(connect(theirs))).get();
    expect(message?.payload).toBe(42);
    expect(await message?.ack()).toBe(true);
    expect(await kombuSchemaOf(await psql(ours))).toEqual(await kombuSchemaOf(python));
    expect((await kombuSchemaOf(python)).length).toBeGreaterThan(15);
  });

  test('are made by one of many that come at the same time', async () => {
    const url = await newUrl();
    const connections = Array.from({ length: 8 }, () => connect(url));
    await Promise.all(connections.map((connection) => connection.connect()));
    const [first, last] = [connections[0] as Connection, connections[7] as Connection];
    await declared(first);
    await first.producer().publish(7, { routingKey: 'q' });
    expect((await new Queue('q').bind(last).get())?.payload).toBe(7);
  });

  test('that somebody dropped are made again', async () => {
    const url = await newUrl();
    const connection = connect(url);
    await declared(connection);
    await (await psql(url)).query('DROP TABLE kombu_message, kombu_queue CASCADE');
    await declared(connection);
    await connection.producer().publish(1, { routingKey: 'q' });
    expect((await new Queue('q').bind(connection).get())?.payload).toBe(1);
  });
});

describe('beside others', () => {
  test('a message that comes back while it is about to be taken says so', async () => {
    const url = await newUrl();
    const connection = connect(url);
    const queue = await declared(connection);
    await connection.producer().publish(1, { routingKey: 'q' });
    const held = await queue.get();
    const { session, operations } = await openSession(url);
    open.push(() => session.close());
    const other = await psql(url);
    await other.query('SELECT pg_advisory_lock(7)');
    const options = { requestId: 1, limit: 1, order: 'fair', waitMs: 0 } as const;
    /** Takes, and waits after its first question. */
    const taking = session.transact('write', function* () {
      const steps = operations.taking.take([{ queue: 'q', credit: 1, noAck: false }], options);
      const question = steps.next();
      if (question.done === true) return question.value;
      const answer = yield question.value;
      yield* run('SELECT pg_advisory_xact_lock(7)');
      for (let step = steps.next(answer); ; step = steps.next(yield step.value)) if (step.done) return step.value;
    });
    const waiting = async () => (await other.query('SELECT 1 FROM pg_locks WHERE NOT granted')).rowCount;
    await expect.poll(waiting).toBe(1);
    await held?.requeue();
    await other.query('SELECT pg_advisory_unlock(7)');
    expect(await taking).toMatchObject([{ queue: 'q', returns: 1 }]);
  });
});

describe('connections', () => {
  test('a wrong password, a database that is not there and a server that is not there say so, without the password', async () => {
    const url = await newUrl();
    const admin = await psql(url);
    const database = new URL(url).pathname.slice(1);
    const refused = async (change: (url: URL) => void) => {
      const other = new URL(url);
      other.password = 'a-secret';
      change(other);
      const error = await connect(other.href, { connectDeadline: 1500 })
        .connect()
        .catch((reason: unknown) => reason);
      expect(inspect(error, { depth: 9 })).not.toContain('a-secret');
      return (error as { readonly code?: string }).code;
    };
    // The tests' server asks nobody for a password; who may not log in is refused for that.
    await admin.query(`CREATE ROLE nobody_${database} NOLOGIN`);
    open.push(() => admin.query(`DROP ROLE nobody_${database}`));
    expect(
      await refused((other) => {
        other.username = `nobody_${database}`;
      }),
    ).toBe('AUTH_FAILED');
    expect(
      await refused((other) => {
        other.pathname = '/no-such-database';
      }),
    ).toBe('VHOST_NOT_FOUND');
    expect(
      await refused((other) => {
        other.port = '1';
      }),
    ).toBe('CONNECT_FAILED');
  });

  test('one that an administrator ended is made anew, and the consumer goes on', async () => {
    const url = await newUrl();
    const connection = connect(url);
    const queue = await declared(connection);
    const admin = await psql(url);
    const seen: number[] = [];
    await connection.consumer(queue, { settle: 'auto', onMessage: ({ payload }) => void seen.push(payload) }).consume();
    await admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wakame' AND datname = current_database()",
    );
    await connection.producer().publish(1, { routingKey: 'q' });
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual([1]);
  });

  test("of a pool: it is given back as it was, and the application's listeners stay", async () => {
    const url = await newUrl();
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    open.push(() => pool.end());
    const settings = async () => {
      const { rows } = await pool.query(
        "SELECT name, setting FROM pg_settings WHERE name LIKE 'enable_%' OR name IN ('jit', 'plan_cache_mode') ORDER BY name",
      );
      return rows;
    };
    const before = await settings();
    const connection = new Connection(url, { transportOptions: { pool } });
    const queue = await declared(connection);
    await connection.producer().publish(1, { routingKey: 'q' });
    expect((await queue.get({ noAck: true }))?.payload).toBe(1);
    // There is only one in the pool.
    expect(pool.idleCount).toBe(0);
    await connection.close();
    expect(await settings()).toEqual(before);
    const { rows } = await pool.query('SELECT pg_listening_channels()');
    expect(rows).toEqual([]);
    await expect(connect(url, { transportOptions: { pool: {} } }).connect()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('pool must be a Pool of pg'),
    });
  });
});

describe('URLs', () => {
  const parameters = (transport: string, hostname: string) => ({
    ...serverParameters(transport, new URL('postgresql://u:p@host:5433'), 'db', {}),
    hostname,
  });

  test("SQLAlchemy's URL means what it means there, and one database is one whatever its URL", () => {
    const sqla = targetOf(
      parameters('sqla', 'postgresql+psycopg2://us%40er:p%2Fw@db.example:5433/shop?sslmode=require'),
    );
    expect(sqla).toMatchObject({ kind: 'postgresql', host: 'db.example', port: 5433, user: 'us@er', password: 'p/w' });
    expect(sqla).toMatchObject({ database: 'shop', ssl: true });
    expect(targetOf(parameters('sqla', 'postgres://u@h'))).toMatchObject({ database: 'u', port: 5432, ssl: false });
    expect(keyOf(targetOf(parameters('sqla', 'postgresql://x@host:5433/db')))).toBe(
      keyOf(targetOf(parameters('postgresql', 'host'))),
    );
    expect(() => targetOf(parameters('sqla', 'postgresql://u@h/db?sslmod=require'))).toThrow(/'sslmod'.*sslmode/);
    expect(() => targetOf(parameters('sqla', 'oracle://h/db'))).toThrow(/no such database is supported/);
  });
});
