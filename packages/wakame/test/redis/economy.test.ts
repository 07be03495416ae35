import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { Connection, type ConnectionOptions, Exchange, type Message, Queue } from 'wakame';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { eventually, sequence } from '../messaging/support.js';
import { foreignEnvelope, rawClient } from './support.js';

// Its own server: commands, clients and keys are counted.
const server = await startRedis({ name: `economy-${process.pid}` });
afterAll(() => server.stop());
const raw = rawClient(server.url);

function connect(options: ConnectionOptions = {}, url = server.url): Connection {
  const connection = new Connection(url, options);
  onTestFinished(() => connection.close());
  return connection;
}

/** How many scripts and transactions there were. */
async function rounds(): Promise<number> {
  const stats = await raw.info('commandstats');
  const calls = [...stats.matchAll(/cmdstat_(?:evalsha|exec):calls=(\d+)/g)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}

const clients = async () =>
  String(await raw.client('LIST'))
    .trim()
    .split('\n').length;

describe('what it costs the server', () => {
  test('two sockets for a connection, however many channels', async () => {
    const before = await clients();
    const connection = connect();
    const queues = sequence(10).map((i) => new Queue(`sockets-${i}`));
    for (const queue of queues) await connection.consumer(queue, { onMessage: (message) => message.ack() }).consume();
    await Promise.all(queues.map((queue) => connection.producer().publish(1, { routingKey: queue.name })));
    expect((await clients()) - before).toBe(2);
  });

  test('the publishes of one tick are few rounds, and so are its acknowledgements', async () => {
    const connection = connect();
    const queue = new Queue('rounds').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    await producer.publish(-1, { routingKey: queue.name });
    const before = await rounds();
    await Promise.all(sequence(1000).map((i) => producer.publish(i, { routingKey: queue.name })));
    expect((await rounds()) - before).toBeLessThanOrEqual(9);

    const held: Message[] = [];
    const consumer = connection.consumer(queue, { prefetch: 0, onMessage: (message) => held.push(message) });
    await consumer.consume();
    await eventually('all of them', () => held.length === 1001);
    await sleep(50); // The last take, which finds nothing, is under way.
    const taken = await rounds();
    expect(await Promise.all(held.map((message) => message.ack()))).not.toContain(false);
    expect((await rounds()) - taken).toBeLessThanOrEqual(5);
  });

  test('nothing is left behind of what was deleted, and of who is gone', async () => {
    await raw.flushall();
    const connection = connect();
    const exchange = new Exchange('gone', { type: 'topic', autoDelete: true });
    const queue = new Queue('gone', { exchange, routingKey: 'a.*', expires: 60_000, maxLength: 10 });
    const exclusive = new Queue('gone too', { exclusive: true });
    const producer = connection.producer({ exchange });
    await producer.publish('now', { routingKey: 'a.b', declare: [queue, exclusive] });
    await producer.publish('later', { routingKey: 'a.b', delay: 60_000 });
    await producer.publish('short', { routingKey: 'a.b', expiration: 60_000, priority: 9 });
    const consumer = connection.consumer(queue, { onMessage: (message) => message.ack() });
    await consumer.consume();
    await consumer.close();
    await queue.bind(connection).delete();
    await connection.close();
    // Numbers that only grow.
    expect((await raw.keys('*')).toSorted()).toEqual(['_wakame.sequence', '_wakame.version']);
  });
});

describe('priorities', () => {
  async function served(options: Record<string, unknown>, count = 30): Promise<number[]> {
    const connection = connect({ transportOptions: options });
    const queue = new Queue(`served-${Object.values(options).join('-')}`).bind(connection);
    await queue.declare();
    for (const priority of [0, 9]) {
      for (let i = 0; i < 300; i++) {
        const list = priority === 0 ? queue.name : `${queue.name}\x06\x16${priority}`;
        await raw.lpush(list, foreignEnvelope({ routingKey: queue.name, priority }));
      }
    }
    const order: number[] = [];
    for (let i = 0; i < count; i++) {
      const message = await queue.get({ noAck: true });
      order.push(message?.properties.priority ?? -1);
    }
    return order;
  }

  test('Kombu’s order is strict: the lowest number first', async () => {
    expect(new Set(await served({ priority_polling: 'strict' }))).toEqual(new Set([0]));
  });

  test('priority_order=amqp turns it', async () => {
    expect(new Set(await served({ priority_order: 'amqp' }))).toEqual(new Set([9]));
  });

  test('priority_polling=weighted gives every step its share', async () => {
    const order = await served({ priority_polling: 'weighted' }, 250);
    const last = order.filter((priority) => priority === 9).length;
    // One in fifteen is drawn from the last of four steps.
    expect(last).toBeGreaterThan(0);
    expect(last).toBeLessThan(60);
  });
});

describe('queues that nobody declared', () => {
  test('kombu#294: the answer to a caller whose queue leaves no trace is kept for a day', async () => {
    const connection = connect();
    const producer = connection.producer();
    await producer.publish('answer', { routingKey: 'reply.of.python', correlationId: '1', mandatory: true });
    expect(await raw.ttl('reply.of.python')).toBeGreaterThan(86_000);
    await expect(producer.publish('lost', { routingKey: 'nowhere', mandatory: true })).rejects.toMatchObject({
      code: 'UNROUTABLE',
    });
  });

  test('implicit_queues=always makes them, as Kombu does; never makes none', async () => {
    await connect({ transportOptions: { implicit_queues: 'always' } })
      .producer()
      .publish('kept', { routingKey: 'made', mandatory: true });
    expect([await raw.llen('made'), await raw.ttl('made')]).toEqual([1, -1]);
    const strict = connect({ transportOptions: { implicit_queues: 'never' } }).producer();
    await expect(
      strict.publish('answer', { routingKey: 'reply.too', correlationId: '1', mandatory: true }),
    ).rejects.toMatchObject({ code: 'UNROUTABLE' });
  });
});

describe('a client of the application’s', () => {
  test('lends its credentials, and is not used itself', async () => {
    await raw.acl('SETUSER', 'app', 'on', '>secret', 'allkeys', 'allchannels', '+@all');
    const client = new Redis(server.url.replace('redis://', 'redis://app:secret@'), {
      keyPrefix: 'theirs:',
      lazyConnect: true,
    });
    const connection = connect({ transportOptions: { client, client_name: 'lent' } });
    await connection.producer().publish(1, { routingKey: 'lent', declare: [new Queue('lent')] });
    expect(client.status).toBe('wait');
    const names = String(await raw.client('LIST')).match(/name=lent .*user=app/g) ?? [];
    expect(names).toHaveLength(2);
    expect(await raw.llen('lent')).toBe(1);
    client.disconnect();
  });

  test('must be one of ioredis', async () => {
    await expect(connect({ transportOptions: { client: { get() {} } } }).connect()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

test('a password never shows: not in errors, not when inspected', async () => {
  const { inspect } = await import('node:util');
  const connection = connect({ connectDeadline: 500 }, server.url.replace('redis://', 'redis://app:hunter2@'));
  const error = await connection.connect().catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'AUTH_FAILED' });
  expect(inspect(error, { depth: 10 }) + inspect(connection, { depth: 10 })).not.toContain('hunter2');
});

test('of acknowledgements that go together each is told whether the message was still ours', async () => {
  const connection = connect();
  const queue = new Queue('together').bind(connection);
  await queue.declare();
  const producer = connection.producer({ routingKey: queue.name });
  await Promise.all(sequence(5).map((i) => producer.publish(i)));
  const held: Message[] = [];
  await connection.consumer(queue, { prefetch: 5, onMessage: (message) => held.push(message) }).consume();
  await eventually('all of them', () => held.length === 5);
  const fields = (await raw.zrange('unacked_index', '0', '-1')).filter((field) => field.startsWith('wakame:'));
  expect(fields).toHaveLength(5);
  // As Kombu takes away what it believes to be forgotten.
  const [, second = '', , fourth = ''] = fields;
  await raw.multi().zrem('unacked_index', second, fourth).hdel('unacked', second, fourth).exec();
  expect(await Promise.all(held.map((message) => message.ack()))).toEqual([true, false, true, false, true]);
  expect([await raw.hlen('unacked'), await raw.zcard('unacked_index'), await raw.zcard('_wakame.leases')]).toEqual([
    0, 0, 0,
  ]);
});
