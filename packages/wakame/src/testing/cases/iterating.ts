import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Message } from '../../index.js';
import { group } from '../define.js';
import { collect, depth, drain, fill, payloads, rejection, sequence, stat, untilDepth } from '../support.js';

export const iterating = group('for await', (test) => {
  test('yields every message, in order', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 50);
    const got: number[] = [];
    for await (const message of t.connection.consumer(queue, { prefetch: 7 })) {
      got.push(message.payload);
      await message.ack();
      if (got.length === 50) break;
    }
    deepEqual(got, sequence(50));
    equal(await depth(t, queue), 0);
    await t.eventually('no consumer', async () => (await stat(t, queue)).consumerCount === 0);
  });

  test('leaving gives back in order what was not yielded; the message in hand is still the caller’s', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 20);
    let inHand: Message<number> | undefined;
    for await (const message of t.connection.consumer(queue, { prefetch: 10 })) {
      inHand = message;
      // All that the prefetch lets come has come.
      await untilDepth(t, queue, 10);
      break;
    }
    await untilDepth(t, queue, 19);
    equal(inHand?.payload, 0);
    equal(await inHand?.ack(), true);
    deepEqual(payloads(await drain(t, queue)), sequence(20).slice(1));
  });

  test('an exception in the body gives back the rest, and comes out of the loop', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 5);
    const failure = new Error('of the body');
    let caught: unknown;
    try {
      for await (const message of t.connection.consumer(queue)) {
        if (message.payload === 2) {
          await message.requeue();
          throw failure;
        }
        await message.ack();
      }
    } catch (error) {
      caught = error;
    }
    equal(caught, failure);
    await untilDepth(t, queue, 3);
    deepEqual(payloads(await drain(t, queue)).sort(), [2, 3, 4]);
  });

  test('settle auto: acknowledged when the next is asked for', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 3);
    const states: unknown[] = [];
    let previous: Message<number> | undefined;
    for await (const message of t.connection.consumer(queue, { settle: 'auto' })) {
      states.push([message.payload, previous?.state]);
      previous = message;
      if (message.payload === 2) break;
    }
    deepEqual(
      states.map((each) => (each as unknown[])[0]),
      [0, 1, 2],
    );
    ok(
      states.slice(1).every((each) => (each as unknown[])[1] !== 'RECEIVED'),
      `states were ${JSON.stringify(states)}`,
    );
    if (previous?.state === 'RECEIVED') await previous.ack();
    await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
  });

  test('idleTimeout ends the loop when nothing comes', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 3);
    const got: number[] = [];
    const loop = async () => {
      for await (const message of t.connection.consumer(queue, { idleTimeout: 100 })) {
        got.push(message.payload);
        await message.ack();
      }
    };
    await t.within('the end of the loop', loop());
    deepEqual(got, [0, 1, 2]);
  });

  test('close and signal end the loop from outside', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    const consumer = t.connection.consumer(queue);
    const loop = (async () => {
      for await (const message of consumer) await message.ack();
    })();
    await t.eventually('a consumer', async () => (await stat(t, queue)).consumerCount === 1);
    await consumer.close();
    await t.within('the end of the loop', loop);

    const controller = new AbortController();
    const reason = new Error('enough');
    const signalled = (async () => {
      for await (const message of t.connection.consumer(queue, { signal: controller.signal })) await message.ack();
    })().catch((error: unknown) => error);
    await t.eventually('a consumer', async () => (await stat(t, queue)).consumerCount === 1);
    controller.abort(reason);
    const outcome = await t.within('the end of the loop', signalled);
    ok(outcome === undefined || outcome === reason, String(outcome));
    await t.eventually('no consumer', async () => (await stat(t, queue)).consumerCount === 0);
  });

  test('a consumer is used by iteration or by consume, not both', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    const inbox = await collect(t, queue);
    await rejection(
      (async () => {
        for await (const _ of inbox.consumer) break;
      })(),
      'CONSUMER_BUSY',
    );
    await fill(t, queue.name, 1);
    await (await inbox.next()).ack();
  });

  test('one loop over several queues', async (t) => {
    const [a, b] = [t.queue<number>('a').bind(t.connection), t.queue<number>('b').bind(t.connection)];
    await Promise.all([a.declare(), b.declare()]);
    await fill(t, a.name, 5);
    await fill(t, b.name, 5);
    const got: string[] = [];
    for await (const message of t.connection.consumer([a, b])) {
      got.push(`${message.deliveryInfo.routingKey} ${message.payload}`);
      await message.ack();
      if (got.length === 10) break;
    }
    for (const { name } of [a, b]) {
      deepEqual(
        got.filter((each) => each.startsWith(`${name} `)),
        sequence(5).map((i) => `${name} ${i}`),
      );
    }
  });
});
