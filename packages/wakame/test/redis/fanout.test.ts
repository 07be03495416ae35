/** Fanout exchanges with Python on the other side, which knows only pub/sub. */
import { once } from 'node:events';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { Connection, Exchange, Queue } from 'wakame';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { eventually } from '../messaging/support.js';
import { foreignEnvelope, rawClient } from './support.js';

const server = await startRedis({ name: `fanout-${process.pid}` });
afterAll(() => server.stop());
const raw = rawClient(server.url);

function connect(): Connection {
  const connection = new Connection(server.url);
  onTestFinished(() => connection.close());
  return connection;
}

/** Consumes from a queue; tells what came, each with the name of the queue. */
async function hear(connection: Connection, name: string, exchange: string, routingKey = ''): Promise<string[]> {
  const got: string[] = [];
  const queue = new Queue(name, { exchange: new Exchange(exchange, { type: 'fanout' }), routingKey, autoDelete: true });
  await connection.consumer(queue, { settle: 'auto', onMessage: ({ payload }) => got.push(`${payload}`) }).consume();
  return got;
}

/** As Python publishes. */
function say(text: string, exchange: string, routingKey = '', tag = text): Promise<number> {
  const channel = routingKey === '' ? `/0.${exchange}` : `/0.${exchange}/${routingKey}`;
  return raw.publish(channel, foreignEnvelope({ body: text, exchange, routingKey, tag }));
}

test('kombu keeps one queue of a fanout exchange: here both hear, of one connection and of two', async () => {
  const connection = connect();
  const all = [
    await hear(connection, 'f.one', 'f'),
    await hear(connection, 'f.two', 'f'),
    await hear(connect(), 'f.three', 'f'),
  ];
  await say('news', 'f');
  await eventually('all of them', () => all.every((got) => got.length === 1));
  expect(all).toEqual([['news'], ['news'], ['news']]);
});

test('two consumers of one queue get a broadcast once', async () => {
  const [a, b] = [await hear(connect(), 'shared', 's'), await hear(connect(), 'shared', 's')];
  for (let i = 0; i < 20; i++) await say(`${i}`, 's');
  await eventually('all of them', () => a.length + b.length >= 20);
  await say('last', 's');
  await eventually('the last', () => [...a, ...b].includes('last'));
  expect([...a, ...b].length).toBe(21);
});

test('routing keys are patterns, as Kombu’s', async () => {
  const connection = connect();
  const one = await hear(connection, 'p.one', 'p', 'stock.*');
  const all = await hear(connection, 'p.all', 'p');
  const other = await hear(connection, 'p.other', 'p', 'bond.#');
  await say('us', 'p', 'stock.us');
  await say('de', 'p', 'bond.de.ten');
  await eventually('both', () => all.length === 2 && one.length === 1 && other.length === 1);
  expect([one, all, other]).toEqual([['us'], ['us', 'de'], ['de']]);
});

test('names with slashes and wildcards are only names', async () => {
  const connection = connect();
  const short = await hear(connection, 'o.short', 'o');
  const long = await hear(connection, 'o.long', 'o/k');
  const star = await hear(connection, 'o.star', 'o*[a]?');
  await say('long', 'o/k');
  await say('short', 'o', 'k');
  await say('star', 'o*[a]?');
  await say('none', 'oxax');
  await eventually('each', () => short.length === 1 && long.length === 1 && star.length === 1);
  expect([short, long, star]).toEqual([['short'], ['long'], ['star']]);
});

test('celery#8030: everything is subscribed to again after a lost connection', async () => {
  const connection = connect();
  const got = await hear(connection, 'again', 'g');
  const recovered = once(connection as never, 'recovered');
  await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await recovered;
  await say('back', 'g');
  await eventually('the message', () => got.includes('back'));
});

test('a queue that is gone is subscribed to no more', async () => {
  const connection = connect();
  await hear(connection, 'left', 'l');
  const queue = new Queue('left').bind(connection);
  expect(await say('heard', 'l')).toBe(1);
  await queue.delete();
  await eventually('nobody', async () => (await say('alone', 'l')) === 0);
});

test('a queue that another process binds, or unbinds, while it is consumed hears, or no longer does', async () => {
  const got: string[] = [];
  const queue = new Queue('moved');
  const consumer = connect().consumer(queue, { settle: 'auto', onMessage: ({ payload }) => got.push(`${payload}`) });
  await consumer.consume();
  const other = connect();
  const exchange = new Exchange('later', { type: 'fanout' }).bind(other);
  await exchange.declare();
  await queue.bind(other).bindTo(exchange);
  await heardBy(1, '/0.later');
  await say('bound', 'later');
  await eventually('the broadcast', () => got.length === 1);
  await queue.bind(other).unbindFrom(exchange);
  await heardBy(0, '/0.later');
  await queue.bind(other).bindTo(exchange);
  await heardBy(1, '/0.later');
  await exchange.delete();
  await heardBy(0, '/0.later');
  expect(got).toEqual(['bound']);
});

/** Waits until so many patterns are listened to that fit a channel: each of them counts as one who heard. */
function heardBy(count: number, channel: string): Promise<void> {
  return eventually(`${count} to listen`, async () => (await raw.publish(channel, 'no message')) === count);
}
