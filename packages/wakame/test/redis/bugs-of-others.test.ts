/** What users of Kombu and others met on Redis. See docs/known-bugs-of-others.md. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { Connection, type ConnectionOptions, Exchange, type Message, Queue } from 'wakame';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { startFaultProxy, through } from '../../../../scripts/lib/network/fault-proxy.ts';
import { eventually, sequence } from '../messaging/support.js';
import { foreignEnvelope, rawClient } from './support.js';

// Its own server: its clients are counted.
const server = await startRedis({ name: `bugs-${process.pid}` });
afterAll(() => server.stop());
const raw = rawClient(server.url);
beforeEach(() => raw.flushdb());

function connect(options: ConnectionOptions = {}, url = server.url): Connection {
  const connection = new Connection(url, options);
  onTestFinished(() => connection.close());
  return connection;
}

test('kombu#305, celery#4354, celery#7950, celery#1789: no message is lost, wherever a connection breaks', async () => {
  const proxy = await startFaultProxy({ host: server.host, port: server.port });
  onTestFinished(() => proxy.close());
  const count = 300;
  const padding = 'x'.repeat(1000);
  await raw.lpush('work', ...sequence(count).map((i) => foreignEnvelope({ body: { i, padding }, routingKey: 'work' })));
  const handled = new Set<number>();
  const connection = connect({ transportOptions: { lease: 2 } }, through(proxy, server.url));
  const consumer = connection.consumer(new Queue<{ i: number }>('work'), {
    prefetch: 7,
    onMessage: async (message) => {
      handled.add(message.payload.i);
      await message.ack();
    },
  });
  let breaks = 0;
  connection.on('disconnected', () => breaks++);
  await consumer.consume();
  for (let i = 0; handled.size < count && breaks < 6; i++) {
    // At another byte each time, of what is asked or of what is answered.
    const before = proxy.accepted;
    proxy.trigger(i % 2 === 0 ? 'toClient' : 'toBroker', { kind: 'reset', after: 499 * (1 + ((i * 7) % 41)) });
    await eventually('the next break, or the end', () => proxy.accepted > before || handled.size === count);
  }
  proxy.clear();
  expect(breaks).toBeGreaterThan(3);
  await eventually('all of them', () => handled.size === count);
  await eventually('everything settled', async () => (await raw.exists('work', 'unacked', 'unacked_index')) === 0);
}, 60_000);

test('kombu#337, celery#3270, celery#2481, celery#4400: what is held is not given back by a sweeper with a shorter patience', async () => {
  const [patience, held] = [2, 5];
  await raw.lpush('long', foreignEnvelope({ routingKey: 'long' }));
  const connection = connect({ transportOptions: { visibility_timeout: 4 } });
  const taken: Message[] = [];
  const consumer = connection.consumer(new Queue('long'), { onMessage: (message) => void taken.push(message) });
  await consumer.consume();
  await eventually('the delivery', () => taken.length === 1);
  // What a sweeper of Kombu's asks for, with a visibility timeout of so many seconds.
  for (const end = performance.now() + held * 1000; performance.now() < end; ) {
    const [now] = await raw.time();
    expect(await raw.zcard('unacked_index')).toBe(1);
    expect(await raw.zrangebyscore('unacked_index', 0, Number(now) - patience)).toEqual([]);
    await sleep(100);
  }
  expect(await taken[0]?.ack()).toBe(true);
  expect(await raw.exists('unacked', 'unacked_index')).toBe(0);
}, 30_000);

test('kombu#164, kombu#1816: everything that Python left behind comes back, however much it is', async () => {
  const count = 1500;
  for (const tag of sequence(count).map(String)) {
    await raw
      .pipeline()
      .hset('unacked', tag, `[${foreignEnvelope({ body: Number(tag), routingKey: 'left', tag })}, "", "left"]`)
      .zadd('unacked_index', 1_000_000 + Number(tag), tag)
      .exec();
  }
  const seen = new Set<number>();
  const connection = connect({ transportOptions: { visibility_timeout: 60, unacked_restore_interval: 0.2 } });
  const consumer = connection.consumer(new Queue<number>('left'), {
    settle: 'auto',
    onMessage: ({ payload, redelivered }) => {
      expect(redelivered).toBe(true);
      seen.add(payload);
    },
  });
  await consumer.consume();
  await eventually('all of them', () => seen.size === count);
}, 30_000);

test('kombu#178, celery#1350, celery#2989: two sockets, however many channels', async () => {
  const clients = async () =>
    String(await raw.client('LIST'))
      .trim()
      .split('\n').length;
  const before = await clients();
  const connection = connect();
  for (const i of sequence(25)) {
    const queue = new Queue(`q${i}`);
    await connection.consumer(queue, { onMessage: (message) => message.ack() }).consume();
    await connection.producer().publish(i, { routingKey: queue.name });
  }
  expect((await clients()) - before).toBe(2);
});

test.each([
  ['kombu', [0, 3, 6, 9]],
  ['amqp', [9, 6, 3, 0]],
] as const)(
  'celery#4599, celery#4028, kombu#1178: priorities are served in the order of %s',
  async (order, expected) => {
    const connection = connect({ transportOptions: { priority_order: order } });
    const queue = new Queue<number>('graded').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    for (const priority of [3, 9, 0, 6]) await producer.publish(priority, { routingKey: queue.name, priority });
    const got: (number | undefined)[] = [];
    for (const _ of expected) {
      const message = await queue.get();
      got.push(message?.payload);
      await message?.ack();
    }
    expect(got).toEqual(expected);
  },
);

test('node-celery-ts#5: bindings and priorities stand where Kombu looks for them', async () => {
  const connection = connect();
  const tasks = new Exchange('tasks', { type: 'direct' });
  const queue = new Queue('celery', { exchange: tasks, routingKey: 'key' });
  const producer = connection.producer({ exchange: tasks });
  await producer.publish('now', { routingKey: 'key', declare: [queue] });
  await producer.publish('later', { routingKey: 'key', priority: 6 });
  expect(await raw.smembers('_kombu.binding.tasks')).toEqual(['key\x06\x16\x06\x16celery']);
  expect([await raw.llen('celery'), await raw.llen('celery\x06\x166')]).toEqual([1, 1]);
});
