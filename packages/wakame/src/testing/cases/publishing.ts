import { deepEqual, equal, match, ok } from 'node:assert/strict';
import type { MessagingError } from '../../index.js';
import { group } from '../define.js';
import { collect, depth, drain, failure, ignore, payloads, rejection, sequence } from '../support.js';

/** The largest body that the library itself takes, in bytes (DESIGN "Defaults"). */
const LIBRARY_LIMIT = 128 << 20;
const MIB = 1 << 20;

export const publishing = group('publishing', (test) => {
  test('settles with the number of attempts, when the broker has the message', async (t) => {
    const queue = t.queue('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    deepEqual(await producer.publish('a', { routingKey: queue.name }), { attempts: 1 });
    equal((await queue.bind(t.connect()).get({ noAck: true }))?.payload, 'a');
  });

  test('a thousand unawaited publishes all settle, and keep their order', async (t) => {
    const count = 1000;
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const settled: number[] = [];
    await t.within(
      `${count} publishes`,
      Promise.all(
        sequence(count).map((i) => producer.publish(i, { routingKey: queue.name }).then(() => settled.push(i))),
      ),
    );
    equal(settled.length, count);
    deepEqual(payloads(await drain(t, queue)), sequence(count));
  });

  test('confirm: false resolves before the broker answers, and flush waits for all', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer({ confirm: false });
    const count = 2000;
    for (const i of sequence(count)) await producer.publish(i, { routingKey: queue.name });
    await t.within('flush', producer.flush());
    equal(await depth(t, queue), count);
    deepEqual(payloads(await drain(t, queue)), sequence(count));
  });

  test('confirmed or not, one producer keeps one order', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    await Promise.all(sequence(200).map((i) => producer.publish(i, { routingKey: queue.name, confirm: i % 3 === 0 })));
    await producer.flush();
    deepEqual(payloads(await drain(t, queue)), sequence(200));
  });

  test('flush resolves at once when nothing is under way, and when all is settled otherwise', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    await t.within('flush of nothing', producer.flush());
    let settled = 0;
    for (const i of sequence(50)) void producer.publish(i, { routingKey: queue.name }).then(() => settled++);
    await t.within('flush', producer.flush());
    equal(settled, 50);
  });

  test('ready resolves while there is room; past maxBufferedBytes publish is BUFFER_FULL', async (t) => {
    const queue = t.queue<Uint8Array>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer({ maxBufferedBytes: 3 * MIB });
    await t.within('ready', producer.ready());
    const body = Buffer.alloc(MIB, 'x');
    // All in one turn, so that nothing can have been settled between.
    const publishes = sequence(8).map(() => producer.publish(body, { routingKey: queue.name }));
    const outcomes = await Promise.allSettled(publishes);
    const full = outcomes
      .filter((outcome) => outcome.status === 'rejected')
      .map(({ reason }) => reason as MessagingError);
    ok(full.length >= 5 && full.length <= 6, `${full.length} of 8 refused`);
    for (const error of full) deepEqual([error.code, error.outcome], ['BUFFER_FULL', 'not-sent']);
    equal(await depth(t, queue), 8 - full.length);
    await t.within('ready', producer.ready());
    await producer.publish(body, { routingKey: queue.name });
  });

  test(
    'bodies of every size arrive whole: 0, 1, 64 KiB and the largest',
    async (t) => {
      const queue = t.queue<Uint8Array>('q');
      const inbox = await collect(t, queue, { prefetch: 1 });
      const largest = Math.min(t.features.maxMessageBytes ?? Number.POSITIVE_INFINITY, 16 * MIB);
      const producer = t.connection.producer();
      for (const size of [0, 1, 65_535, 65_536, 131_072, largest].filter((each) => each <= largest)) {
        const body = Buffer.alloc(size);
        for (let i = 0; i < size; i += 997) body[i] = i;
        await t.within(`${size} bytes`, producer.publish(body, { routingKey: queue.name }), 3 * t.patience);
        const message = await inbox.next();
        ok(body.equals(message.payload), `${size} bytes`);
        await message.ack();
      }
    },
    { timeout: 60_000 },
  );

  test('one byte more than the largest is MESSAGE_TOO_LARGE before anything is sent', async (t) => {
    const queue = t.queue<string>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const body = Buffer.alloc((t.features.maxMessageBytes ?? LIBRARY_LIMIT) + 1);
    const error = await rejection(producer.publish(body, { routingKey: queue.name }), 'MESSAGE_TOO_LARGE');
    equal(error.outcome, 'not-sent');
    await producer.publish('next', { routingKey: queue.name });
    deepEqual(payloads(await drain(t, queue)), ['next']);
  });

  test('one bad publish among 200 in flight: the other 199 arrive once, in order', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const missing = t.name('no-such-exchange');
    const outcomes = await t.within(
      '200 publishes',
      Promise.allSettled(
        sequence(200).map((i) =>
          i === 100
            ? producer.publish(i, { exchange: missing, routingKey: 'k' })
            : producer.publish(i, { routingKey: queue.name }),
        ),
      ),
    );
    const failed = outcomes.flatMap((outcome, i) => (outcome.status === 'rejected' ? [[i, outcome.reason.code]] : []));
    deepEqual(failed, [[100, 'NOT_FOUND']]);
    match(String((outcomes[100] as PromiseRejectedResult).reason.message), /no-such-exchange/);
    deepEqual(
      payloads(await drain(t, queue)),
      sequence(200).filter((i) => i !== 100),
    );
    await producer.publish(200, { routingKey: queue.name });
    deepEqual(payloads(await drain(t, queue)), [200]);
    t.problems();
  });

  test('bad input is refused with its name, and nothing else is disturbed', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const routingKey = queue.name;
    const good = sequence(20).map((i) => producer.publish(i, { routingKey }));
    const bad: readonly (readonly [RegExp, Promise<unknown>])[] = [
      [/callback/, producer.publish('x', { routingKey, headers: { callback: ignore } })],
      [/sign/, producer.publish('x', { routingKey, headers: { sign: Symbol('s') } })],
      [/k{256}|k{20}/, producer.publish('x', { routingKey, headers: { ['k'.repeat(256)]: 1 } })],
      [/routingKey|routing key/i, producer.publish('x', { routingKey: 'k'.repeat(256) })],
      [/correlationId|correlation/i, producer.publish('x', { routingKey, correlationId: 'c'.repeat(256) })],
      [/priority/, producer.publish('x', { routingKey, priority: 256 })],
      [/priority/, producer.publish('x', { routingKey, priority: 1.5 })],
      [/expiration/, producer.publish('x', { routingKey, expiration: -1 })],
      [/deliveryMode/, producer.publish('x', { routingKey, deliveryMode: 3 as 2 })],
      [/no-such-serializer/, producer.publish('x', { routingKey, serializer: 'no-such-serializer' })],
      [/no-such-method/, producer.publish('x', { routingKey, compression: 'no-such-method' })],
      [/circle/, producer.publish(circle(), { routingKey })],
    ];
    const outcomes = await Promise.allSettled(bad.map(([, promise]) => promise));
    for (const [i, outcome] of outcomes.entries()) {
      const name = bad[i]?.[0] as RegExp;
      const error = outcome.status === 'rejected' ? (outcome.reason as MessagingError) : undefined;
      ok(error, `${name} was not refused`);
      ok(['INVALID_ARGUMENT', 'ENCODE_FAILED'].includes(error.code), error.stack);
      match(error.message, name);
      equal(error.outcome, 'not-sent', error.message);
    }
    await Promise.all(good);
    deepEqual(payloads(await drain(t, queue)), sequence(20));
  });

  test(
    'a queue that is full and refuses is NACKED, which is never tried again',
    async (t) => {
      const queue = t.queue<number>('q', { maxLength: 2, queueArguments: { 'x-overflow': 'reject-publish' } });
      await queue.bind(t.connection).declare();
      const producer = t.connection.producer({ retry: true });
      for (const i of sequence(2)) await producer.publish(i, { routingKey: queue.name });
      const error = await rejection(producer.publish(2, { routingKey: queue.name }), 'NACKED');
      equal(error.outcome, 'refused');
      deepEqual(payloads(await drain(t, queue)), [0, 1]);
      await producer.publish(3, { routingKey: queue.name });
      deepEqual(payloads(await drain(t, queue)), [3]);
    },
    { needs: ['maxLength'] },
  );

  test('a signal that was aborted before sends nothing; one aborted in flight rejects with its reason', async (t) => {
    const queue = t.queue<string>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const reason = new Error('changed my mind');
    equal(
      await failure(producer.publish('never', { routingKey: queue.name, signal: AbortSignal.abort(reason) })),
      reason,
    );
    await producer.publish('before', { routingKey: queue.name });
    const controller = new AbortController();
    const inFlight = producer.publish('maybe', { routingKey: queue.name, signal: controller.signal });
    controller.abort(reason);
    // A store that answers within the call has the message by now.
    const isThere = await inFlight.then(
      () => true,
      (error: unknown) => {
        equal(error, reason);
        return false;
      },
    );
    await producer.publish('after', { routingKey: queue.name });
    const arrived = payloads(await drain(t, queue));
    if (isThere) deepEqual(arrived, ['before', 'maybe', 'after']);
    else
      deepEqual(
        arrived.filter((payload) => payload !== 'maybe'),
        ['before', 'after'],
      );
  });

  test(
    'declare: what a publish names is there before it is sent',
    async (t) => {
      const exchange = t.exchange('e', { type: 'direct' });
      const queue = t.queue<string>('q', { exchange, routingKey: 'k' });
      const producer = t.connection.producer({ exchange });
      const all = sequence(10).map((i) =>
        producer.publish(String(i), { routingKey: 'k', declare: [queue], mandatory: true }),
      );
      await t.within('publishes that declare', Promise.all(all));
      deepEqual(payloads(await drain(t, queue)), sequence(10).map(String));
    },
    { needs: ['exchange:direct'] },
  );

  test(
    'an exchange publishes by itself, and declares itself',
    async (t) => {
      const exchange = t.exchange('e', { type: 'fanout' });
      const queue = t.queue<string>('q', { exchange });
      await queue.bind(t.connection).declare();
      await exchange.bind(t.connection).publish('direct from the exchange', { routingKey: '' });
      deepEqual(payloads(await drain(t, queue)), ['direct from the exchange']);
    },
    { needs: ['exchange:fanout'] },
  );

  test('several producers at once, each in its own order', async (t) => {
    const queue = t.queue<[number, number]>('q');
    await queue.bind(t.connection).declare();
    const other = t.connect();
    const producers = [t.connection.producer(), t.connection.producer(), other.producer()];
    await Promise.all(
      producers.map(async (producer, who) => {
        await Promise.all(sequence(100).map((i) => producer.publish([who, i], { routingKey: queue.name })));
      }),
    );
    const all = payloads(await drain(t, queue));
    equal(all.length, 300);
    for (const who of producers.keys()) {
      deepEqual(
        all.filter(([from]) => from === who).map(([, i]) => i),
        sequence(100),
      );
    }
  });

  test('closing a producer settles what it has under way, then it publishes no more', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    const producer = t.connection.producer();
    const publishes = sequence(100).map((i) => producer.publish(i, { routingKey: queue.name }));
    await t.within('close of a producer', producer.close());
    await t.within('publishes under way', Promise.all(publishes));
    deepEqual(payloads(await drain(t, queue)), sequence(100));
    await failure(producer.publish(1, { routingKey: queue.name }));
    deepEqual(await drain(t, queue), []);
  });
});

/** An object that contains itself, by the member `circle`. */
function circle(): object {
  const round: Record<string, unknown> = {};
  round.circle = round;
  return round;
}
