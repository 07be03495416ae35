import { deepEqual, equal, ok } from 'node:assert/strict';
import { deferred } from '../../util/deferred.js';
import { group } from '../define.js';
import { depth, sequence } from '../support.js';

/** Messages at scale 1. */
const MANY = 20_000;

export const load = group('load', (test) => {
  test(
    'many small messages, published and consumed at once',
    async (t) => {
      const total = t.scaled(MANY);
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      const seen = new Uint8Array(total);
      let count = 0;
      let last = -1;
      let disorder = 0;
      const done = deferred();
      const consumer = t.connect().consumer(queue, {
        prefetch: 500,
        settle: 'auto',
        onMessage: ({ payload }) => {
          seen[payload] = (seen[payload] ?? 0) + 1;
          if (payload !== last + 1) disorder += 1;
          last = payload;
          count += 1;
          if (count === total) done.resolve();
        },
      });
      await consumer.consume();
      const producer = t.connection.producer();
      for (let i = 0; i < total; i++) {
        void producer.publish(i, { routingKey: queue.name });
        if (i % 500 === 499) await producer.flush();
      }
      await t.within('every message', done.promise, 60_000 * Math.max(1, total / MANY));
      await consumer.close();
      equal(
        seen.findIndex((copies) => copies !== 1),
        -1,
      );
      equal(disorder, 0);
      equal(await depth(t, queue), 0);
    },
    { timeout: 3_600_000 },
  );

  test(
    'messages of very different sizes, through one connection, whole and in order',
    async (t) => {
      const count = t.scaled(200);
      const queue = t.queue<Uint8Array>('q').bind(t.connection);
      await queue.declare();
      const limit = t.features.maxMessageBytes ?? Number.POSITIVE_INFINITY;
      const size = (i: number) => Math.min(limit, i % 20 === 0 ? 300_000 + i : (i * 7919) % 5000);
      const done = deferred();
      const sizes: number[] = [];
      let damaged = 0;
      const consumer = t.connection.consumer(queue, {
        prefetch: 20,
        settle: 'auto',
        onMessage: ({ payload }) => {
          const fill = sizes.length & 0xff;
          if (payload.some((byte) => byte !== fill)) damaged += 1;
          sizes.push(payload.length);
          if (sizes.length === count) done.resolve();
        },
      });
      await consumer.consume();
      const producer = t.connection.producer();
      for (const i of sequence(count)) {
        await producer.ready();
        void producer.publish(Buffer.alloc(size(i), i & 0xff), { routingKey: queue.name });
      }
      await t.within('every message', done.promise, 6 * t.patience);
      deepEqual(sizes, sequence(count).map(size));
      equal(damaged, 0);
    },
    { timeout: 600_000 },
  );

  test(
    'a backlog drains at an even pace: a consumer of many is not slower at the end',
    async (t) => {
      const total = t.scaled(5000);
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      for (let i = 0; i < total; i++) {
        void producer.publish(i, { routingKey: queue.name });
        if (i % 500 === 499) await producer.flush();
      }
      await producer.flush();
      let count = 0;
      const done = deferred();
      const consumer = t.connection.consumer(queue, {
        prefetch: 10,
        settle: 'auto',
        onMessage: () => {
          count += 1;
          if (count === total) done.resolve();
        },
      });
      await consumer.consume();
      await t.within('the backlog', done.promise, 60_000 * Math.max(1, total / MANY));
      ok(count === total);
      equal(await depth(t, queue), 0);
    },
    { timeout: 3_600_000 },
  );

  test(
    'queues and consumers come and go',
    async (t) => {
      const rounds = t.scaled(40);
      for (let round = 0; round < rounds; round++) {
        const queue = t.queue<number>(`q${round % 5}`).bind(t.connection);
        await queue.declare();
        const got = deferred<number>();
        const consumer = t.connection.consumer(queue, {
          settle: 'auto',
          onMessage: ({ payload }) => got.resolve(payload),
        });
        await consumer.consume();
        const producer = t.connection.producer();
        await producer.publish(round, { routingKey: queue.name });
        equal(await t.within(`message ${round}`, got.promise), round);
        await consumer.close();
        await producer.close();
        await queue.delete();
      }
    },
    { timeout: 600_000 },
  );
});
