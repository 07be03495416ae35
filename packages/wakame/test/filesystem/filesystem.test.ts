/** What is particular to folders of files, through the public API. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Connection, type MessagingError, Queue } from 'wakame';
import { loadFlock } from '../../src/transports/filesystem/flock.js';
import { Locks } from '../../src/transports/filesystem/locks.js';
import { eventually, storeOptions, temporaryFolder } from './support.js';

const root = temporaryFolder();
let stores = 0;

class Store {
  readonly folder = join(root, `${++stores}`);
  readonly options = { ...storeOptions(this.folder), fsync: false };
  readonly problems: MessagingError[] = [];

  get data(): string {
    return this.options.data_folder_in;
  }

  get messages(): string[] {
    return readdirSync(this.data).filter((name) => name.endsWith('.msg'));
  }

  connect(options: Record<string, unknown> = {}): Connection {
    const connection = new Connection('filesystem://', { transportOptions: { ...this.options, ...options } });
    connection.on('problem', (problem) => this.problems.push(problem));
    onTestFinished(() => connection.close());
    return connection;
  }
}

const envelope = (text: string) =>
  JSON.stringify({
    ...{ body: Buffer.from(text).toString('base64'), 'content-type': 'text/plain', 'content-encoding': 'utf-8' },
    ...{ headers: {}, properties: { body_encoding: 'base64', delivery_info: { exchange: '', routing_key: 'q' } } },
  });

test('Kombu’s folders have to be there: a name may be mistaken. The control folder is made', async () => {
  const store = new Store();
  const none = join(store.folder, 'none');
  await expect(store.connect({ data_folder_in: none }).connect()).rejects.toMatchObject({ code: 'VHOST_NOT_FOUND' });
  await expect(store.connect({ data_folder_out: none }).connect()).rejects.toThrow(none);
  await store.connect().connect();
  expect(existsSync(store.options.control_folder)).toBe(true);
});

test.each([
  [{ data_folder_in: 7 }, 'data_folder_in'],
  [{ control_folder: '' }, 'control_folder'],
  [{ store_processed: 'perhaps' }, 'store_processed'],
  [{ fsync: 2 }, 'fsync'],
  [{ lease: 0 }, 'lease'],
  [{ read_timeout: 'soon' }, 'read_timeout'],
  [{ body_encoding: 'ascii' }, 'body_encoding'],
  [{ implicit_queues: 'sometimes' }, 'implicit_queues'],
  [{ data_folder: 'data' }, 'data_folder_in'],
])('%o is refused, and the option named', async (options, name) => {
  const connect = async () => new Store().connect(options).connect();
  await expect(connect()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(name) });
});

test('a URL names no folder', async () => {
  for (const url of ['filesystem://data', 'filesystem://localhost/data']) {
    const connection = new Connection(url);
    onTestFinished(() => connection.close());
    await expect(connection.connect()).rejects.toMatchObject({ code: 'INVALID_URL' });
  }
  const { data_folder_in: data, control_folder: control } = new Store().options;
  const query = new URLSearchParams({ data_folder_in: data, data_folder_out: data, control_folder: control });
  const connection = new Connection(`filesystem://?${query}`);
  onTestFinished(() => connection.close());
  expect((await connection.connect()).connected).toBe(true);
});

test('a message from another connection is there long before anybody would have asked', async () => {
  const store = new Store();
  const [a, b] = [store.connect({ polling_interval: 600 }), store.connect()];
  const queue = new Queue<number>('prompt');
  const came: number[] = [];
  const consumer = a.consumer(queue, {
    onMessage: async (message) => {
      came.push(message.payload);
      await message.ack();
    },
  });
  await consumer.consume();
  for (let i = 0; i < 3; i++) {
    await b.producer().publish(i, { routingKey: 'prompt' });
    await eventually(() => came.length).toBe(i + 1);
  }
  await b.producer().publish(3, { routingKey: 'prompt', delay: 50 });
  await eventually(() => came).toEqual([0, 1, 2, 3]);
});

test('two sides with each other’s folders: what one writes the other reads', async () => {
  const store = new Store();
  const [left, right] = [join(store.folder, 'left'), join(store.folder, 'right')];
  for (const folder of [left, right]) mkdirSync(folder);
  const a = store.connect({ data_folder_in: left, data_folder_out: right });
  const b = store.connect({ data_folder_in: right, data_folder_out: left });
  const queue = new Queue<string>('q');
  await a.producer().publish('to b', { routingKey: 'q', declare: [queue] });
  await b.producer().publish('to a', { routingKey: 'q', delay: 1 });
  expect((await queue.bind(b).get())?.payload).toBe('to b');
  await eventually(async () => (await queue.bind(a).get())?.payload).toBe('to a');
});

test('store_processed keeps what was acknowledged, under its name', async () => {
  const store = new Store();
  const processed = join(store.folder, 'processed');
  const connection = store.connect({ store_processed: true, processed_folder: processed });
  const queue = new Queue<string>('q').bind(connection);
  await queue.declare();
  await connection.producer().publish('kept', { routingKey: 'q' });
  const [file] = store.messages;
  const message = await queue.get();
  expect(readdirSync(processed)).toEqual([]);
  await message?.ack();
  expect(readdirSync(processed)).toEqual([file]);
  expect(JSON.parse(readFileSync(join(processed, file as string), 'utf8'))).toMatchObject({
    body: Buffer.from('kept').toString('base64'),
  });
});

test('a file that is still being written is waited for; one that is no message is delivered as it is, and told of', async () => {
  const store = new Store();
  const connection = store.connect();
  const queue = new Queue('q').bind(connection);
  await queue.declare();
  const whole = envelope('whole');
  const file = join(store.data, '1_00000000-0000-4000-8000-000000000000.q.msg');
  writeFileSync(file, whole.slice(0, 40));
  const getting = queue.get();
  await eventually(() => store.messages).toEqual([]);
  const [held] = readdirSync(join(store.data, '.wakame', 'held'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.msg'),
  );
  writeFileSync(join(store.data, '.wakame', 'held', held as string), whole);
  expect((await getting)?.payload).toBe('whole');
  expect(store.problems).toEqual([]);

  writeFileSync(`${file}.part`, 'no envelope');
  renameSync(`${file}.part`, file);
  const strange = await queue.get();
  expect(Buffer.from(strange?.body ?? []).toString()).toBe('no envelope');
  expect(store.problems).toMatchObject([{ code: 'DECODE_FAILED' }]);
});

test('nothing but messages of that queue is taken for its messages', async () => {
  const store = new Store();
  const connection = store.connect();
  const queue = new Queue('b').bind(connection);
  await queue.declare();
  for (const name of ['1_a.a.b.msg', '1_a.b', 'b.msg', '.b.msg', '1_a.bb.msg', '1_a.b.msg.tmp']) {
    writeFileSync(join(store.data, name), envelope(name));
  }
  expect(await queue.get()).toBeUndefined();
  writeFileSync(join(store.data, 'no-stamp.b.msg'), envelope('foreign'));
  expect((await queue.get())?.payload).toBe('foreign');
});

test('a queue is counted as it is now, in a large folder, too', async () => {
  const store = new Store();
  const connection = store.connect();
  const queue = new Queue('q').bind(connection);
  await queue.declare();
  // Reading takes some milliseconds, and what was read is good enough for taking during some more.
  for (let i = 0; i < 5000; i++) writeFileSync(join(store.data, `1_${i}.other.msg`), '');
  const names = [1, 2, 3].map((i) => join(store.data, `1_${i}.q.msg`));
  const count = async () => (await queue.queueDeclare({ passive: true })).messageCount;
  for (const name of names) writeFileSync(name, envelope(name));
  expect(await count()).toBe(3);
  // As another process does it.
  for (const name of names) rmSync(name);
  expect(await count()).toBe(0);
});

test('kombu#294: the answer to a caller whose queue leaves no trace is kept for a day', async () => {
  const store = new Store();
  const answer = { correlationId: '1', mandatory: true };
  const publish = (routingKey: string, options: object, implicit_queues?: string) =>
    store
      .connect(implicit_queues === undefined ? {} : { implicit_queues })
      .producer()
      .publish('text', { routingKey, mandatory: true, ...options });
  await publish('reply.of.python', answer);
  const [file = ''] = store.messages;
  const day = Number(/_e(\d+)\.reply\.of\.python\.msg$/.exec(file)?.[1]) - Date.now();
  expect(day).toBeGreaterThan(86_300_000);
  expect(day).toBeLessThanOrEqual(86_400_000);
  // Not what is no answer, nor what no file can be called after.
  const lost = { code: 'UNROUTABLE' };
  await expect(publish('nowhere', {})).rejects.toMatchObject(lost);
  await expect(publish('n'.repeat(141), answer)).rejects.toMatchObject(lost);
  await expect(publish('', answer)).rejects.toMatchObject(lost);
  await expect(publish('reply.too', answer, 'never')).rejects.toMatchObject(lost);
  await publish('made', {}, 'always');
  expect(store.messages.filter((name) => name !== file)).toEqual([expect.stringMatching(/^\d+_[^_]*\.made\.msg$/)]);
});

test('names that files cannot have', async () => {
  const connection = new Store().connect();
  await expect(new Queue('q'.repeat(141)).bind(connection).declare()).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  const queue = new Queue<string>('../../etc/passwd\0').bind(connection);
  await queue.declare();
  await connection.producer().publish('inside', { routingKey: queue.name });
  expect((await queue.get())?.payload).toBe('inside');
});

test('the folder is taken away and comes back: the connection does, too', async () => {
  const store = new Store();
  const connection = store.connect();
  const lost: string[] = [];
  connection.on('disconnected', (error) => lost.push(error.code));
  const queue = new Queue<number>('q');
  const came: number[] = [];
  const consumer = connection.consumer(queue, {
    settle: 'auto',
    onMessage: ({ payload }) => void came.push(payload),
  });
  await consumer.consume();
  await connection.producer().publish(1, { routingKey: 'q' });
  await eventually(() => came).toEqual([1]);
  const away = `${store.data}.away`;
  renameSync(store.data, away);
  const published = connection.producer().publish(2, { routingKey: 'q' });
  await eventually(() => lost.length).toBeGreaterThan(0);
  rmSync(store.data, { recursive: true, force: true });
  renameSync(away, store.data);
  expect((await published).attempts).toBeGreaterThanOrEqual(1);
  await eventually(() => came).toContain(2);
});

test('nothing is left of a deleted queue for the next one of its name, also of what was just being published', async () => {
  const store = new Store();
  const connection = store.connect();
  const unroutable: unknown[] = [];
  connection.on('unroutable', (event) => unroutable.push(event));
  // Publishing to a limited queue waits for the lock after it has seen that the queue is there.
  const queue = new Queue<number>('short-lived', { maxLength: 10 }).bind(connection);
  await queue.declare();
  const producer = connection.producer();
  const own = join(store.options.control_folder, 'wakame');
  let published: Promise<unknown> | undefined;
  await new Locks(own, await loadFlock(), 10_000).alone(async () => {
    const locking = vi.spyOn(Locks.prototype, 'alone');
    onTestFinished(() => locking.mockRestore());
    published = producer.publish(1, { routingKey: queue.name });
    await eventually(() => locking.mock.calls.length).toBe(1);
    rmSync(join(own, 'queues', 'short-lived.json'));
  });
  await published;
  expect(unroutable).toHaveLength(1);
  expect(store.messages).toEqual([]);
});

test('a holder whose folder a sweep took away holds on', async () => {
  const store = new Store();
  const connection = store.connect();
  const queue = new Queue<string>('q').bind(connection);
  await queue.declare();
  const held = join(store.data, '.wakame', 'held');
  for (const folder of readdirSync(held)) rmSync(join(held, folder), { recursive: true });
  await connection.producer().publish('still', { routingKey: 'q' });
  const message = await queue.get();
  expect(message?.payload).toBe('still');
  expect(await message?.ack()).toBe(true);
});

test('fsync: a publish is confirmed when the disk has it', async () => {
  const store = new Store();
  const connection = store.connect({ fsync: true });
  const queue = new Queue<number>('q').bind(connection);
  await queue.declare();
  const producer = connection.producer();
  await Promise.all([1, 2, 3].map((i) => producer.publish(i, { routingKey: 'q' })));
  expect(store.messages).toHaveLength(3);
  expect((await queue.get())?.payload).toBe(1);
});
