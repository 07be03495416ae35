import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import { AuthenticationError, ConsumerCancelled, type MessagingError } from '../../src/errors.js';
import { registerTransport, transportLoader, transportNames } from '../../src/transport/registry.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { FakeBroker, type FakeChannel, turn } from '../support/fake-transport.js';

let broker: FakeBroker;
let open: Connection[];

function make(options: ConnectionOptions = {}, target: string | string[] | undefined = 'fake://one'): Connection {
  const connection = new Connection(target, broker.options(options));
  open.push(connection);
  return connection;
}

beforeEach(() => {
  broker = new FakeBroker();
  open = [];
});

afterEach(async () => {
  await Promise.all(open.map((connection) => connection.close({ timeout: 500 })));
});

describe('options', () => {
  test.each<[string, ConnectionOptions, RegExp]>([
    ['an unknown option', { hartbeat: 1 } as ConnectionOptions, /'hartbeat' \(did you mean 'heartbeat'\?\)/],
    ['a heartbeat in seconds', { heartbeat: 60 }, /heartbeat is in milliseconds: 60 .* 60 s would be 60000/],
    ['a port out of range', { port: 70_000 }, /port .* 70000/],
    ['a failover strategy', { failoverStrategy: 'round_robin' as never }, /did you mean 'round-robin'/],
    ['a timeout', { connectTimeout: -1 }, /connectTimeout .* -1/],
    ['max_retries', { transportOptions: { max_retries: 'x' } }, /maxRetries/],
    ['confirm_publish', { transportOptions: { confirm_publish: 'maybe' } }, /confirm_publish/],
    ['an errback', { transportOptions: { errback: 5 } }, /errback/],
  ])('%s is refused at once, by name', (_, options, message) => {
    expect(() => make(options)).toThrow(message);
    expect(() => make(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  test('the password is not in the error about it', () => {
    expect(() => make({ password: { secret: 'hunter2' } as never })).toThrow(/password must be a string or a function/);
    expect(() => make({ password: 12_345 as never })).not.toThrow('12345');
  });

  test('keyword options fill what the URL lacks; what it says wins', async () => {
    const options = { userid: 'kw', password: 'kwpass', port: 1, virtualHost: 'kwv', connectTimeout: 7000, ssl: true };
    await make(options).connect();
    await make(options, 'fake://u:p@h:2/v?connect_timeout=3&heartbeat=5&login_method=EXTERNAL').connect();
    expect(broker.tries).toMatchObject([
      {
        hostname: 'one',
        port: 1,
        userid: 'kw',
        password: 'kwpass',
        virtualHost: 'kwv',
        connectTimeout: 7000,
        ssl: true,
      },
      {
        ...{ hostname: 'h', port: 2, userid: 'u', password: 'p', virtualHost: 'v' },
        ...{ connectTimeout: 3000, heartbeat: 5000, loginMethod: 'EXTERNAL' },
      },
    ]);
  });

  test('hostname may be URLs; alternates are more of them; a bare host takes the transport named', async () => {
    const connection = new Connection(undefined, {
      hostname: 'fake://a/v;b',
      transport: broker.module,
      alternates: ['fake://c'],
    });
    open.push(connection);
    expect(connection.info()).toMatchObject({
      hostname: 'a',
      virtualHost: 'v',
      alternates: ['fake://b/v', 'fake://c/'],
    });
    const undo = registerTransport('fake', () => broker.module);
    const bare = new Connection('somewhere', { transport: 'fake' });
    open.push(bare);
    expect(bare.asUri()).toBe('fake://somewhere/');
    undo();
  });

  test('an unknown scheme is refused with the nearest', () => {
    expect(() => new Connection('ampq://localhost')).toThrow(/'ampq' \(did you mean 'amqp'\?\)/);
    expect(() => new Connection('ampq://localhost')).toThrow(expect.objectContaining({ code: 'UNKNOWN_TRANSPORT' }));
  });

  test('options without a meaning are accepted, and warned of once', async () => {
    resetWarnings();
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    await make({ insist: true, transportOptions: { insistence: 1 } }).connect();
    await make({ insist: false, transportOptions: { insistence: 2 } }).connect();
    expect(warned.mock.calls.map(([text]) => text)).toEqual([
      expect.stringContaining('insist'),
      expect.stringContaining('it is pointless'),
    ]);
    warned.mockRestore();
  });

  test('confirm_publish decides what producers do by default', () => {
    expect(make().confirmByDefault).toBe(true);
    expect(make({ transportOptions: { confirm_publish: false } }).confirmByDefault).toBe(false);
    expect(make({}, 'fake://one?confirm_publish=0').confirmByDefault).toBe(false);
  });
});

describe('what it tells of itself', () => {
  const secret = 'hunter2';

  test('no password anywhere', async () => {
    const connection = make(
      { transportOptions: { colour: 'red' } },
      `fake://me:${secret}@one:5/v;fake://me:${secret}@two`,
    );
    expect(inspect(connection, { depth: 10, showHidden: true })).not.toContain(secret);
    expect(JSON.stringify(connection.info())).not.toContain(secret);
    expect(connection.asUri()).toBe('fake://me:**@one:5/v');
    expect(connection.asUri({ mask: '##' })).toBe('fake://me:##@one:5/v');
    expect(connection.poolKey).not.toContain(secret);
    expect(connection.asUri({ includePassword: true })).toBe(`fake://me:${secret}@one:5/v`);
    broker.refuse('open', () => new AuthenticationError('refused'));
    const error: MessagingError = await connection.connect().catch((thrown) => thrown);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(secret);
  });

  test('info', () => {
    expect(make({ heartbeat: 0, transportOptions: { colour: 'red' } }, 'fake://u:p@h:1/v').info()).toEqual({
      ...{ transport: 'fake', hostname: 'h', port: 1, userid: 'u', virtualHost: 'v', ssl: false },
      ...{ connectTimeout: 5000, connectDeadline: 30_000, heartbeat: 0, loginMethod: undefined },
      ...{ failoverStrategy: 'round-robin', alternates: [], transportOptions: ['colour'] },
    });
  });

  test('clones are alike, and apart', async () => {
    const connection = make({ transportOptions: { colour: 'red' } });
    const clone = connection.clone();
    const other = connection.clone({ heartbeat: 5000 });
    open.push(clone, other);
    expect(clone.poolKey).toBe(connection.poolKey);
    expect(other.poolKey).not.toBe(connection.poolKey);
    expect(make({ transportOptions: { colour: 'red', errback: () => {} } }).poolKey).not.toBe(connection.poolKey);
    await connection.connect();
    await connection.close();
    await clone.connect();
    expect(clone.connected).toBe(true);
  });

  test('what the transport can do, without connecting', async () => {
    const connection = make();
    expect(connection.transport).toBeUndefined();
    expect(await connection.supportsHeartbeats()).toBe(true);
    expect(await connection.supportsExchangeType('topic')).toBe(true);
    expect(await connection.supportsExchangeType('x-delayed')).toBe(false);
    expect(connection.transport?.name).toBe('fake');
    expect(broker.tries).toHaveLength(0);
    await expect(connection.manager.queues()).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });
});

describe('channels', () => {
  test('come without waiting, are numbered, and can be awaited', async () => {
    const connection = make();
    const first = connection.channel();
    const second = await connection.channel();
    expect([first.id, second.id]).toEqual([1, 2]);
    expect(first.connection).toBe(connection);
    expect(await first.open()).toBe(first);
    expect([first.state, second.state]).toEqual(['open', 'idle']);
  });

  test('the default channel is one, until it is closed or another is revived', async () => {
    const connection = make();
    const first = connection.defaultChannel();
    expect(connection.defaultChannel()).toBe(first);
    const other = connection.channel();
    await connection.revive(other);
    expect(first.state).toBe('closed');
    expect(connection.defaultChannel()).toBe(other);
    await connection.maybeCloseChannel(other);
    expect(connection.defaultChannel()).not.toBe(other);
  });

  test('ACM#362: deliveries belong to their incarnation: an old tag never settles a new message', async () => {
    const connection = make();
    const channel = connection.channel();
    await channel.queueDeclare('q');
    const tags: unknown[] = [];
    await channel.consume('q', { onDelivery: ({ deliveryTag }) => tags.push(deliveryTag) });
    broker.deliver('q', 'one');
    broker.kill();
    await broker.until(() => connection.connected && broker.consumersOf('q').length === 1);
    broker.deliver('q', 'two');
    expect(await channel.ack(tags[0])).toBe(false);
    expect(await channel.reject(tags[0], { requeue: true })).toBe(false);
    const inner = (await channel.consumers.managed.open()) as FakeChannel;
    expect(inner.settled).toEqual([]);
    expect(await channel.ack(tags[1])).toBe(true);
    expect(inner.settled).toEqual(['ack 1']);
    expect(() => channel.ack(1)).toThrow(/deliveryTag must be that of a delivery/);
  });

  test('a consumer whose queue is gone for good is told of, by option and event', async () => {
    const connection = make();
    broker.queues.set('q', { name: 'q', options: {}, owner: undefined, messages: [] });
    const channel = connection.channel();
    const onCancel = vi.fn();
    const cancelled = new Promise<[string, MessagingError]>((resolve) =>
      channel.once('cancel', (tag, error) => resolve([tag, error])),
    );
    const tag = await channel.consume('q', { onDelivery() {}, onCancel });
    const error = new ConsumerCancelled('deleted');
    connection.on('problem', () => {});
    broker.cancelConsumers('q', error);
    broker.deleteQueue('q');
    expect(await cancelled).toEqual([tag, error]);
    expect(onCancel).toHaveBeenCalledWith(error);
  }, 15_000);

  test('close ends consumers, tells once, and the channel is of no more use', async () => {
    const connection = make();
    const channel = connection.channel();
    const closed = vi.fn();
    channel.on('close', closed);
    await channel.queueDeclare('q');
    await channel.consume('q', { onDelivery() {} });
    await channel.close();
    await channel[Symbol.asyncDispose]();
    expect(closed).toHaveBeenCalledTimes(1);
    await expect(channel.get('q')).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await connection.close();
    expect(closed).toHaveBeenCalledTimes(1);
  });

  test('closing the connection closes its channels', async () => {
    const connection = make();
    const idle = connection.channel();
    const used = connection.channel();
    await used.open();
    const closed: number[] = [];
    for (const channel of [idle, used]) channel.on('close', () => closed.push(channel.id));
    await connection.close();
    expect(closed.sort()).toEqual([1, 2]);
  });
});

describe('drainEvents', () => {
  test('counts what was handled since the last call, waits when there was nothing, and rejects at its timeout', async () => {
    const connection = make();
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.consume('q', { onDelivery() {} });
    for (let i = 0; i < 3; i++) broker.deliver('q', 'x');
    expect(await connection.drainEvents()).toBe(3);
    await expect(connection.drainEvents({ timeout: 10 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    const waiting = connection.drainEvents({ timeout: 5000 });
    await turn();
    broker.deliver('q', 'y');
    expect(await waiting).toBe(1);
    const stop = new AbortController();
    const aborted = connection.drainEvents({ signal: stop.signal });
    stop.abort(new Error('stop'));
    await expect(aborted).rejects.toThrow('stop');
    const closing = connection.drainEvents();
    await connection.connect();
    await Promise.all([expect(closing).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' }), connection.close()]);
  });

  test('connects by itself', async () => {
    const connection = make();
    await expect(connection.drainEvents({ timeout: 10 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(connection.connected).toBe(true);
  });
});

describe('credentials', () => {
  test('functions are asked at each connect', async () => {
    let asked = 0;
    const connection = make({ credentials: async () => ({ userid: 'me', password: `token ${++asked}` }) });
    await connection.connect();
    broker.kill();
    await broker.until(() => broker.tries.length === 2 && connection.connected);
    expect(broker.tries.map(({ userid, password }) => [userid, password])).toEqual([
      ['me', 'token 1'],
      ['me', 'token 2'],
    ]);
    const plain = make({ password: () => 'fresh' }, 'fake://u:stale@one');
    await plain.connect();
    expect(broker.tries.at(-1)).toMatchObject({ userid: 'u', password: 'fresh' });
  });

  test('one that fails is AUTH_FAILED; during recovery it is asked again', async () => {
    let fails = true;
    const connection = make({
      password: () => {
        if (fails) throw new Error('vault sealed');
        return 'p';
      },
    });
    connection.on('problem', () => {});
    await expect(connection.connect()).rejects.toMatchObject({
      code: 'AUTH_FAILED',
      message: 'the credentials function failed',
    });
    fails = false;
    await connection.connect();
    fails = true;
    broker.kill();
    await broker.until(() => connection.lastError?.code === 'AUTH_FAILED');
    fails = false;
    await connection.connect();
  });

  test('what it gives is checked, and not shown', async () => {
    const connection = make({ credentials: () => ({ password: 12_345 }) as never });
    const error: MessagingError = await connection.connect().catch((thrown) => thrown);
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(inspect(error)).not.toContain('12345');
  });

  test('a renewal that fails is a problem, and tried again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const answers = [
        { password: 'one', expiresIn: 10_000 },
        new Error('vault sealed'),
        { password: 'two', expiresIn: 10_000 },
      ];
      const problems: MessagingError[] = [];
      const connection = make({
        credentials: () => {
          const answer = answers.shift();
          if (answer instanceof Error) throw answer;
          return answer ?? { password: 'three' };
        },
      });
      connection.on('problem', (error) => problems.push(error));
      await connection.connect();
      await vi.advanceTimersByTimeAsync(8000);
      expect(problems.map(({ code }) => code)).toEqual(['AUTH_FAILED']);
      expect(broker.secrets).toEqual([]);
      await vi.advanceTimersByTimeAsync(1000);
      await turn();
      expect(broker.secrets).toEqual(['two']);
      await vi.advanceTimersByTimeAsync(8000);
      await turn();
      expect(broker.secrets).toEqual(['two', 'three']);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('problems', () => {
  test('unheard, they are one warning per cause', async () => {
    resetWarnings();
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const connection = make();
    connection.problem(new AuthenticationError('a'));
    connection.problem(new AuthenticationError('a'));
    connection.problem(new AuthenticationError('b'));
    expect(warned).toHaveBeenCalledTimes(2);
    const heard = vi.fn();
    connection.on('problem', heard);
    connection.problem(new AuthenticationError('c'));
    expect(heard).toHaveBeenCalledTimes(1);
    expect(warned).toHaveBeenCalledTimes(2);
    warned.mockRestore();
  });
});

describe('release', () => {
  test('closes, or does what a pool says', async () => {
    const own = make();
    await own.release();
    expect(own.state).toBe('closed');
    const pooled = make();
    const release = vi.fn(async () => {});
    pooled.setReleaser(release);
    await pooled[Symbol.asyncDispose]();
    expect(release).toHaveBeenCalledTimes(1);
    expect(pooled.state).toBe('idle');
  });
});

describe('the registry', () => {
  test('knows the built-in names, and takes others until they are withdrawn', async () => {
    expect(transportNames()).toEqual(expect.arrayContaining(['amqp', 'amqps', 'pyamqp', 'librabbitmq', 'memory']));
    const loader = vi.fn(() => broker.module);
    const undo = registerTransport('mine', loader);
    const connection = new Connection('mine://one');
    open.push(connection);
    expect(loader).not.toHaveBeenCalled();
    await connection.connect();
    expect(broker.tries).toHaveLength(1);
    undo();
    expect(() => transportLoader('mine')).toThrow(expect.objectContaining({ code: 'UNKNOWN_TRANSPORT' }));
    undo();
  });

  test('refuses what is no scheme and no function', () => {
    expect(() => registerTransport('My Scheme', () => broker.module)).toThrow(/scheme/);
    expect(() => registerTransport('mine', 5 as never)).toThrow(/loader/);
  });

  test('every built-in loader gives a module', async () => {
    for (const name of transportNames()) {
      const module = await transportLoader(name)();
      expect(typeof module.createTransport, name).toBe('function');
      const { transportOptions, durationOptions = [], ignoredOptions = {} } = module;
      for (const option of durationOptions) expect(transportOptions.has(option) || option in ignoredOptions).toBe(true);
    }
  });
});
