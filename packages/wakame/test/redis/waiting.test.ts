import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { Connection, type ConnectionOptions, Queue } from 'wakame';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { deferred } from '../../src/util/deferred.js';
import { eventually } from '../messaging/support.js';
import { foreignEnvelope, rawClient } from './support.js';

// Its own server: commands are counted.
const server = await startRedis({ name: `waiting-${process.pid}` });
afterAll(() => server.stop());
const raw = rawClient(server.url);

function connect(options: ConnectionOptions = {}, url = server.url): Connection {
  const connection = new Connection(url, options);
  onTestFinished(() => connection.close());
  return connection;
}

async function consume(connection: Connection, queue: Queue, handler: (message: { ack(): unknown }) => unknown) {
  const consumer = connection.consumer(queue, {
    callbacks: [(_body: unknown, message: { ack(): unknown }) => handler(message)],
  });
  await consumer.consume();
  return consumer;
}

/** Commands that clients sent, those of this question aside. */
async function commandsOf(): Promise<number> {
  const stats = await raw.info('commandstats');
  const calls = [...stats.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)];
  // What scripts do within is counted, too: only what comes from clients costs a round trip.
  const fromClients = ['evalsha', 'eval', 'ping', 'client|caching', 'client|tracking', 'psubscribe', 'subscribe'];
  return calls.filter(([, name]) => fromClients.includes(name ?? '')).reduce((sum, [, , n]) => sum + Number(n), 0);
}

test('a message pushed by Python reaches an idle consumer within 20 ms at the median', async () => {
  let arrived = deferred<number>();
  const queue = new Queue('latency');
  await consume(connect(), queue, async (message) => {
    arrived.resolve(performance.now());
    await message.ack();
  });
  const latencies: number[] = [];
  for (let i = 0; i < 41; i++) {
    await sleep(5);
    const start = performance.now();
    await raw.lpush('latency', foreignEnvelope({ routingKey: 'latency' }));
    latencies.push((await arrived.promise) - start);
    arrived = deferred();
  }
  // What a client that waits in the server itself takes on this machine, now: a busy one makes everybody late.
  const waiting = rawClient(server.url);
  const blocking: number[] = [];
  for (let i = 0; i < 41; i++) {
    const popped = waiting.brpop('blocking', 10).then(() => performance.now());
    await sleep(5);
    const start = performance.now();
    await raw.lpush('blocking', foreignEnvelope({ routingKey: 'blocking' }));
    blocking.push((await popped) - start);
  }
  expect(median(latencies)).toBeLessThan(Math.max(20, 5 * median(blocking)));
}, 60_000);

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

test('each of the lists of priorities is watched', async () => {
  const got: unknown[] = [];
  const queue = new Queue('steps');
  await consume(connect(), queue, async (message) => {
    got.push((message as unknown as { properties: { priority: number } }).properties.priority);
    await message.ack();
  });
  for (const [step, priority] of [
    [9, 9],
    [3, 4],
    [6, 6],
  ] as const) {
    await raw.lpush(`steps\x06\x16${step}`, foreignEnvelope({ routingKey: 'steps', priority }));
    await eventually('the handler', () => got.includes(priority));
  }
});

test('a hundred idle consumers cost at most ten commands a second in all', async () => {
  const connections = Array.from({ length: 100 }, () => connect());
  await Promise.all(
    connections.map((connection, i) =>
      consume(connection, new Queue(i % 2 === 0 ? 'shared' : `own-${i}`), (message) => message.ack()),
    ),
  );
  // On a busy machine it takes a while until all of them have begun to wait.
  let perSecond = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 6 && perSecond > 10; tries++) {
    await sleep(500);
    const [before, start] = [await commandsOf(), performance.now()];
    await sleep(4000);
    perSecond = ((await commandsOf()) - before) / ((performance.now() - start) / 1000);
  }
  expect(perSecond).toBeLessThanOrEqual(10);
}, 90_000);

test('where many wait for one queue, a message wakes few, and nothing is left lying', async () => {
  const connections = Array.from({ length: 40 }, () => connect());
  let handled = 0;
  for (const connection of connections) {
    await consume(connection, new Queue('herd'), async (message) => {
      await message.ack();
      handled++;
    });
  }
  // The first messages make known how many they are.
  for (let i = 0; i < 10; i++) {
    await raw.lpush('herd', foreignEnvelope({ routingKey: 'herd' }));
    await eventually('the handler', () => handled === i + 1);
  }
  await sleep(300);
  const before = await commandsOf();
  for (let i = 10; i < 30; i++) {
    await raw.lpush('herd', foreignEnvelope({ routingKey: 'herd' }));
    await eventually('the handler', () => handled === i + 1);
    await sleep(10);
  }
  const each = ((await commandsOf()) - before) / 20;
  expect(each).toBeLessThan(40);

  // A burst is shared out.
  await raw.lpush('herd', ...Array.from({ length: 200 }, () => foreignEnvelope({ routingKey: 'herd' })));
  await eventually('the handler', () => handled === 230);

  // Those who are told go away; the others find out.
  for (const connection of connections.splice(0, 30)) await connection.close();
  await raw.lpush('herd', foreignEnvelope({ routingKey: 'herd' }));
  await eventually('the handler', () => handled === 231);
}, 60_000);

test('a server that tells of no changes is asked at intervals', async () => {
  await raw.acl('SETUSER', 'plain', 'on', '>secret', 'allkeys', 'allchannels', '+@all', '-client|tracking');
  const url = server.url.replace('redis://', 'redis://plain:secret@');
  const connection = connect({ transportOptions: { polling_interval: 0.05 } }, url);
  let handled = 0;
  await consume(connection, new Queue('polled'), async (message) => {
    await message.ack();
    handled++;
  });
  for (let i = 0; i < 3; i++) {
    await raw.lpush('polled', foreignEnvelope({ routingKey: 'polled' }));
    await eventually('the handler', () => handled === i + 1);
  }
});

test('everything is looked at again when the server forgets all', async () => {
  const connection = connect();
  let cancelled = false;
  const queue = new Queue('forgotten');
  const consumer = await consume(connection, queue, (message) => message.ack());
  (consumer as unknown as { on(event: string, listener: () => void): void }).on('cancelled', () => {
    cancelled = true;
  });
  await raw.flushall();
  await eventually('the handler', () => cancelled);
});
