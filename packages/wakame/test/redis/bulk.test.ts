/** Messages for plain queues go past the script that knows of all kinds; see `sender.ts`. */
import { Redis } from 'ioredis';
import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { Connection, type ConnectionOptions, Queue } from 'wakame';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { sequence } from '../messaging/support.js';
import { rawClient } from './support.js';

// Its own server: commands are counted, and it is given too little memory.
const server = await startRedis({ name: `bulk-${process.pid}` });
afterAll(() => server.stop());
const raw = rawClient(server.url);
beforeEach(async () => {
  await raw.flushall();
});

function connect(options: ConnectionOptions = {}, url = server.url): Connection {
  const connection = new Connection(url, options);
  onTestFinished(() => connection.close());
  return connection;
}

/** How often the server has run a command. */
async function calls(command: string): Promise<number> {
  const line = new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await raw.info('commandstats'));
  return Number(line?.[1] ?? 0);
}

/** A queue that is known to be plain, and who publishes to it. */
async function plainQueue(connection: Connection, name: string) {
  const queue = new Queue(name).bind(connection);
  await queue.declare();
  const producer = connection.producer({ routingKey: name, retry: false });
  await producer.publish('first');
  return { queue, producer };
}

/** The bodies in a list, the first to be served first. */
async function bodies(list: string): Promise<string[]> {
  const texts = await raw.lrange(list, 0, -1);
  return texts.reverse().map((text) => Buffer.from(JSON.parse(text).body, 'base64').toString());
}

test('one transaction for all of a tick, in order, whatever they hold', async () => {
  const connection = connect();
  // A name in UTF-8 is longer in bytes than in characters.
  const { producer } = await plainQueue(connection, 'Grüße ☂');
  const [transactions, scripts] = [await calls('exec'), await calls('evalsha')];
  const texts = sequence(100).map((i) => `${i} ${'ä\n"☂'.repeat(i)}`);
  texts.push('x'.repeat(1024 * 1024), 'last');
  await Promise.all(texts.map((text) => producer.publish(text)));
  expect([await calls('exec'), await calls('evalsha')]).toEqual([transactions + 1, scripts]);
  expect(await bodies('Grüße ☂')).toEqual(['first', ...texts]);
  const tags = (await raw.lrange('Grüße ☂', 0, -1)).map((text) => JSON.parse(text).properties.delivery_tag);
  expect(new Set(tags).size).toBe(texts.length + 1);
  expect(tags.every((tag) => /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/.test(tag))).toBe(true);
});

test('several queues and priorities, each list in order', async () => {
  const connection = connect();
  const { producer } = await plainQueue(connection, 'one');
  await plainQueue(connection, 'two');
  const before = await calls('lpush');
  await Promise.all(
    sequence(60).map((i) => producer.publish(`${i}`, { routingKey: i % 2 ? 'one' : 'two', priority: i % 3 ? 0 : 9 })),
  );
  expect((await calls('lpush')) - before).toBe(4);
  const numbers = sequence(60).map(String);
  const those = (odd: boolean, high: boolean) =>
    numbers.filter((i) => (Number(i) % 2 === 1) === odd && (Number(i) % 3 === 0) === high);
  expect(await bodies('one')).toEqual(['first', ...those(true, false)]);
  expect(await bodies('two')).toEqual(['first', ...those(false, false)]);
  expect(await bodies('one\x06\x169')).toEqual(those(true, true));
  expect(await bodies('two\x06\x169')).toEqual(those(false, true));
});

test('a queue that somebody deleted gets nothing, and others theirs', async () => {
  const connection = connect();
  const { producer } = await plainQueue(connection, 'gone');
  await plainQueue(connection, 'stays');
  await new Queue('gone').bind(connect()).delete();
  const outcomes = await Promise.allSettled(
    sequence(20).map((i) => producer.publish(`${i}`, { routingKey: i < 10 ? 'gone' : 'stays', mandatory: true })),
  );
  const codes = outcomes.map((one) => (one.status === 'rejected' ? one.reason.code : 'stored'));
  expect(codes).toEqual([...new Array(10).fill('UNROUTABLE'), ...new Array(10).fill('stored')]);
  expect(await raw.exists('gone')).toBe(0);
  expect(await bodies('stays')).toEqual(['first', ...sequence(10).map((i) => `${i + 10}`)]);
});

test('a queue made anew keeps its new rules, and the order, while messages are on their way', async () => {
  const { producer } = await plainQueue(connect(), 'anew');
  const other = connect();
  await new Queue('anew').bind(other).delete();
  await new Queue('anew', { messageTtl: 60_000 }).bind(other).declare();
  // More than one transaction under way, and messages that are published when the first answers come.
  const early = sequence(400).map((i) => producer.publish(`${i}`));
  const late = early.slice(0, 300).map((answer, i) => answer.then(() => producer.publish(`${400 + i}`)));
  await Promise.all([...early, ...late]);
  expect(await bodies('anew')).toEqual(sequence(700).map(String));
  expect((await raw.lrange('anew', 0, -1)).every((text) => text.includes('"x-wakame":"e'))).toBe(true);
});

test('a queue made anew with a limit refuses what is too much', async () => {
  const { producer } = await plainQueue(connect(), 'limited');
  const other = connect();
  await new Queue('limited').bind(other).delete();
  await new Queue('limited', { maxLength: 5, queueArguments: { 'x-overflow': 'reject-publish' } })
    .bind(other)
    .declare();
  const outcomes = await Promise.allSettled(sequence(20).map((i) => producer.publish(`${i}`)));
  const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
  expect(refused).toEqual(new Array(15).fill('NACKED'));
  expect(await bodies('limited')).toEqual(sequence(5).map(String));
});

test('a server without memory refuses the whole, and says why', async () => {
  const { producer } = await plainQueue(connect(), 'large');
  await raw.config('SET', 'maxmemory', 1);
  onTestFinished(async () => {
    await raw.config('SET', 'maxmemory', 0);
  });
  const outcomes = await Promise.allSettled(sequence(20).map((i) => producer.publish(`${i}`)));
  for (const one of outcomes) {
    expect(one).toMatchObject({
      reason: { code: 'STORE_ERROR', recoverable: true, message: expect.stringContaining('OOM') },
    });
  }
  expect(await bodies('large')).toEqual(['first']);
  await raw.config('SET', 'maxmemory', 0);
  await producer.publish('again');
  expect(await bodies('large')).toEqual(['first', 'again']);
});

test('something else under the name of a list: an error of the store', async () => {
  const { producer } = await plainQueue(connect(), 'odd');
  await raw.set('odd', 'no list');
  await expect(producer.publish('1')).rejects.toMatchObject({
    code: 'STORE_ERROR',
    message: expect.stringContaining('WRONGTYPE'),
  });
  await raw.del('odd');
  await producer.publish('2');
  expect(await bodies('odd')).toEqual(['2']);
});

test('where transactions are forbidden, by the script', async () => {
  await raw.acl('SETUSER', 'app', 'reset', 'on', '>secret', 'allkeys', 'allchannels', '+@all', '-multi');
  const connection = connect({}, server.url.replace('redis://', 'redis://app:secret@'));
  const { producer } = await plainQueue(connection, 'forbidden');
  await Promise.all(sequence(50).map((i) => producer.publish(`${i}`)));
  expect(await bodies('forbidden')).toEqual(['first', ...sequence(50).map(String)]);
});

test('with a client like the application’s, too', async () => {
  const client = new Redis(server.url, { lazyConnect: true });
  const connection = connect({ transportOptions: { client } });
  const { producer } = await plainQueue(connection, 'theirs');
  const before = await calls('exec');
  await Promise.all(sequence(50).map((i) => producer.publish(`${i}`)));
  expect(await calls('exec')).toBe(before + 1);
  expect(await bodies('theirs')).toEqual(['first', ...sequence(50).map(String)]);
});

test('also after the server was told to forget its scripts', async () => {
  const { producer } = await plainQueue(connect(), 'flushed');
  await raw.script('FLUSH');
  await Promise.all(sequence(50).map((i) => producer.publish(`${i}`)));
  expect(await bodies('flushed')).toEqual(['first', ...sequence(50).map(String)]);
});
