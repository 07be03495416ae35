/** Who holds what on Redis, with Kombu's sweepers about: records, leases, visibility timeouts, the mutex. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Connection, Exchange, type Message, Queue } from 'wakame';
import { startRedis } from '../scripts/lib/brokers/redis.ts';
import { eventually, pack } from './support/bench.ts';
import { columns } from './support/columns.ts';
import { Peer } from './support/peer.ts';
import { runTypeScript } from './support/programs.ts';

// A server of its own: whoever sweeps takes from everybody.
const server = await startRedis({ name: `interop-${process.pid}` });
const raw = new Redis(server.url, { protocol: 2 });
afterAll(async () => {
  raw.disconnect();
  await server.stop();
  rmSync(server.folder, { recursive: true, force: true });
});
beforeEach(async () => {
  await raw.flushall();
});

const taker = fileURLToPath(new URL('support/taker.ts', import.meta.url));

function connect(transportOptions: Record<string, unknown> = {}): Connection {
  const connection = new Connection(server.url, { transportOptions });
  onTestFinished(() => connection.close());
  return connection;
}

/** Holds the next message of a queue, and goes on renewing. */
async function hold(connection: Connection, queue: string): Promise<Message> {
  const held: Message[] = [];
  const consumer = connection.consumer(new Queue(queue, { noDeclare: true }), { onMessage: (one) => held.push(one) });
  await consumer.consume();
  await eventually(() => held.length).toBe(1);
  return held[0] as Message;
}

/** Takes the next message and is killed with it. */
async function takeAndDie(url: string, queue: string): Promise<void> {
  const args = [...runTypeScript, taker, url, queue];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('"')) break;
  child.kill('SIGKILL');
  await once(child, 'close');
}

const records = async () => (await raw.hvals('unacked')).map((text) => JSON.parse(text) as [object, string, string]);

// The previous generation differs in what speaks to the server, not in what it says.
const chosen = columns.filter(({ transport, peer }) => transport.name === 'redis' && peer !== 'previous');

describe.each(chosen)('$versions', ({ peer: name }) => {
  async function python(options: Record<string, unknown> = {}): Promise<Peer> {
    const peer = await Peer.connect(name, server.url, options);
    onTestFinished(() => peer[Symbol.asyncDispose]());
    return peer;
  }

  test('any Kombu sweeper restores what a killed Node process held, to its queue alone', async () => {
    const connection = connect();
    const exchange = new Exchange('unknown.to.python', { type: 'topic' });
    const held = new Queue('held', { exchange, routingKey: 'a.#' });
    const other = new Queue('other', { exchange, routingKey: '*.b' });
    const declare = [held, other];
    await connection.producer({ exchange }).publish('survives', { routingKey: 'a.b', declare });
    // Its lease outlasts the test, so it is Python that brings the message back.
    await takeAndDie(`${server.url}?lease=600`, 'held');
    expect(await records()).toMatchObject([[{ headers: {} }, '', 'held']]);

    const sweeper = await python({ visibility_timeout: 1 });
    await eventually(async () => {
      await sweeper.call('sweep');
      return raw.llen('held');
    }).toBe(1);
    expect([await raw.llen('other'), await raw.hlen('unacked'), await raw.zcard('unacked_index')]).toEqual([1, 0, 0]);
    const [again] = await sweeper.take('held');
    expect([again?.body, again?.redelivered, again?.exchange]).toEqual([pack('survives'), true, exchange.name]);
  }, 60_000);

  test('what a living Node process holds stays its own, whatever the timeout of a Kombu sweeper', async () => {
    const full = Number(process.env['WAKAME_TEST_SCALE'] ?? 1) >= 50;
    // The job, and the timeouts of ours and of Python's sweeper, in seconds.
    const [job, ours, theirs] = full ? [150, 3600, 30] : [6, 6, 3];
    const connection = connect({ visibility_timeout: ours });
    await connection.producer().publish('long', { routingKey: 'jobs', declare: [new Queue('jobs')] });
    const message = await hold(connection, 'jobs');
    const sweeper = await python({ visibility_timeout: theirs });
    const consumer = await sweeper.call('consume', { queue: { name: 'jobs', no_declare: true } });
    const end = performance.now() + job * 1000;
    while (performance.now() < end) {
      await sweeper.call('sweep');
      expect(await sweeper.call('next', { consumer, timeout: 0.2 })).toEqual([]);
    }
    expect(await message.ack()).toBe(true);
    expect([await raw.llen('jobs'), await raw.hlen('unacked'), await raw.zcard('unacked_index')]).toEqual([0, 0, 0]);
  }, 200_000);

  test('what a living Python process holds stays its own for the visibility timeout, then it goes to Node', async () => {
    const worker = await python();
    await worker.call('publish', { body: pack('slow'), routing_key: 'slow' });
    const consumer = await worker.call('consume', { queue: { name: 'slow', no_declare: true } });
    const [held] = await worker.call<{ tag: number }[]>('next', { consumer });
    const patient = connect({ lease: 0.3, unacked_restore_interval: 0.2 });
    await patient.connect();
    await sleep(1500);
    expect([await raw.llen('slow'), await raw.hlen('unacked')]).toEqual([0, 1]);

    const impatient = connect({ visibility_timeout: 0.5, unacked_restore_interval: 0.2 });
    await impatient.connect();
    await eventually(() => raw.hlen('unacked')).toBe(0);
    const again = await hold(patient, 'slow');
    expect([again.payload, again.redelivered]).toEqual(['slow', true]);
    await again.ack();
    await worker.call('settle', { tag: held?.tag, how: 'ack' });
  });

  test('a message that reached two queues has two records, and one ack leaves the other alone', async () => {
    const connection = connect();
    const exchange = new Exchange('two', { type: 'topic' });
    const declare = ['left', 'right'].map((queue) => new Queue(queue, { exchange, routingKey: 'k.#' }));
    await connection.producer({ exchange }).publish('both', { routingKey: 'k', declare });
    // Two takers of Python's: each record stands under the tag that the publisher gave its copy.
    const [first, second] = await Promise.all([python(), python({ visibility_timeout: 1 })]);
    const take = async (peer: Peer, queue: string) => {
      const consumer = await peer.call('consume', { queue: { name: queue, no_declare: true } });
      return ((await peer.call('next', { consumer })) as { tag: number }[])[0]?.tag;
    };
    const tag = await take(first, 'left');
    await take(second, 'right');
    expect(await raw.hlen('unacked')).toBe(2);
    await first.call('settle', { tag, how: 'ack' });
    expect(await records()).toMatchObject([[{ properties: { delivery_info: { routing_key: 'k' } } }, 'two', 'k']]);

    // The same with two of ours, of a message of Python's, which has one tag for both copies.
    await raw.del('unacked', 'unacked_index');
    await first.call('publish', {
      body: pack('both'),
      exchange: { name: 'two', type: 'topic' },
      routing_key: 'k',
    });
    const [left, right] = await Promise.all([hold(connect(), 'left'), hold(connect(), 'right')]);
    expect(await raw.hlen('unacked')).toBe(2);
    await left.ack();
    expect(await records()).toMatchObject([[{}, '', 'right']]);
    await right.ack();
  });

  test('Python sweeps under a mutex; so do we', async () => {
    const worker = await python();
    await worker.call('publish', { body: pack('left behind'), routing_key: 'orphans' });
    const consumer = await worker.call('consume', { queue: { name: 'orphans', no_declare: true } });
    await worker.call('next', { consumer });
    await worker.kill();
    await raw.set('unacked_mutex', 'somebody else', 'PX', 60_000);
    const connection = connect({ visibility_timeout: 0.3, unacked_restore_interval: 0.2 });
    await connection.connect();
    await sleep(1500);
    expect(await raw.hlen('unacked')).toBe(1);
    await raw.del('unacked_mutex');
    await eventually(() => raw.llen('orphans')).toBe(1);
    expect(await raw.exists('unacked_mutex')).toBe(0);
  });

  test('a record of an exchange that nobody knows is not dropped, and goes back when somebody does', async () => {
    const worker = await python();
    const exchange = { name: 'later', type: 'topic' };
    const queue = { name: 'topical', exchange, routing_key: 'a.*' };
    await worker.call('declare', { queue });
    await worker.call('publish', { body: pack('kept'), exchange, routing_key: 'a.b' });
    const consumer = await worker.call('consume', { queue });
    await worker.call('next', { consumer });
    await worker.kill();
    const binding = await raw.smembers('_kombu.binding.later');
    await raw.del('_kombu.binding.later');
    const connection = connect({ visibility_timeout: 0.3, unacked_restore_interval: 0.2 });
    await connection.connect();
    await eventually(async () =>
      Number(await raw.zscore('unacked_index', (await raw.hkeys('unacked'))[0] ?? '')),
    ).toBeGreaterThan(Date.now() / 1000 + 50);
    expect(await raw.hlen('unacked')).toBe(1);
    await raw.sadd('_kombu.binding.later', ...binding);
    await raw.zadd('unacked_index', 1, (await raw.hkeys('unacked'))[0] ?? '');
    await eventually(() => raw.llen('topical')).toBe(1);
  });

  test('a queue of Python’s that is empty is there, as far as Python leaves a trace', async () => {
    const peer = await python();
    await peer.call('declare', { queue: { name: 'celery', exchange: { name: 'celery' }, routing_key: 'celery' } });
    const connection = connect();
    expect(await new Queue('celery').bind(connection).queueDeclare({ passive: true })).toMatchObject({
      messageCount: 0,
    });
    await connection.producer().publish('task', { routingKey: 'celery', mandatory: true });
    expect((await peer.take('celery')).map(({ body }) => body)).toEqual([pack('task')]);
    await expect(new Queue('nowhere').bind(connection).queueDeclare({ passive: true })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('two queues on one fanout exchange both hear Python, and again after the connection was lost', async () => {
    const connection = connect();
    const exchange = new Exchange('news', { type: 'fanout' });
    const got: string[] = [];
    for (const name of ['one', 'two']) {
      const queue = new Queue(name, { exchange });
      const consumer = connection.consumer(queue, {
        settle: 'auto',
        onMessage: ({ payload }) => got.push(`${name} ${payload}`),
      });
      await consumer.consume();
    }
    const peer = await python();
    const say = (text: string) =>
      peer.call('publish', { body: pack(text), exchange: { name: 'news', type: 'fanout' } });
    await say('first');
    await eventually(() => got.toSorted()).toEqual(['one first', 'two first']);
    const recovered = once(connection as never, 'recovered');
    await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await recovered;
    const [again] = [await python()];
    await again.call('publish', { body: pack('second'), exchange: { name: 'news', type: 'fanout' } });
    await eventually(() => got.slice(2).toSorted()).toEqual(['one second', 'two second']);
  });
});
