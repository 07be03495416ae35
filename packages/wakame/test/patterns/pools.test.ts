import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import {
  ChannelLimitExceeded,
  Connection,
  ConnectionLimitExceeded,
  connections,
  LimitExceeded,
  pools,
  producers,
} from 'wakame';
import { failure, onEachBroker, payloads, sequence } from '../messaging/support.js';

afterEach(async () => {
  await pools.reset();
  await pools.setLimit(10);
});

onEachBroker('pools of connections', (bench) => {
  test('lends connections of their own, up to the limit; POOL_LIMIT past it', async () => {
    const pool = bench.connection.pool({ limit: 2 });
    const lent = [await pool.acquire(), await pool.acquire()];
    expect(new Set([bench.connection, ...lent]).size).toBe(3);
    await Promise.all(lent.map((connection) => connection.connect()));
    for (const timeout of [0, 20]) {
      const error = await failure(pool.acquire({ timeout }));
      expect(error).toBeInstanceOf(ConnectionLimitExceeded);
      expect(error).toMatchObject({ code: 'POOL_LIMIT', message: 'all 2 connections of the pool are lent' });
    }
    expect([pool.limit, pool.size, bench.connection.state]).toEqual([2, 2, 'idle']);
    await pool.reset();
    expect(lent.map(({ state }) => state)).toEqual(['closed', 'closed']);
  });

  test('the one returned last is lent first; it stays open', async () => {
    const pool = bench.connection.pool();
    const [a, b] = [await pool.acquire(), await pool.acquire()];
    await Promise.all([a.connect(), b.connect()]);
    await b.release();
    await a.release();
    expect(await pool.acquire()).toBe(a);
    expect(await pool.acquire()).toBe(b);
    expect([a.connected, b.connected, pool.size]).toEqual([true, true, 2]);
    await pool.reset();
  });

  test('await using gives it back', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    let first: Connection;
    {
      await using connection = await pool.acquire();
      first = connection;
      await connection.connect();
    }
    expect([first.connected, await pool.acquire({ timeout: 0 })]).toEqual([true, first]);
    await pool.reset();
  });

  test('those who wait are served in their order', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const only = await pool.acquire();
    const served: number[] = [];
    const waiting = sequence(3).map(async (n) => {
      const connection = await pool.acquire();
      served.push(n);
      await connection.release();
    });
    await only.release();
    await Promise.all(waiting);
    expect(served).toEqual([0, 1, 2]);
  });

  test('a signal ends the wait, and the place in the line is gone', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const only = await pool.acquire();
    const stop = new AbortController();
    const reason = new Error('enough');
    const aborted = failure(pool.acquire({ signal: stop.signal }));
    const next = pool.acquire();
    stop.abort(reason);
    expect(await aborted).toBe(reason);
    expect(await failure(pool.acquire({ signal: stop.signal }))).toBe(reason);
    await only.release();
    expect(await next).toBe(only);
    // Lent and aborted in one go: it is the caller's, not lost.
    const late = new AbortController();
    const served = pool.acquire({ signal: late.signal });
    void only.release();
    late.abort();
    expect(await served).toBe(only);
    await pool.reset();
  });

  test('one that was closed is replaced, also when it is never released', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const first = await pool.acquire();
    await first.close();
    const second = await pool.acquire({ timeout: 0 });
    expect(second).not.toBe(first);
    await second.release();
    await second.close();
    const third = await pool.acquire({ timeout: 0 });
    expect(third).not.toBe(second);
    const waiting = pool.acquire();
    await third.close();
    expect((await waiting).state).toBe('idle');
    await pool.reset();
  });

  test('setLimit: more at once for those who wait; fewer as they come back', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const first = await pool.acquire();
    const waiting = [pool.acquire(), pool.acquire()];
    await pool.setLimit(3);
    const lent = [first, ...(await Promise.all(waiting))];
    await Promise.all(lent.map((connection) => connection.connect()));
    await lent[2]?.release();
    await pool.setLimit(1);
    expect(lent.map(({ state }) => state)).toEqual(['open', 'open', 'closed']);
    await lent[1]?.release();
    await lent[0]?.release();
    expect(lent.map(({ state }) => state)).toEqual(['open', 'closed', 'closed']);
    expect(pool.size).toBe(1);
    await pool.reset();
  });

  test('reset closes what is lent too; those who wait get fresh ones, and releasing an old one does nothing', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const old = await pool.acquire();
    const waiting = pool.acquire();
    await pool.reset();
    const fresh = await waiting;
    expect([old.state, fresh.state]).toEqual(['closed', 'idle']);
    await old.release();
    expect(await failure(pool.acquire({ timeout: 0 }))).toBeInstanceOf(LimitExceeded);
    await fresh.release();
    await fresh.release();
    expect(pool.size).toBe(1);
    await pool.reset();
  });
});

onEachBroker('pools of channels', (bench) => {
  test('lends channels of one connection, up to the limit', async () => {
    const pool = bench.connection.channelPool({ limit: 2 });
    const first = await pool.acquire();
    await first.channel.open();
    await using second = await pool.acquire();
    expect(first.channel.connection).toBe(bench.connection);
    expect(second.channel).not.toBe(first.channel);
    expect(await failure(pool.acquire({ timeout: 0 }))).toBeInstanceOf(ChannelLimitExceeded);
    await first.release();
    await using third = await pool.acquire();
    expect([third.channel, third.channel.state]).toEqual([first.channel, 'open']);
    // Whoever gave it back has nothing to give any more.
    await first.release();
    expect(await failure(pool.acquire({ timeout: 0 }))).toBeInstanceOf(ChannelLimitExceeded);
  });

  test('one that was closed is replaced; setLimit and reset', async () => {
    const pool = bench.connection.channelPool({ limit: 1 });
    const first = await pool.acquire();
    await first.channel.open();
    await first.channel.close();
    const second = await pool.acquire({ timeout: 0 });
    expect(second.channel).not.toBe(first.channel);
    const waiting = pool.acquire();
    await pool.setLimit(2);
    const third = await waiting;
    await pool.reset();
    expect([second.channel.state, third.channel.state, pool.limit, pool.size]).toEqual(['closed', 'closed', 2, 0]);
  });

  test('a closed connection lends nothing', async () => {
    const pool = bench.connection.channelPool({ limit: 1 });
    const { channel } = await pool.acquire();
    await channel.open();
    const waiting = failure(pool.acquire());
    await bench.connection.close();
    expect(await waiting).toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(await failure(pool.acquire())).toMatchObject({ code: 'CONNECTION_CLOSED' });
  });
});

onEachBroker('pools of producers', (bench) => {
  test('producers publish, and share a connection', async () => {
    const queue = bench.queue<number>('pooled');
    const used = await Promise.all(
      sequence(20).map(async (n) => {
        await using producer = await producers.of(bench.connection).acquire();
        await producer.publish(n, { routingKey: queue.name, declare: [queue] });
        return producer;
      }),
    );
    expect(new Set(used).size).toBe(10);
    expect(new Set(used.map(({ connection }) => connection)).size).toBe(1);
    expect(used[0]?.connection).not.toBe(bench.connection);
    expect(payloads(await bench.drain(queue)).sort((a, b) => a - b)).toEqual(sequence(20));
  });

  test('publishes under way go on when it is given back', async () => {
    const queue = bench.queue<number>('pooled');
    const pool = producers.of(bench.connection);
    await using producer = await pool.acquire();
    const results = sequence(100).map((n) => producer.publish(n, { routingKey: queue.name, declare: [queue] }));
    await producer.release();
    await Promise.all(results);
    await pool.reset();
    expect(payloads(await bench.drain(queue))).toEqual(sequence(100));
  });

  test('listeners do not go on to the next borrower', async () => {
    const pool = producers.of(bench.connection);
    const producer = await pool.acquire();
    producer.on('returned', () => undefined);
    await producer.release();
    const again = await pool.acquire();
    expect([again === producer, again.listenerCount('returned')]).toEqual([true, 0]);
  });

  test('one that was closed is replaced, and so is their connection', async () => {
    await pools.setLimit(1);
    const pool = producers.of(bench.connection);
    const first = await pool.acquire();
    await first.close();
    const second = await pool.acquire({ timeout: 0 });
    expect([second === first, second.connection === first.connection]).toEqual([false, true]);
    await second.release();
    await second.connection.close();
    const third = await pool.acquire({ timeout: 0 });
    expect([third.isClosed, third.connection.state]).toEqual([false, 'idle']);
    expect(await failure(pool.acquire({ timeout: 0 }))).toMatchObject({
      ...{ code: 'POOL_LIMIT', message: 'all 1 producers of the pool are lent' },
    });
  });

  test('reset: whoever waits gets a producer that works', async () => {
    await pools.setLimit(1);
    const queue = bench.queue<number>('pooled');
    const pool = producers.of(bench.connection);
    const first = await pool.acquire();
    await first.publish(1, { routingKey: queue.name, declare: [queue] });
    const waiting = pool.acquire();
    await pool.reset();
    const second = await waiting;
    await second.publish(2, { routingKey: queue.name });
    expect([first.isClosed, first.connection.state, second.connection.state]).toEqual([true, 'closed', 'open']);
    await pool.reset();
    expect(payloads(await bench.drain(queue))).toEqual([1, 2]);
  });
});

describe('pools by what connections have in common', () => {
  test('one for each target and set of options', () => {
    const same = [new Connection('memory://a'), new Connection('memory://a')].map((connection) => ({
      connections: connections.of(connection),
      producers: producers.of(connection),
    }));
    expect(same[0]?.connections).toBe(same[1]?.connections);
    expect(same[0]?.producers).toBe(same[1]?.producers);
    const others = [
      new Connection('memory://b'),
      new Connection('memory://user@a'),
      new Connection('memory://a', { heartbeat: 5_000 }),
    ].map((connection) => connections.of(connection));
    expect(new Set([same[0]?.connections, ...others]).size).toBe(4);
  });

  test('closing the connection that names a pool does not disturb it', async () => {
    const connection = new Connection('memory://pools-by-key');
    const pool = connections.of(connection);
    await connection.close();
    await using lent = await pool.acquire();
    expect((await lent.connect()).connected).toBe(true);
  });

  test('setLimit is for pools that exist and those to come; reset forgets them', async () => {
    const pool = connections.of(new Connection('memory://limits'));
    await pools.setLimit(3);
    expect([pool.limit, connections.limit, producers.limit]).toEqual([3, 3, 3]);
    expect(producers.of(new Connection('memory://limits')).limit).toBe(3);
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      expect(await failure(pools.setLimit(limit))).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(() => new Connection('memory://').pool({ limit })).toThrow(/limit must be a positive integer/);
    }
    const lent = await pool.acquire();
    await pools.reset();
    expect([lent.state, connections.of(new Connection('memory://limits')) === pool]).toEqual(['closed', false]);
    const unlimited = new Connection('memory://limits').channelPool({ limit: Number.POSITIVE_INFINITY });
    await Promise.all(sequence(50).map(() => unlimited.acquire({ timeout: 0 })));
    await unlimited.reset();
  });

  test('a process that resets its pools ends by itself', async () => {
    const url = process.env.WAKAME_TEST_RABBITMQ_URL ?? 'memory://exit';
    const program = `
      import { Connection, connections, pools, producers } from 'wakame';
      const connection = new Connection(${JSON.stringify(url)});
      const producer = await producers.of(connection).acquire();
      await producer.publish('x', { routingKey: 'nobody' });
      const lent = await connections.of(connection).acquire();
      await lent.connect();
      const waiting = connections.of(connection).acquire();
      await pools.reset();
      await (await waiting).release();
      console.log('done');
    `;
    const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
    const args = ['--import', loader, '--input-type=module', '--eval', program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 15_000, cwd: import.meta.dirname });
    expect(stdout).toBe('done\n');
  });
});
