/** What queues do by themselves, where the features say so: priorities, delay, times to live, limits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Taken } from '../../../src/transports/virtual/driver.js';
import { type Bench, type Client, eventually, texts } from './bench.js';

export function priorityCases({ features, one }: Bench): void {
  describe.runIf(features.priority !== 'none')('priorities', () => {
    test('are served in the order that the features name, up to the highest of the queue', async () => {
      const a = await one();
      await a.declare('q', { maxPriority: 5 });
      for (const priority of [1, 5, undefined, 9, 1]) {
        await a.sendOne('q', `${priority}`, { properties: priority === undefined ? {} : { priority } });
      }
      const highestFirst = ['5', '9', '1', '1', 'undefined'];
      const expected = features.priority === 'highest-first' ? highestFirst : ['undefined', '1', '1', '5', '9'];
      expect(texts(await a.takeFrom('q'))).toEqual(expected);
    });

    test('what comes back keeps its own', async () => {
      const a = await one();
      await a.declare('q', { maxPriority: 5 });
      await a.sendOne('q', 'high', { properties: { priority: features.priority === 'highest-first' ? 5 : 0 } });
      const taken = await a.takeFrom('q');
      await a.sendOne('q', 'low', { properties: { priority: features.priority === 'highest-first' ? 0 : 5 } });
      await a.settle('abandon', ...taken);
      expect(texts(await a.takeFrom('q'))).toEqual(['high', 'low']);
    });
  });
}

export function delayCases({ features, one }: Bench): void {
  describe.runIf(features.delay)('delay', () => {
    test('nobody takes a message before its time; then it is there, and a hint tells', async () => {
      const a = await one();
      await a.declare('q');
      await a.watch('q');
      // Far enough off for a loaded machine.
      const notBefore = Date.now() + 400;
      await a.sendOne('q', 'later', { notBefore });
      await a.sendOne('q', 'past', { notBefore: Date.now() - 1000 });
      expect(texts(await a.takeFrom('q'))).toEqual(['past']);
      expect(await a.count('q')).toBe(0);
      let taken: readonly Taken[] = [];
      await eventually(async () => {
        taken = await a.takeFrom('q');
        return taken.length > 0;
      });
      expect(texts(taken)).toEqual(['later']);
      expect(Date.now()).toBeGreaterThanOrEqual(notBefore);
    });

    test('order is that of the times', async () => {
      const a = await one();
      await a.declare('q');
      const now = Date.now();
      await a.sendOne('q', 'c', { notBefore: now + 1240 });
      await a.sendOne('q', 'a', { notBefore: now + 1220 });
      await a.sendOne('q', 'b', { notBefore: now + 1230 });
      await eventually(async () => (await a.count('q')) === 3);
      expect(texts(await a.takeFrom('q'))).toEqual(['a', 'b', 'c']);
    });

    test('purge and removal take what is delayed too', async () => {
      const a = await one();
      await a.declare('q');
      await a.sendOne('q', 'later', { notBefore: Date.now() + 60_000 });
      expect(await a.driver.purge(['q'])).toEqual([1]);
    });
  });
}

export function messageTtlCases({ features, one, two }: Bench): void {
  describe.runIf(features.messageTtl)('message TTL', () => {
    /** What `sweep` finds expired, until there is something. */
    async function swept(client: Client): Promise<readonly Taken[]> {
      for (;;) {
        const { expired } = await client.driver.sweep(100);
        if (expired.length > 0) return expired;
        await sleep(5);
      }
    }

    test('of a message, wherever it stands: never served as if it had not expired', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', 'first');
      await a.sendOne('q', 'short', { expiresAt: Date.now() + 30 });
      await a.send('q', 'last');
      await eventually(async () => (await a.count('q')) === 2);
      expect(texts(await a.takeFrom('q'))).toEqual(['first', 'last']);
    });

    test('of the queue, whichever ends first', async () => {
      const a = await one();
      await a.declare('q', { messageTtl: 30 });
      await a.sendOne('q', 'own', { expiresAt: Date.now() + 60_000 });
      await a.send('q', 'none');
      await eventually(async () => (await a.count('q')) === 0);
    });

    test('a message that is held does not expire; back in its queue it has', async () => {
      const a = await one();
      await a.declare('q', { messageTtl: 300 });
      await a.send('q', '1', '2');
      const [first, second] = (await a.takeFrom('q')) as [Taken, Taken];
      await sleep(310);
      expect(await a.settle('ack', first)).toEqual([true]);
      expect(await a.settle('requeue', second)).toEqual([true]);
      await eventually(async () => (await a.count('q')) === 0);
      expect((await a.takeFrom('q')).filter(({ expired }) => expired !== true)).toEqual([]);
    });

    test('where there is a dead-letter exchange the sweeper gets it, and holds it', async () => {
      const [a, b] = await two();
      await a.declare('q', { messageTtl: 20, deadLetter: true });
      await a.send('q', '1', '2');
      await eventually(async () => (await a.count('q')) === 0);
      const expired = await swept(b);
      expect(texts(expired)).toEqual(['1', '2']);
      expect(expired.every((taken) => taken.expired === true)).toBe(true);
      expect((await a.driver.sweep(100)).expired).toEqual([]);
      expect(await b.settle('reject', expired[0] as Taken)).toEqual([true]);
      // The other was not seen to: the next sweeper gets it.
      await b.driver.retire();
      expect(texts(await swept(a))).toEqual(['2']);
    });

    test.runIf(features.sweepInterval === undefined)('and it is told that it is due', async () => {
      const a = await one();
      await a.declare('q', { messageTtl: 20, deadLetter: true });
      await a.send('q', '1');
      await eventually(async () => a.due > 0);
      expect((await a.driver.sweep(10)).expired).toHaveLength(1);
    });
  });
}

export function queueTtlCases({ features, one, two }: Bench): void {
  describe.runIf(features.queueTtl)('queue TTL', () => {
    const exists = async (client: Client) => (await client.driver.stat(['q']))[0] !== undefined;

    test('a queue that nobody used for so long is gone', async () => {
      const a = await one();
      await a.declare('q', { expires: 300 });
      await a.send('q', '1');
      expect(await exists(a)).toBe(true);
      await eventually(async () => !(await exists(a)));
    });

    test('declaring it, taking from it and consuming it are use', async () => {
      const [a, b] = await two();
      await a.declare('q', { expires: 400 });
      const usedUntil = Date.now() + 900;
      while (Date.now() < usedUntil) {
        await sleep(40);
        await b.declare('q');
        await sleep(40);
        await a.takeFrom('q');
      }
      const consumer = { queue: 'q', tag: 't', exclusive: false };
      await a.driver.extend([]);
      await a.driver.attach([consumer]);
      for (let i = 0; i < 5; i++) {
        await sleep(100);
        // A holder that gave no sign of life for the time of a lease would have no consumers.
        await a.driver.extend([]);
      }
      expect(await exists(a)).toBe(true);
      await a.driver.detach([consumer]);
      await eventually(async () => !(await exists(a)));
    });
  });
}

export function maxLengthCases({ features, one, two }: Bench): void {
  describe.runIf(features.maxLength)('maximum length', () => {
    test('drop-head: the oldest make room', async () => {
      const a = await one();
      await a.declare('q', { maxLength: 2 });
      expect(await a.send('q', '1', '2', '3')).toEqual(['stored', 'stored', 'stored']);
      expect(texts(await a.takeFrom('q'))).toEqual(['2', '3']);
    });

    test('drop-head counts bytes', async () => {
      const a = await one();
      await a.declare('q', { maxLengthBytes: 5 });
      await a.send('q', 'aa', 'bb', 'cc');
      expect(texts(await a.takeFrom('q'))).toEqual(['bb', 'cc']);
    });

    test('reject-publish: the newest is refused', async () => {
      const a = await one();
      await a.declare('q', { maxLength: 2, overflow: 'reject-publish' });
      expect(await a.send('q', '1', '2', '3')).toEqual(['stored', 'stored', 'full']);
      const [first] = await a.takeFrom('q', 1);
      expect(await a.send('q', '4')).toEqual(['stored']);
      await a.settle('requeue', first as Taken);
      expect(await a.count('q')).toBe(3);
    });

    test('what drop-head pushed out goes to the sweeper where there is a dead-letter exchange', async () => {
      const a = await one();
      await a.declare('q', { maxLength: 1, deadLetter: true });
      await a.send('q', '1', '2', '3');
      const { overflowed } = await a.driver.sweep(100);
      expect(texts(overflowed)).toEqual(['1', '2']);
      expect(await a.settle('reject', ...overflowed)).toEqual([true, true]);
      expect(await a.count('q')).toBe(1);
    });

    test('and stays pushed out, whoever the sweeper is and however much room there is meanwhile', async () => {
      const [a, b] = await two();
      await a.declare('q', { maxLength: 1, deadLetter: true });
      await a.send('q', '1', '2');
      expect(texts((await b.driver.sweep(100)).overflowed)).toEqual(['1']);
      await a.takeFrom('q');
      await b.driver.retire();
      expect(await a.count('q')).toBe(0);
      expect(texts((await a.driver.sweep(100)).overflowed)).toEqual(['1']);
    });
  });
}
