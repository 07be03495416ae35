/** The paragraph "Publishing", sentence by sentence, against every broker there is. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Exchange, Queue } from '../../src/entities/index.js';
import type { MessagingError } from '../../src/errors.js';
import type { LostMessage, Message, StandardSchemaV1 } from '../../src/messaging/index.js';
import { jsonSerializer } from '../../src/serialization/index.js';
import type { Returned } from '../../src/transport/contract.js';
import { PyDateTime } from '../../src/transports/virtual/wire/index.js';
import { eventually, failure, onEachBroker, payloads, sequence } from './support.js';

const MIB = 1 << 20;

onEachBroker('publishing', (t) => {
  test('celery#5410: settles with { attempts } once the broker has the message', async () => {
    const queue = t.queue<string>('settles');
    await queue.declare();
    expect(await t.producer().publish('a', { routingKey: queue.name })).toEqual({ attempts: 1 });
    const other = queue.bind(t.connect());
    expect((await other.get({ noAck: true }))?.payload).toBe('a');
  });

  test('a thousand calls in one tick settle together, and arrive in order', async () => {
    const queue = t.queue<number>('thousand');
    await queue.declare();
    const producer = t.producer();
    await Promise.all(sequence(1000).map((i) => producer.publish(i, { routingKey: queue.name })));
    expect(payloads(await t.drain(queue))).toEqual(sequence(1000));
  });

  test('an error carries the outcome: refused for what the broker does not take', async () => {
    const error = await failure(t.producer().publish('x', { exchange: t.name('none'), routingKey: 'k' }));
    expect([error.code, error.replyCode ?? 404, error.outcome]).toEqual(['NOT_FOUND', 404, 'refused']);
    expect(error.message).toContain(t.name('none'));
  });

  test('one publish to a missing exchange among 200 in flight: the other 199 arrive once, in order', async () => {
    const queue = t.queue<number>('bad-one');
    await queue.declare();
    const producer = t.producer();
    const outcomes = await Promise.allSettled(
      sequence(200).map((i) =>
        producer.publish(i, i === 100 ? { exchange: t.name('none'), routingKey: 'k' } : { routingKey: queue.name }),
      ),
    );
    expect(outcomes.flatMap((outcome, i) => (outcome.status === 'rejected' ? [[i, outcome.reason.code]] : []))).toEqual(
      [[100, 'NOT_FOUND']],
    );
    expect(payloads(await t.drain(queue))).toEqual(sequence(200).filter((i) => i !== 100));
  });

  test('an exchange that vanishes while publishes are under way: those to it reject, the others arrive in order', async () => {
    const queue = t.queue<number>('vanishes');
    await queue.declare();
    const exchange = new Exchange(t.name('gone')).bind(t.connection);
    await exchange.declare();
    const producer = t.producer();
    await producer.publish('there', { exchange: exchange.name, routingKey: 'k' });
    await new Exchange(exchange.name).bind(t.connect()).delete();
    const outcomes = await Promise.allSettled(
      sequence(100).map((i) =>
        producer.publish(i, i % 10 === 9 ? { exchange: exchange.name, routingKey: 'k' } : { routingKey: queue.name }),
      ),
    );
    const failed = outcomes.flatMap((outcome, i) => (outcome.status === 'rejected' ? [[i, outcome.reason.code]] : []));
    expect(failed).toEqual(sequence(10).map((i) => [i * 10 + 9, 'NOT_FOUND']));
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.outcome).toBe('refused');
    }
    // At least once: what had no confirm yet when the channel was closed was sent again, in order.
    const arrived = payloads(await t.drain(queue));
    expect([...new Set(arrived)].sort((a, b) => a - b)).toEqual(sequence(100).filter((i) => i % 10 !== 9));
    const last = arrived.slice(-90);
    expect([...last].sort((a, b) => a - b).every((value, i) => value === last[i])).toBe(true);
  });

  test('an exchange that somebody deleted is refused once, then declared again with its bindings', async () => {
    const exchange = new Exchange(t.name('deleted'), { type: 'topic' });
    const queue = t.queue<string>('deleted', { exchange, routingKey: 'k' });
    const producer = t.producer({ exchange, routingKey: 'k' });
    await producer.publish('first', { declare: [queue] });
    await exchange.bind(t.connect()).delete();
    const error = await failure(producer.publish('refused', { declare: [queue] }));
    expect([error.code, error.outcome]).toEqual(['NOT_FOUND', 'refused']);
    await producer.publish('again', { declare: [queue] });
    expect(payloads(await t.drain(queue))).toEqual(['first', 'again']);
    await exchange.bind(t.connection).delete();
  });

  test('mandatory rejects UNROUTABLE, and tells what came back', async () => {
    const producer = t.producer();
    const returned: Returned[] = [];
    producer.on('returned', (message) => returned.push(message));
    const routingKey = t.name('nowhere');
    const error = await failure(producer.publish('lost', { routingKey, mandatory: true, headers: { a: 1 } }));
    expect([error.code, error.outcome]).toEqual(['UNROUTABLE', 'refused']);
    expect(returned).toHaveLength(1);
    expect(returned[0]).toMatchObject({ exchange: '', routingKey, replyCode: 312 });
    expect(Buffer.from(returned[0]?.body ?? []).toString()).toBe('lost');
    expect(returned[0]?.properties.headers).toEqual({ a: 1 });
  });

  test('a return is matched to its own publish among many', async () => {
    const queue = t.queue<string>('matched');
    await queue.declare();
    const producer = t.producer();
    const outcomes = await Promise.allSettled(
      sequence(60).map((i) =>
        producer.publish(`m${i}`, { routingKey: i % 3 === 1 ? t.name('nowhere') : queue.name, mandatory: true }),
      ),
    );
    for (const [i, outcome] of outcomes.entries()) {
      expect([i, outcome.status]).toEqual([i, i % 3 === 1 ? 'rejected' : 'fulfilled']);
    }
    expect((await t.drain(queue)).length).toBe(40);
  });

  test('not mandatory, an unroutable message resolves, and the connection emits unroutable', async () => {
    const unroutable = once(t.connection, 'unroutable');
    const routingKey = t.name('nowhere');
    await t.connection.connect();
    expect(await t.producer().publish('lost', { routingKey })).toEqual({ attempts: 1 });
    const [returned] = (await unroutable) as [Returned];
    expect(returned).toMatchObject({ exchange: '', routingKey });
  });

  test('onReturn hears of messages that reached no queue', async () => {
    const heard: string[] = [];
    const producer = t.producer({ onReturn: ({ routingKey }) => heard.push(routingKey) });
    const routingKey = t.name('nowhere');
    await producer.publish('lost', { routingKey });
    await eventually('onReturn', () => heard.length === 1);
    expect(heard).toEqual([routingKey]);
  });

  test('past maxBufferedBytes publish rejects BUFFER_FULL; ready resolves when there is room again', async () => {
    const queue = t.queue('full');
    await queue.declare();
    const producer = t.producer({ maxBufferedBytes: 3 * MIB });
    const body = Buffer.alloc(MIB);
    const outcomes = await Promise.allSettled(
      sequence(6).map(() => producer.publish(body, { routingKey: queue.name })),
    );
    expect(outcomes.slice(0, 2).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    for (const outcome of outcomes.slice(3)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'BUFFER_FULL', outcome: 'not-sent' } });
    }
    await producer.ready();
    expect(producer.bufferedBytes).toBe(0);
    await producer.publish(body, { routingKey: queue.name });
  });

  test('one message larger than maxBufferedBytes goes when nothing else waits', async () => {
    const queue = t.queue('large');
    await queue.declare();
    const producer = t.producer({ maxBufferedBytes: 1000 });
    expect(await producer.publish(Buffer.alloc(MIB), { routingKey: queue.name })).toEqual({ attempts: 1 });
  });

  test('flush resolves when all that was published before is settled', async () => {
    const queue = t.queue('flush');
    await queue.declare();
    const producer = t.producer();
    await producer.flush();
    let settled = 0;
    for (const i of sequence(50)) void producer.publish(i, { routingKey: queue.name }).then(() => settled++);
    await producer.flush();
    expect(settled).toBe(50);
    const reason = new Error('no time');
    void producer.publish(1, { routingKey: queue.name });
    expect(await failure(producer.flush({ signal: AbortSignal.abort(reason) }))).toBe(reason);
  });

  test('confirm: false resolves when it is written; what is lost later is the event lost', async () => {
    const queue = t.queue<number>('unconfirmed');
    await queue.declare();
    const producer = t.producer({ confirm: false });
    for (const i of sequence(500)) await producer.publish(i, { routingKey: queue.name });
    await producer.flush();
    expect(payloads(await t.drain(queue))).toEqual(sequence(500));
    const lost: [MessagingError, LostMessage][] = [];
    producer.on('lost', (error, message) => lost.push([error, message]));
    await producer.publish('x', { routingKey: t.name('nowhere'), mandatory: true });
    await producer.flush();
    expect(lost).toHaveLength(1);
    expect(lost[0]?.[0]).toMatchObject({ code: 'UNROUTABLE', outcome: 'refused' });
    expect(lost[0]?.[1].routingKey).toBe(t.name('nowhere'));
  });

  test('a loop that awaits publishes leaves the event loop its turn', async () => {
    const queue = t.queue<number>('turns', { maxLength: 1 });
    await queue.declare();
    const producer = t.producer({ confirm: false });
    let turns = 0;
    let on = true;
    const tick = () => {
      turns++;
      if (on) setImmediate(tick);
    };
    tick();
    for (const i of sequence(5000)) await producer.publish(i, { routingKey: queue.name });
    on = false;
    expect(turns).toBeGreaterThan(5);
    await producer.flush();
  });

  test('a nack is never retried', async () => {
    const queue = t.queue('nack', { maxLength: 1, queueArguments: { 'x-overflow': 'reject-publish' } });
    await queue.declare();
    const producer = t.producer({ retry: true });
    await producer.publish(1, { routingKey: queue.name });
    const error = await failure(producer.publish(2, { routingKey: queue.name }));
    expect([error.code, error.outcome]).toEqual(['NACKED', 'refused']);
    await queue.purge();
    expect(await producer.publish(3, { routingKey: queue.name })).toEqual({ attempts: 1 });
  });

  test('retry sends what was in flight at a loss again, in order, counted in attempts', async () => {
    const queue = t.queue<number>('retry');
    await queue.declare();
    const producer = t.producer();
    await producer.publish(-1, { routingKey: queue.name });
    const recovered = once(t.connection, 'recovered');
    const publishes = sequence(300).map((i) => producer.publish(i, { routingKey: queue.name }));
    await t.drop();
    const results = await Promise.all(publishes);
    await recovered;
    expect(results.every(({ attempts }) => attempts >= 1)).toBe(true);
    const arrived = payloads(await t.drain(queue));
    expect([...new Set(arrived)].sort((a, b) => a - b)).toEqual([-1, ...sequence(300)]);
    // The last time each of them came, they came in order.
    const order = [...new Set(arrived.toReversed())].toReversed();
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  test('declare declares before the message is sent, exchange, queue and binding', async () => {
    const exchange = new Exchange(t.name('declared'));
    const queue = t.queue<number>('declared', { exchange, routingKey: 'k' });
    const producer = t.producer({ exchange });
    const all = sequence(20).map((i) => producer.publish(i, { routingKey: 'k', declare: [queue], mandatory: true }));
    await Promise.all(all);
    expect(payloads(await t.drain(queue))).toEqual(sequence(20));
    await exchange.bind(t.connection).delete();
  });

  test('declare is carried out again after somebody deleted the queue', async () => {
    const queue = t.queue<string>('redeclared');
    const producer = t.producer();
    await producer.publish('a', { routingKey: queue.name, declare: [queue], mandatory: true });
    await queue.delete();
    await producer.publish('b', { routingKey: queue.name, declare: [queue], mandatory: true });
    expect(payloads(await t.drain(queue))).toEqual(['b']);
  });

  test('the exchange of the producer is declared before it is used; not without autoDeclare', async () => {
    const exchange = new Exchange(t.name('auto'), { type: 'fanout' });
    const error = await failure(t.producer({ exchange, autoDeclare: false }).publish('x'));
    expect(error.code).toBe('NOT_FOUND');
    await t.producer({ exchange }).publish('x');
    const bound = exchange.bind(t.connection);
    await bound.declare({ passive: true });
    await bound.delete();
  });

  test('an exchange publishes by itself', async () => {
    const exchange = new Exchange(t.name('itself'), { type: 'fanout' });
    const queue = t.queue<string>('itself', { exchange });
    await queue.declare();
    const bound = exchange.bind(t.connection);
    expect(await bound.publish('from the exchange')).toEqual({ attempts: 1 });
    expect(payloads(await t.drain(queue))).toEqual(['from the exchange']);
    await bound.delete();
  });

  test('delay and deliverAt hold a message back', async () => {
    const exchange = new Exchange(t.name('delayed'), { type: 'topic' });
    const queue = t.queue<string>('delayed', { exchange, routingKey: 'k' });
    await queue.declare();
    const producer = t.producer({ exchange });
    const start = Date.now();
    await Promise.all([
      producer.publish('later', { routingKey: 'k', delay: 1100 }),
      producer.publish('later still', { routingKey: 'k', delay: 2200 }),
      producer.publish('last', { routingKey: 'k', deliverAt: new Date(Date.now() + 3300) }),
      producer.publish('now', { routingKey: 'k', deliverAt: start - 1000 }),
    ]);
    const got: [string, number][] = [];
    for await (const message of t.consumer(queue, { settle: 'auto' })) {
      got.push([message.payload, Date.now() - start]);
      if (got.length === 4) {
        await message.ack();
        break;
      }
    }
    expect(got.map(([payload]) => payload)).toEqual(['now', 'later', 'later still', 'last']);
    // Native delayed delivery counts whole seconds.
    expect(got[1]?.[1]).toBeGreaterThanOrEqual(1000);
    expect(got[2]?.[1]).toBeGreaterThanOrEqual(2000);
    expect(got[3]?.[1]).toBeGreaterThanOrEqual(3000);
    await exchange.bind(t.connection).delete();
  });

  test('expiration drops a message that nobody got in time', async () => {
    const queue = t.queue<string>('expires');
    await queue.declare();
    const producer = t.producer();
    await producer.publish('short', { routingKey: queue.name, expiration: 20.9 });
    await t.untilDepth(queue, 0);
    await producer.publish('long', { routingKey: queue.name, expiration: 60_000 });
    const message = await queue.get({ noAck: true });
    expect([message?.payload, message?.properties.expiration]).toEqual(['long', '60000']);
  });

  test('replyTo may be a queue that the broker named', async () => {
    const queue = t.queue<string>('requests');
    const replies = new Queue<string>('', { exclusive: true }).bind(t.connection);
    await Promise.all([queue.declare(), replies.declare()]);
    const producer = t.producer();
    await producer.publish('question', { routingKey: queue.name, replyTo: replies });
    const request = await queue.get({ noAck: true });
    expect(request?.properties.replyTo).toBe(replies.name);
    await producer.publish('answer', { routingKey: request?.properties.replyTo ?? '' });
    expect((await replies.get({ noAck: true }))?.payload).toBe('answer');
  });

  test('messages go out as Kombu sends them: persistent, priority 0, headers, JSON', async () => {
    const queue = t.queue('kombu');
    await queue.declare();
    await t.producer().publish({ a: 1 }, { routingKey: queue.name });
    const message = await queue.get({ noAck: true });
    expect(message?.properties).toMatchObject({
      ...{ contentType: 'application/json', contentEncoding: 'utf-8', deliveryMode: 2, priority: 0, headers: {} },
    });
    expect(message?.payload).toEqual({ a: 1 });
  });

  test('the delivery mode: of the call, else of the exchange of the call, else of the producer’s', async () => {
    const queue = t.queue('mode');
    await queue.declare();
    const routingKey = queue.name;
    const producer = t.producer({ exchange: new Exchange('', { deliveryMode: 'transient' }) });
    const persistent = new Exchange('', { deliveryMode: 2 });
    await producer.publish(1, { routingKey });
    await producer.publish(2, { routingKey, exchange: '' });
    await producer.publish(3, { routingKey, exchange: persistent });
    await producer.publish(4, { routingKey, exchange: persistent, deliveryMode: 'transient' });
    await producer.publish(5, { routingKey, exchange: new Exchange('') });
    const modes = (await t.drain(queue)).map(({ properties }) => properties.deliveryMode);
    expect(modes).toEqual([1, 1, 2, 1, 2]);
  });

  test('a format may be given instead of its name, to the producer and to a publish', async () => {
    const queue = t.queue('format');
    await queue.declare();
    const typed = jsonSerializer({ typed: true });
    const producer = t.producer({ serializer: typed });
    const body = { at: new PyDateTime('2024-01-02T03:04:05') };
    await producer.publish(body, { routingKey: queue.name });
    await producer.publish(body, { routingKey: queue.name, serializer: 'json' });
    await t.producer().publish(body, { routingKey: queue.name, serializer: typed });
    const payloads = (await t.drain(queue)).map(({ payload }) => payload);
    expect(payloads).toEqual([body, { at: '2024-01-02T03:04:05' }, body]);
  });

  test('a body with a content type of its own is sent as it is', async () => {
    const queue = t.queue('as-is');
    await queue.declare();
    const producer = t.producer({ serializer: 'json' });
    const routingKey = queue.name;
    await producer.publish('<ž/>', { routingKey, contentType: 'text/xml' });
    await producer.publish('é', { routingKey, contentType: 'text/xml', contentEncoding: 'latin-1' });
    await producer.publish(Uint8Array.of(1, 2), { routingKey, contentType: 'image/png' });
    const accept = ['text/xml', 'image/png'];
    const got: (Message | undefined)[] = [];
    for (let i = 0; i < 3; i++) got.push(await queue.get({ noAck: true, accept }));
    expect(got.map((message) => [message?.contentType, message?.contentEncoding])).toEqual([
      ['text/xml', 'utf-8'],
      ['text/xml', 'latin-1'],
      ['image/png', 'binary'],
    ]);
    expect(got.map((message) => Buffer.from(message?.body ?? []).toString('hex'))).toEqual([
      Buffer.from('<ž/>').toString('hex'),
      'e9',
      '0102',
    ]);
  });

  test('compression is told by a header, and undone', async () => {
    const queue = t.queue<{ text: string }>('compressed');
    await queue.declare();
    const value = { text: 'wakame '.repeat(1000) };
    await t.producer({ compression: 'zlib' }).publish(value, { routingKey: queue.name, headers: { own: 1 } });
    const message = await queue.get({ noAck: true });
    expect(message?.headers).toEqual({ own: 1, compression: 'application/x-gzip' });
    expect(message?.payload).toEqual(value);
    expect(message?.body.length).toBeGreaterThan(7000);
  });

  test('bad input is refused at once, by name, and nothing is sent', async () => {
    const queue = t.queue('bad');
    await queue.declare();
    const producer = t.producer();
    const routingKey = queue.name;
    const bad: readonly (readonly [RegExp, string, Promise<unknown>])[] = [
      [
        /'routingkey'.*did you mean 'routingKey'/,
        'INVALID_ARGUMENT',
        producer.publish('x', { routingkey: 'k' } as never),
      ],
      [/timeout/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, timeout: -1 })],
      [/priority/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, priority: 256 })],
      [/deliveryMode/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, deliveryMode: 3 as 2 })],
      [/delay and deliverAt/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, delay: 1, deliverAt: 1 })],
      [/deliverAt/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, deliverAt: new Date(Number.NaN) })],
      [/milliseconds/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, timestamp: Date.now() })],
      [/correlationId/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, correlationId: 'é'.repeat(128) })],
      [/headers/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, headers: [] as never })],
      [/mandatory/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, mandatory: 1 as never })],
      [/retry/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, retry: -1 })],
      [/maxRetries/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, retryPolicy: { maxRetries: -1 } })],
      [/immediate/, 'NOT_SUPPORTED', producer.publish('x', { routingKey, immediate: true })],
      [/undefined/, 'ENCODE_FAILED', producer.publish(undefined, { routingKey })],
      [/string or bytes/, 'INVALID_ARGUMENT', producer.publish({}, { routingKey, contentType: 'text/x' })],
      [
        /exclude each other/,
        'INVALID_ARGUMENT',
        producer.publish('x', { routingKey, contentType: 'a/b', serializer: 'json' }),
      ],
      [/serializer/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, serializer: null as never })],
      [/serializer/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, serializer: {} as never })],
      [/ascii/, 'ENCODE_FAILED', producer.publish('é', { routingKey, contentType: 'a/b', contentEncoding: 'ascii' })],
      [/contentEncoding/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, contentEncoding: 'latin-1' })],
      [/exchange/, 'INVALID_ARGUMENT', producer.publish('x', { routingKey, exchange: 7 as never })],
    ];
    for (const [pattern, code, promise] of bad) {
      const error = await failure(promise);
      expect([error.code, error.outcome], error.message).toEqual([code, 'not-sent']);
      expect(error.message).toMatch(pattern);
    }
    expect(await t.depth(queue)).toBe(0);
  });

  test('a body above 128 MiB is MESSAGE_TOO_LARGE before anything is sent', async () => {
    const error = await failure(t.producer().publish(Buffer.alloc(128 * MIB + 1), { routingKey: 'k' }));
    expect([error.code, error.outcome]).toEqual(['MESSAGE_TOO_LARGE', 'not-sent']);
  });

  test('a schema checks what is published, and the body is sent as it was given', async () => {
    const queue = t.queue('schema');
    await queue.declare();
    const routingKey = queue.name;
    const order: unknown[] = [];
    const producer = t.producer({ schema: videoSchema('async') });
    const good = producer.publish({ name: 'a' }, { routingKey }).then(() => order.push('a'));
    const bad = producer.publish({ name: 7 } as never, { routingKey });
    const next = producer.publish({ name: 'b' }, { routingKey }).then(() => order.push('b'));
    const error = await failure(bad);
    expect([error.code, error.outcome]).toEqual(['ENCODE_FAILED', 'not-sent']);
    expect(error.message).toMatch(/name: a string was expected/);
    await Promise.all([good, next]);
    expect(order).toEqual(['a', 'b']);
    expect(payloads(await t.drain(queue))).toEqual([{ name: 'a' }, { name: 'b' }]);
  });

  test('an abort before: nothing is sent; an abort of what waits takes it back', async () => {
    const queue = t.queue<string>('abort');
    await queue.declare();
    const producer = t.producer();
    const routingKey = queue.name;
    const reason = new Error('changed my mind');
    expect(await failure(producer.publish('never', { routingKey, signal: AbortSignal.abort(reason) }))).toBe(reason);
    const controller = new AbortController();
    // Its exchange is asked for first, so it waits.
    const waiting = producer.publish('taken back', { exchange: t.name('x'), routingKey, signal: controller.signal });
    const behind = producer.publish('behind', { routingKey });
    controller.abort(reason);
    expect(await failure(waiting)).toBe(reason);
    await behind;
    expect(payloads(await t.drain(queue))).toEqual(['behind']);
  });

  test('close settles what is under way; afterwards publish rejects', async () => {
    const queue = t.queue<number>('closed');
    await queue.declare();
    const producer = t.producer();
    const publishes = sequence(100).map((i) => producer.publish(i, { routingKey: queue.name }));
    await Promise.all([producer.close(), producer.close(), producer.release()]);
    await Promise.all(publishes);
    const error = await failure(producer.publish(1, { routingKey: queue.name }));
    expect([error.code, error.outcome]).toEqual(['CHANNEL_CLOSED', 'not-sent']);
    expect(payloads(await t.drain(queue))).toEqual(sequence(100));
  });

  test('closing the connection settles first what was accepted', async () => {
    const queue = t.queue<number>('flushed');
    await queue.declare();
    const connection = t.connect();
    await connection.connect();
    const producer = t.producer();
    const publishes = sequence(100).map((i) => producer.publish(i, { routingKey: queue.name, confirm: i % 2 === 0 }));
    await producer.connection.close();
    await Promise.all(publishes);
    const error = await failure(producer.publish(1, { routingKey: queue.name }));
    expect([error.code, error.outcome]).toEqual(['CONNECTION_CLOSED', 'not-sent']);
    const other = queue.bind(connection);
    expect((await other.queueDeclare({ passive: true })).messageCount).toBe(100);
  });

  test('revive moves to another connection; what was under way settles on the former', async () => {
    const queue = t.queue<number>('revived');
    await queue.declare();
    const producer = t.producer();
    const before = producer.publish(0, { routingKey: queue.name });
    const other = t.connect();
    await producer.revive(other);
    expect(producer.connection).toBe(other);
    await before;
    await producer.publish(1, { routingKey: queue.name });
    expect(payloads(await t.drain(queue))).toEqual([0, 1]);
  });

  test('await using closes', async () => {
    const producer = t.producer();
    await producer.publish('x', { routingKey: t.name('nowhere') });
    await producer[Symbol.asyncDispose]();
    expect((await failure(producer.publish('y'))).code).toBe('CHANNEL_CLOSED');
  });
});

function videoSchema(mode: 'sync' | 'async'): StandardSchemaV1<{ name: string }, { name: string; checked: true }> {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) => {
        const { name } = value as { name?: unknown };
        const result =
          typeof name === 'string'
            ? { value: { name, checked: true } as const }
            : { issues: [{ message: 'a string was expected', path: ['name'] }] };
        return mode === 'sync' ? result : Promise.resolve(result);
      },
    },
  };
}
