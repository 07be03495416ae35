/** Publishing in the application's own transaction. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, Exchange, MessagingError, Queue } from 'wakame';
import { type DatabaseName, type Handle, openHandle } from './handles.js';
import { mysqlDatabases, postgresqlDatabases, scaled, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let files = 0;

/** Programs that are killed at the same time: they are in each other's way, too. */
const TOGETHER = 4;

interface Database {
  readonly name: DatabaseName;
  /** Where one client library speaks to several. */
  readonly server?: string;
  /** Programs killed, at scale 1: a thousand of one at the scale of the full run. */
  readonly tries: number;
  /** Where nobody was before. */
  newUrl(): Promise<string>;
  /** Statements after which, within a transaction, nothing can be stored any more, and after which it can again. */
  readonly failure?: { readonly prepare: string; readonly begin: string; readonly end: string };
}

const renamed = {
  prepare: 'SELECT 1',
  begin: 'ALTER TABLE kombu_message RENAME TO elsewhere',
  end: 'ALTER TABLE elsewhere RENAME TO kombu_message',
};
/** Where a transaction ends when a table is altered. */
const forbidden = {
  prepare: `CREATE TRIGGER forbid BEFORE INSERT ON kombu_message FOR EACH ROW
    IF @forbidden THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'forbidden'; END IF`,
  begin: 'SET @forbidden = 1',
  end: 'SET @forbidden = 0',
};

const databases: readonly Database[] = [
  ...(['node:sqlite', 'better-sqlite3'] as const).map((name) => ({
    name,
    tries: name === 'node:sqlite' ? 20 : 4,
    newUrl: async () => `sqlite:${folder}/${++files}.db?sqlite_driver=${name}`,
  })),
  { name: 'pg', tries: 4, newUrl: postgresqlDatabases().newUrl },
  ...(['mariadb', 'mysql'] as const).map((server) => ({
    ...{ name: 'mysql2' as const, server, tries: 4, newUrl: mysqlDatabases(server).newUrl, failure: forbidden },
  })),
];

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function connect(url: string): Connection {
  const connection = new Connection(url);
  open.push(() => connection.close());
  return connection;
}

async function handleOn(name: DatabaseName, url: string): Promise<Handle> {
  const handle = await openHandle(name, url);
  open.push(() => handle.close());
  return handle;
}

describe.each(databases)('$name $server', ({ name, tries, newUrl, failure = renamed }) => {
  async function start() {
    const url = await newUrl();
    const connection = connect(url);
    const queue = new Queue<number>('outbox').bind(connection);
    await queue.declare();
    const handle = await handleOn(name, url);
    await handle.run('CREATE TABLE work (n INTEGER)');
    const { transaction } = handle;
    return { url, connection, queue, handle, transaction, producer: connection.producer({ routingKey: 'outbox' }) };
  }

  test('a message is sent when the transaction commits, and a waiting consumer gets it', async () => {
    const { url, connection, queue, handle, transaction, producer } = await start();
    const seen: number[] = [];
    const consumer = connection.consumer(queue, {
      settle: 'auto',
      onMessage: ({ payload }) => void seen.push(payload),
    });
    await consumer.consume();
    const other = await handleOn(name, url);
    await handle.run('BEGIN');
    await handle.run('INSERT INTO work (n) VALUES (1)');
    await Promise.all([1, 2, 3].map((n) => producer.publish(n, { transaction })));
    expect((await other.column('SELECT count(*) FROM kombu_message')).map(Number)).toEqual([0]);
    expect(seen).toEqual([]);
    await handle.run('COMMIT');
    await expect.poll(() => seen, { timeout: 5000 }).toEqual([1, 2, 3]);
  });

  test('a transaction that is rolled back sends nothing', async () => {
    const { queue, handle, transaction, producer } = await start();
    await handle.run('BEGIN');
    await producer.publish(1, { transaction });
    await handle.run('ROLLBACK');
    await handle.run('BEGIN');
    await producer.publish(2, { transaction });
    await handle.run('COMMIT');
    await producer.publish(3);
    expect([(await queue.get())?.payload, (await queue.get())?.payload, await queue.get()]).toEqual([2, 3, undefined]);
  });

  test('a savepoint of the application takes back what was published since', async () => {
    const { queue, handle, transaction, producer } = await start();
    await handle.run('BEGIN');
    await producer.publish(1, { transaction });
    await handle.run('SAVEPOINT mine');
    await producer.publish(2, { transaction });
    await handle.run('ROLLBACK TO SAVEPOINT mine');
    await handle.run('COMMIT');
    expect([(await queue.get())?.payload, await queue.get()]).toEqual([1, undefined]);
  });

  test('exchanges, priorities, delays and limits are as always', async () => {
    const { connection, handle, transaction } = await start();
    const exchange = new Exchange('events', { type: 'topic' });
    const high = new Queue<string>('high', { exchange, routingKey: 'a.#', maxPriority: 9 }).bind(connection);
    const low = new Queue<string>('low', { exchange, routingKey: '*.b' }).bind(connection);
    await high.declare();
    await low.declare();
    const producer = connection.producer({ exchange });
    await handle.run('BEGIN');
    await producer.publish('both', { routingKey: 'a.b', transaction });
    await producer.publish('urgent', { routingKey: 'a', priority: 5, transaction });
    await producer.publish('later', { routingKey: 'a', delay: 150, transaction });
    await expect(producer.publish('nowhere', { routingKey: 'x', mandatory: true, transaction })).rejects.toMatchObject({
      code: 'UNROUTABLE',
    });
    await handle.run('COMMIT');
    expect((await low.get({ noAck: true }))?.payload).toBe('both');
    const seen: string[] = [];
    for await (const { payload } of connection.consumer(high, { noAck: true })) if (seen.push(payload) === 3) break;
    expect(seen).toEqual(['urgent', 'both', 'later']);
  });

  test('what fails leaves nothing behind, and the transaction can go on', async () => {
    const { queue, handle, transaction, producer } = await start();
    await handle.run(failure.prepare);
    await handle.run('BEGIN');
    await handle.run('INSERT INTO work (n) VALUES (1)');
    await handle.run(failure.begin);
    await expect(producer.publish(1, { transaction })).rejects.toBeInstanceOf(MessagingError);
    await handle.run(failure.end);
    await producer.publish(2, { transaction });
    await handle.run('COMMIT');
    expect((await queue.get())?.payload).toBe(2);
    expect(await handle.column('SELECT n FROM work')).toEqual([1]);
  });

  test('is refused: no transaction begun, another handle, and options that cannot be part of it', async () => {
    const { handle, transaction, producer, queue } = await start();
    const refused = async (options: Parameters<typeof producer.publish>[1], words: RegExp) => {
      const publishing = producer.publish(1, options);
      await expect(publishing).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'not-sent' });
      await expect(publishing).rejects.toThrow(words);
    };
    await refused({ transaction }, /none open; begin it first/);
    await refused({ transaction: {} }, /transaction must be/);
    await refused({ transaction: 'BEGIN' }, /transaction must be/);
    await handle.run('BEGIN');
    await refused({ transaction, confirm: false }, /confirm/);
    await refused({ transaction, retry: true }, /retry/);
    await refused({ transaction, declare: [queue] }, /declare/);
    await handle.run('COMMIT');
    expect(await queue.get()).toBeUndefined();
  });

  const timeout = 60_000 + scaled(tries) * 5_000;
  test('kill -9 at any instant: sent is what was committed, and nothing else', { timeout }, async () => {
    const { url, connection, queue, handle } = await start();
    const kills = scaled(tries);
    /** A program that is killed while it is at work. */
    const tryOnce = async (first: number) => {
      const child = startChild(url, name, first);
      const delay = Math.random() * 30;
      for (let told = 0; told < 3; told++) await Promise.race([once(child, 'message'), failed(child)]);
      await new Promise((resolve) => setTimeout(resolve, delay));
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    for (let kill = 0; kill < kills; kill += TOGETHER) {
      const together = Array.from({ length: Math.min(TOGETHER, kills - kill) }, (_, i) => kill + i);
      await Promise.all(together.map((n) => tryOnce(n * 1_000_000 + 1)));
    }
    const recorded = (await handle.column('SELECT n FROM work')).map(Number);
    expect(recorded.length).toBeGreaterThan(kills * 10);
    const sent: number[] = [];
    for await (const { payload } of connection.consumer(queue, { noAck: true, prefetch: 1000 })) {
      sent.push(payload);
      if (sent.length === recorded.length) break;
    }
    expect(await queue.get()).toBeUndefined();
    const inOrder = (numbers: number[]) => numbers.sort((one, other) => one - other);
    expect(inOrder(sent)).toEqual(inOrder(recorded));
    expect(sent.filter((n) => n % 3 === 0)).toEqual([]);
  });
});

test('another file than that of the connection is refused', async () => {
  const connection = connect(`sqlite:${folder}/a.db`);
  await new Queue('outbox').bind(connection).declare();
  const handle = await handleOn('node:sqlite', `sqlite:${folder}/b.db`);
  await handle.run('BEGIN');
  const { transaction } = handle;
  await expect(connection.producer().publish(1, { routingKey: 'outbox', transaction })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('b.db'),
  });
});

function startChild(url: string, name: DatabaseName, first: number): ChildProcess {
  const program = fileURLToPath(new URL('./outbox-child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const child = fork(program, [url, name, String(first)], { execArgv: ['--import', loader], stdio: 'inherit' });
  open.push(() => child.kill('SIGKILL'));
  return child;
}

async function failed(child: ChildProcess): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`the program ended with ${code}`);
}
