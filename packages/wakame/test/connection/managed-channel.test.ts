import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import { type ChannelUser, ManagedChannel } from '../../src/connection/managed-channel.js';
import {
  AccessRefused,
  type MessagingError,
  NotFound,
  RecoverableConnectionError,
  ResourceError,
} from '../../src/errors.js';
import type { TransportChannel } from '../../src/transport/contract.js';
import { FakeBroker, type FakeChannel, turn } from '../support/fake-transport.js';

let broker: FakeBroker;
let connection: Connection;
let problems: MessagingError[];

function connect(options: ConnectionOptions = {}): Connection {
  connection = new Connection('fake://one', broker.options(options));
  connection.on('problem', (error) => problems.push(error));
  return connection;
}

/** A user that keeps a diary. */
function diary(opened?: (inner: TransportChannel) => void | Promise<void>): ChannelUser & { entries: string[] } {
  const entries: string[] = [];
  return {
    entries,
    async opened(inner) {
      entries.push(`opened ${inner.id}`);
      await opened?.(inner);
    },
    lost(inner, error) {
      entries.push(`lost ${inner.id}${error === undefined ? '' : `: ${error.message}`}`);
    },
  };
}

const fake = (inner: TransportChannel | undefined) => inner as FakeChannel;

beforeEach(() => {
  broker = new FakeBroker();
  problems = [];
  connect();
});

afterEach(async () => {
  await connection.close({ timeout: 500 });
});

describe('opening', () => {
  test('connects, opens once for all who ask, and hands the incarnation to its user first', async () => {
    const user = diary(() => turn());
    const channel = new ManagedChannel(connection, 'publish', user);
    expect(channel.state).toBe('idle');
    const [one, two] = await Promise.all([channel.open(), channel.open()]);
    expect(one).toBe(two);
    expect(channel.current).toBe(one);
    expect(user.entries).toEqual(['opened 1']);
    expect(broker.count('openChannel publish')).toBe(1);
  });

  test('what refuses the first opening reaches the caller, and the channel can be opened later', async () => {
    broker.refuse('openChannel', () => new AccessRefused('no'));
    const channel = new ManagedChannel(connection, 'consume', {});
    await expect(channel.open()).rejects.toMatchObject({ code: 'ACCESS_REFUSED' });
    expect(channel.state).toBe('idle');
    await channel.open();
    expect(channel.state).toBe('open');
    expect(problems).toEqual([]);
  });

  test('a connection without a channel to spare says what to do', async () => {
    const full = () => new ResourceError('all 2047 channels are in use', { code: 'CHANNEL_LIMIT' });
    broker.refuse('openChannel', full);
    const error = await new ManagedChannel(connection, 'publish', {}).open().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CHANNEL_LIMIT' });
    expect(String(error)).toMatch(/one for many messages rather than one for each, or close\(\) it/);
  });

  test('a user that rejects at the first opening refuses it', async () => {
    let fails = true;
    const user = diary(() => {
      if (fails) throw new NotFound('no queue');
    });
    const channel = new ManagedChannel(connection, 'consume', user);
    await expect(channel.open()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(user.entries).toEqual(['opened 1', 'lost 1: no queue']);
    expect([...broker.connections].flatMap((it) => [...it.channels])).toEqual([]);
    fails = false;
    await channel.open();
  });

  test('rabbitmq-client#62: a connection lost while the channel opens does not refuse it', async () => {
    const remove = broker.rule('openChannel', ({ connection: inner }) => {
      remove();
      inner?.lose(new RecoverableConnectionError('gone'));
      throw new RecoverableConnectionError('gone');
    });
    const channel = new ManagedChannel(connection, 'consume', {});
    await channel.open();
    expect(broker.tries).toHaveLength(2);
  });

  test('a loss while the user of a first opening is at work does not refuse it', async () => {
    let losses = 0;
    const user = diary(async (inner) => {
      losses++;
      if (losses === 1) broker.kill();
      await inner.qos({ prefetch: 1, scope: 'consumer' });
    });
    const channel = new ManagedChannel(connection, 'consume', user);
    await channel.open();
    expect(user.entries).toEqual(['opened 1', 'lost 1: the broker went away', 'opened 1']);
  });

  test('opened in the moment of a loss, it waits as long as its caller does', async () => {
    await connection.connect();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const comeBack = broker.rule('open', () => {
        throw new RecoverableConnectionError('refused', { code: 'CONNECT_FAILED' });
      });
      broker.kill();
      // The connection has not heard of it yet.
      expect(connection.state).toBe('open');
      const opening = new ManagedChannel(connection, 'publish', diary()).open({ timeout: Number.POSITIVE_INFINITY });
      await vi.advanceTimersByTimeAsync(60_000);
      comeBack();
      await vi.advanceTimersByTimeAsync(5_000);
      expect((await opening).state).toBe('open');
    } finally {
      vi.useRealTimers();
    }
  });

  test('a channel that is never granted ends at the deadline', async () => {
    broker.hang('openChannel');
    const channel = new ManagedChannel(connection, 'consume', {});
    await expect(channel.open({ timeout: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(channel.state).toBe('idle');
    await channel.open();
  });

  test('aborting one who waits leaves the others waiting', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    const stop = new AbortController();
    const other = channel.open();
    const aborted = channel.open({ signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    expect(await other).toBe(channel.current);
  });

  test('the error at the deadline says why there was no connection', async () => {
    await connection.connect();
    broker.refuse('open', () => new RecoverableConnectionError('ECONNREFUSED', { code: 'CONNECT_FAILED' }), 1000);
    broker.kill();
    await broker.until(() => broker.tries.length > 2);
    const channel = new ManagedChannel(connection, 'publish', {});
    const error: MessagingError = await channel.open({ timeout: 50 }).catch((thrown) => thrown);
    expect(error.code).toBe('CONNECT_FAILED');
    expect(error.message).toMatch(/gave up after 50 ms: ECONNREFUSED/);
  });
});

describe('losses', () => {
  test('after a loss of the connection it is opened again; lost is told before anybody knows the new one', async () => {
    const user = diary();
    const channel = new ManagedChannel(connection, 'consume', user);
    const first = await channel.open();
    broker.kill();
    await broker.until(() => channel.state === 'recovering');
    expect(channel.current).toBeUndefined();
    const second = await channel.open();
    expect(second).not.toBe(first);
    expect(user.entries).toEqual(['opened 1', 'lost 1: the broker went away', 'opened 1']);
  });

  test('ACM#347, ACM#230: a channel closed alone by an error comes back', async () => {
    const user = diary();
    const channel = new ManagedChannel(connection, 'consume', user);
    const first = await channel.open();
    fake(first).end(new NotFound('no exchange'));
    await broker.until(() => channel.current !== undefined && channel.current !== first);
    expect(broker.tries).toHaveLength(1);
    expect(user.entries).toEqual(['opened 1', 'lost 1: no exchange', 'opened 2']);
    expect(problems).toEqual([]);
  });

  test('a reopening that is refused is a problem, and tried again', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    const first = await channel.open();
    broker.refuse('openChannel', () => new AccessRefused('not now'), 2);
    fake(first).end(new NotFound('no exchange'));
    await broker.until(() => channel.current !== first);
    await channel.open();
    expect(problems.map(({ message }) => message)).toEqual(['not now', 'not now']);
  });

  test('recovered comes when every channel had its first try, also where one fails', async () => {
    const good = new ManagedChannel(
      connection,
      'consume',
      diary(() => turn()),
    );
    let fails = false;
    const bad = new ManagedChannel(connection, 'consume', {
      opened() {
        if (fails) throw new NotFound('no queue');
      },
    });
    await Promise.all([good.open(), bad.open()]);
    fails = true;
    const recovered = new Promise((resolve) => connection.once('recovered', resolve));
    broker.kill();
    await recovered;
    expect(good.state).toBe('open');
    expect(bad.state).toBe('recovering');
    fails = false;
    await bad.open();
  });

  test('losses at every step of recovery are survived', async () => {
    const user = diary(async (inner) => {
      await inner.qos({ prefetch: 10, scope: 'consumer' });
    });
    const channel = new ManagedChannel(connection, 'consume', user);
    await channel.open();
    for (const step of ['open', 'openChannel', 'qos']) {
      const remove = broker.rule(step, () => {
        remove();
        broker.kill();
        throw new RecoverableConnectionError(`lost at ${step}`);
      });
      broker.kill();
      await broker.until(() => connection.state === 'recovering');
      await channel.open();
      expect(broker.connections.size).toBe(1);
    }
    const opened = user.entries.filter((entry) => entry.startsWith('opened')).length;
    const lost = user.entries.filter((entry) => entry.startsWith('lost')).length;
    expect(opened - lost, user.entries.join(', ')).toBe(1);
  });
});

describe('run', () => {
  test('an error of the request itself reaches the caller', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    await expect(
      channel.run((inner) => inner.queueDeclare('x', { passive: true }), { idempotent: true }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('who was pending when another request closed the channel is repeated, if idempotent', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    const outcomes = await Promise.allSettled([
      channel.run((inner) => inner.queueDeclare('a'), { idempotent: true }),
      channel.run((inner) => inner.queueDeclare('x', { passive: true }), { idempotent: true }),
      channel.run((inner) => inner.queueDeclare('b'), { idempotent: true }),
      channel.run((inner) => inner.queueDeclare('c')),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    expect([...broker.queues.keys()]).toEqual(['a', 'b']);
  });

  test('also when the one to blame was not', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    const outcomes = await Promise.allSettled([
      channel.run((inner) => inner.queueDeclare('x', { passive: true })),
      channel.run((inner) => inner.queueDeclare('a'), { idempotent: true }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  });

  test('an idempotent request interrupted by a loss is repeated after recovery', async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    await channel.open();
    const remove = broker.rule('queueDeclare', () => {
      remove();
      broker.kill();
    });
    const answer = await channel.run((inner) => inner.queueDeclare('q'), { idempotent: true });
    expect(answer.queue).toBe('q');
    expect(broker.tries).toHaveLength(2);
  });

  test('another rejects with the loss', async () => {
    const channel = new ManagedChannel(connection, 'publish', {});
    await channel.open();
    const remove = broker.rule('queueDeclare', () => {
      remove();
      broker.kill();
    });
    await expect(channel.run((inner) => inner.queueDeclare('q'))).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  });

  test('a request that is never answered costs the channel, not the connection', async () => {
    await connection.close();
    connect({ transportOptions: { readTimeout: 60 } });
    const channel = new ManagedChannel(connection, 'consume', {});
    const first = await channel.open();
    broker.hang('queueDeclare');
    await expect(channel.run((inner) => inner.queueDeclare('q'))).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(await channel.open()).not.toBe(first);
    expect(broker.tries).toHaveLength(1);
  });

  test("a caller's own short timeout costs nothing", async () => {
    const channel = new ManagedChannel(connection, 'consume', {});
    const first = await channel.open();
    let answer = () => {};
    broker.rule('queueDeclare', () => new Promise<void>((resolve) => (answer = resolve)));
    await expect(channel.run((inner) => inner.queueDeclare('q'), { timeout: 20 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    expect(channel.current).toBe(first);
    answer();
  });
});

describe('closing', () => {
  test('rejects who waits, and tells its user without an error', async () => {
    const user = diary();
    const channel = new ManagedChannel(connection, 'consume', user);
    await channel.open();
    await channel.close();
    await channel.close();
    expect(user.entries).toEqual(['opened 1', 'lost 1']);
    expect(channel.state).toBe('closed');
    await expect(channel.open()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(connection.channels.size).toBe(0);
  });

  test('while its user is at work on a new incarnation', async () => {
    let go = () => {};
    const user = diary(() => new Promise((resolve) => (go = resolve)));
    const channel = new ManagedChannel(connection, 'consume', user);
    const opening = channel.open();
    await broker.until(() => user.entries.length === 1);
    await Promise.all([expect(opening).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' }), channel.close()]);
    go();
    await broker.until(() => user.entries.length === 2);
    expect([...broker.connections].flatMap((it) => [...it.channels])).toEqual([]);
  });

  test('during recovery', async () => {
    const user = diary();
    const channel = new ManagedChannel(connection, 'consume', user);
    await channel.open();
    broker.kill();
    await broker.until(() => channel.state === 'recovering');
    const opening = channel.open();
    await Promise.all([expect(opening).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' }), channel.close()]);
    await connection.connect();
    await turn();
    expect(user.entries).toEqual(['opened 1', 'lost 1: the broker went away']);
  });
});
