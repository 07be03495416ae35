/** What is MariaDB's and MySQL's own: tables, locks, connections and pools. What every store must do is in the contract and the conformance suite. */
import { inspect } from 'node:util';
import type { Connection as MysqlConnection, RowDataPacket } from 'mysql2/promise';
import mysql from 'mysql2/promise';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, type ConnectionOptions, Queue } from 'wakame';
import { dialectOf } from '../../src/transports/sql/mysql/servers.js';
import { tableNames } from '../../src/transports/sql/names.js';
import { all, run } from '../../src/transports/sql/steps.js';
import { targetOf } from '../../src/transports/sql/target.js';
import { openSession } from './operations.js';
import { mysqlDatabases, serverParameters } from './support.js';

/** In what the two servers differ. */
interface Server {
  readonly name: 'mariadb' | 'mysql';
  /** The column of Kombu's keys. */
  readonly id: string;
  readonly sequences: readonly string[];
  /** How a row of a table gets its id. */
  readonly nextId: (table: 'queue' | 'message') => { readonly column: string; readonly value: string };
  readonly isolation: string;
}

const servers: readonly Server[] = [
  {
    name: 'mariadb',
    id: 'id INTEGER NOT NULL',
    sequences: ['CREATE SEQUENCE queue_id_sequence', 'CREATE SEQUENCE message_id_sequence'],
    nextId: (table) => ({ column: 'id, ', value: `nextval(${table}_id_sequence), ` }),
    isolation: '@@tx_isolation',
  },
  {
    name: 'mysql',
    id: 'id INTEGER NOT NULL AUTO_INCREMENT',
    sequences: [],
    nextId: () => ({ column: '', value: '' }),
    isolation: '@@transaction_isolation',
  },
];
const databasesOf = { mariadb: mysqlDatabases('mariadb'), mysql: mysqlDatabases('mysql') };
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function connect(url: string, options?: ConnectionOptions): Connection {
  const connection = new Connection(url, options);
  open.push(() => connection.close());
  return connection;
}

async function client(url: string): Promise<MysqlConnection> {
  const opened = await mysql.createConnection(url);
  open.push(() => opened.end());
  return opened;
}

async function rows(connection: Pick<MysqlConnection, 'query'>, text: string): Promise<readonly RowDataPacket[]> {
  const [found] = await connection.query<RowDataPacket[]>(text);
  return found;
}

async function declared(connection: Connection, name = 'q'): Promise<Queue<number>> {
  const queue = new Queue<number>(name).bind(connection);
  await queue.declare();
  return queue;
}

/** How many wait for a lock of a name, in the database of this connection. */
async function waitingIn(connection: MysqlConnection): Promise<number> {
  const text = "SELECT id FROM information_schema.processlist WHERE state = 'User lock' AND db = DATABASE()";
  return (await rows(connection, text)).length;
}

/** What SQLAlchemy 2 makes of Kombu's models. */
const kombuSchema = ({ id, sequences }: Server) => [
  ...sequences,
  `CREATE TABLE kombu_queue (${id}, name VARCHAR(200), PRIMARY KEY (id), UNIQUE (name)) ENGINE=InnoDB`,
  `CREATE TABLE kombu_message (${id}, visible BOOL, timestamp DATETIME, payload TEXT NOT NULL, version SMALLINT NOT NULL,
    queue_id INTEGER, PRIMARY KEY (id),
    CONSTRAINT \`FK_kombu_message_queue\` FOREIGN KEY(queue_id) REFERENCES kombu_queue (id)) ENGINE=InnoDB`,
  'CREATE INDEX ix_kombu_message_timestamp_id ON kombu_message (timestamp, id)',
  'CREATE INDEX ix_kombu_message_visible ON kombu_message (visible)',
  'CREATE INDEX ix_kombu_message_timestamp ON kombu_message (timestamp)',
];

/** A database in which Python is at home: Kombu's tables, a queue `q` and a message in it. */
async function pythonDatabase(server: Server): Promise<{ url: string; python: MysqlConnection }> {
  const url = await databasesOf[server.name].newUrl();
  const python = await client(url);
  for (const statement of kombuSchema(server)) await python.query(statement);
  const queueId = server.nextId('queue');
  await python.query(`INSERT INTO kombu_queue (${queueId.column}name) VALUES (${queueId.value}'q')`);
  const payload = JSON.stringify({
    body: 'NDI=',
    'content-type': 'application/json',
    'content-encoding': 'utf-8',
    headers: {},
    properties: { body_encoding: 'base64', delivery_tag: 't', delivery_info: { exchange: '', routing_key: 'q' } },
  });
  await python.query(insertMessage(server, '?'), [payload]);
  return { url, python };
}

function insertMessage({ nextId }: Server, payload: string): string {
  const { column, value } = nextId('message');
  return `INSERT INTO kombu_message (${column}visible, payload, version, queue_id) SELECT ${value}1, ${payload}, 1, id FROM kombu_queue`;
}

/** Kombu's tables as the catalogue knows them: columns, constraints, indexes, sequences. */
async function kombuSchemaOf(url: string): Promise<string[]> {
  const found = await rows(
    await client(url),
    `SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, column_default, extra) AS text
      FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name REGEXP '^kombu|sequence$'
    UNION SELECT CONCAT_WS(' ', index_name, MAX(non_unique), GROUP_CONCAT(column_name ORDER BY seq_in_index))
      FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name LIKE 'kombu%' GROUP BY table_name, index_name
    UNION SELECT CONCAT_WS(' ', constraint_name, referenced_table_name, update_rule, delete_rule)
      FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()
    UNION SELECT CONCAT_WS(' ', table_name, engine) FROM information_schema.tables
      WHERE table_schema = DATABASE() AND table_name LIKE 'kombu%'
    ORDER BY text`,
  );
  return found.map(({ text }) => String(text));
}

const readyIndex = 'ix_kombu_message_visible 1 visible,queue_id,id';

describe.each(servers)('$name', (server) => {
  const { newUrl } = databasesOf[server.name];
  const isMariadb = server.name === 'mariadb';

  describe('tables', () => {
    test("are made as Kombu's, but for room in the payload; and those that Kombu made are used with what is in them", async () => {
      const ours = await newUrl();
      await connect(ours).connect();
      const { url: theirs } = await pythonDatabase(server);
      const made = await kombuSchemaOf(theirs);
      const message = await (await declared(connect(theirs))).get();
      expect(message?.payload).toBe(42);
      expect(await message?.ack()).toBe(true);
      expect(made.length).toBeGreaterThan(15);
      expect(made).toContain('ix_kombu_message_visible 1 visible');
      const expected = made.map((text) => (text === 'ix_kombu_message_visible 1 visible' ? readyIndex : text));
      expect(await kombuSchemaOf(theirs)).toEqual(expected);
      const larger = expected.map((text) => text.replace(/^(kombu_message payload) text/, '$1 longtext'));
      expect(await kombuSchemaOf(ours)).toEqual(larger);
    });

    test('that Python is looking at, in a transaction that it leaves open, are used as they are, and get the index later', async () => {
      const { url, python } = await pythonDatabase(server);
      await python.query('BEGIN');
      await rows(python, 'SELECT count(*) FROM kombu_message');
      const connection = connect(url, { transportOptions: { lease: 0.3 } });
      const queue = await declared(connection);
      expect((await queue.get({ noAck: true }))?.payload).toBe(42);
      expect(await kombuSchemaOf(url)).not.toContain(readyIndex);
      await python.query('COMMIT');
      await expect.poll(() => kombuSchemaOf(url), { timeout: 10_000 }).toContain(readyIndex);
      await connection.producer().publish(7, { routingKey: 'q' });
      expect((await queue.get({ noAck: true }))?.payload).toBe(7);
    });

    test('of Python’s hold messages of 64 KiB, and what is larger is refused before it is sent', async () => {
      const { url } = await pythonDatabase(server);
      const connection = connect(url);
      const queue = await declared(connection, 'large');
      const producer = connection.producer({ routingKey: 'large' });
      await expect(producer.publish('x'.repeat(60_000))).rejects.toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
        outcome: 'not-sent',
      });
      await producer.publish('x'.repeat(40_000));
      expect(await queue.get()).toMatchObject({ payload: 'x'.repeat(40_000) });
      expect(await queue.get()).toBeUndefined();
    });

    test.runIf(isMariadb)(
      'whose rows the server numbers are refused: an old SQLAlchemy made them, and uses no sequences',
      async () => {
        const url = await newUrl();
        const python = await client(url);
        await python.query('CREATE TABLE kombu_message (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, payload TEXT)');
        await expect(connect(url).connect()).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
      },
    );

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
      await (await client(url)).query('DROP TABLE kombu_message, kombu_queue');
      await declared(connection);
      await connection.producer().publish(1, { routingKey: 'q' });
      expect((await new Queue('q').bind(connection).get())?.payload).toBe(1);
    });

    test('with names that are equal there and not here: the queue is refused, and another one stays as it is', async () => {
      const { url } = await pythonDatabase(server);
      const connection = connect(url);
      await declared(connection);
      await expect(declared(connection, 'Q')).rejects.toMatchObject({ code: 'STORE_ERROR' });
      await expect(declared(connection, 'x'.repeat(201))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect((await new Queue('q').bind(connection).get())?.payload).toBe(42);
    });
  });

  test.skipIf(isMariadb)('rows that a cluster numbers in steps are told by their numbers', async () => {
    const url = await newUrl();
    await declared(connect(url));
    const { session } = await openSession(url);
    open.push(() => session.close());
    const found = await session.transact('write', function* () {
      yield* run('SET SESSION auto_increment_increment = 7, SESSION auto_increment_offset = 3');
      const [queue] = yield* all('SELECT id FROM kombu_queue');
      const messages = ['a', 'b', 'c'].map((payload) => ({ queueId: Number(queue?.id), payload }));
      const ids = yield* session.dialect.insertMessages(tableNames(), messages);
      const stored = yield* all('SELECT id, payload FROM kombu_message ORDER BY payload');
      return { told: ids, stored: stored.map(({ id }) => Number(id)) };
    });
    expect(found.told).toEqual(found.stored);
    expect(found.told.map((id) => id - (found.told[0] as number))).toEqual([0, 7, 14]);
  });

  describe('beside others', () => {
    test('rows that others are about to change are not waited for, and do not stand in the way of others', async () => {
      const url = await newUrl();
      const connection = connect(url);
      const queue = await declared(connection);
      const producer = connection.producer({ routingKey: 'q' });
      for (let n = 0; n < 6; n++) await producer.publish(n);
      const first = await queue.get();
      const other = await client(url);
      await other.query('BEGIN');
      // A message that is not sent yet, and one that Python is taking.
      await other.query(insertMessage(server, "'{}'"));
      const [next] = await rows(other, 'SELECT min(id) AS id FROM kombu_message WHERE visible = 1');
      await other.query('UPDATE kombu_message SET visible = 0 WHERE id = ?', [next?.id]);
      const seen: number[] = [];
      for (let message = await queue.get(); message !== undefined; message = await queue.get()) {
        seen.push(message.payload);
        expect(await message.ack()).toBe(true);
      }
      expect(seen).toEqual([2, 3, 4, 5]);
      await first?.requeue();
      expect((await queue.get({ noAck: true }))?.payload).toBe(0);
      await other.query('ROLLBACK');
      expect((await queue.get({ noAck: true }))?.payload).toBe(1);
    });

    test.runIf(isMariadb)(
      'kombu/kombu#524: whoever locks rows in another order gets them all, and no deadlock',
      async () => {
        const url = await newUrl();
        const connection = connect(url);
        await declared(connection);
        const producer = connection.producer({ routingKey: 'q' });
        for (const n of [1, 2]) await producer.publish(n);
        const { session } = await openSession(url);
        open.push(() => session.close());
        const python = await client(url);
        const [first, last] = (await rows(python, 'SELECT id FROM kombu_message ORDER BY id')).map(({ id }) =>
          Number(id),
        );
        await python.query('BEGIN');
        await rows(python, `SELECT id FROM kombu_message WHERE id = ${last} FOR UPDATE`);
        let theirs: Promise<unknown> | undefined;
        const ours = session.transact('write', function* () {
          yield* run(`UPDATE kombu_message SET version = 2 WHERE id = ${first}`);
          theirs = rows(python, `SELECT id FROM kombu_message WHERE id = ${first} FOR UPDATE`);
          theirs.catch(() => undefined);
          yield* run(`UPDATE kombu_message SET version = 2 WHERE id = ${last}`);
        });
        await expect(ours).rejects.toMatchObject({ code: 'ER_LOCK_WAIT_TIMEOUT' });
        expect(await theirs).toEqual([{ id: first }]);
      },
    );

    test('a sweep under way hides no message from whoever takes', async () => {
      const url = await newUrl();
      const connection = connect(url);
      const queue = await declared(connection);
      await connection.producer().publish(1, { routingKey: 'q' });
      const { session, operations } = await openSession(url);
      open.push(() => session.close());
      const other = await client(url);
      await rows(other, "SELECT GET_LOCK('sweep', 0)");
      const sweep = session.transact('write', function* () {
        yield* operations.sweeping.sweep(100, -1);
        yield* run("SELECT GET_LOCK('sweep', 60)");
      });
      await expect.poll(() => waitingIn(other)).toBe(1);
      expect((await queue.get({ noAck: true }))?.payload).toBe(1);
      await rows(other, "SELECT RELEASE_LOCK('sweep')");
      await sweep;
    });

    test('a message that comes back while it is about to be taken says so', async () => {
      const url = await newUrl();
      const connection = connect(url);
      const queue = await declared(connection);
      await connection.producer().publish(1, { routingKey: 'q' });
      const held = await queue.get();
      const { session, operations } = await openSession(url);
      open.push(() => session.close());
      const other = await client(url);
      await rows(other, "SELECT GET_LOCK('test', 0)");
      const options = { requestId: 1, limit: 1, order: 'fair', waitMs: 0 } as const;
      /** Takes, and waits after its first question. */
      const taking = session.transact('write', function* () {
        const steps = operations.taking.take([{ queue: 'q', credit: 1, noAck: false }], options);
        const question = steps.next();
        if (question.done === true) return question.value;
        const answer = yield question.value;
        yield* run("SELECT GET_LOCK('test', 60)");
        for (let step = steps.next(answer); ; step = steps.next(yield step.value)) if (step.done) return step.value;
      });
      await expect.poll(() => waitingIn(other)).toBe(1);
      await held?.requeue();
      await rows(other, "SELECT RELEASE_LOCK('test')");
      expect(await taking).toMatchObject([{ queue: 'q', returns: 1 }]);
    });
  });

  describe('connections', () => {
    test('a wrong password, a database that is not there and a server that is not there say so, without the password', async () => {
      const url = await newUrl();
      const refused = async (change: (url: URL) => void) => {
        const other = new URL(url);
        change(other);
        const error = await connect(other.href, { connectDeadline: 1500 })
          .connect()
          .catch((reason: unknown) => reason);
        expect(inspect(error, { depth: 9 })).not.toContain('a-secret');
        return (error as { readonly code?: string }).code;
      };
      expect(
        await refused((other) => {
          other.password = 'a-secret';
        }),
      ).toBe('AUTH_FAILED');
      expect(
        await refused((other) => {
          other.pathname = '/no-such-database';
        }),
      ).toBe('VHOST_NOT_FOUND');
      expect(
        await refused((other) => {
          other.password = 'a-secret';
          other.port = '1';
        }),
      ).toBe('CONNECT_FAILED');
      await expect(connect(url.replace(/[^/]*$/, '')).connect()).rejects.toMatchObject({ code: 'INVALID_URL' });
    });

    // MySQL makes itself certificates.
    test.skipIf(isMariadb)('over TLS: by a certificate that is trusted, and by no other', async () => {
      const url = await newUrl();
      const admin = await client(url);
      const [found] = await rows(admin, 'SELECT CONCAT(@@datadir, @@ssl_ca) AS ca');
      const connectWith = (query: string) => connect(url + query, { connectDeadline: 1500 });
      const types = () =>
        rows(
          admin,
          `SELECT connection_type AS type FROM performance_schema.threads
            WHERE processlist_db = DATABASE() AND processlist_id <> CONNECTION_ID()`,
        );
      await expect(connectWith('?ssl=1&ssl_check_hostname=false').connect()).rejects.toMatchObject({
        code: 'TLS_FAILED',
      });
      const trusted = connectWith(`?ssl_ca_certs=${encodeURIComponent(String(found?.ca))}&ssl_check_hostname=false`);
      const queue = await declared(trusted);
      await trusted.producer().publish(1, { routingKey: 'q' });
      expect((await queue.get({ noAck: true }))?.payload).toBe(1);
      expect(await types()).toEqual([{ type: 'SSL/TLS' }]);
    });

    test('one that an administrator ended is made anew, and the consumer goes on', async () => {
      const url = await newUrl();
      const connection = connect(url);
      const queue = await declared(connection);
      const admin = await client(url);
      const seen: number[] = [];
      await connection
        .consumer(queue, { settle: 'auto', onMessage: ({ payload }) => void seen.push(payload) })
        .consume();
      const ours = 'SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()';
      for (const { id } of await rows(admin, ours)) await admin.query(`KILL ${id}`);
      await connection.producer().publish(1, { routingKey: 'q' });
      await expect.poll(() => seen, { timeout: 10_000 }).toEqual([1]);
    });

    test('of a pool: one is taken while it is open, and the others are as they were', async () => {
      const url = await newUrl();
      const pool = mysql.createPool({ uri: url, connectionLimit: 1 });
      open.push(() => pool.end());
      const settings = () =>
        rows(pool, `SELECT ${server.isolation}, @@innodb_lock_wait_timeout, @@time_zone, @@sql_mode`);
      const before = await settings();
      for (const given of [pool, pool.pool]) {
        const connection = new Connection(url, { transportOptions: { pool: given } });
        const queue = await declared(connection);
        await connection.producer().publish(1, { routingKey: 'q' });
        expect((await queue.get({ noAck: true }))?.payload).toBe(1);
        await connection.close();
        expect(await settings()).toEqual(before);
      }
      await expect(connect(url, { transportOptions: { pool: {} } }).connect()).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining('pool must be a pool of mysql2'),
      });
    });

    test('that publish goes through in a transaction: on this database, and not of a pool at large', async () => {
      const url = await newUrl();
      const producer = connect(url).producer({ routingKey: 'q' });
      const pool = mysql.createPool(url);
      open.push(() => pool.end());
      const elsewhere = await client(await newUrl());
      await elsewhere.query('BEGIN');
      await elsewhere.query('SELECT 1 FROM information_schema.tables LIMIT 1');
      for (const [transaction, words] of [
        [pool, /a pool runs each statement on any connection/],
        [elsewhere, /uses the database 'sql_/],
      ] as const) {
        const publishing = producer.publish(1, { transaction });
        await expect(publishing).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'not-sent' });
        await expect(publishing).rejects.toThrow(words);
      }
    });
  });
});

describe('URLs', () => {
  test("SQLAlchemy's URL means what it means there, by either name", () => {
    const given = (hostname: string) =>
      targetOf({ ...serverParameters('sqla', new URL('mysql://u:p@host'), 'db', {}), hostname });
    for (const name of ['mysql+pymysql', 'mariadb+mysqldb', 'mysql']) {
      expect(given(`${name}://us%40er:p%2Fw@db.example/shop?charset=utf8mb4`)).toMatchObject({
        ...{
          kind: 'mysql',
          host: 'db.example',
          port: 3306,
          user: 'us@er',
          password: 'p/w',
          database: 'shop',
          ssl: false,
        },
      });
    }
    expect(() => given('mysql://u@h')).toThrow(/names no database/);
    expect(given('mysql+pymysql://h/db?ssl_ca=/ca.pem&ssl_check_hostname=false&lease=5')).toMatchObject({
      ssl: { ca_certs: '/ca.pem', check_hostname: 'false' },
      query: { lease: '5' },
    });
    expect(() => given('mysql+pymysql://h/db?ssl_cas=/ca.pem')).toThrow(/'ssl_cas'.*'ssl_ca'/);
  });
});

describe('releases', () => {
  test.each([
    ['10.6.0-MariaDB', 'MariaDB'],
    ['5.5.5-10.11.6-MariaDB-1', 'MariaDB'],
    ['11.4.2-MariaDB-log', 'MariaDB'],
    ['8.0.20', 'MySQL'],
    ['8.4.5-cluster', 'MySQL'],
    ['9.7.4', 'MySQL'],
  ])('%s is used', (version, product) => {
    expect(dialectOf(version).product).toBe(product);
  });

  test.each([
    ['10.5.29-MariaDB', /MariaDB 10\.6\.0 or later/],
    ['5.5.68-MariaDB', /MariaDB 10\.6\.0 or later/],
    ['8.0.19', /MySQL 8\.0\.20 or later/],
    ['5.7.44-log', /MySQL 8\.0\.20 or later/],
    ['', /MySQL 8\.0\.20 or later/],
  ])("'%s' is refused", (version, words) => {
    expect(() => dialectOf(version)).toThrow(words);
    expect(() => dialectOf(version)).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED' }));
  });
});
