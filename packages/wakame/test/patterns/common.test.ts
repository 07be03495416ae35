import { describe, expect, test } from 'vitest';
import {
  Broadcast,
  type Channel,
  ChannelError,
  Connection,
  type Consumer,
  collectReplies,
  drainConsumer,
  Exchange,
  eventLoop,
  ignoreErrors,
  insured,
  itermessages,
  type Message,
  maybeDeclare,
  NotFound,
  OperationalError,
  Queue,
  RecoverableConnectionError,
  sendReply,
} from 'wakame';
import { memoryBroker } from 'wakame/memory';
import { Count, eventually, failure, onEachBroker, payloads, sequence } from '../messaging/support.js';
import { dropExchange, untilConsumers } from './support.js';

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

onEachBroker('maybeDeclare', (bench) => {
  test('true when it was declared now; not again for the same, but for another', async () => {
    const name = bench.name('maybe');
    dropExchange(bench, name);
    const exchange = new Exchange(name, { type: 'topic' });
    const queue = bench.queue('maybe', { exchange, routingKey: 'a' });
    const unbound = new Queue(queue.name, { exchange, routingKey: 'a' });
    expect(await maybeDeclare(exchange, bench.connection)).toBe(true);
    expect(await maybeDeclare(exchange.bind(bench.connection))).toBe(false);
    expect(await maybeDeclare(queue)).toBe(true);
    expect(await maybeDeclare(unbound, bench.connection.channel())).toBe(false);
    expect(await maybeDeclare(new Queue(queue.name, { exchange, routingKey: 'b' }), bench.connection)).toBe(true);
    expect(await failure(maybeDeclare(new Queue(queue.name, { durable: false }), bench.connection))).toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
    expect(await failure(maybeDeclare(unbound))).toMatchObject({ code: 'NOT_BOUND' });
  });

  test('a bound queue without a name keeps the one that the broker chose', async () => {
    const queue = new Queue('', { exclusive: true }).bind(bench.connection);
    expect(await maybeDeclare(queue)).toBe(true);
    expect(queue.name).not.toBe('');
    expect((await queue.queueDeclare({ passive: true })).queue).toBe(queue.name);
  });
});

onEachBroker('eventLoop', (bench) => {
  test('yields what was handled, up to the limit', async () => {
    const queue = bench.queue<number>('loop');
    await queue.declare();
    const handled: number[] = [];
    const consumer = bench.consumer(queue, { settle: 'auto', onMessage: ({ payload }) => void handled.push(payload) });
    await consumer.consume();
    await bench.fill(queue, 5);
    const counts = await all(eventLoop(bench.connection, { limit: 5, timeout: 10_000 }));
    expect([counts.reduce((sum, count) => sum + count, 0), handled]).toEqual([5, sequence(5)]);
    await consumer.close();
  });

  test('nothing within the timeout is TIMEOUT; ignored, it goes on', async () => {
    expect(await failure(all(eventLoop(bench.connection, { timeout: 10 })))).toMatchObject({ code: 'TIMEOUT' });
    const ignoring = eventLoop(bench.connection, { timeout: 1, ignoreTimeouts: true, limit: 3 });
    expect(await all(ignoring)).toEqual([0, 0, 0]);
  });

  test('a signal ends it quietly, before and while it waits', async () => {
    const stop = new AbortController();
    const loop = all(eventLoop(bench.connection, { signal: stop.signal }));
    await bench.connection.connect();
    stop.abort();
    expect(await loop).toEqual([]);
    expect(await all(eventLoop(bench.connection, { signal: stop.signal }))).toEqual([]);
  });

  test('a bad limit is refused', async () => {
    for (const limit of [0, 1.5, -1]) {
      expect(await failure(all(eventLoop(bench.connection, { limit })))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });
});

onEachBroker('itermessages and drainConsumer', (bench) => {
  test('so many messages, no more; the rest stays', async () => {
    const queue = bench.queue<number>('iter');
    await queue.declare();
    await bench.fill(queue, 5);
    const messages = await all(itermessages(bench.connection, queue, { limit: 3 }));
    expect(payloads(messages)).toEqual([0, 1, 2]);
    await bench.untilDepth(queue, 2);
    expect(await Promise.all(messages.map((message) => message.ack()))).toEqual([true, true, true]);
    const [one, ...others] = await all(itermessages(bench.connection.channel(), queue));
    expect([one?.payload, others]).toEqual([3, []]);
    await one?.ack();
    await untilConsumers(bench, queue, 0);
    await bench.untilDepth(queue, 1);
  });

  test('it ends when none came in time', async () => {
    const queue = bench.queue<number>('iter');
    expect(await all(itermessages(bench.connection, queue, { limit: Number.POSITIVE_INFINITY, timeout: 20 }))).toEqual(
      [],
    );
    await bench.fill(queue, 2);
    const messages = await all(itermessages(bench.connection, queue, { limit: 10, timeout: 50, settle: 'auto' }));
    expect(messages.map(({ payload, state }) => [payload, state])).toEqual([
      [0, 'ACK'],
      [1, 'ACK'],
    ]);
  });

  test("settle 'auto' is for the last one too", async () => {
    const queue = bench.queue<number>('iter');
    await queue.declare();
    await bench.fill(queue, 3);
    const states = await all(itermessages(bench.connection, queue, { limit: 2, settle: 'auto' }));
    expect(states.map(({ state }) => state)).toEqual(['ACK', 'ACK']);
    const consumer = bench.consumer(queue, { settle: 'auto' });
    for await (const message of drainConsumer(consumer)) expect(message.state).toBe('RECEIVED');
    expect(await bench.depth(queue)).toBe(0);
    await bench.connection.close();
    expect((await queue.bind(bench.connect()).queueDeclare({ passive: true })).messageCount).toBe(0);
  });

  test('leaving it early stops the consumer; the message in hand can be settled', async () => {
    const queue = bench.queue<number>('iter');
    await queue.declare();
    await bench.fill(queue, 3);
    let held: Message<number> | undefined;
    for await (const message of itermessages(bench.connection, queue, { limit: 3 })) {
      held = message;
      break;
    }
    await untilConsumers(bench, queue, 0);
    expect(await held?.ack()).toBe(true);
    await bench.untilDepth(queue, 2);
  });

  test('a signal rejects with its reason, and nothing is taken', async () => {
    const queue = bench.queue<number>('iter');
    const stop = new AbortController();
    const reason = new Error('enough');
    const waiting = failure(all(itermessages(bench.connection, queue, { signal: stop.signal })));
    await untilConsumers(bench, queue, 1).catch(() => undefined);
    stop.abort(reason);
    expect(await waiting).toBe(reason);
    await untilConsumers(bench, queue, 0);
    await bench.fill(queue, 1);
    expect((await queue.get())?.redelivered).toBe(false);
  });

  test('drainConsumer: timeout, and a consumer that is in use already', async () => {
    const queue = bench.queue<number>('iter');
    expect(await all(drainConsumer(bench.consumer(queue), { timeout: 100 }))).toEqual([]);
    const busy: Consumer<number> = bench.consumer(queue, { onMessage: () => undefined });
    await busy.consume();
    expect(await failure(all(drainConsumer(busy)))).toMatchObject({ code: 'CONSUMER_BUSY' });
    await busy.close();
  });

  test('a bad limit is refused', async () => {
    const queue = bench.queue('iter');
    expect(() => itermessages(bench.connection, queue, { limit: 0 })).toThrow(/limit must be an integer of at least 1/);
    expect(await failure(all(drainConsumer(bench.consumer(queue), { limit: 0 })))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

onEachBroker('sendReply and collectReplies', (bench) => {
  test('request and replies', async () => {
    const requests = bench.queue<{ n: number }>('requests');
    const replies = bench.queue<number>('replies');
    await Promise.all([requests.declare(), replies.declare()]);
    const producer = bench.producer();
    await producer.publish({ n: 2 }, { routingKey: requests.name, replyTo: replies, correlationId: 'id-1' });
    const request = await requests.get();
    if (request === undefined) throw new Error('no request');
    for (const factor of [1, 2, 3]) await sendReply(request, request.payload.n * factor, producer);
    expect(await all(collectReplies(bench.connection, replies, { limit: 2 }))).toEqual([2, 4]);
    // They came settled, and what was beyond the limit is still there.
    const rest = await bench.drain(replies);
    expect(rest.map(({ payload, properties }) => [payload, properties.correlationId])).toEqual([[6, 'id-1']]);
    await request.ack();
  });

  test('in the format of the request, where that can hold anything', async () => {
    const requests = bench.queue('requests');
    const replies = bench.queue('replies');
    await Promise.all([requests.declare(), replies.declare()]);
    const producer = bench.producer({ routingKey: requests.name });
    const answered = async (body: unknown, options: object, reply: unknown) => {
      await producer.publish(body, { replyTo: replies.name, ...options });
      const request = await requests.get({ noAck: true, accept: ['msgpack', 'json', 'text/plain', 'image/png'] });
      if (request === undefined) throw new Error('no request');
      await sendReply(request, reply, producer, { headers: { h: 1 } });
      const message = await replies.get({ noAck: true, accept: ['msgpack', 'json', 'text/plain'] });
      return [message?.contentType, message?.payload, message?.headers];
    };
    const headers = { h: 1 };
    expect(await answered({}, { serializer: 'msgpack' }, { a: 1 })).toEqual([
      'application/x-msgpack',
      { a: 1 },
      headers,
    ]);
    expect(await answered({}, {}, 'text')).toEqual(['application/json', 'text', headers]);
    expect(await answered('text', {}, { a: 1 })).toEqual(['application/json', { a: 1 }, headers]);
    expect(await answered('text', {}, 'text')).toEqual(['text/plain', 'text', headers]);
    expect(await answered(Buffer.from('x'), { contentType: 'image/png' }, 'text')).toEqual([
      'text/plain',
      'text',
      headers,
    ]);
  });

  test('a request that asks for no reply', async () => {
    const requests = bench.queue<number>('requests');
    await requests.declare();
    await bench.fill(requests, 1);
    const request = await requests.get({ noAck: true });
    const reply = failure(sendReply(request as Message<number>, 1, bench.producer()));
    expect(await reply).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

onEachBroker('insured and ignoreErrors', (bench) => {
  test('insured: with a pooled connection, again after a loss; given back in any case', async () => {
    const pool = bench.connection.pool({ limit: 1 });
    const queue = bench.queue('insured');
    const channels: Channel[] = [];
    const errors: string[] = [];
    const count = await insured(
      pool,
      async (channel) => {
        channels.push(channel);
        const { messageCount } = await queue.bind(channel).queueDeclare();
        if (channels.length < 3) throw new RecoverableConnectionError('cut');
        return messageCount;
      },
      { intervalStart: 0, intervalStep: 0, errback: (error) => errors.push(error.message) },
    );
    expect([count, channels.length, new Set(channels).size, errors]).toEqual([0, 3, 1, ['cut', 'cut']]);
    const failed = insured(pool, () => Promise.reject(new RecoverableConnectionError('cut')), {
      ...{ maxRetries: 1, intervalStart: 0 },
    });
    expect(await failure(failed)).toBeInstanceOf(OperationalError);
    expect(await failure(insured(pool, () => Promise.reject(new RangeError('mine'))))).toBeInstanceOf(RangeError);
    await using lent = await pool.acquire({ timeout: 0 });
    expect(await failure(insured(pool, () => 1, { timeout: 10 }))).toMatchObject({ code: 'POOL_LIMIT' });
    expect(lent.connected).toBe(true);
    const stop = new AbortController();
    const waiting = failure(insured(pool, () => 1, { signal: stop.signal }));
    stop.abort(new Error('enough'));
    expect(await waiting).toBe(stop.signal.reason);
    await pool.reset();
  });

  test('ignoreErrors lets pass what a broken connection or channel throws, and nothing else', async () => {
    const { connection } = bench;
    expect(await ignoreErrors(connection, () => 1)).toBe(1);
    const absent = new Queue(bench.name('absent')).bind(connection);
    expect(await failure(absent.queueDeclare({ passive: true }))).toBeInstanceOf(NotFound);
    expect(await ignoreErrors(connection, () => absent.queueDeclare({ passive: true }))).toBeUndefined();
    const thrown = ignoreErrors(connection, () => {
      throw new ChannelError('gone');
    });
    expect(await thrown).toBeUndefined();
    expect(await failure(ignoreErrors(connection, () => Promise.reject(new RangeError('mine'))))).toBeInstanceOf(
      RangeError,
    );
    await connection.close();
    expect(await ignoreErrors(connection, () => absent.delete())).toBeUndefined();
  });
});

onEachBroker('Broadcast', (bench) => {
  test('everybody gets every message; the queues go with their consumers', async () => {
    const name = bench.name('news');
    dropExchange(bench, name);
    const heard: string[] = [];
    const count = new Count();
    const consumers = ['a', 'b'].map((who) =>
      bench.consumer(new Broadcast<string>(name), {
        settle: 'auto',
        onMessage: ({ payload }) => {
          heard.push(`${who} ${payload}`);
          count.up();
        },
      }),
    );
    for (const consumer of consumers) await consumer.consume();
    const exchange = new Exchange(name, { type: 'fanout' });
    for (const text of ['one', 'two']) await bench.producer({ exchange }).publish(text);
    await count.reach(4);
    expect(heard.sort()).toEqual(['a one', 'a two', 'b one', 'b two']);
    const [queue] = consumers[0]?.queues ?? [];
    for (const consumer of consumers) await consumer.close();
    await eventually('the queue is gone', async () => {
      const asked = bench.connection.channel().queueDeclare(queue?.name, { passive: true });
      return asked.then(
        () => false,
        (error) => error.code === 'NOT_FOUND',
      );
    });
  });
});

describe('Broadcast', () => {
  test('names and options, as in Kombu', () => {
    const own = new Broadcast('news');
    expect(own.name).toMatch(/^bcast\.[0-9a-f-]{36}$/);
    expect([own.exchange?.name, own.exchange?.type, own.exchange?.durable]).toEqual(['news', 'fanout', true]);
    expect([own.autoDelete, own.alias, own.durable]).toEqual([true, 'news', true]);
    expect(new Broadcast('news').name).not.toBe(own.name);
    expect(new Broadcast('news', { queue: 'mine' }).name).toBe('mine');
    expect(new Broadcast('news', { queue: 'mine', unique: true }).name).toMatch(/^mine\.[0-9a-f-]{36}$/);
    const exchange = new Exchange('theirs', { type: 'fanout', durable: false });
    const theirs = new Broadcast(exchange, { autoDelete: false, alias: 'x', expires: 5 });
    expect(theirs.exchange).toBe(exchange);
    expect([theirs.autoDelete, theirs.alias, theirs.queueArguments]).toEqual([false, 'x', { 'x-expires': 5 }]);
    expect(new Broadcast('news', { autoDelete: undefined }).autoDelete).toBe(true);
    const bound = theirs.bind(new Connection('memory://'));
    expect([bound instanceof Broadcast, bound.name]).toEqual([true, theirs.name]);
  });

  test('what cannot be used is refused', () => {
    expect(() => new Broadcast(undefined as unknown as string)).toThrow(/exchange must be an Exchange or a name/);
    expect(() => new Broadcast('a', { uniqe: true } as object)).toThrow(/no option 'uniqe'/);
    expect(() => new Broadcast('a', { unique: 1 as unknown as boolean })).toThrow(/unique must be true or false/);
  });
});

describe('maybeDeclare after a loss', () => {
  test('tries again by its policy, when there is one', async () => {
    await using connection = new Connection('memory://maybe-retry');
    let declarations = 0;
    const cutOnce = (name: string) =>
      new Queue(name, {
        onDeclared: () => {
          declarations += 1;
          throw new RecoverableConnectionError('cut');
        },
      });
    expect(await failure(maybeDeclare(cutOnce('a'), connection))).toBeInstanceOf(RecoverableConnectionError);
    const errors: string[] = [];
    const errback = (error: Error) => errors.push(error.message);
    await maybeDeclare(cutOnce('b'), connection, { errback, intervalStart: 0 });
    await maybeDeclare(cutOnce('c'), connection, { retry: true, errback });
    expect([declarations, errors]).toEqual([3, ['cut', 'cut']]);
    expect(await failure(maybeDeclare(cutOnce('d'), connection, { retry: false, errback }))).toMatchObject({
      message: 'cut',
    });
  });

  test('timeout and signal bound it', async () => {
    const broker = memoryBroker('maybe-bounds');
    await using connection = new Connection('memory://maybe-bounds');
    await connection.connect();
    broker.stop();
    const queue = new Queue('q').bind(connection);
    expect(await failure(maybeDeclare(queue, connection, { timeout: 10 }))).toMatchObject({ code: 'TIMEOUT' });
    const stop = new AbortController();
    const waiting = failure(maybeDeclare(queue, connection, { signal: stop.signal }));
    stop.abort(new Error('enough'));
    expect(await waiting).toBe(stop.signal.reason);
    broker.start();
    expect(await maybeDeclare(queue)).toBe(true);
  });
});
