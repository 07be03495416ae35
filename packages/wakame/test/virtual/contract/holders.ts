/** Who holds and who consumes, and how they are told that there is something. */
import { describe, expect, test } from 'vitest';
import { MessagingError, RecoverableConnectionError } from '../../../src/errors.js';
import type { Taken } from '../../../src/transports/virtual/driver.js';
import { type Bench, type Client, eventually, texts } from './bench.js';

export function holderCases({ one, two, fragile }: Bench): void {
  describe('holders', () => {
    test('keep what they hold from one incarnation to the next', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.send('q', '1', '2');
      const taken = await a.takeFrom('q');
      await a.driver.close();
      expect(await b.takeFrom('q')).toEqual([]);
      await a.open();
      expect(await a.settle('ack', ...taken)).toEqual([true, true]);
    });

    test('give everything back when they retire: to its place, marked', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      await a.takeFrom('q', 2);
      await a.driver.retire();
      const taken = await b.takeFrom('q');
      expect(texts(taken)).toEqual(['1', '2', '3']);
      expect(taken.map(({ redelivered }) => redelivered)).toEqual([true, true, false]);
    });

    test('that are not open are refused, with an error that can be classified', async () => {
      const a = await one();
      await a.declare('q');
      await a.driver.close();
      const failure = await Promise.resolve()
        .then(() => a.driver.stat(['q']))
        .catch((error: unknown) => a.driver.classify(error));
      expect(failure).toBeInstanceOf(MessagingError);
    });

    test('closing and retiring twice is no error', async () => {
      const a = await one();
      await a.driver.close();
      await a.driver.close();
      await a.driver.retire();
      await a.driver.retire();
    });

    test.runIf(fragile !== undefined)(
      'are told of a loss once; one while they open is what the opening rejects with',
      async () => {
        const { client: a, lose, breaks, restore } = await (fragile as NonNullable<typeof fragile>)();
        await a.open();
        await a.declare('q');
        await a.send('q', '1');
        const taken = await a.takeFrom('q');
        const consumers = ['t', 'u'].map((tag) => ({ queue: 'q', tag, exclusive: false }));
        await a.driver.attach(consumers.slice(0, 1));
        await lose();
        await expect(Promise.resolve(a.driver.attach(consumers.slice(1)))).rejects.toThrow();
        await eventually(async () => a.losses.length > 0);
        await restore();
        for (const breakOff of breaks) {
          await breakOff();
          const failure = await a.open().catch((error: unknown) => a.driver.classify(error));
          expect(failure).toBeInstanceOf(RecoverableConnectionError);
          await restore();
        }
        await a.open();
        expect(a.losses.map((error) => a.driver.classify(error))).toEqual([expect.any(RecoverableConnectionError)]);
        expect(await a.settle('ack', ...taken)).toEqual([true]);
      },
    );

    test('tell what they are', async () => {
      expect(await (await one()).driver.info()).toMatchObject({ product: expect.any(String) });
    });
  });
}

export function consumerCases({ features, one, two }: Bench): void {
  describe('consumers', () => {
    const consumer = (tag: string, exclusive = false) => ({ queue: 'q', tag, exclusive });
    const consumers = async (client: Client) => (await client.driver.stat(['q']))[0]?.consumerCount;

    test('are counted over all connections', async () => {
      const [a, b] = await two();
      await a.declare('q');
      expect(await a.driver.attach([consumer('1'), consumer('2')])).toEqual([1, 2]);
      expect(await b.driver.attach([consumer('1')])).toEqual([3]);
      expect(await consumers(b)).toBe(3);
      expect(await a.driver.detach([consumer('1')])).toEqual([2]);
      await a.driver.close();
      await eventually(async () => (await consumers(b)) === 1);
    });

    test('exclusive ones are alone', async () => {
      const [a, b] = await two();
      await a.declare('q');
      expect(await a.driver.attach([consumer('1', true)])).toEqual([1]);
      expect(await b.driver.attach([consumer('2')])).toEqual(['refused']);
      expect(await a.driver.attach([consumer('2')])).toEqual(['refused']);
      await a.driver.detach([consumer('1', true)]);
      expect(await b.driver.attach([consumer('2')])).toEqual([1]);
      expect(await a.driver.attach([consumer('3', true)])).toEqual(['refused']);
    });

    test('of a queue that does not exist are told so', async () => {
      const a = await one();
      expect(await a.driver.attach([consumer('1')])).toEqual(['missing']);
      expect(await a.driver.detach([consumer('1')])).toEqual([0]);
    });

    test('take an auto-delete queue with them when the last one goes', async () => {
      const [a, b] = await two();
      await a.declare('q', { autoDelete: true });
      await a.driver.attach([consumer('1')]);
      await b.driver.attach([consumer('2')]);
      await a.driver.detach([consumer('1')]);
      expect(await consumers(a)).toBe(1);
      expect(await b.driver.detach([consumer('2')])).toEqual([0]);
      expect(await a.driver.stat(['q'])).toEqual([undefined]);
    });

    test.runIf(features.singleActiveConsumer)(
      'the first one has a single-active queue alone, then the next',
      async () => {
        const [a, b] = await two();
        await a.declare('q', { singleActiveConsumer: true });
        await a.driver.attach([consumer('1')]);
        await b.driver.attach([consumer('2')]);
        await a.send('q', '1', '2');
        expect(await b.takeFrom('q')).toEqual([]);
        expect(texts(await a.takeFrom('q', 1))).toEqual(['1']);
        await b.watch('q');
        await a.driver.detach([consumer('1')]);
        await eventually(async () => b.hints.includes('ready q') || features.pollInterval !== undefined);
        expect(texts(await b.takeFrom('q'))).toEqual(['2']);
      },
    );
  });
}

export function hintCases({ features, one, two }: Bench): void {
  describe.runIf(features.pollInterval === undefined && !features.longPoll)('hints', () => {
    test('tell of each queue that has something, until it was looked at', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await b.watch('q');
      await a.send('q', '1');
      await eventually(async () => b.hints.length > 0);
      expect(b.hints[0]).toBe('ready q');
      expect(texts(await b.takeFrom('q'))).toEqual(['1']);
      b.hints.length = 0;
      await a.send('q', '2');
      await eventually(async () => b.hints.includes('ready q'));
    });

    test('tell of what was there before, and of what is left', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      await a.watch('q');
      await eventually(async () => a.hints.length === 1);
      await a.takeFrom('q', 2, { limit: 1 });
      await eventually(async () => a.hints.length === 2);
      const [taken] = await a.takeFrom('q');
      a.hints.length = 0;
      await a.settle('requeue', taken as Taken);
      await eventually(async () => a.hints.includes('ready q'));
    });

    test('tell of a queue that is made later, and when one is gone', async () => {
      const [a, b] = await two();
      await a.watch('q');
      await b.declare('q');
      await b.send('q', '1');
      await eventually(async () => a.hints.includes('ready q'));
      await a.takeFrom('q');
      await b.driver.remove([{ queue: 'q' }]);
      await eventually(async () => a.hints.includes('gone q'));
    });

    test('end for a queue that is watched no more', async () => {
      const a = await one();
      await a.declare('q1');
      await a.declare('q2');
      await a.watch('q1', 'q2');
      await a.watch('q2');
      await a.send('q1', '1');
      await a.send('q2', '1');
      await eventually(async () => a.hints.includes('ready q2'));
      expect(a.hints).toEqual(['ready q2']);
    });
  });
}
