import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Consumer, Message } from '../../index.js';
import { type Deferred, deferred } from '../../util/deferred.js';
import { group } from '../define.js';
import {
  collect,
  depth,
  drain,
  event,
  failure,
  fill,
  ignore,
  payloads,
  rejection,
  sequence,
  stat,
  untilDepth,
} from '../support.js';

/** A handler whose every call waits to be let go. */
class Turnstile {
  readonly waiting: { readonly payload: unknown; readonly gate: Deferred<void> }[] = [];
  most = 0;
  entered = 0;

  readonly handler = async (message: Message<unknown>): Promise<void> => {
    this.entered += 1;
    const gate = deferred();
    this.waiting.push({ payload: message.payload, gate });
    this.most = Math.max(this.most, this.waiting.length);
    await gate.promise;
    this.waiting.splice(
      this.waiting.findIndex((each) => each.gate === gate),
      1,
    );
    await message.ack();
  };

  open(): void {
    this.waiting[0]?.gate.resolve();
  }
}

export const consuming = group('consuming', (test) => {
  test('messages come in the order in which they were published', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const count = 2000;
    await fill(t, queue.name, count);
    const order: number[] = [];
    const done = deferred();
    const consumer = t.connection.consumer(queue, {
      onMessage: async (message) => {
        order.push(message.payload);
        await message.ack();
        if (order.length === count) done.resolve();
      },
    });
    await consumer.consume();
    await t.within(`${count} messages`, done.promise, 3 * t.patience);
    deepEqual(order, sequence(count));
    equal(await depth(t, queue), 0);
  });

  test('callbacks get body and message', async (t) => {
    const queue = t.queue<{ a: number }>('q').bind(t.connection);
    const got = deferred<[{ a: number }, Message<{ a: number }>]>();
    const consumer = t.connection.consumer(queue, {
      callbacks: [(body, message) => got.resolve([body, message])],
    });
    await consumer.consume();
    await t.connection.producer().publish({ a: 1 }, { routingKey: queue.name });
    const [body, message] = await t.within('the callback', got.promise);
    deepEqual(body, { a: 1 });
    equal(message.payload, body);
    equal(await message.ack(), true);
  });

  test('prefetch bounds what is unsettled; each settlement lets one more come', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 20);
    const inbox = await collect(t, queue, { prefetch: 5 });
    const first = await inbox.take(5);
    await untilDepth(t, queue, 15);
    equal(inbox.messages.length, 5);
    await first[0]?.ack();
    equal((await inbox.next()).payload, 5);
    await first[1]?.reject();
    equal((await inbox.next()).payload, 6);
    await untilDepth(t, queue, 13);
    equal(inbox.messages.length, 7);
  });

  test('prefetch counts for each consumer of one connection by itself', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const [one, two] = [await collect(t, queue, { prefetch: 2 }), await collect(t, queue, { prefetch: 3 })];
    await fill(t, queue.name, 10);
    await one.take(2);
    await two.take(3);
    await untilDepth(t, queue, 5);
    deepEqual([one.messages.length, two.messages.length], [2, 3]);
  });

  test('prefetch 0 is no bound', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const count = 1500;
    await fill(t, queue.name, count);
    const inbox = await collect(t, queue, { prefetch: 0 });
    deepEqual(payloads(await inbox.take(count)), sequence(count));
  });

  test('qos changes the bound of a consumer at work', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 10);
    const inbox = await collect(t, queue, { prefetch: 1 });
    await inbox.take(1);
    await untilDepth(t, queue, 9);
    await inbox.consumer.qos({ prefetch: 4 });
    await inbox.take(3);
    await untilDepth(t, queue, 6);
    equal(inbox.messages.length, 4);
  });

  test('concurrency bounds the handlers at work', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 12);
    const turnstile = new Turnstile();
    const consumer = t.connection.consumer(queue, { concurrency: 3, prefetch: 12, onMessage: turnstile.handler });
    await consumer.consume();
    for (let entered = 3; entered <= 12; entered++) {
      await t.eventually(`${entered} handlers`, () => turnstile.entered === entered);
      equal(turnstile.waiting.length, 3);
      turnstile.open();
    }
    await t.eventually('the last', () => turnstile.waiting.length === 2);
    for (let i = 0; i < 2; i++) {
      turnstile.open();
      await t.eventually('the last', () => turnstile.waiting.length === 1 - i);
    }
    equal(turnstile.most, 3);
    await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
  });

  test('concurrency 1: the next handler begins when the one before has ended', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 20);
    const log: string[] = [];
    const done = deferred();
    const consumer = t.connection.consumer(queue, {
      settle: 'auto',
      onMessage: async ({ payload }) => {
        log.push(`begin ${payload}`);
        // The later a message, the sooner its handler ends: only taking turns keeps the order.
        for (let i = payload; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
        log.push(`end ${payload}`);
        if (payload === 19) done.resolve();
      },
    });
    await consumer.consume();
    await t.within('twenty handlers', done.promise);
    deepEqual(
      log,
      sequence(20).flatMap((i) => [`begin ${i}`, `end ${i}`]),
    );
  });

  test('several consumers of one queue share it: every message once, nobody idle', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const total = 120;
    const got = new Map<string, number[]>();
    const done = deferred();
    const allBusy = deferred();
    let count = 0;
    const start = async (who: string, connection = t.connection) => {
      got.set(who, []);
      const consumer = connection.consumer(queue, {
        prefetch: 1,
        onMessage: async (message) => {
          got.get(who)?.push(message.payload);
          // Nobody goes on before everybody has a message.
          if ([...got.values()].every((messages) => messages.length > 0)) allBusy.resolve();
          await allBusy.promise;
          await message.ack();
          count += 1;
          if (count === total) done.resolve();
        },
      });
      await consumer.consume();
    };
    await start('a');
    await start('b');
    await start('c', t.connect());
    await fill(t, queue.name, total);
    await t.within('each consumer to get a message', allBusy.promise);
    await t.within(`${total} messages`, done.promise);
    deepEqual(
      [...got.values()].flat().sort((x, y) => x - y),
      sequence(total),
    );
  });

  test(
    'fair: ten thousand messages in one queue, then one in another, which is handled within a batch',
    async (t) => {
      const prefetch = 50;
      const busy = t.queue<number>('busy').bind(t.connection);
      const quiet = t.queue<number>('quiet').bind(t.connection);
      await Promise.all([busy.declare(), quiet.declare()]);
      await fill(t, busy.name, 10_000);
      await fill(t, quiet.name, 1);
      let handled = 0;
      const position = deferred<number>();
      const consumer = t.connection.consumer([busy, quiet], {
        prefetch,
        onMessage: async (message) => {
          handled += 1;
          await message.ack();
          if (message.deliveryInfo.routingKey === quiet.name) position.resolve(handled);
        },
      });
      await consumer.consume();
      const at = await t.within('the message of the quiet queue', position.promise);
      ok(at <= 4 * prefetch, `${at - 1} messages of the busy queue came first, with a prefetch of ${prefetch}`);
      await consumer.close();
    },
    { timeout: 60_000 },
  );

  test('fair: a consumer that settles nothing does not hold up another on its connection', async (t) => {
    const stuck = t.queue('stuck').bind(t.connection);
    const free = t.queue<number>('free').bind(t.connection);
    await Promise.all([stuck.declare(), free.declare()]);
    await fill(t, stuck.name, 300);
    const blocked = await collect(t, stuck, { prefetch: 10 });
    await blocked.take(10);
    const inbox = await collect(t, free, { prefetch: 1 });
    await fill(t, free.name, 20);
    for (let i = 0; i < 20; i++) {
      const message = await inbox.next();
      equal(message.payload, i);
      await message.ack();
    }
  });

  test('one consumer of several queues; queues are added and taken away while it runs', async (t) => {
    const [a, b] = [t.queue<number>('a'), t.queue<number>('b')];
    const inbox = await collect(t, a);
    await b.bind(t.connection).declare();
    await fill(t, b.name, 1);
    equal(inbox.consumer.consumingFrom(a.name), true);
    equal(inbox.consumer.consumingFrom(b.name), false);
    inbox.consumer.addQueue(b);
    await inbox.consumer.consume();
    await (await inbox.next()).ack();
    equal(inbox.consumer.consumingFrom(b.name), true);
    equal((await stat(t, a)).consumerCount, 1);
    await inbox.consumer.cancelByQueue(a.name);
    await t.eventually('no consumer of a', async () => (await stat(t, a)).consumerCount === 0);
    await fill(t, a.name, 1);
    await fill(t, b.name, 1);
    equal((await inbox.next()).deliveryInfo.routingKey, b.name);
    equal(await depth(t, a), 1);
    await inbox.consumer.consume();
    equal((await inbox.next()).deliveryInfo.routingKey, a.name);
  });

  test('after cancel nothing more comes; what was delivered can be settled, and consume starts again', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 3);
    const inbox = await collect(t, queue);
    const held = await inbox.take(3);
    await t.within('cancel', inbox.consumer.cancel());
    await fill(t, queue.name, 2);
    equal(await depth(t, queue), 2);
    equal(inbox.messages.length, 3);
    for (const message of held) equal(await message.ack(), true);
    await inbox.consumer.consume();
    deepEqual(payloads(await inbox.take(2)), [0, 1]);
  });

  test('cancelled in flight: every message was handled, or is still there', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const total = 1000;
    await fill(t, queue.name, total);
    const handled: number[] = [];
    const enough = deferred();
    const consumer = t.connection.consumer(queue, {
      prefetch: 20,
      onMessage: async (message) => {
        handled.push(message.payload);
        await message.ack();
        if (handled.length === 100) enough.resolve();
      },
    });
    await consumer.consume();
    await t.within('a hundred messages', enough.promise);
    await t.within('close', consumer.close());
    const count = handled.length;
    const rest = payloads(await drain(t, queue));
    equal(handled.length, count, 'no handler ran after close');
    deepEqual([...handled, ...rest], sequence(total));
  });

  test('closed while handlers run: they end, and may settle', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 10);
    const entered = deferred();
    const leave = deferred();
    const settled: boolean[] = [];
    const consumer = t.connection.consumer(queue, {
      concurrency: 2,
      prefetch: 6,
      onMessage: async (message) => {
        if (message.payload === 1) entered.resolve();
        await leave.promise;
        settled.push(await message.ack());
      },
    });
    await consumer.consume();
    await t.within('two handlers', entered.promise);
    const closed = consumer.close();
    leave.resolve();
    await t.within('close', closed);
    deepEqual(settled, [true, true]);
    deepEqual(payloads(await drain(t, queue)), sequence(10).slice(2));
  });

  test('noAck: what was delivered is gone, and has nothing to settle', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 5);
    const inbox = await collect(t, queue, { noAck: true });
    deepEqual(payloads(await inbox.take(5)), sequence(5));
    await inbox.consumer.close();
    equal(await depth(t, queue), 0);
  });

  test('get: the next message, or nothing; it stays until it is settled', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    equal(await queue.get(), undefined);
    await fill(t, queue.name, 3);
    const first = await queue.get();
    equal(first?.payload, 0);
    equal((await queue.get({ noAck: true }))?.payload, 1);
    equal((await queue.get({ noAck: true }))?.payload, 2);
    equal(await queue.get(), undefined);
    equal(await first?.requeue(), true);
    const again = await t.eventually('the message back', () => queue.get());
    deepEqual([again.payload, again.redelivered], [0, true]);
    equal(await again.ack(), true);
    equal(await queue.get(), undefined);
  });

  test('a queue deleted by somebody else: its consumers are told, and consume the one that they declare again', async (t) => {
    const queue = t.queue('q');
    const inboxes = [await collect(t, queue), await collect(t, queue, {}, t.connect())];
    // One may declare it again before a store that cannot tell lets the other know: then there is nothing to tell.
    const told = Promise.race(inboxes.map(({ consumer }) => event(t, consumer, 'cancelled')));
    await t.connect().defaultChannel().queueDelete(queue.name);
    await told;
    const producer = t.connection.producer();
    await t.eventually('both to get messages again', async () => {
      await producer.publish('x', { routingKey: queue.name });
      return inboxes.every(({ messages }) => messages.length > 0);
    });
    t.problems();
  });

  test('a consumer of a queue that is missing is NOT_FOUND', async (t) => {
    const queue = t.queue('missing');
    const consumer: Consumer<unknown> = t.connection.consumer(queue, { autoDeclare: false, onMessage: ignore });
    await rejection(consumer.consume(), 'NOT_FOUND');
    equal(
      (await failure(
        t.connection.consumer(queue, { signal: AbortSignal.abort(new Error('no')), onMessage: ignore }).consume(),
      )) instanceof Error,
      true,
    );
  });
});
