import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import {
  AuthenticationError,
  ConnectionClosedError,
  ConnectionForced,
  type MessagingError,
  RecoverableConnectionError,
  TimeoutError,
  TlsError,
  VhostNotFoundError,
} from '../../src/errors.js';
import { FakeBroker, turn } from '../support/fake-transport.js';

let broker: FakeBroker;
const open: Connection[] = [];

function connection(options: ConnectionOptions = {}, target: string | string[] = 'fake://one'): Connection {
  const made = new Connection(target, broker.options(options));
  open.push(made);
  return made;
}

const refused = () => new RecoverableConnectionError('connect ECONNREFUSED', { code: 'CONNECT_FAILED', phase: 'tcp' });

beforeEach(() => {
  broker = new FakeBroker();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((made) => made.close({ timeout: 500 })));
  expect(broker.connections.size, 'connections left open').toBe(0);
});

describe('connecting', () => {
  test('making a connection opens nothing', async () => {
    const made = connection();
    made.channel();
    await turn();
    expect(broker.tries).toEqual([]);
    expect(made.state).toBe('idle');
    expect(made.connected).toBe(false);
  });

  test('connect resolves with the connection, once open', async () => {
    const made = connection();
    const connecting = made.connect();
    expect(made.state).toBe('connecting');
    expect(await connecting).toBe(made);
    expect(made.state).toBe('open');
    expect(made.connected).toBe(true);
  });

  test('concurrent connects share one try', async () => {
    const made = connection();
    await Promise.all([made.connect(), made.connect(), made.channel().open()]);
    expect(broker.tries).toHaveLength(1);
  });

  test('emits connected with the host', async () => {
    const made = connection({}, 'fake://u:secret@one:77');
    const connected = vi.fn();
    made.on('connected', connected);
    await made.connect();
    expect(connected.mock.calls).toEqual([[{ host: 'one:77' }]]);
  });

  test.each([
    ['credentials', () => new AuthenticationError('refused'), 'AUTH_FAILED'],
    ['virtual host', () => new VhostNotFoundError('no vhost'), 'VHOST_NOT_FOUND'],
    ['certificate', () => new TlsError('self-signed'), 'TLS_FAILED'],
  ])('wrong %s reject at once, and the next connect tries again', async (_, error, code) => {
    broker.refuse('open', error);
    const made = connection();
    await expect(made.connect()).rejects.toMatchObject({ code });
    expect(broker.tries).toHaveLength(1);
    expect(made.state).toBe('idle');
    await made.connect();
    expect(made.state).toBe('open');
  });

  test('other failures are tried again', async () => {
    broker.refuse('open', refused, 3);
    const made = connection();
    await made.connect();
    expect(broker.tries).toHaveLength(4);
  });

  test('at connectDeadline it rejects with the last failure and its type, and the stack of the caller', async () => {
    broker.refuse('open', refused, 1000);
    const made = connection({ connectDeadline: 150 });
    const error: MessagingError = await made.connect().catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RecoverableConnectionError);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'tcp' });
    expect(error.message).toMatch(/gave up after 150 ms: connect ECONNREFUSED/);
    expect(error.stack).toContain('machine.test.ts');
    expect(made.state).toBe('idle');
    const tries = broker.tries.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(broker.tries.length, 'tries after giving up').toBe(tries);
  });

  test('a try that never answers ends at the deadline with TIMEOUT', async () => {
    broker.hang('open');
    const made = connection({ connectDeadline: 80 });
    await expect(made.connect()).rejects.toBeInstanceOf(TimeoutError);
    await made.connect();
  });

  test('a transport that does not keep connectTimeout is given up, and what it opens late is dropped', async () => {
    const late: (() => void)[] = [];
    const remove = broker.rule('open', () => new Promise<void>((resolve) => late.push(resolve)));
    const made = connection({ connectTimeout: 1, connectDeadline: 5000 });
    const connecting = made.connect();
    await broker.until(() => broker.tries.length === 2, 'a second try');
    remove();
    for (const answer of late) answer();
    await connecting;
    await broker.until(() => broker.connections.size === 1, 'the late one dropped');
  });

  test('timeout and signal bound one wait, not the others', async () => {
    let answer = () => {};
    broker.rule('open', () => new Promise<void>((resolve) => (answer = resolve)));
    const made = connection();
    const stop = new AbortController();
    const patient = made.connect();
    const aborted = made.connect({ signal: stop.signal });
    const hasty = made.connect({ timeout: 30 });
    stop.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await expect(hasty).rejects.toMatchObject({ code: 'TIMEOUT' });
    answer();
    await patient;
    expect(broker.tries).toHaveLength(1);
  });

  test('an aborted signal opens nothing', async () => {
    const made = connection();
    const reason = new Error('no');
    await expect(made.connect({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(broker.tries).toHaveLength(0);
  });

  test('a first connect that nobody waits for any more is abandoned', async () => {
    broker.refuse('open', refused, 1000);
    const made = connection();
    await expect(made.connect({ timeout: 20 })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    const tries = broker.tries.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(broker.tries.length).toBe(tries);
    expect(made.state).toBe('idle');
  });

  test('unknown transport options are refused before anything is opened', async () => {
    const made = connection({ transportOptions: { color: 'red' } });
    await expect(made.connect()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining("'color' is not known (did you mean 'colour'?)"),
    });
    const mistyped = connection({}, 'fake://one?heartbeet=3');
    await expect(mistyped.connect()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: "'heartbeet' in the query of the URL is not known (did you mean 'heartbeat'?)",
    });
    expect(broker.tries).toHaveLength(0);
  });

  test('transport options: camelCase is milliseconds, snake_case and the URL seconds', async () => {
    const given = connection({ transportOptions: { patience: 3, colour: 'red' } });
    await given.connect();
    const inUrl = connection({ transportOptions: { colour: 'red' } }, 'fake://one?colour=blue&read_timeout=2');
    await inUrl.connect();
    const camel = connection({ transportOptions: { readTimeout: 2500 } });
    await camel.connect();
    expect(broker.tries.map((parameters) => parameters.transportOptions)).toEqual([
      { patience: 3, colour: 'red' },
      { colour: 'blue', read_timeout: '2' },
      { read_timeout: 2.5 },
    ]);
    expect([given.rpcTimeout, inUrl.rpcTimeout, camel.rpcTimeout]).toEqual([10_000, 2000, 2500]);
  });
});

describe('recovery', () => {
  test('after a loss it connects again, and tells', async () => {
    const made = connection();
    await made.connect();
    const events: string[] = [];
    made.on('disconnected', (error) => events.push(`disconnected ${error.message}`));
    made.on('connected', () => events.push('connected'));
    const recovered = new Promise<{ duration: number; cause: MessagingError }>((resolve) =>
      made.once('recovered', (info) => {
        events.push('recovered');
        resolve(info);
      }),
    );
    broker.kill(new ConnectionForced('operator'));
    const { duration, cause } = await recovered;
    expect(events).toEqual(['disconnected operator', 'connected', 'recovered']);
    expect(cause).toBeInstanceOf(ConnectionForced);
    expect(duration).toBeGreaterThan(0);
  });

  test('goes on without end, wrong credentials included, and calls those a problem once', async () => {
    const made = connection();
    await made.connect();
    const problems: MessagingError[] = [];
    made.on('problem', (error) => problems.push(error));
    broker.refuse('open', refused, 2);
    broker.kill();
    await broker.until(() => broker.tries.length >= 4 && made.connected, 'connected again');
    expect(problems).toEqual([]);
    broker.refuse('open', () => new AuthenticationError('withdrawn'), 2);
    broker.kill();
    await broker.until(() => broker.tries.length >= 7 && made.connected, 'connected with new rights');
    expect(problems.map(({ code }) => code)).toEqual(['AUTH_FAILED']);
  });

  test('who waits during recovery gets the last failure at its deadline; recovery goes on', async () => {
    const made = connection();
    await made.connect();
    broker.refuse('open', refused, 3);
    broker.kill();
    await broker.until(() => made.state === 'recovering');
    await expect(made.connect({ timeout: 60 })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect(made.state).toBe('recovering');
    await made.connect();
    expect(made.connected).toBe(true);
  });

  test('a loss while the topology is being restored counts as a failed try', async () => {
    const made = connection();
    await made.topology.declareQueue({ name: 'q' });
    const remove = broker.rule('queueDeclare', ({ connection: inner }) => {
      remove();
      inner?.lose(new RecoverableConnectionError('again'));
    });
    broker.kill();
    await broker.until(() => broker.tries.length === 3 && made.connected, 'third incarnation');
    expect(broker.queues.has('q')).toBe(true);
  });

  test('a broker that drops each connection at once is not hammered', async () => {
    const made = connection();
    await made.connect();
    const at: number[] = [];
    made.on('connected', () => {
      at.push(performance.now());
      broker.kill();
    });
    broker.kill();
    await broker.until(() => at.length === 5, 'five incarnations');
    const took = (at[4] ?? 0) - (at[0] ?? 0);
    expect(took).toBeGreaterThan(300);
  });

  test('pauses that were asked for begin anew with the next trouble', async () => {
    const pauses: number[] = [];
    const errback = (_error: MessagingError, pause: number) => void pauses.push(pause);
    const made = connection({ transportOptions: { intervalStart: 1, intervalStep: 2, intervalMax: 50, errback } });
    await made.connect();
    const now = performance.now.bind(performance);
    let ahead = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + ahead);
    for (let i = 1; i <= 2; i++) {
      // As if it had been open for an hour.
      ahead += 3_600_000;
      broker.refuse('open', refused, 2);
      broker.kill();
      await broker.until(() => pauses.length === 2 * i && made.connected, 'an incarnation');
    }
    vi.restoreAllMocks();
    expect(pauses).toEqual([1, 3, 1, 3]);
  });

  test('collect drops the connection, and it comes back', async () => {
    const made = connection();
    await made.connect();
    made.collect();
    await broker.until(() => broker.tries.length === 2 && made.connected);
  });

  test('heartbeatCheck throws what ended the connection, while it is down', async () => {
    const made = connection();
    expect(() => made.heartbeatCheck()).not.toThrow();
    await made.connect();
    broker.hang('open');
    broker.kill(new ConnectionForced('missed heartbeats'));
    await broker.until(() => made.state === 'recovering');
    expect(() => made.heartbeatCheck()).toThrow('missed heartbeats');
  });
});

describe('several hosts', () => {
  const hosts = ['fake://a', 'fake://b', 'fake://c'];
  const tried = () => broker.tries.map(({ hostname }) => hostname);

  test('kombu#706, kombu#1970: a full cycle is tried before any pause', async () => {
    broker.refuse('open', refused, 2);
    const started = performance.now();
    await connection({}, hosts).connect();
    expect(tried()).toEqual(['a', 'b', 'c']);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test('kombu#1594: connect() tried two hosts only: here every host, again and again until the deadline', async () => {
    broker.refuse('open', refused, 5);
    await connection({}, hosts).connect();
    expect(tried()).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
  });

  test('amqplib#319: after a loss the next host is taken, and failover is told', async () => {
    const made = connection({}, 'fake://a;fake://b');
    await made.connect();
    const failover = vi.fn();
    made.on('failover', failover);
    const cause = new RecoverableConnectionError('gone');
    broker.kill(cause);
    await broker.until(() => broker.tries.length === 2 && made.connected);
    expect(failover.mock.calls).toEqual([[{ from: 'a', to: 'b', cause }]]);
  });

  test('maybeSwitchNext goes to the next host in good order', async () => {
    const made = connection({}, ['fake://a', 'fake://b']);
    await made.connect();
    await made.maybeSwitchNext();
    expect(made.connected).toBe(true);
    expect(tried()).toEqual(['a', 'b']);
    expect(broker.log).toContain('close connection');
    expect(broker.connections.size).toBe(1);
    await connection().maybeSwitchNext();
    expect(broker.tries).toHaveLength(2);
  });

  test('switchTo before connecting only changes where to go', async () => {
    const made = connection();
    await made.switchTo('fake://elsewhere');
    expect(broker.tries).toHaveLength(0);
    await made.connect();
    expect(tried()).toEqual(['elsewhere']);
  });

  test('switchTo while recovering ends the wait for the old host', async () => {
    const made = connection();
    await made.connect();
    broker.rule('open', ({ name }) => (name === 'one' ? new Promise(() => {}) : undefined));
    broker.kill();
    await broker.until(() => broker.tries.length === 2);
    await made.switchTo('fake://elsewhere');
    expect(tried()).toEqual(['one', 'one', 'elsewhere']);
  });
});

describe('closing', () => {
  test('an unused connection closes', async () => {
    const made = connection();
    const closed = vi.fn();
    made.on('closed', closed);
    await made.close();
    expect(made.state).toBe('closed');
    expect(closed).toHaveBeenCalledTimes(1);
    expect(broker.tries).toHaveLength(0);
  });

  test('closes once, whoever asks how often', async () => {
    const made = connection();
    await made.connect();
    const closed = vi.fn();
    made.on('closed', closed);
    await Promise.all([made.close(), made.close(), made[Symbol.asyncDispose]()]);
    await made.close();
    expect(closed).toHaveBeenCalledTimes(1);
    expect(broker.log.filter((line) => line === 'close connection')).toHaveLength(1);
    expect(broker.disposed).toBe(1);
  });

  test('no loss is told of a connection that was closed', async () => {
    const made = connection();
    await made.connect();
    const disconnected = vi.fn();
    made.on('disconnected', disconnected);
    await made.close();
    await turn();
    expect(disconnected).not.toHaveBeenCalled();
  });

  test('operations after close reject with CONNECTION_CLOSED', async () => {
    const made = connection();
    const channel = made.channel();
    await made.connect();
    await made.close();
    await expect(made.connect()).rejects.toBeInstanceOf(ConnectionClosedError);
    await expect(channel.open()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await expect(made.topology.declareQueue({ name: 'q' })).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await expect(made.drainEvents()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await expect(made.switchTo('fake://x')).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(() => made.channel()).toThrow(ConnectionClosedError);
    expect(() => made.heartbeatCheck()).toThrow(ConnectionClosedError);
  });

  test('close while connecting rejects those who wait, and leaves nothing open', async () => {
    let answer = () => {};
    broker.rule('open', () => new Promise<void>((resolve) => (answer = resolve)));
    const made = connection();
    const connecting = made.connect();
    await broker.until(() => broker.tries.length === 1);
    const closing = made.close();
    await expect(connecting).rejects.toBeInstanceOf(ConnectionClosedError);
    await closing;
    answer();
    await turn();
    await turn();
    expect(made.state).toBe('closed');
  });

  test('close during recovery ends it', async () => {
    const made = connection();
    await made.connect();
    broker.refuse('open', refused, 1000);
    broker.kill();
    await broker.until(() => broker.tries.length >= 2);
    const waiting = made.connect();
    await Promise.all([expect(waiting).rejects.toBeInstanceOf(ConnectionClosedError), made.close()]);
    const tries = broker.tries.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(broker.tries.length).toBe(tries);
  });

  test('a loss while closing ends the close, without recovery', async () => {
    const made = connection();
    await made.connect();
    made.beforeClose(async () => {
      broker.kill();
      await turn();
      await turn();
    });
    await made.close();
    expect(made.state).toBe('closed');
    expect(broker.tries).toHaveLength(1);
  });

  test('hooks run first, are bounded by the timeout, and their failures are problems', async () => {
    const made = connection();
    await made.connect();
    const problems: MessagingError[] = [];
    made.on('problem', (error) => problems.push(error));
    const seen: string[] = [];
    made.beforeClose(async ({ timeout }) => {
      seen.push(`${made.state} ${broker.connections.size} ${timeout <= 60}`);
    });
    made.beforeClose(() => new Promise(() => {}));
    const off = made.beforeClose(async () => {
      seen.push('never');
    });
    off();
    await made.close({ timeout: 60 });
    expect(seen).toEqual(['closing 1 true']);
    const again = connection();
    again.on('problem', (error) => problems.push(error));
    again.beforeClose(() => Promise.reject(new Error('flush failed')));
    await again.close();
    expect(problems.map(({ message }) => message)).toEqual(['flush failed']);
  });
});
