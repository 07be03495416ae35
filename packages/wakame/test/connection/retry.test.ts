import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Channel, Connection, type ConnectionOptions } from '../../src/connection/index.js';
import {
  AuthenticationError,
  MessageNacked,
  type MessagingError,
  NotFound,
  OperationalError,
  RecoverableConnectionError,
  ResourceLocked,
  TimeoutError,
} from '../../src/errors.js';
import { FakeBroker } from '../support/fake-transport.js';

let broker: FakeBroker;
let connection: Connection;

const refused = () => new RecoverableConnectionError('connect ECONNREFUSED', { code: 'CONNECT_FAILED' });
const lost = () => new RecoverableConnectionError('lost');
const fast = { intervalStart: 1, intervalStep: 0, intervalMax: 0 };

function make(options: ConnectionOptions = {}): Connection {
  connection = new Connection('fake://one', broker.options(options));
  return connection;
}

beforeEach(() => {
  broker = new FakeBroker();
  make();
});

afterEach(async () => {
  await connection.close({ timeout: 500 });
});

describe('ensureConnection', () => {
  test('maxRetries N is N tries after the first; errback hears of those that another follows', async () => {
    broker.refuse('open', refused, 100);
    const heard: number[] = [];
    const error = await connection
      .ensureConnection({ maxRetries: 3, ...fast, errback: (_, interval) => heard.push(interval) })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OperationalError);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', cause: { message: 'connect ECONNREFUSED' } });
    expect(broker.tries).toHaveLength(4);
    expect(heard).toEqual([1, 1, 1]);
  });

  test('maxRetries 0 is one try', async () => {
    broker.refuse('open', refused, 100);
    await expect(connection.ensureConnection({ maxRetries: 0 })).rejects.toBeInstanceOf(OperationalError);
    expect(broker.tries).toHaveLength(1);
  });

  test("the pauses are Kombu's: start, start + step, … up to max + start", async () => {
    broker.refuse('open', refused, 5);
    const heard: number[] = [];
    await connection.ensureConnection({
      ...{ intervalStart: 2, intervalStep: 2, intervalMax: 3 },
      errback: (_, interval) => heard.push(interval),
    });
    expect(heard).toEqual([2, 4, 4, 4, 4]);
  });

  test('with several hosts there is no pause before the cycle is done', async () => {
    await connection.close();
    connection = new Connection(['fake://a', 'fake://b'], broker.options());
    broker.refuse('open', refused, 3);
    const heard: number[] = [];
    await connection.ensureConnection({ ...fast, errback: (_, interval) => heard.push(interval) });
    expect(heard).toEqual([0, 1, 0]);
  });

  test('wrong credentials reject at once, as they are', async () => {
    broker.refuse('open', () => new AuthenticationError('no'), 100);
    await expect(connection.ensureConnection()).rejects.toBeInstanceOf(AuthenticationError);
    expect(broker.tries).toHaveLength(1);
  });

  test('callback is called before each pause', async () => {
    broker.refuse('open', refused, 3);
    const callback = vi.fn();
    await connection.ensureConnection({ ...fast, callback });
    expect(callback).toHaveBeenCalledTimes(3);
  });

  test('what errback or callback throws ends the wait', async () => {
    broker.refuse('open', refused, 100);
    const enough = () => {
      throw new Error('enough');
    };
    await expect(connection.ensureConnection({ errback: enough })).rejects.toThrow('enough');
    await expect(connection.ensureConnection({ ...fast, callback: enough })).rejects.toThrow('enough');
    expect(connection.state).toBe('idle');
  });

  test('timeout and signal end it', async () => {
    broker.refuse('open', refused, 1000);
    await expect(connection.ensureConnection({ ...fast, timeout: 30 })).rejects.toBeInstanceOf(OperationalError);
    const stop = new AbortController();
    const waiting = connection.ensureConnection({ ...fast, signal: stop.signal });
    stop.abort(new Error('stop'));
    await expect(waiting).rejects.toThrow('stop');
  });

  test('options of the wrong kind are refused', async () => {
    await expect(connection.ensureConnection({ maxRetries: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(connection.ensureConnection({ intervalStart: Number.NaN })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  test('the retry keys of transport_options rule implicit connects, and are not changed by other policies', async () => {
    await connection.close();
    const heard: string[] = [];
    const transportOptions = {
      max_retries: 2,
      interval_start: 0.001,
      interval_step: 0,
      errback: (error: MessagingError, interval: number) => heard.push(`${error.message} ${interval}`),
    };
    make({ transportOptions });
    broker.refuse('open', refused, 3);
    await expect(connection.channel().queueDeclare('q')).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect(broker.tries).toHaveLength(3);
    expect(heard).toEqual(new Array(3).fill('connect ECONNREFUSED 1'));
    expect(Object.keys(transportOptions)).toEqual(['max_retries', 'interval_start', 'interval_step', 'errback']);
  });

  test('connect_retries_timeout is the deadline of connecting, apart from that of one try', async () => {
    await connection.close();
    make({ transportOptions: { connect_retries_timeout: 0.05, intervalStart: 5 } });
    broker.refuse('open', refused, 1000);
    await expect(connection.connect()).rejects.toThrow(/gave up after 50 ms/);
  });
});

describe('ensure', () => {
  test('gives what the function gives, with its arguments', async () => {
    const add = connection.ensure(undefined, (a: number, b: number) => a + b);
    expect(await add(1, 2)).toBe(3);
    expect(broker.tries).toHaveLength(0);
  });

  test('after a loss: errback, the connection, revive, onRevive, the function again', async () => {
    await connection.connect();
    const calls: string[] = [];
    const target = { revive: (channel: Channel) => calls.push(`revive ${channel.id}`) };
    let runs = 0;
    const fn = () => {
      runs++;
      calls.push(`run ${runs}`);
      if (runs === 1) {
        broker.kill();
        throw lost();
      }
      return connection.state;
    };
    const outcome = await connection.ensure(target, fn, {
      errback: (error, interval) => calls.push(`errback ${error.message} ${interval}`),
      onRevive: (channel) => calls.push(`onRevive ${channel.id}`),
    })();
    expect(outcome).toBe('open');
    expect(calls).toEqual(['run 1', 'errback lost 0', 'revive 1', 'onRevive 1', 'run 2']);
  });

  test('maxRetries N runs it N times after the first, for connection and channel errors alike, then wraps', async () => {
    for (const error of [lost(), new ResourceLocked('405'), new TimeoutError('no answer')]) {
      let runs = 0;
      const ensured = connection.ensure(
        undefined,
        () => {
          runs++;
          throw error;
        },
        { maxRetries: 3, ...fast },
      );
      const thrown = await ensured().catch((caught: unknown) => caught);
      expect(thrown).toBeInstanceOf(OperationalError);
      expect(thrown).toMatchObject({ cause: error, code: error.code });
      expect(runs).toBe(4);
    }
  });

  test('maxRetries 0 does not retry', async () => {
    const fn = vi.fn(() => {
      throw lost();
    });
    await expect(connection.ensure(undefined, fn, { maxRetries: 0 })()).rejects.toBeInstanceOf(OperationalError);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  test('what is not recoverable, a nack and anything foreign pass as they are', async () => {
    for (const error of [new NotFound('404'), new MessageNacked('nack'), new Error('mine')]) {
      const fn = vi.fn(() => {
        throw error;
      });
      await expect(connection.ensure(undefined, fn)()).rejects.toBe(error);
      expect(fn).toHaveBeenCalledTimes(1);
    }
  });

  test('retryErrors are simply run again, and passed on in the end', async () => {
    class Own extends Error {}
    const errback = vi.fn();
    const fn = vi.fn(() => {
      throw new Own('again');
    });
    const ensured = connection.ensure(undefined, fn, { retryErrors: [Own], maxRetries: 2, errback, ...fast });
    await expect(ensured()).rejects.toBeInstanceOf(Own);
    expect(fn).toHaveBeenCalledTimes(3);
    expect(errback).not.toHaveBeenCalled();
  });

  test('waiting for the connection has the tries that are left', async () => {
    broker.refuse('open', refused, 100);
    const ensured = connection.ensure(
      undefined,
      () => {
        throw lost();
      },
      { maxRetries: 2, ...fast },
    );
    await expect(ensured()).rejects.toMatchObject({ name: 'OperationalError', code: 'CONNECT_FAILED' });
    expect(broker.tries).toHaveLength(3);
  });

  test('a function that fails on a sound connection is not a busy loop', async () => {
    const at: number[] = [];
    const ensured = connection.ensure(
      undefined,
      () => {
        at.push(performance.now());
        throw new ResourceLocked('405');
      },
      { maxRetries: 3, intervalStart: 40, intervalStep: 0, intervalMax: 0 },
    );
    await expect(ensured()).rejects.toBeInstanceOf(OperationalError);
    expect((at[3] ?? 0) - (at[1] ?? 0)).toBeGreaterThan(70);
  });

  test('a closed connection ends it', async () => {
    const ensured = connection.ensure(undefined, () => connection.connect());
    await connection.close();
    await expect(ensured()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  });

  test('signal and timeout end it', async () => {
    const stop = new AbortController();
    let runs = 0;
    const ensured = connection.ensure(
      undefined,
      () => {
        runs++;
        if (runs === 3) stop.abort(new Error('stop'));
        throw lost();
      },
      { signal: stop.signal, ...fast },
    );
    await expect(ensured()).rejects.toThrow('stop');
    const late = connection.ensure(undefined, () => Promise.reject(lost()), { timeout: 30, ...fast });
    await expect(late()).rejects.toBeInstanceOf(OperationalError);
  });
});

describe('autoretry', () => {
  test('the function gets a channel, and the outcome comes with the last one', async () => {
    const given = connection.channel();
    const used: Channel[] = [];
    const fn = async (channel: Channel, name: string) => {
      used.push(channel);
      if (used.length === 1) throw lost();
      return (await channel.queueDeclare(name)).queue;
    };
    const [result, channel] = await connection.autoretry(fn, { channel: given })('q');
    expect(result).toBe('q');
    expect(used).toEqual([given, connection.defaultChannel()]);
    expect(channel).toBe(connection.defaultChannel());
  });
});
