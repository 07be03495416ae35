import { describe, expect, test } from 'vitest';
import { Connection, Empty, Exchange, Queue, SimpleQueue, type StandardSchemaV1 } from 'wakame';
import { eventually, failure, onEachBroker, payloads, sequence } from '../messaging/support.js';
import { dropExchange, simpleBuffer, simpleQueue, untilConsumers } from './support.js';

/** Takes numbers, when it is told to. */
function slowSchema(wait: Promise<void>): StandardSchemaV1<unknown, number> {
  const validate = async (value: unknown) => {
    await wait;
    return typeof value === 'number' ? { value } : { issues: [{ message: 'no number' }] };
  };
  return { '~standard': { version: 1, vendor: 'test', validate } };
}

onEachBroker('SimpleQueue', (bench) => {
  test('what is put is got, in order; exchange, queue and routing key have one name', async () => {
    const queue = simpleQueue(bench);
    for (const body of [{ n: 1 }, 'two', Buffer.from('three')]) await queue.put(body);
    const messages = [await queue.get(), await queue.get(), await queue.get()];
    expect(payloads(messages)).toEqual([{ n: 1 }, 'two', Buffer.from('three')]);
    const { name } = queue.queue;
    expect(messages[0]?.deliveryInfo).toMatchObject({ exchange: name, routingKey: name });
    expect(messages.map(({ state }) => state)).toEqual(['RECEIVED', 'RECEIVED', 'RECEIVED']);
    expect(await Promise.all(messages.map((message) => message.ack()))).toEqual([true, true, true]);
    expect(await bench.depth(queue.queue)).toBe(0);
  });

  test('puts that are not awaited keep their order, signal or not', async () => {
    const queue = simpleQueue(bench);
    const { signal } = new AbortController();
    await Promise.all(sequence(50).map((n) => queue.put(n, n % 2 === 0 ? { signal } : {})));
    expect(payloads(await bench.drain(queue.queue))).toEqual(sequence(50));
  });

  test('nothing there is EMPTY, at once or after the timeout', async () => {
    const queue = simpleQueue(bench);
    const error = await failure(queue.getNoWait());
    expect(error).toBeInstanceOf(Empty);
    expect(error).toMatchObject({ code: 'EMPTY', message: `queue '${queue.queue.name}' is empty` });
    const started = performance.now();
    expect(await failure(queue.get({ timeout: 60 }))).toBeInstanceOf(Empty);
    expect(performance.now() - started).toBeGreaterThan(58);
    await untilConsumers(bench, queue.queue, 0);
  });

  test('bad timeouts are refused', async () => {
    const queue = simpleQueue(bench);
    for (const timeout of [-1, Number.NaN, '5' as unknown as number]) {
      expect(await failure(queue.get({ timeout }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  test('a get waits for what is put later, and takes no more than that', async () => {
    const queue = simpleQueue(bench);
    const waiting = queue.get();
    await queue.put('first');
    await queue.put('second');
    expect((await waiting).payload).toBe('first');
    await bench.untilDepth(queue.queue, 1);
    const next = await queue.getNoWait();
    expect([next.payload, next.redelivered]).toEqual(['second', false]);
  });

  test('those who wait are served in their order, though nothing is settled meanwhile', async () => {
    const queue = simpleQueue<number>(bench);
    const waiting = sequence(4).map(() => queue.get());
    await untilConsumers(bench, queue.queue, 4);
    for (const n of sequence(4)) await queue.put(n);
    const messages = await Promise.all(waiting);
    expect(payloads(messages)).toEqual(sequence(4));
    await untilConsumers(bench, queue.queue, 0);
    expect(await Promise.all(messages.map((message) => message.ack()))).toEqual([true, true, true, true]);
  });

  test('gets that time out lose nothing', async () => {
    const queue = simpleQueue<number>(bench);
    const count = 60;
    const got: number[] = [];
    const taker = async (timeout: number) => {
      while (got.length < count) {
        const message = await queue.get({ timeout }).catch((error: unknown) => {
          if (!(error instanceof Empty)) throw error;
        });
        if (message === undefined) continue;
        got.push(message.payload);
        await message.ack();
      }
    };
    // Most have less patience than an answer may take; they must not keep the others from getting any.
    const takers = [0, 1, 2, 1000].map(taker);
    for (const n of sequence(count)) await queue.put(n);
    await Promise.all(takers);
    expect(got.sort((a, b) => a - b)).toEqual(sequence(count));
    expect(await queue.qsize()).toBe(0);
  });

  test('a signal ends the wait with its reason, and takes nothing', async () => {
    const queue = simpleQueue(bench);
    const reason = new Error('enough');
    expect(await failure(queue.get({ signal: AbortSignal.abort(reason) }))).toBe(reason);
    const stop = new AbortController();
    const waiting = failure(queue.get({ signal: stop.signal }));
    await untilConsumers(bench, queue.queue, 1);
    stop.abort(reason);
    expect(await waiting).toBe(reason);
    await untilConsumers(bench, queue.queue, 0);
    await queue.put('still there');
    expect((await queue.get()).redelivered).toBe(false);
  });

  test('a message that has come is handed out, though the time is over before the schema is done', async () => {
    let validated = () => {};
    const schema = slowSchema(new Promise<void>((resolve) => (validated = resolve)));
    const queue = simpleQueue(bench, { queueOptions: { schema } });
    const stop = new AbortController();
    const waiting = queue.get({ timeout: 2_000, signal: stop.signal });
    await untilConsumers(bench, queue.queue, 1);
    await queue.put(7);
    await untilConsumers(bench, queue.queue, 0);
    stop.abort();
    validated();
    const message = await waiting;
    expect(message.payload).toBe(7);
    expect(await message.ack()).toBe(true);
  });

  test('what cannot be read rejects the get, whether it waited or not, and is gone', async () => {
    const queue = simpleQueue(bench, { queueOptions: { schema: slowSchema(Promise.resolve()) } });
    const yaml = { contentType: 'application/x-yaml' };
    const waiting = failure(queue.get());
    await untilConsumers(bench, queue.queue, 1);
    await queue.producer.publish('a: 1' as never, yaml);
    expect(await waiting).toMatchObject({ code: 'CONTENT_DISALLOWED' });
    await queue.producer.publish('a: 1' as never, yaml);
    expect(await failure(queue.get())).toMatchObject({ code: 'CONTENT_DISALLOWED' });
    await queue.put('no number' as never);
    expect(await failure(queue.get())).toMatchObject({ code: 'DECODE_FAILED' });
    expect(await failure(queue.getNoWait())).toBeInstanceOf(Empty);
  });

  test('accept, serializer and compression', async () => {
    const queue = simpleQueue(bench, { accept: ['yaml'], serializer: 'yaml', compression: 'zlib' });
    await queue.put({ a: 1 });
    const message = await queue.get();
    expect(message.payload).toEqual({ a: 1 });
    expect([message.contentType, message.headers]).toEqual([
      'application/x-yaml',
      { compression: 'application/x-gzip' },
    ]);
  });

  test('noAck: what is got is settled', async () => {
    const queue = simpleQueue(bench, { noAck: true });
    await queue.put(1);
    const waited = [await queue.get()];
    const waiting = queue.get();
    await untilConsumers(bench, queue.queue, 1);
    await queue.put(2);
    waited.push(await waiting);
    expect(waited.map(({ state }) => state)).toEqual(['ACK', 'ACK']);
    await bench.connection.close();
    const other = bench.connect();
    expect((await queue.queue.bind(other).queueDeclare({ passive: true })).messageCount).toBe(0);
  });

  test('qsize and clear', async () => {
    const queue = simpleQueue(bench);
    for (const n of sequence(3)) await queue.put(n);
    expect(await queue.qsize()).toBe(3);
    const held = await queue.get();
    expect(await queue.clear()).toBe(2);
    expect(await queue.qsize()).toBe(0);
    await held.requeue();
    await eventually('it is back', async () => (await queue.qsize()) === 1);
  });

  test('close ends the waits; what was handed out can still be settled', async () => {
    const queue = simpleQueue(bench);
    await queue.put(1);
    const held = await queue.get();
    const waiting = [failure(queue.get()), failure(queue.get({ timeout: 60_000 }))];
    await untilConsumers(bench, queue.queue, 2);
    await Promise.all([queue.close(), queue.close()]);
    for (const error of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'CHANNEL_CLOSED' });
    await untilConsumers(bench, queue.queue, 0);
    expect(await bench.depth(queue.queue)).toBe(0);
    expect(await held.ack()).toBe(true);
    for (const late of [queue.put(2), queue.get(), queue.getNoWait(), queue.qsize(), queue.clear()]) {
      expect(await failure(late)).toMatchObject({ code: 'CHANNEL_CLOSED' });
    }
  });

  test('close frees the channels', async () => {
    await bench.connection.connect();
    const before = bench.connection.channels.size;
    {
      await using queue = simpleQueue(bench);
      await queue.put(1);
      await (await queue.get()).ack();
      await failure(queue.get({ timeout: 20 }));
      expect(bench.connection.channels.size).toBeGreaterThan(before + 1);
    }
    // The topology's own stays.
    await eventually('they are closed', () => bench.connection.channels.size === before + 1);
  });

  test('closing the connection ends the waits', async () => {
    const queue = simpleQueue(bench);
    const waiting = failure(queue.get());
    await untilConsumers(bench, queue.queue, 1);
    await bench.connection.close();
    expect(await waiting).toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(await failure(queue.put(1))).toMatchObject({ code: 'CONNECTION_CLOSED' });
  });

  test('a wait goes on over a loss of the connection', async () => {
    const queue = simpleQueue(bench);
    const waiting = queue.get();
    await untilConsumers(bench, queue.queue, 1);
    const recovered = new Promise((resolve) => bench.connection.once('recovered', resolve));
    await bench.drop();
    await recovered;
    await queue.put('after');
    const message = await waiting;
    expect(message.payload).toBe('after');
    expect(await message.ack()).toBe(true);
  });

  test('a queue deleted by somebody: NOT_FOUND once, then it is declared again', async () => {
    const queue = simpleQueue(bench);
    await queue.put(1);
    const other = bench.connect();
    await queue.queue.bind(other).delete();
    expect(await failure(queue.get())).toMatchObject({ code: 'NOT_FOUND' });
    await queue.put(2);
    expect((await queue.get()).payload).toBe(2);
  });

  test('any queue will do: put goes by its exchange and key', async () => {
    const name = bench.name('topics');
    dropExchange(bench, name);
    const exchange = new Exchange(name, { type: 'topic' });
    const entity = bench.queue<number>('entity', { exchange, routingKey: 'a.b' });
    await using queue = new SimpleQueue(bench.connection.channel(), entity);
    await queue.put(1);
    expect((await queue.get()).deliveryInfo).toMatchObject({ exchange: name, routingKey: 'a.b' });
    await using plain = new SimpleQueue(bench.connection, bench.queue('plain'));
    await plain.put(2);
    expect((await plain.get()).payload).toBe(2);
  });

  test('a queue that the broker names', async () => {
    await using queue = new SimpleQueue<number>(bench.connection, new Queue('', { exclusive: true }));
    await queue.put(1);
    expect((await queue.get()).payload).toBe(1);
    expect(queue.queue.name).not.toBe('');
  });
});

onEachBroker('SimpleBuffer', (bench) => {
  test('transient, settled, and gone when it is closed', async () => {
    const buffer = simpleBuffer(bench);
    await buffer.put(1);
    const message = await buffer.get();
    expect([message.payload, message.state, message.properties.deliveryMode]).toEqual([1, 'ACK', 1]);
    expect(await failure(buffer.get({ timeout: 20 }))).toBeInstanceOf(Empty);
    const { name } = buffer.queue;
    await buffer.close();
    await eventually('the queue is gone', async () => {
      const error = await bench.connection.topology.declareQueue({ name, passive: true, fresh: true }).catch((e) => e);
      return error.code === 'NOT_FOUND';
    });
  });

  test('it outlives the waits, though it deletes itself with its last consumer', async () => {
    const buffer = simpleBuffer(bench);
    for (const n of sequence(5)) {
      const waiting = buffer.get();
      await untilConsumers(bench, buffer.queue, 1);
      await buffer.put(n);
      expect((await waiting).payload).toBe(n);
      expect(await failure(buffer.get({ timeout: 5 }))).toBeInstanceOf(Empty);
    }
  });

  test('what came ahead counts, is got first, and can be cleared', async () => {
    const buffer = simpleBuffer<number>(bench);
    const stop = new AbortController();
    const waiting = failure(buffer.get({ signal: stop.signal }));
    await untilConsumers(bench, buffer.queue, 1);
    stop.abort();
    await waiting;
    for (const n of sequence(3)) await buffer.put(n);
    await eventually('one came ahead', async () => (await bench.depth(buffer.queue)) === 2);
    expect(await buffer.qsize()).toBe(3);
    expect(payloads([await buffer.getNoWait(), await buffer.get()])).toEqual([0, 1]);
    await buffer.put(3);
    expect(await buffer.clear()).toBe(2);
    expect(await buffer.qsize()).toBe(0);
  });

  test('without noAck nothing waits for another to be settled', async () => {
    const buffer = simpleBuffer<number>(bench, { noAck: false });
    const waiting = sequence(3).map(() => buffer.get());
    await untilConsumers(bench, buffer.queue, 3);
    for (const n of sequence(5)) await buffer.put(n);
    const messages = [...(await Promise.all(waiting)), await buffer.get(), await buffer.get()];
    expect(payloads(messages)).toEqual(sequence(5));
    expect(await Promise.all(messages.map((message) => message.ack()))).toEqual(messages.map(() => true));
  });

  test('gets that time out lose nothing', async () => {
    const buffer = simpleBuffer<number>(bench);
    const got: number[] = [];
    const taker = async (timeout: number) => {
      while (got.length < 40) {
        const message = await buffer.get({ timeout }).catch(() => undefined);
        if (message !== undefined) got.push(message.payload);
      }
    };
    const takers = [1, 1000].map(taker);
    for (const n of sequence(40)) await buffer.put(n);
    await Promise.all(takers);
    expect(got.sort((a, b) => a - b)).toEqual(sequence(40));
  });
});

describe('options', () => {
  test('what cannot be used is refused at once', () => {
    const connection = new Connection('memory://');
    const make = (queue: unknown, options?: object) => () => new SimpleQueue(connection, queue as string, options);
    expect(make('q', { noack: true })).toThrow(/no option 'noack'.*'noAck'/);
    expect(make(new Queue('q'), { queueOptions: {} })).toThrow(/given by its name/);
    expect(make(undefined)).toThrow(/a queue or its name is needed, not undefined/);
    expect(make('q', { accept: ['pickle'] })).toThrow(/pickle/);
    expect(() => new SimpleQueue({} as Connection, 'q')).toThrow(/a Channel or a Connection is needed/);
  });

  test('a member that is undefined hides no default', () => {
    const queueOptions = { durable: undefined, exclusive: false };
    const { queue } = new Connection('memory://').simpleBuffer('q', { queueOptions });
    expect([queue.durable, queue.exclusive, queue.autoDelete]).toEqual([false, false, true]);
  });
});
