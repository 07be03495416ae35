/** Queues as things that are made, looked at and removed. */
import { describe, expect, test } from 'vitest';
import type { Taken } from '../../../src/transports/virtual/driver.js';
import { type Bench, texts } from './bench.js';

export function queueCases({ one, two }: Bench): void {
  describe('queues', () => {
    test('are created with their options, which a second declaration leaves as they are', async () => {
      const [a, b] = await two();
      const args = { 'x-message-ttl': 100_000, 'x-mine': { deep: [1, 'two'] } };
      const first = await a.declare('q', { durable: true, messageTtl: 100_000, arguments: args });
      expect(first).toMatchObject({ name: 'q', messageCount: 0, consumerCount: 0 });
      const second = await b.declare('q', { autoDelete: true });
      expect(second?.options).toMatchObject({
        durable: true,
        autoDelete: false,
        messageTtl: 100_000,
        arguments: args,
      });
    });

    test('stat and list know those that exist, of whatever connection', async () => {
      const [a, b] = await two();
      await a.declare('q1');
      await a.declare('q2');
      await a.send('q1', 'x', 'y');
      const [q1, none, q2] = await b.driver.stat(['q1', 'none', 'q2']);
      expect(q1?.messageCount).toBe(2);
      expect(none).toBeUndefined();
      expect(q2?.messageCount).toBe(0);
      expect([...(await b.driver.list())].sort()).toEqual(['q1', 'q2']);
    });

    test('are removed with their messages and bindings', async () => {
      const a = await one();
      await a.declare('q');
      await a.declare('other');
      await a.driver.table.apply([
        {
          kind: 'bind',
          binding: {
            source: 'amq.direct',
            destinationType: 'queue',
            destination: 'q',
            routingKey: 'k',
            arguments: {},
          },
        },
      ]);
      await a.send('q', 'x', 'y');
      expect(await a.driver.remove([{ queue: 'q' }, { queue: 'none' }])).toEqual([2, 'missing']);
      expect(await a.driver.stat(['q', 'other'])).toMatchObject([undefined, { name: 'other' }]);
      expect(await a.driver.table.bindingsTo('queue', 'q')).toEqual([]);
      await a.declare('q');
      expect(await a.count('q')).toBe(0);
    });

    test('are removed only unused or only empty, when that is asked for', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', 'x');
      await a.driver.attach([{ queue: 'q', tag: 't', exclusive: false }]);
      expect(await a.driver.remove([{ queue: 'q', ifUnused: true }])).toEqual(['used']);
      expect(await a.driver.remove([{ queue: 'q', ifEmpty: true }])).toEqual(['not-empty']);
      await a.driver.detach([{ queue: 'q', tag: 't', exclusive: false }]);
      await a.driver.purge(['q']);
      expect(await a.driver.remove([{ queue: 'q', ifUnused: true, ifEmpty: true }])).toEqual([0]);
    });

    test('purge removes what nobody holds, and says how much', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const [held] = await a.takeFrom('q', 1);
      expect(await a.driver.purge(['q', 'none'])).toEqual([2, 0]);
      expect(await a.settle('requeue', held as Taken)).toEqual([true]);
      expect(texts(await a.takeFrom('q'))).toEqual(['1']);
    });

    test('peek shows the next ones and takes none', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const peeked = await a.driver.peek('q', 2);
      expect(peeked.map(({ body }) => Buffer.from(body).toString())).toEqual(['1', '2']);
      expect(await a.count('q')).toBe(3);
      expect(await a.driver.peek('none', 2)).toEqual([]);
    });

    test('exclusive to a holder: nobody else takes from them, and they go with him', async () => {
      const [a, b] = await two();
      await a.declare('q', { exclusiveTo: a.holder });
      await b.send('q', 'x');
      expect((await b.declare('q'))?.options?.exclusiveTo).toBe(a.holder);
      expect(await b.takeFrom('q')).toEqual([]);
      expect(await b.driver.attach([{ queue: 'q', tag: 't', exclusive: false }])).toEqual(['locked']);
      expect(texts(await a.takeFrom('q'))).toEqual(['x']);
      await a.driver.retire();
      expect(await b.driver.stat(['q'])).toEqual([undefined]);
    });
  });
}
