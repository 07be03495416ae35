/** The paragraph "Consuming", against every broker there is: `for await`. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Consumer, type Message } from '../../src/messaging/index.js';
import { eventually, failure, onEachBroker, payloads, sequence } from './support.js';

onEachBroker('iterating', (t) => {
  const consumers = async (name: string) =>
    (await t.connection.defaultChannel().queueDeclare(name, { passive: true })).consumerCount;

  test('yields every message in order, and stops consuming when left', async () => {
    const queue = t.queue<number>('order');
    await queue.declare();
    await t.fill(queue, 50);
    const got: number[] = [];
    for await (const message of t.consumer(queue, { prefetch: 7 })) {
      got.push(message.payload);
      expect(await message.ack()).toBe(true);
      if (got.length === 50) break;
    }
    expect(got).toEqual(sequence(50));
    expect(await consumers(queue.name)).toBe(0);
  });

  test('leaving gives back in order what was never yielded; the message in hand is the caller’s', async () => {
    const queue = t.queue<number>('leave');
    await queue.declare();
    await t.fill(queue, 20);
    let inHand: Message<number> | undefined;
    for await (const message of t.consumer(queue, { prefetch: 10 })) {
      inHand = message;
      await t.untilDepth(queue, 10);
      break;
    }
    await t.untilDepth(queue, 19);
    expect([inHand?.payload, inHand?.state]).toEqual([0, 'RECEIVED']);
    expect(await inHand?.ack()).toBe(true);
    expect(payloads(await t.drain(queue))).toEqual(sequence(20).slice(1));
  });

  test('an exception in the body comes out of the loop, and loses nothing', async () => {
    const queue = t.queue<number>('throw');
    await queue.declare();
    await t.fill(queue, 5);
    const reason = new Error('of the body');
    const loop = async () => {
      for await (const message of t.consumer(queue)) {
        if (message.payload === 2) {
          await message.requeue();
          throw reason;
        }
        await message.ack();
      }
    };
    expect(await failure(loop())).toBe(reason);
    await t.untilDepth(queue, 3);
    expect(payloads(await t.drain(queue)).sort()).toEqual([2, 3, 4]);
  });

  test('settle auto acknowledges when the next is asked for; the last in hand stays unsettled', async () => {
    const queue = t.queue<number>('auto');
    await queue.declare();
    await t.fill(queue, 3);
    const messages: Message<number>[] = [];
    for await (const message of t.consumer(queue, { settle: 'auto' })) {
      expect(messages.map(({ state }) => state)).toEqual(messages.map(() => 'ACK'));
      messages.push(message);
      if (messages.length === 3) break;
    }
    expect(messages.map(({ state }) => state)).toEqual(['ACK', 'ACK', 'RECEIVED']);
    expect(await messages[2]?.ack()).toBe(true);
    expect(await t.depth(queue)).toBe(0);
  });

  test('settle auto leaves alone what the body settled', async () => {
    const queue = t.queue<number>('auto-own');
    await queue.declare();
    await t.fill(queue, 2);
    const states: string[] = [];
    let previous: Message<number> | undefined;
    for await (const message of t.consumer(queue, { settle: 'auto', idleTimeout: 50 })) {
      if (previous !== undefined) states.push(previous.state);
      previous = message;
      if (message.payload === 0) await message.reject();
    }
    expect([...states, previous?.state]).toEqual(['REJECTED', 'ACK']);
  });

  test('a lost connection does not end the loop', async () => {
    const queue = t.queue<number>('lost');
    await queue.declare();
    await t.fill(queue, 10);
    const got: number[] = [];
    for await (const message of t.consumer(queue, { prefetch: 4, settle: 'auto' })) {
      got.push(message.payload);
      if (got.length === 3) {
        const recovered = once(t.connection, 'recovered');
        await t.drop();
        await recovered;
      }
      if (new Set(got).size === 10) {
        await message.ack();
        break;
      }
    }
    expect([...new Set(got)].sort((a, b) => a - b)).toEqual(sequence(10));
  });

  test('close and cancel end it, also from within', async () => {
    const queue = t.queue<number>('close');
    await queue.declare();
    for (const way of ['close', 'cancel'] as const) {
      const consumer = t.consumer(queue);
      let ended = false;
      const loop = (async () => {
        for await (const message of consumer) await message.ack();
        ended = true;
      })();
      await eventually('a consumer', async () => (await consumers(queue.name)) === 1);
      await consumer[way]();
      await loop;
      expect(ended).toBe(true);
      expect(await consumers(queue.name)).toBe(0);

      await t.fill(queue, 3);
      const within = t.consumer(queue);
      const got: [number, boolean][] = [];
      for await (const message of within) {
        await within[way]();
        got.push([message.payload, await message.ack()]);
      }
      expect(got).toEqual([[0, true]]);
      expect(payloads(await t.drain(queue))).toEqual([1, 2]);
    }
  });

  test('a signal ends it with its reason, while it waits and while the body works', async () => {
    const queue = t.queue<number>('signal');
    await queue.declare();
    const reason = new Error('enough');
    const before = t.consumer(queue, { signal: AbortSignal.abort(reason) });
    expect(await failure(before[Symbol.asyncIterator]().next())).toBe(reason);

    const controller = new AbortController();
    const loop = (async () => {
      for await (const message of t.consumer(queue, { signal: controller.signal })) await message.ack();
    })();
    await eventually('a consumer', async () => (await consumers(queue.name)) === 1);
    controller.abort(reason);
    expect(await failure(loop)).toBe(reason);
    await eventually('no consumer', async () => (await consumers(queue.name)) === 0);

    await t.fill(queue, 2);
    const later = new AbortController();
    const answers: boolean[] = [];
    const working = (async () => {
      for await (const message of t.consumer(queue, { signal: later.signal })) {
        later.abort(reason);
        answers.push(await message.ack());
      }
    })();
    expect(await failure(working)).toBe(reason);
    expect(answers).toEqual([true]);
    await t.untilDepth(queue, 1);
  });

  test('idleTimeout ends it when nothing comes, and only then', async () => {
    const queue = t.queue<number>('idle');
    await queue.declare();
    await t.fill(queue, 3);
    const got: number[] = [];
    for await (const message of t.consumer(queue, { idleTimeout: 50 })) {
      // The body may take longer than that.
      if (message.payload === 1) await new Promise((resolve) => setTimeout(resolve, 120));
      got.push(message.payload);
      await message.ack();
    }
    expect(got).toEqual([0, 1, 2]);
  });

  test('a loop may be followed by another', async () => {
    const queue = t.queue<number>('twice');
    await queue.declare();
    await t.fill(queue, 4);
    const consumer = t.consumer(queue);
    const got: number[] = [];
    for (let round = 0; round < 2; round++) {
      for await (const message of consumer) {
        got.push(message.payload);
        await message.ack();
        if (got.length % 2 === 0) break;
      }
    }
    expect(got).toEqual([0, 1, 2, 3]);
  });

  test('with noAck what was delivered and not yielded waits for the next loop', async () => {
    const queue = t.queue<number>('no-ack');
    await queue.declare();
    await t.fill(queue, 5);
    const consumer = t.consumer(queue, { noAck: true, idleTimeout: 50 });
    const got: number[] = [];
    for await (const message of consumer) {
      got.push(message.payload);
      await t.untilDepth(queue, 0);
      break;
    }
    for await (const message of consumer) got.push(message.payload);
    expect(got).toEqual([0, 1, 2, 3, 4]);
  });

  test('several calls of next wait in turn', async () => {
    const queue = t.queue<number>('parallel');
    await queue.declare();
    const iterator = t.consumer(queue)[Symbol.asyncIterator]();
    const waiting = [iterator.next(), iterator.next(), iterator.next()];
    await t.fill(queue, 3);
    const results = await Promise.all(waiting);
    expect(results.map((result) => (result.done === true ? 'done' : result.value.payload))).toEqual([0, 1, 2]);
    const more = [iterator.next(), iterator.next()];
    await iterator.return?.();
    expect(await Promise.all(more)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test('what cannot be read is passed over', async () => {
    const queue = t.queue<number>('unreadable');
    await queue.declare();
    const producer = t.producer();
    await producer.publish('{', { routingKey: queue.name, contentType: 'application/json' });
    await t.fill(queue, 1);
    const errors: string[] = [];
    const consumer = t.consumer(queue, { idleTimeout: 50, settle: 'auto' });
    consumer.on('decodeError', ({ code }) => errors.push(code));
    const got: number[] = [];
    for await (const message of consumer) got.push(message.payload);
    expect([got, errors]).toEqual([[0], ['DECODE_FAILED']]);
    expect(await t.depth(queue)).toBe(0);
  });

  test('a schema that has to wait keeps the order', async () => {
    const queue = t.queue<number>('slow-schema');
    await queue.declare();
    await t.fill(queue, 10);
    const consumer = new Consumer(t.connection, {
      queues: queue.name,
      settle: 'auto',
      schema: {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: async (value) => {
            for (let i = Number(value); i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
            return value === 5 ? { issues: [{ message: 'not five' }] } : { value: `number ${value}` };
          },
        },
      },
    });
    consumer.on('decodeError', () => undefined);
    const got: string[] = [];
    for await (const message of consumer) {
      got.push(message.payload);
      if (got.length === 9) {
        await message.ack();
        break;
      }
    }
    expect(got).toEqual(
      sequence(10)
        .filter((i) => i !== 5)
        .map((i) => `number ${i}`),
    );
  });

  test('a loop over many messages that are there leaves the event loop its turn', async () => {
    const queue = t.queue<number>('turns');
    await queue.declare();
    await t.fill(queue, 3000);
    let turns = 0;
    let on = true;
    const tick = () => {
      turns++;
      if (on) setImmediate(tick);
    };
    tick();
    let count = 0;
    for await (const message of t.consumer(queue, { prefetch: 0, settle: 'auto' })) {
      if (++count === 3000) {
        await message.ack();
        break;
      }
    }
    on = false;
    expect(turns).toBeGreaterThan(4);
  });

  test('a consumer without queues cannot be iterated over', async () => {
    const iterator = new Consumer(t.connection)[Symbol.asyncIterator]();
    expect((await failure(iterator.next())).code).toBe('INVALID_ARGUMENT');
  });

  test('what cannot be consumed comes out of the loop', async () => {
    const consumer = t.consumer(t.queue('missing', { noDeclare: true }));
    const loop = async () => {
      for await (const message of consumer) await message.ack();
    };
    expect((await failure(loop())).code).toBe('NOT_FOUND');
    // And it can be tried again.
    expect((await failure(loop())).code).toBe('NOT_FOUND');
  });
});
