/** What is SQLite's own: its files, its locks, its two libraries. What every store must do is in the contract and the conformance suite. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, type ConnectionOptions, Queue } from 'wakame';
import { checkRelease, type Loaders, loadSqlite } from '../../src/transports/sql/sqlite/library.js';
import { targetOf } from '../../src/transports/sql/target.js';
import { sqliteParameters, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const open: { close(): unknown }[] = [];
let files = 0;

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function newFile(): string {
  return join(folder, `${++files}.db`);
}

function connect(file: string, options?: ConnectionOptions): Connection {
  const connection = new Connection(`sqlite:${file}`, options);
  open.push(connection);
  return connection;
}

/** The file as another program sees it. */
function database(file: string): DatabaseSync {
  const other = new DatabaseSync(file);
  open.push(other);
  return other;
}

async function declared(connection: Connection, name = 'q'): Promise<Queue<number>> {
  const queue = new Queue<number>(name).bind(connection);
  await queue.declare();
  return queue;
}

/** As Kombu 5 stores a message (kombu.transport.sqlalchemy). */
function insertAsPython(file: DatabaseSync, queue: string, body: unknown): void {
  const envelope = {
    body: Buffer.from(JSON.stringify(body)).toString('base64'),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: {},
    properties: {
      delivery_mode: 2,
      delivery_info: { exchange: '', routing_key: queue },
      priority: 0,
      body_encoding: 'base64',
      delivery_tag: 'a-tag',
    },
  };
  file
    .prepare(
      'INSERT INTO kombu_message (visible, payload, version, queue_id) SELECT 1, ?, 1, id FROM kombu_queue WHERE name = ?',
    )
    .run(JSON.stringify(envelope), queue);
}

const TAKE_AS_PYTHON = `UPDATE kombu_message SET visible = 0, version = version + 1, timestamp = ? WHERE id =
  (SELECT id FROM kombu_message WHERE visible != 0 ORDER BY timestamp, id LIMIT 1)`;

/** What SQLAlchemy 2 makes of Kombu's models, in its order. */
const KOMBU_SCHEMA = [
  `CREATE TABLE kombu_queue (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(200), 
	UNIQUE (name)
)`,
  `CREATE TABLE kombu_message (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	visible BOOLEAN, 
	timestamp DATETIME, 
	payload TEXT NOT NULL, 
	version SMALLINT NOT NULL, 
	queue_id INTEGER, 
	CONSTRAINT "FK_kombu_message_queue" FOREIGN KEY(queue_id) REFERENCES kombu_queue (id)
)`,
  'CREATE INDEX ix_kombu_message_timestamp ON kombu_message (timestamp)',
  'CREATE INDEX ix_kombu_message_timestamp_id ON kombu_message (timestamp, id)',
  'CREATE INDEX ix_kombu_message_visible ON kombu_message (visible)',
];

function kombuSchemaOf(file: DatabaseSync): unknown[] {
  return file
    .prepare("SELECT sql FROM sqlite_master WHERE name LIKE '%kombu%' AND sql IS NOT NULL")
    .all()
    .map(({ sql }) => sql)
    .sort();
}

describe('tables', () => {
  test("are made as Kombu's, to the letter", async () => {
    const file = newFile();
    await connect(file).connect();
    expect(kombuSchemaOf(database(file))).toEqual([...KOMBU_SCHEMA].sort());
  });

  test('that Kombu made are used as they are, with what is in them', async () => {
    const file = newFile();
    const other = database(file);
    for (const statement of KOMBU_SCHEMA) other.exec(statement);
    other.exec("INSERT INTO kombu_queue (name) VALUES ('q')");
    insertAsPython(other, 'q', 42);
    const message = await (await declared(connect(file))).get();
    expect(message?.payload).toBe(42);
    expect(await message?.ack()).toBe(true);
    expect(kombuSchemaOf(other)).toEqual([...KOMBU_SCHEMA].sort());
    expect(other.prepare('SELECT count(*) AS count FROM kombu_message').get()?.count).toBe(0);
  });

  test('have other names when Kombu is told so, beside others in one file', async () => {
    const file = newFile();
    const transportOptions = { queue_tablename: 'jobs_queue', message_tablename: 'jobs' };
    const [a, b] = [connect(file), connect(file, { transportOptions })];
    await (await declared(a)).bind(a).declare();
    await declared(b);
    await b.producer().publish(1, { routingKey: 'q' });
    expect(await new Queue('q').bind(a).get()).toBeUndefined();
    const rows = database(file).prepare('SELECT count(*) AS count FROM jobs').get();
    expect(rows?.count).toBe(1);
    await expect(connect(file, { transportOptions: { queue_tablename: 'x; DROP' } }).connect()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining("'x; DROP'"),
    });
  });

  test('of a later release are refused', async () => {
    const file = newFile();
    await connect(file).connect();
    database(file).exec("UPDATE wakame_meta SET value = 99 WHERE name = 'schema'");
    await expect(connect(file).connect()).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });

  test('a queue whose name has more than 200 characters is refused: Kombu has no room for it', async () => {
    const connection = connect(newFile());
    await expect(new Queue('q'.repeat(201)).bind(connection).declare()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('200'),
    });
    await new Queue('é'.repeat(120)).bind(connection).declare();
  });
});

describe('beside Python', () => {
  test('what it inserts is seen by a consumer that waits', async () => {
    const file = newFile();
    const connection = connect(file);
    const queue = await declared(connection);
    const other = database(file);
    insertAsPython(other, 'q', 0);
    const seen: number[] = [];
    for await (const message of connection.consumer(queue, { idleTimeout: 5000 })) {
      // The queue has been empty for a while: the poll has slowed down.
      if (seen.push(message.payload) === 3) break;
      await message.ack();
      await sleep(60);
      insertAsPython(other, 'q', seen.length);
    }
    expect(seen).toEqual([0, 1, 2]);
  }, 10_000);

  test('what it has taken comes to nobody else, and is deleted when its time is over', async () => {
    const file = newFile();
    const connection = connect(file, { transportOptions: { pruneAfter: 3_600_000, lease: 0.3 } });
    const queue = await declared(connection);
    const producer = connection.producer();
    for (const n of [1, 2, 3]) await producer.publish(n, { routingKey: 'q' });
    const other = database(file);
    const local = (ms: number) => new Date(ms - new Date().getTimezoneOffset() * 60_000).toISOString();
    const take = other.prepare(TAKE_AS_PYTHON);
    take.run(
      local(Date.now() - 3_500_000)
        .replace('T', ' ')
        .replace('Z', '000'),
    );
    take.run(
      local(Date.now() - 3_700_000)
        .replace('T', ' ')
        .replace('Z', '000'),
    );
    expect((await queue.get())?.payload).toBe(3);
    const left = () =>
      other
        .prepare('SELECT id FROM kombu_message ORDER BY id')
        .all()
        .map(({ id }) => id);
    // The first was taken a moment too late for that; the third is held by us.
    await expect.poll(left, { timeout: 5000 }).toEqual([1, 3]);
  });

  test('what we hold is invisible to it, and its version has changed', async () => {
    const file = newFile();
    const connection = connect(file);
    const queue = await declared(connection);
    await connection.producer().publish(1, { routingKey: 'q' });
    const other = database(file);
    const row = other.prepare('SELECT visible, version, timestamp FROM kombu_message');
    expect({ ...row.get() }).toEqual({ visible: 1, version: 1, timestamp: null });
    const message = await queue.get();
    expect(row.get()).toMatchObject({ visible: 0, version: 2 });
    await message?.requeue();
    expect({ ...row.get() }).toEqual({ visible: 1, version: 3, timestamp: null });
  });

  test('a message that it deleted while we hold it is stale', async () => {
    const file = newFile();
    const connection = connect(file);
    const queue = await declared(connection);
    await connection.producer().publish(1, { routingKey: 'q' });
    const message = await queue.get();
    // kombu's Channel._purge deletes every row of the queue.
    database(file).exec('DELETE FROM kombu_message');
    expect(await message?.ack()).toBe(false);
  });
});

describe('locks', () => {
  test('a transaction of this very process is waited for, and the event loop goes on meanwhile', async () => {
    const file = newFile();
    const connection = connect(file);
    const queue = await declared(connection);
    const own = database(file);
    own.exec('CREATE TABLE mine (n); BEGIN IMMEDIATE; INSERT INTO mine VALUES (1)');
    let settled = false;
    const published = connection
      .producer()
      .publish(1, { routingKey: 'q' })
      .finally(() => {
        settled = true;
      });
    const longest = await longestTurn(1000);
    expect(settled).toBe(false);
    own.exec('COMMIT');
    await published;
    expect((await queue.get())?.payload).toBe(1);
    // SQLite's own way of waiting would have taken all of it, and never have come to the commit.
    expect(longest).toBeLessThan(500);
  });

  test('one that lasts longer than read_timeout is a lost connection, which comes back', async () => {
    const file = newFile();
    const connection = connect(file, { transportOptions: { readTimeout: 200 } });
    const queue = await declared(connection);
    const own = database(file);
    own.exec('BEGIN IMMEDIATE');
    const producer = connection.producer();
    await expect(producer.publish(1, { routingKey: 'q', retry: false })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      outcome: 'unknown',
    });
    own.exec('COMMIT');
    await producer.publish(2, { routingKey: 'q' });
    expect((await queue.get())?.payload).toBe(2);
  });

  test('one that lasts longer than the opening may take is told by the opening, and the next one succeeds', async () => {
    const file = newFile();
    await declared(connect(file));
    const own = database(file);
    own.exec('BEGIN IMMEDIATE');
    const connection = connect(file, { connectDeadline: 300, transportOptions: { readTimeout: 100 } });
    await expect(connection.connect()).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    own.exec('COMMIT');
    await connection.connect();
    expect(connection.state).toBe('open');
  });
});

/** Milliseconds that the event loop was stopped at the longest. */
async function longestTurn(ms: number): Promise<number> {
  const end = performance.now() + ms;
  let longest = 0;
  for (let last = performance.now(); last < end; ) {
    await new Promise((resolve) => setImmediate(resolve));
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }
  return longest;
}

describe('files', () => {
  test.each([
    ['sqlite:orders.db', join(process.cwd(), 'orders.db')],
    ['sqlite:/var/lib/orders.db', '/var/lib/orders.db'],
    ['sqlite:///orders.db', join(process.cwd(), 'orders.db')],
    ['sqlite:////var/lib/orders.db', '/var/lib/orders.db'],
    ['sqlite:a%20b%3F.db?lease=5', join(process.cwd(), 'a b?.db')],
    ['SQLITE:x.db', join(process.cwd(), 'x.db')],
  ])('%s is %s', (hostname, file) => {
    expect(targetOf({ ...sqliteParameters(''), hostname }).database).toBe(file);
  });

  test("Kombu's URL is understood to the character", () => {
    const target = (hostname: string) => targetOf({ ...sqliteParameters(''), transport: 'sqla', hostname }).database;
    expect(target('sqlite:////var/lib/a%20b.db')).toBe('/var/lib/a%20b.db');
    expect(target('sqlite+pysqlite:///orders.db')).toBe(join(process.cwd(), 'orders.db'));
    expect(() => target('oracle://host/db')).toThrow(/sqla\+oracle: no such database is supported/);
  });

  test.each([
    ['sqlite:', /a file is wanted/],
    ['sqlite::memory:', /a file is wanted/],
    ['sqlite://host/file.db', /a file has no host/],
    ['sqlite:100%.db', /'%' stands before two hexadecimal digits/],
  ])('%s is refused', (hostname, message) => {
    expect(() => targetOf({ ...sqliteParameters(''), hostname })).toThrow(message);
  });

  test('unknown and impossible options name themselves', async () => {
    const refused = (query: string) => connect(`${newFile()}?${query}`).connect();
    await expect(refused('synchronos=FULL')).rejects.toThrow(/'synchronos'.*synchronous/);
    await expect(refused('synchronous=SOMETIMES')).rejects.toThrow(/SOMETIMES/);
    await expect(refused('lease=0')).rejects.toThrow(/lease must be/);
    await expect(refused('sqlite_driver=sqlite3')).rejects.toThrow(/sqlite3/);
  });

  test('a folder that is not there fails at once', async () => {
    const connection = connect(join(folder, 'absent', 'x.db'));
    await expect(connection.connect()).rejects.toMatchObject({
      code: 'VHOST_NOT_FOUND',
      message: expect.stringContaining('there is no folder'),
    });
  });

  test('what is no database is left alone', async () => {
    const file = newFile();
    writeFileSync(file, 'A letter to my aunt, which is longer than the header of a database. '.repeat(20));
    await expect(connect(file).connect()).rejects.toMatchObject({
      code: 'VHOST_NOT_FOUND',
      message: expect.stringContaining('not a database'),
    });
  });

  test('names may have spaces, question marks and percent signs', async () => {
    const file = join(folder, 'what? 100% mine.db');
    const connection = connect(encodeURIComponent(file));
    const queue = await declared(connection);
    await connection.producer().publish(7, { routingKey: queue.name });
    expect(database(file).prepare('SELECT name FROM kombu_queue').get()?.name).toBe('q');
  });

  test('a file that was replaced is a lost connection, and the new one is used', async () => {
    const file = newFile();
    const connection = connect(file, { transportOptions: { lease: 0.3 } });
    const queue = await declared(connection);
    let resolve: (n: number) => void = () => undefined;
    const got = new Promise<number>((done) => {
      resolve = done;
    });
    const consumer = connection.consumer(queue, {
      settle: 'auto',
      onMessage: ({ payload }) => resolve(payload),
    });
    await consumer.consume();
    const recovered = new Promise<void>((done) => void connection.once('recovered', () => done()));
    mkdirSync(join(folder, 'old'), { recursive: true });
    for (const end of ['', '-wal', '-shm']) renameSync(file + end, join(folder, 'old', `x.db${end}`));
    await recovered;
    const other = connect(file);
    await other.producer().publish(3, { routingKey: 'q', declare: [new Queue('q')] });
    expect(await got).toBe(3);
    rmSync(join(folder, 'old'), { recursive: true });
  });
});

describe('libraries', () => {
  const absent = () => Promise.reject(Object.assign(new Error('absent'), { code: 'ERR_MODULE_NOT_FOUND' }));
  const present: Loaders = { node: () => import('node:sqlite'), better: () => import('better-sqlite3') };

  test('without either, the error names the package to install and the Node that needs none', async () => {
    const loading = loadSqlite(undefined, { node: absent, better: absent });
    await expect(loading).rejects.toMatchObject({
      code: 'MISSING_DEPENDENCY',
      message: expect.stringMatching(/better-sqlite3.*22\.13/s),
    });
  });

  test('a release of better-sqlite3 that would end the process on this Node is not loaded', () => {
    expect(() => checkRelease('13.2.0', '>=22', '20.19.0')).toThrow(/13\.2\.0 needs Node\.js 22 or later.*20\.19\.0/);
    for (const node of ['22.0.0', '24.1.0']) checkRelease('13.2.0', '>=22', node);
    checkRelease('12.11.1', '20.x || 22.x || 24.x', '20.19.0');
    checkRelease('11.0.0', undefined, '20.19.0');
  });

  test("Node's own goes first, the other serves where there is none, and either can be asked for", async () => {
    const file = newFile();
    const product = async (wanted: Parameters<typeof loadSqlite>[0], loaders: Loaders) => {
      const opened = (await loadSqlite(wanted, loaders))(file);
      open.push(opened);
      return opened.constructor.name;
    };
    expect(await product(undefined, present)).toBe('DatabaseSync');
    expect(await product(undefined, { ...present, node: absent })).toBe('Database');
    expect(await product('better-sqlite3', present)).toBe('Database');
    await expect(loadSqlite('node:sqlite', { ...present, node: absent })).rejects.toMatchObject({
      code: 'MISSING_DEPENDENCY',
    });
  });

  test('both on one file of one process are refused: they would not see the locks of one another', async () => {
    const file = newFile();
    const by = (library: string) => connect(file, { transportOptions: { sqlite_driver: library } });
    const [node, better] = [by('node:sqlite'), by('better-sqlite3')];
    await node.connect();
    const refused = { code: 'INVALID_ARGUMENT', message: expect.stringContaining('sqlite_driver') };
    await expect(better.connect()).rejects.toMatchObject(refused);
    const handle = new BetterSqlite(file);
    open.push(handle);
    handle.exec('BEGIN');
    const published = node.producer().publish(1, { routingKey: 'q', transaction: handle });
    await expect(published).rejects.toMatchObject({ ...refused, outcome: 'not-sent' });
    handle.exec('ROLLBACK');
    // One after the other they may: what one has stored the other has.
    await declared(node);
    await node.producer().publish(2, { routingKey: 'q' });
    await node.close();
    const later = by('better-sqlite3');
    expect((await (await declared(later)).get())?.payload).toBe(2);
  });
});
