/** What becomes of messages: sent, taken, settled. */
import { describe, expect, test } from 'vitest';
import type { Taken } from '../../../src/transports/virtual/driver.js';
import { type Bench, stored, textOf, texts } from './bench.js';

export function messageCases({ one, two, another }: Bench): void {
  describe('messages', () => {
    test('come out as they went in, in order', async () => {
      const [a, b] = await two();
      await a.declare('q');
      const properties = {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        headers: { text: 'ü', number: 1.5, nested: { list: [1, null, true] } },
        deliveryMode: 2,
        priority: 0,
        correlationId: 'c',
        replyTo: 'r',
        messageId: 'm',
        type: 't',
        appId: 'a',
      };
      const message = {
        ...stored('x', properties),
        body: new Uint8Array([0, 255, 128, 10]),
        extra: { DelaySeconds: 5 },
      };
      expect(await a.driver.send([{ queue: 'q', message }])).toEqual(['stored']);
      await a.send('q', '1', '2', '3');
      const [first, ...rest] = await b.takeFrom('q');
      expect([...(first?.message.body ?? [])]).toEqual([0, 255, 128, 10]);
      expect(first).toMatchObject({
        queue: 'q',
        redelivered: false,
        message: { exchange: 'ex', routingKey: 'rk', properties, extra: { DelaySeconds: 5 } },
      });
      expect(texts(rest)).toEqual(['1', '2', '3']);
    });

    test('to a queue that does not exist are told to miss it; the rest of the batch is stored', async () => {
      const a = await one();
      await a.declare('q');
      const batch = ['q', 'none', 'q'].map((queue) => ({ queue, message: stored('x') }));
      expect(await a.driver.send(batch)).toEqual(['stored', 'missing', 'stored']);
      expect(await a.count('q')).toBe(2);
    });

    test('share nothing with the publisher, nor one taker with the next', async () => {
      const a = await one();
      await a.declare('q1');
      await a.declare('q2');
      const message = stored('original', { headers: { list: [1], own: 'mine' } });
      await a.driver.send(['q1', 'q2'].map((queue) => ({ queue, message })));
      message.body.fill(0);
      (message.properties.headers as { list: number[] }).list.push(2);
      const [first] = (await a.takeFrom('q1')) as [Taken];
      first.message.body.fill(1);
      (first.message.properties.headers as { own: string }).own = 'changed';
      await a.settle('release', first);
      for (const queue of ['q1', 'q2']) {
        const [again] = (await a.takeFrom(queue)) as [Taken];
        expect(textOf(again)).toBe('original');
        expect(again.message.properties.headers).toEqual({ list: [1], own: 'mine' });
      }
    });

    test('held by one are given to nobody else', async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.send('q', '1', '2');
      expect(texts(await a.takeFrom('q', 1))).toEqual(['1']);
      expect(texts(await b.takeFrom('q'))).toEqual(['2']);
      expect(await a.count('q')).toBe(0);
    });

    test('taken without acknowledgement are gone', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1');
      const [taken] = await a.take([{ queue: 'q', credit: 5, noAck: true }]);
      expect(taken?.lease).toBeUndefined();
      await a.driver.retire();
      const b = await another(a);
      expect(await b.takeFrom('q')).toEqual([]);
      await b.driver.retire();
    });
  });
}

export function settlingCases({ features, one, two }: Bench): void {
  describe('settling', () => {
    test.each(['ack', 'reject'] as const)('%s: gone; a second time it was not ours any more', async (outcome) => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1');
      const [taken] = (await a.takeFrom('q')) as [Taken];
      expect(await a.settle(outcome, taken)).toEqual([true]);
      expect(await a.settle('requeue', taken)).toEqual([false]);
      expect(await a.takeFrom('q')).toEqual([]);
    });

    test.each(['abandon', 'release'] as const)('%s: back to its place', async (outcome) => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const [first, second] = (await a.takeFrom('q', 2)) as [Taken, Taken];
      expect(await a.settle(outcome, first, second)).toEqual([true, true]);
      expect(texts(await a.takeFrom('q'))).toEqual(['1', '2', '3']);
    });

    test('requeue: to where the features say', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const [, second] = (await a.takeFrom('q', 2)) as [Taken, Taken];
      await a.settle('requeue', second);
      const expected = { original: ['2', '3'], front: ['2', '3'], back: ['3', '2'] };
      expect(texts(await a.takeFrom('q'))).toEqual(expected[features.requeuePosition]);
    });

    test('what came back is marked and counted, but not what was released', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1');
      const rounds: [boolean, number | undefined][] = [];
      for (const outcome of ['release', 'abandon', 'release', 'requeue', 'ack'] as const) {
        const [taken] = (await a.takeFrom('q')) as [Taken];
        rounds.push([taken.redelivered, taken.deliveryCount]);
        await a.settle(outcome, taken);
      }
      const counted = rounds[0]?.[1] !== undefined;
      expect(rounds).toEqual(
        [false, false, true, true, true].map((redelivered, i) => [
          redelivered,
          counted ? [0, 0, 1, 1, 2][i] : undefined,
        ]),
      );
    });

    test('is refused for an earlier taking of what is held again', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1');
      const before = await a.takeFrom('q');
      await a.settle('requeue', ...before);
      const again = await a.takeFrom('q');
      expect(await a.driver.extend(before.map(({ lease }) => lease))).toEqual([false]);
      expect(await a.settle('ack', ...before)).toEqual([false]);
      expect(await a.settle('ack', ...again)).toEqual([true]);
    });

    test("is refused for another holder's lease", async () => {
      const [a, b] = await two();
      await a.declare('q');
      await a.send('q', '1');
      const taken = await a.takeFrom('q');
      expect(await b.settle('ack', ...taken)).toEqual([false]);
      expect(await a.settle('ack', ...taken)).toEqual([true]);
    });

    test('in one batch each gets its answer', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1', '2', '3');
      const [first, second, third] = (await a.takeFrom('q')) as [Taken, Taken, Taken];
      await a.settle('ack', second);
      const outcomes = await a.driver.settle([
        { lease: first.lease, outcome: 'requeue' },
        { lease: second.lease, outcome: 'ack' },
        { lease: third.lease, outcome: 'ack' },
      ]);
      expect(outcomes).toEqual([true, false, true]);
      expect(texts(await a.takeFrom('q'))).toEqual(['1']);
    });

    test('of a deleted queue: it was not there any more', async () => {
      const a = await one();
      await a.declare('q');
      await a.send('q', '1');
      const taken = await a.takeFrom('q');
      await a.driver.remove([{ queue: 'q' }]);
      expect(await a.settle('ack', ...taken)).toEqual([false]);
    });
  });
}

export function takeCases({ one }: Bench): void {
  describe('take', () => {
    const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
    const from = (taken: readonly Taken[], queue: string) => texts(taken.filter((one) => one.queue === queue));

    async function filled() {
      const a = await one();
      for (const queue of ['many', 'few', 'none']) await a.declare(queue);
      await a.send('many', ...numbered('m', 50));
      await a.send('few', ...numbered('f', 3));
      return a;
    }

    const ask = (queue: string, credit = 100) => ({ queue, credit, noAck: false });

    test('gives no more than the credit, and nothing from what is absent', async () => {
      const a = await filled();
      const taken = await a.take([ask('many', 4), ask('absent'), ask('none'), ask('few', 2)]);
      expect(from(taken, 'many')).toEqual(numbered('m', 4));
      expect(from(taken, 'few')).toEqual(numbered('f', 2));
      expect(taken).toHaveLength(6);
    });

    test('fair: equal parts of the limit, and what one leaves goes to the others', async () => {
      const a = await filled();
      const taken = await a.take([ask('many'), ask('none'), ask('few')], { limit: 10 });
      expect(from(taken, 'few')).toEqual(numbered('f', 3));
      expect(from(taken, 'many')).toEqual(numbered('m', 7));
    });

    test('strict: the first named first', async () => {
      const a = await filled();
      const taken = await a.take([ask('few'), ask('many')], { limit: 10, order: 'strict' });
      expect(texts(taken)).toEqual([...numbered('f', 3), ...numbered('m', 7)]);
      const more = await a.take([ask('many'), ask('few')], { limit: 10, order: 'strict' });
      expect(from(more, 'many')).toHaveLength(10);
    });

    test('may be asked again: by number, and without requests, for what it took and was not settled', async () => {
      const a = await filled();
      const first = await a.take([ask('few')]);
      const requestId = a.lastRequest;
      await a.take([ask('many', 2)]);
      await a.settle('ack', first[1] as Taken);
      const again = await a.take([], { requestId });
      expect(texts(again)).toEqual(['f0', 'f2']);
      expect(await a.settle('ack', ...again)).toEqual([true, true]);
      expect(await a.take([], { requestId })).toEqual([]);
      expect(await a.take([], { requestId: 999_999 })).toEqual([]);
    });
  });
}
