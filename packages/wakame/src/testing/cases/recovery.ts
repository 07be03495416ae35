import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Connection, ConnectionOptions, Message, MessagingError } from '../../index.js';
import { deferred } from '../../util/deferred.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { has } from '../features.js';
import {
  collect,
  depth,
  drain,
  event,
  failure,
  fill,
  type Inbox,
  payloads,
  rejection,
  sequence,
  stat,
  untilDepth,
} from '../support.js';

/** A connection that the test bench can break. */
function fragile(t: ConformanceContext, options: ConnectionOptions = {}): Connection {
  return t.connect(options, t.disruptor.url);
}

/** Breaks it, and waits until it is whole again. */
async function breakAndRecover(t: ConformanceContext, connection: Connection): Promise<void> {
  const recovered = event(t, connection, 'recovered');
  await t.disruptor.drop();
  await recovered;
}

/** Makes the broker unreachable. Gives how to end that, which happens at the end of the case in any case. */
async function takeDown(t: ConformanceContext, connection?: Connection): Promise<() => Promise<void>> {
  const lost = connection && event(t, connection, 'disconnected');
  const restore = (await t.disruptor.outage?.()) ?? (() => Promise.resolve());
  t.onEnd(restore);
  await lost;
  return restore;
}

/** Without what came again: a message that was redelivered after a later one had come is a duplicate, not a disorder. */
const firsts = <T>(values: readonly T[]): T[] => [...new Set(values)];

export const recovery = group('lost connections', (test) => {
  test(
    'a loss and a recovery are told, once each',
    async (t) => {
      const connection = await fragile(t).connect();
      const told: string[] = [];
      for (const name of ['connected', 'disconnected', 'recovered', 'closed'] as const) {
        connection.on(name, () => told.push(name));
      }
      const lost = event<MessagingError>(t, connection, 'disconnected');
      await breakAndRecover(t, connection);
      equal((await lost).recoverable, true);
      equal(connection.state, 'open');
      await connection.close();
      deepEqual(told, ['disconnected', 'connected', 'recovered', 'closed']);
    },
    { needs: ['disrupt'] },
  );

  test(
    'consumers go on, with their prefetch',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q');
      const inbox = await collect(t, queue, { prefetch: 3 }, connection);
      await fill(t, queue.name, 1);
      await (await inbox.next()).ack();
      for (let round = 1; round <= 3; round++) {
        // Answered after the acks of before: the broker has them.
        await inbox.consumer.qos({ prefetch: 3 });
        await breakAndRecover(t, connection);
        await t.eventually('one consumer', async () => (await stat(t, queue)).consumerCount === 1);
        await fill(t, queue.name, 5);
        const got = await inbox.take(3);
        await untilDepth(t, queue, 2);
        for (const message of got) equal(await message.ack(), true);
        for (const message of await inbox.take(2)) equal(await message.ack(), true);
      }
      equal(await depth(t, queue), 0);
    },
    { needs: ['disrupt'] },
  );

  test(
    'a for await loop goes on',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const got: number[] = [];
      const half = deferred();
      const loop = (async () => {
        for await (const message of connection.consumer(queue, { prefetch: 1 })) {
          got.push(message.payload);
          await message.ack();
          if (message.payload === 4) half.resolve();
          if (message.payload === 9) return;
        }
      })();
      for (let i = 0; i < 5; i++) await t.connection.producer().publish(i, { routingKey: queue.name });
      await t.within('five messages', half.promise);
      await breakAndRecover(t, connection);
      for (let i = 5; i < 10; i++) await t.connection.producer().publish(i, { routingKey: queue.name });
      await t.within('ten messages', loop);
      deepEqual(firsts(got), sequence(10));
    },
    { needs: ['disrupt'] },
  );

  test(
    'what was declared is there again: exclusive, auto-delete and server-named queues with their bindings',
    async (t) => {
      const connection = fragile(t);
      const exchange = t.exchange('e', { type: 'fanout', durable: false });
      const second = t.exchange('f', { type: 'fanout', durable: false });
      const queues = [
        t.queue<number>('', { exclusive: true, bindings: [] }),
        t.queue<number>('exclusive', { exclusive: true }),
        t.queue<number>('auto-delete', { autoDelete: true, durable: false }),
        t.queue<number>('plain'),
      ].map((queue) => queue.bind(connection));
      for (const each of [exchange, second]) await each.bind(connection).declare();
      for (const queue of queues) {
        await queue.declare();
        await queue.bindTo(exchange);
        await queue.bindTo(second);
        await queue.unbindFrom(second);
      }
      const inboxes: Inbox<number>[] = [];
      for (const queue of queues) inboxes.push(await collect(t, queue, { noAck: true }, connection));
      for (let round = 0; round < 2; round++) {
        await breakAndRecover(t, connection);
        // One that knows no bindings yet: what another connection changed may take a second to be heard of.
        const producer = t.connect().producer();
        await producer.publish(round, { exchange: exchange.name });
        await producer.publish(-1, { exchange: second.name });
        for (const inbox of inboxes) {
          equal((await inbox.next()).payload, round);
        }
      }
    },
    { needs: ['disrupt', 'exclusive', 'autoDelete', 'exchange:fanout'] },
  );

  test(
    'publishes in flight are sent again, in order, and count their attempts',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer();
      await producer.publish(-1, { routingKey: queue.name });
      // Where the bench can withhold the broker's answers, all are stored and none is confirmed.
      const muted = has(t.features, t.options, 'mute');
      if (muted) await t.disruptor.mute?.();
      const publishes = sequence(100).map((i) => producer.publish(i, { routingKey: queue.name }));
      if (muted) await untilDepth(t, queue.bind(t.connection), 101);
      await breakAndRecover(t, connection);
      const outcomes = await t.within('a hundred publishes', Promise.all(publishes));
      if (muted) deepEqual([...new Set(outcomes.map(({ attempts }) => attempts))], [2]);
      const all = payloads(await drain(t, queue, t.connection));
      deepEqual(firsts(all), [-1, ...sequence(100)]);
    },
    { needs: ['disrupt'] },
  );

  test(
    'retry: false: what was in flight is CONNECTION_LOST, its outcome unknown',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer({ retry: false });
      await producer.publish(-1, { routingKey: queue.name });
      const muted = has(t.features, t.options, 'mute');
      if (muted) await t.disruptor.mute?.();
      const publishes = Promise.allSettled(sequence(10).map((i) => producer.publish(i, { routingKey: queue.name })));
      if (muted) await untilDepth(t, queue.bind(t.connection), 11);
      await breakAndRecover(t, connection);
      for (const outcome of await t.within('ten publishes', publishes)) {
        if (outcome.status === 'fulfilled') {
          equal(muted, false, 'no answer came through, and yet it was confirmed');
          continue;
        }
        equal(outcome.reason.code, 'CONNECTION_LOST', outcome.reason.stack);
        ok(['unknown', 'not-sent'].includes(outcome.reason.outcome));
        if (muted) equal(outcome.reason.outcome, 'unknown');
      }
      deepEqual(await producer.publish(99, { routingKey: queue.name }), { attempts: 1 });
    },
    { needs: ['disrupt'] },
  );

  test(
    'while it is down publishes wait, up to their deadline, their signal and the buffer',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<string>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer({ maxBufferedBytes: 1 << 20 });
      await producer.publish('before', { routingKey: queue.name });
      const restore = await takeDown(t, connection);
      const waits = producer.publish('waits', { routingKey: queue.name });
      const late = await rejection(producer.publish('late', { routingKey: queue.name, timeout: 50 }), 'TIMEOUT');
      equal(late.outcome, 'not-sent');
      const reason = new Error('stop');
      const controller = new AbortController();
      const aborted = producer.publish('aborted', { routingKey: queue.name, signal: controller.signal });
      controller.abort(reason);
      equal(await failure(aborted), reason);
      const big = producer.publish('x'.repeat(900_000), { routingKey: queue.name });
      const full = await rejection(producer.publish('y'.repeat(900_000), { routingKey: queue.name }), 'BUFFER_FULL');
      equal(full.outcome, 'not-sent');
      const recovered = event(t, connection, 'recovered');
      await restore();
      await recovered;
      await t.within('the publishes that waited', Promise.all([waits, big]), 3 * t.patience);
      const lengths = payloads(await drain(t, queue, t.connection)).map((text) =>
        text.length > 10 ? text.length : text,
      );
      deepEqual(lengths, ['before', 'waits', 900_000]);
    },
    { needs: ['outage'], timeout: 60_000 },
  );

  test(
    'an unconfirmed publish that may be lost is told of as lost, not rejected',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer({ confirm: false, retry: false });
      await producer.publish(0, { routingKey: queue.name });
      await producer.flush();
      await t.disruptor.mute?.();
      const lost = event(t, producer, 'lost');
      await producer.publish(1, { routingKey: queue.name });
      await t.disruptor.drop();
      await lost;
      await t.within('flush', producer.flush());
    },
    { needs: ['mute'] },
  );

  test(
    'a delivery from before the loss is stale, or outlives it, as the flag says',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q');
      const inbox = await collect(t, queue, { prefetch: 1 }, connection);
      await fill(t, queue.name, 1);
      const held = await inbox.next();
      await breakAndRecover(t, connection);
      const outlives = t.features.deliveriesOutliveConnection;
      if (!outlives) {
        const again = await inbox.next();
        deepEqual([again.payload, again.redelivered], [0, true]);
        equal(await held.ack(), false);
        equal(await again.ack(), true);
      } else {
        equal(await held.ack(), true);
      }
      await inbox.consumer.close();
      await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
      deepEqual(await drain(t, queue), []);
    },
    { needs: ['disrupt'] },
  );

  test(
    'operations begun while it is down wait for it',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      await fill(t, queue.name, 1);
      const restore = await takeDown(t, connection);
      equal(connection.connected, false);
      const operations = Promise.all([
        queue.get({ noAck: true }),
        t.queue('new').bind(connection).declare(),
        connection.defaultChannel().queueDeclare(queue.name, { passive: true }),
        collect(t, t.queue<number>('consumed'), {}, connection),
        connection.ready(),
      ]);
      const late = await failure(queue.get({ timeout: 30 }));
      ok(late.recoverable, late.stack);
      ok(['TIMEOUT', 'CONNECT_FAILED', 'CONNECTION_LOST'].includes(late.code), late.stack);
      await restore();
      const [message, , , inbox] = await t.within('the operations', operations, 3 * t.patience);
      equal(message?.payload, 0);
      await fill(t, t.name('consumed'), 1);
      equal((await inbox.next()).payload, 0);
    },
    { needs: ['outage'], timeout: 60_000 },
  );

  test(
    'closed while it is down: at once, and what waited is CONNECTION_CLOSED',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer();
      await producer.publish(0, { routingKey: queue.name });
      const consumer = connection.consumer(queue);
      const got: Message<number>[] = [];
      const loop = (async () => {
        for await (const message of consumer) {
          got.push(message);
          await message.ack();
        }
      })();
      await t.eventually('the loop to have the message', () => got.length === 1 && consumer.consumingFrom(queue));
      await takeDown(t, connection);
      const outcomes = Promise.allSettled([
        producer.publish(1, { routingKey: queue.name }),
        queue.get(),
        t.queue('new').bind(connection).declare(),
      ]);
      await t.within('close', connection.close());
      for (const outcome of await t.within('what waited', outcomes)) {
        equal(outcome.status, 'rejected');
        equal((outcome as PromiseRejectedResult).reason.code, 'CONNECTION_CLOSED');
      }
      await t.within('the end of the loop', loop);
    },
    { needs: ['outage'] },
  );

  test(
    'closed while it is down, with messages that nobody has looked at: at once',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const producer = connection.producer();
      for (let i = 0; i < 5; i++) await producer.publish(i, { routingKey: queue.name });
      const loop = connection.consumer(queue)[Symbol.asyncIterator]();
      equal((await t.within('the first message', loop.next())).value?.payload, 0);
      await t.eventually(
        'all of them on their way',
        async () => (await stat(t, queue.bind(t.connection))).messageCount === 0,
      );
      await takeDown(t, connection);
      const start = performance.now();
      await t.within('close', connection.close());
      ok(performance.now() - start < 5000, 'it waited for the broker');
    },
    { needs: ['outage'] },
  );

  test(
    'a first connect that finds nobody gives up at its deadline',
    async (t) => {
      const connection = fragile(t, { connectDeadline: 300 });
      const restore = await takeDown(t);
      const error = await t.within('connect', failure(connection.connect()));
      ok(['CONNECT_FAILED', 'TIMEOUT'].includes(error.code), error.stack);
      await restore();
      // The deadline is short for a machine that has much else to do.
      await t.eventually('one of the next tries', async () => {
        await connection.connect().catch(() => undefined);
        return connection.state === 'open';
      });
    },
    { needs: ['outage'] },
  );

  test(
    'a consumer that was cancelled while it was down stays cancelled',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q');
      const [one, two] = [await collect(t, queue, {}, connection), await collect(t, queue, {}, connection)];
      const restore = await takeDown(t, connection);
      await t.within('cancel', one.consumer.cancel());
      const recovered = event(t, connection, 'recovered');
      await restore();
      await recovered;
      await t.eventually('one consumer', async () => (await stat(t, queue)).consumerCount === 1);
      await fill(t, queue.name, 5);
      await two.take(5);
      equal(one.messages.length, 0);
    },
    { needs: ['outage'] },
  );

  test(
    'five losses under load: nothing is lost, and the first copies keep their order',
    async (t) => {
      const connection = fragile(t);
      const queue = t.queue<number>('q').bind(connection);
      await queue.declare();
      const total = t.scaled(2000);
      const got: number[] = [];
      const seen = new Set<number>();
      const done = deferred();
      let wake = deferred();
      const consumer = connection.consumer(queue, {
        prefetch: 50,
        onMessage: async (message) => {
          got.push(message.payload);
          seen.add(message.payload);
          wake.resolve();
          await message.ack();
          if (seen.size === total) done.resolve();
        },
      });
      await consumer.consume();
      const producer = connection.producer();
      const publishing = (async () => {
        const inFlight = new Set<Promise<unknown>>();
        for (let i = 0; i < total; i++) {
          const one = producer.publish(i, { routingKey: queue.name }).finally(() => inFlight.delete(one));
          inFlight.add(one);
          if (inFlight.size >= 100) await Promise.race(inFlight);
        }
        await Promise.all(inFlight);
      })();
      for (let round = 1; round <= 5; round++) {
        while (seen.size < (total * round) / 7) {
          wake = deferred();
          await t.within('progress', wake.promise);
        }
        await breakAndRecover(t, connection);
      }
      await t.within('every publish', publishing, 3 * t.patience);
      await t.within('every message', done.promise, 3 * t.patience);
      deepEqual(
        [...seen].sort((a, b) => a - b),
        sequence(total),
      );
      await consumer.close();
      t.problems();
    },
    { needs: ['disrupt'], timeout: 120_000 },
  );
});

export const restarts = group('restart of the broker', (test) => {
  test(
    'publishers and consumers go on; with a persistent broker nothing is lost',
    async (t) => {
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      const stay = t.queue<number>('stay').bind(t.connection);
      await stay.declare();
      const producer = t.connection.producer();
      const inbox = await collect(t, queue);
      for (const i of sequence(10)) await producer.publish(i, { routingKey: stay.name });
      const recovered = event(t, t.connection, 'recovered', 120_000);
      const restart = t.options.restartBroker?.();
      const publishes = sequence(20).map((i) => producer.publish(i, { routingKey: queue.name, timeout: 120_000 }));
      await t.within('the restart', restart ?? Promise.resolve(), 120_000);
      await t.within('the publishes', Promise.all(publishes), 60_000);
      await recovered;
      await t.eventually('every message', () => new Set(payloads(inbox.messages)).size === 20);
      deepEqual(firsts(payloads(inbox.messages)), sequence(20));
      if (t.features.persistent) deepEqual(payloads(await drain(t, stay)), sequence(10));
      t.problems();
    },
    { needs: ['restartBroker'], timeout: 180_000 },
  );
});
