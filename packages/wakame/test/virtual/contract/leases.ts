/** Leases: renewed, run out, and those who gave no sign of life. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Taken } from '../../../src/transports/virtual/driver.js';
import { type Bench, eventually, texts } from './bench.js';

export function leaseCases({ features: { lease }, two }: Bench): void {
  describe.runIf(lease !== undefined)('leases', () => {
    const third = (lease ?? 0) / 3;

    test('that are renewed last; others end, and the message is back in its place, marked', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const [kept, left] = (await a.takeFrom('q', 2)) as [Taken, Taken];
      for (let i = 0; i < 6; i++) {
        await sleep(third);
        expect(await a.driver.extend([kept.lease])).toEqual([true]);
        await b.driver.sweep(100);
      }
      const taken = await b.takeFrom('q');
      expect(texts(taken)).toEqual(['2', '3']);
      expect(taken[0]?.redelivered).toBe(true);
      expect(await a.driver.extend([kept.lease, left.lease])).toEqual([true, false]);
      expect(await a.settle('ack', kept, left)).toEqual([true, false]);
    });

    test('a holder that gives no sign of life loses its consumers and exclusive queues', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.declare('mine', { exclusiveTo: a.holder });
      await a.driver.attach([{ queue: 'q', tag: 't', exclusive: true }]);
      await b.driver.extend([]);
      await eventually(async () => {
        await b.driver.extend([]);
        await b.driver.sweep(100);
        return (await b.driver.stat(['q']))[0]?.consumerCount === 0;
      });
      expect(await b.driver.stat(['mine'])).toEqual([undefined]);
    });
  });
}
