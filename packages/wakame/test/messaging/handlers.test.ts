/** The paragraph "Consuming", against every broker there is: handlers that fail, messages that cannot be read. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Exchange, type Queue } from '../../src/entities/index.js';
import type { MessagingError } from '../../src/errors.js';
import { Consumer, type ConsumerOptions, type Message, type StandardSchemaV1 } from '../../src/messaging/index.js';
import { deferred } from '../../src/util/deferred.js';
import { type Bench, Count, eventually, onEachBroker, payloads } from './support.js';

/** A queue with dead letters. */
async function withDeadLetters(t: Bench, queueArguments: Record<string, unknown> = {}) {
  const exchange = new Exchange(t.name('dead'), { type: 'fanout', autoDelete: true });
  const dead = t.queue<number>('dead', { exchange });
  const queue = t.queue<number>('letters', {
    queueArguments: { 'x-dead-letter-exchange': exchange.name, ...queueArguments },
  });
  await Promise.all([dead.declare(), queue.declare()]);
  return { queue, dead };
}

const FAST = { start: 1, max: 5 };

onEachBroker('handlers', (t) => {
  /** A consumer whose failures are noted. */
  async function start<T>(queue: Queue<T>, options: Omit<ConsumerOptions<T>, 'queues'>) {
    const errors: (readonly [string, string, number?])[] = [];
    const consumer = t.consumer(queue, { backoff: FAST, ...options });
    consumer.on('handlerError', (error, _message, { attempts }) => errors.push(['handler', error.message, attempts]));
    consumer.on('decodeError', ({ code }) => errors.push(['decode', code]));
    await consumer.consume();
    return { consumer, errors };
  }

  test('a failing handler never loses the message: handlerError, back-off, requeue', async () => {
    const queue = t.queue<number>('fails');
    await queue.declare();
    const seen: [number, boolean][] = [];
    const count = new Count();
    const { errors } = await start(queue, {
      settle: 'auto',
      onMessage: ({ payload, redelivered }) => {
        seen.push([payload, redelivered]);
        count.up();
        if (seen.length === 1) throw new Error('thrown');
        if (seen.length === 2) return Promise.reject(new Error('rejected'));
        return undefined;
      },
    });
    await t.fill(queue, 1);
    await count.reach(3);
    expect(seen).toEqual([
      [0, false],
      [0, true],
      [0, true],
    ]);
    expect(errors).toEqual([
      ['handler', 'thrown', 1],
      ['handler', 'rejected', 2],
    ]);
    await t.untilDepth(queue, 0);
  });

  test('after maxAttempts it is rejected without requeue, to the dead letters', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const tries: number[] = [];
    const { errors } = await start(queue, {
      maxAttempts: 3,
      settle: 'auto',
      onMessage: ({ payload }) => {
        tries.push(payload);
        if (payload === 1) throw new Error('poison');
      },
    });
    await t.fill(queue, 3);
    await t.untilDepth(dead, 1);
    expect(payloads(await t.drain(dead))).toEqual([1]);
    expect(tries.filter((payload) => payload === 1)).toHaveLength(3);
    expect(errors.map(([, , attempts]) => attempts)).toEqual([1, 2, 3]);
  });

  test('ten attempts when nothing is said', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const { errors } = await start(queue, {
      settle: 'auto',
      onMessage: () => {
        throw new Error('always');
      },
    });
    await t.fill(queue, 1);
    await t.untilDepth(dead, 1);
    expect(errors).toHaveLength(10);
  });

  test('where the broker counts deliveries, attempts are counted over consumers', async () => {
    const { queue, dead } = await withDeadLetters(t, { 'x-queue-type': 'quorum' });
    const attempts: number[] = [];
    await t.fill(queue, 1);
    for (let i = 0; i < 3; i++) {
      const failed = new Count();
      const consumer = new Consumer(t.connect(), {
        ...{ queues: queue, maxAttempts: 3, backoff: { start: 3_600_000, max: 3_600_000 } },
        onMessage: () => {
          throw new Error('poison');
        },
        onHandlerError: (_message, _error, info) => {
          attempts.push(info.attempts);
          failed.up();
        },
      });
      await consumer.consume();
      await failed.reach(1);
      await consumer.close();
    }
    expect(attempts).toEqual([1, 2, 3]);
    await t.untilDepth(dead, 1);
  });

  test('equal messages are counted each by itself', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const failures = new Count();
    let healthy = false;
    const { errors } = await start(queue, {
      maxAttempts: 3,
      settle: 'auto',
      concurrency: 4,
      onMessage: () => {
        if (healthy) return;
        failures.up();
        throw new Error('not now');
      },
    });
    const producer = t.producer();
    for (let i = 0; i < 4; i++) await producer.publish('same', { routingKey: queue.name });
    await failures.reach(8);
    healthy = true;
    await eventually('an empty queue', async () => (await t.depth(queue)) === 0);
    expect(errors.every(([, , attempts]) => (attempts ?? 0) <= 3)).toBe(true);
    expect(errors.filter(([, , attempts]) => attempts === 1)).toHaveLength(4);
    expect(await t.depth(dead)).toBe(errors.filter(([, , attempts]) => attempts === 3).length);
  });

  test('onHandlerError may decide: reject, ack, requeue, or settle itself', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const decided: (readonly [number, number])[] = [];
    const count = new Count();
    await start(queue, {
      onMessage: () => {
        throw new Error('no');
      },
      onHandlerError: async (message, error, { attempts, maxAttempts }) => {
        expect([(error as Error).message, maxAttempts]).toEqual(['no', 10]);
        decided.push([message.payload, attempts]);
        count.up();
        if (message.payload === 0) return 'reject';
        if (message.payload === 1) return 'ack';
        if (message.payload === 2) await message.reject();
        else if (attempts < 3) return 'requeue';
        else await message.ack();
        return undefined;
      },
    });
    await t.fill(queue, 4);
    await count.reach(6);
    await t.untilDepth(dead, 2);
    expect(payloads(await t.drain(dead)).sort()).toEqual([0, 2]);
    expect(decided.filter(([payload]) => payload === 3).map(([, attempts]) => attempts)).toEqual([1, 2, 3]);
    expect(await t.depth(queue)).toBe(0);
  });

  test('an onHandlerError that fails, or answers nonsense, counts as none', async () => {
    const { queue, dead } = await withDeadLetters(t);
    let calls = 0;
    const { errors } = await start(queue, {
      maxAttempts: 2,
      onMessage: () => {
        throw new Error('first');
      },
      onHandlerError: () => {
        if (++calls === 1) throw new Error('second');
        return 'retry' as 'requeue';
      },
    });
    await t.fill(queue, 1);
    await t.untilDepth(dead, 1);
    expect(errors.map(([, text]) => text)).toEqual([
      'first',
      'second',
      'first',
      expect.stringMatching(/the answer of onHandlerError must be one of .* not 'retry'/),
    ]);
  });

  test('what the handler settled before it failed stays so', async () => {
    const queue = t.queue<number>('settled');
    await queue.declare();
    const { consumer, errors } = await start(queue, {
      onMessage: async (message) => {
        await message.ack();
        throw new Error('afterwards');
      },
    });
    const failed = once(consumer, 'handlerError');
    await t.fill(queue, 1);
    await failed;
    await consumer.close();
    expect(errors).toEqual([['handler', 'afterwards', 1]]);
    expect(await t.depth(queue)).toBe(0);
  });

  test('a handler that settles twice hears of it, and harms nobody', async () => {
    const queue = t.queue<number>('twice');
    await queue.declare();
    const handled = new Count();
    const { errors } = await start(queue, {
      onMessage: async (message) => {
        handled.up();
        await message.ack();
        await message.reject();
      },
    });
    await t.fill(queue, 2);
    await handled.reach(2);
    await eventually('two errors', () => errors.length === 2);
    expect(errors[0]?.[1]).toMatch(/was settled before \(ACK\)/);
    expect(await t.depth(queue)).toBe(0);
  });

  test('what is thrown that is no Error is told as one', async () => {
    const queue = t.queue<number>('odd');
    await queue.declare();
    const consumer = t.consumer(queue, {
      maxAttempts: 1,
      // biome-ignore lint/nursery/usePromiseRejectErrors: what handlers in JavaScript do.
      onMessage: () => Promise.reject('just text'),
    });
    const failed = once(consumer, 'handlerError');
    await consumer.consume();
    await t.fill(queue, 1);
    const [error] = (await failed) as [Error];
    expect([error instanceof Error, error.message, error.cause]).toEqual([true, "'just text'", 'just text']);
  });

  test('failures that nobody listens to are a warning, once per cause', async () => {
    const queue = t.queue<number>('warned');
    await queue.declare();
    const warnings: string[] = [];
    const onWarning = (warning: Error) => warnings.push(warning.message);
    process.on('warning', onWarning);
    const tries = new Count();
    const consumer = t.consumer(queue, {
      ...{ backoff: FAST, maxAttempts: 3 },
      onMessage: () => {
        tries.up();
        throw new RangeError('unheard');
      },
    });
    await consumer.consume();
    await t.fill(queue, 1);
    await tries.reach(3);
    await consumer.close();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings.filter((text) => text.includes('RangeError: unheard'))).toHaveLength(1);
    expect(warnings[0]).toContain('attempt 1 of 3');
  });

  test('a slow back-off ends when the consumer is closed', async () => {
    const queue = t.queue<number>('hurried');
    await queue.declare();
    const { consumer } = await start(queue, {
      backoff: { start: 3_600_000, max: 3_600_000 },
      onMessage: () => {
        throw new Error('no');
      },
    });
    const failed = once(consumer, 'handlerError');
    await t.fill(queue, 1);
    await failed;
    expect(await t.depth(queue)).toBe(0);
    await consumer.close();
    await t.untilDepth(queue, 1);
  });

  test('while one message waits to be requeued, the others are handled', async () => {
    const queue = t.queue<number>('meanwhile');
    await queue.declare();
    const seen: number[] = [];
    const count = new Count();
    const { consumer } = await start(queue, {
      backoff: { start: 3_600_000, max: 3_600_000 },
      settle: 'auto',
      onMessage: ({ payload }) => {
        if (payload === 0) throw new Error('no');
        seen.push(payload);
        count.up();
      },
    });
    await t.fill(queue, 5);
    await count.reach(4);
    expect(seen).toEqual([1, 2, 3, 4]);
    await consumer.close();
    await t.untilDepth(queue, 1);
  });

  test('what cannot be decoded, is not accepted or fails the schema never reaches the handler', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const handled: unknown[] = [];
    const count = new Count();
    const schema: StandardSchemaV1<unknown, number> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) =>
          typeof value === 'number' ? { value } : { issues: [{ message: 'a number', path: [{ key: 'a' }, 0] }] },
      },
    };
    const consumer = new Consumer(t.connection, {
      ...{ queues: queue, accept: ['json'], schema, settle: 'auto' },
      onMessage: ({ payload }) => {
        handled.push(payload);
        count.up();
      },
    });
    const errors: [string, string, unknown][] = [];
    consumer.on('decodeError', (error, message) => errors.push([error.code, error.message, message.body.length]));
    await consumer.consume();
    const producer = t.producer();
    const json = { contentType: 'application/json', contentEncoding: 'utf-8' };
    const routingKey = queue.name;
    await producer.publish(1, { routingKey });
    await producer.publish(Buffer.from('{"broken'), { routingKey, ...json });
    await producer.publish('text', { routingKey });
    await producer.publish({ a: 1 }, { routingKey });
    await producer.publish(Buffer.from('not zlib'), { routingKey, ...json, headers: { compression: 'zlib' } });
    await producer.publish(Buffer.from('1'), { routingKey, ...json, headers: { compression: 7 } });
    await producer.publish(2, { routingKey });
    await count.reach(2);
    expect(handled).toEqual([1, 2]);
    expect(errors.map(([code]) => code)).toEqual([
      ...['DECODE_FAILED', 'CONTENT_DISALLOWED', 'DECODE_FAILED', 'DECODE_FAILED', 'DECODE_FAILED'],
    ]);
    expect(errors[2]?.[1]).toBe('the payload does not fit the schema: a.0: a number');
    expect(errors[0]?.[2]).toBe(8);
    await t.untilDepth(dead, 5);
  });

  test('without accept: JSON, text and bytes; with it exactly those named, and bytes', async () => {
    const queue = t.queue<unknown>('accept');
    await queue.declare();
    const producer = t.producer();
    const send = async () => {
      for (const body of [{ json: 1 }, 'text', Buffer.from('bytes')])
        await producer.publish(body, { routingKey: queue.name });
      await producer.publish({ yaml: 1 }, { routingKey: queue.name, serializer: 'yaml' });
    };
    const received = async (accept: string[] | undefined) => {
      await send();
      const got: string[] = [];
      const consumer = t.consumer(queue, { accept, settle: 'auto', idleTimeout: 60 });
      consumer.on('decodeError', () => undefined);
      for await (const message of consumer) got.push(message.contentType ?? '');
      return got;
    };
    expect(await received(undefined)).toEqual(['application/json', 'text/plain', 'application/data']);
    expect(await received(['json'])).toEqual(['application/json', 'application/data']);
    expect(await received(['yaml', 'text/plain'])).toEqual(['text/plain', 'application/data', 'application/x-yaml']);
    expect(await received([])).toEqual(['application/data']);
  });

  test('onDecodeError settles the message; what it leaves is rejected; when it fails, it is tried again', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const calls: string[] = [];
    const count = new Count();
    const { errors } = await start(queue, {
      accept: [],
      onMessage: () => 1,
      onDecodeError: async (message, error) => {
        const text = Buffer.from(message.body).toString();
        calls.push(`${text} ${error.code}`);
        expect(() => message.payload).toThrow(error);
        expect(() => message.decode()).toThrow(error);
        count.up();
        if (text === 'ack') await message.ack();
        if (text === 'fail' && calls.filter((call) => call.startsWith('fail')).length === 1) throw new Error('full');
      },
    });
    const producer = t.producer();
    for (const text of ['ack', 'leave', 'fail']) await producer.publish(text, { routingKey: queue.name });
    await count.reach(4);
    expect(calls.sort()).toEqual([
      'ack CONTENT_DISALLOWED',
      'fail CONTENT_DISALLOWED',
      'fail CONTENT_DISALLOWED',
      'leave CONTENT_DISALLOWED',
    ]);
    expect(errors).toEqual([['handler', 'full', 1]]);
    await t.untilDepth(dead, 2);
    expect((await t.drain(dead)).map(({ payload }) => payload).sort()).toEqual(['fail', 'leave']);
  });

  test('get: what cannot be read rejects, and is rejected; onDecodeError may keep it', async () => {
    const { queue, dead } = await withDeadLetters(t);
    const producer = t.producer();
    await producer.publish('text', { routingKey: queue.name });
    await expect(queue.get({ accept: ['json'] })).rejects.toMatchObject({ code: 'CONTENT_DISALLOWED' });
    await t.untilDepth(dead, 1);
    await producer.publish('text', { routingKey: queue.name });
    const kept = deferred<[Message, MessagingError]>();
    const onDecodeError = async (message: Message, error: MessagingError) => {
      kept.resolve([message, error]);
      await message.requeue();
    };
    await expect(queue.get({ accept: ['json'], onDecodeError })).rejects.toMatchObject({ code: 'CONTENT_DISALLOWED' });
    expect((await kept.promise)[0].state).toBe('REQUEUED');
    await eventually('the message back', async () => (await t.depth(queue)) === 1);
    expect((await queue.get({ noAck: true }))?.payload).toBe('text');
  });

  test('Queue.consume: a callback for each message, until it is cancelled', async () => {
    const queue = t.queue<number>('consume');
    await queue.declare();
    const got: number[] = [];
    const count = new Count();
    const tag = await queue.consume({
      callback: async (message) => {
        got.push(message.payload);
        count.up();
        if (got.length === 2) throw new Error('once');
      },
      settle: 'auto',
      backoff: FAST,
    });
    expect(tag).not.toBe('');
    await t.fill(queue, 3);
    await count.reach(4);
    expect([...got].sort()).toEqual([0, 1, 1, 2]);
    await queue.cancel(tag);
    await t.fill(queue, 1);
    await t.untilDepth(queue, 1);
    expect(got).toHaveLength(4);
    const named = await queue.consume({ callback: () => 1, consumerTag: 'of my own', noAck: true });
    expect(named).toBe('of my own');
    await t.untilDepth(queue, 0);
  });
});
