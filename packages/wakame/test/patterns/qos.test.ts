import { describe, expect, test } from 'vitest';
import { type Message, QoS } from 'wakame';
import { Count, failure, onEachBroker } from '../messaging/support.js';

describe('QoS', () => {
  function qosOf(initial: number, maxPrefetch?: number) {
    const sent: number[] = [];
    return { sent, qos: new QoS((prefetch) => void sent.push(prefetch), initial, { maxPrefetch }) };
  }

  test('increments and decrements are sent by update, once', async () => {
    const { qos, sent } = qosOf(10);
    expect([qos.incrementEventually(), qos.incrementEventually(3), qos.decrementEventually(4)]).toEqual([11, 14, 10]);
    qos.incrementEventually(5);
    expect(sent).toEqual([]);
    expect([await qos.update(), await qos.update(), qos.value]).toEqual([15, 15, 15]);
    expect(sent).toEqual([15]);
  });

  test('never below 1 by decrement, nor above maxPrefetch by increment', () => {
    const { qos } = qosOf(2, 5);
    expect([qos.decrementEventually(100), qos.decrementEventually()]).toEqual([1, 1]);
    expect([qos.incrementEventually(100), qos.incrementEventually()]).toEqual([5, 5]);
    // A count that was above from the start is not lowered by an increment.
    expect(qosOf(8, 5).qos.incrementEventually()).toBe(8);
  });

  test('unlimited stays so', async () => {
    const { qos, sent } = qosOf(0);
    expect([qos.incrementEventually(5), qos.decrementEventually(5), await qos.update()]).toEqual([0, 0, 0]);
    expect(sent).toEqual([0]);
    expect([await qos.set(3), qos.incrementEventually()]).toEqual([3, 4]);
  });

  test('more than AMQP can say is sent as unlimited, and remembered', async () => {
    const { qos, sent } = qosOf(65_535);
    await qos.update();
    qos.incrementEventually();
    expect(await qos.update()).toBe(65_536);
    qos.decrementEventually();
    await qos.update();
    expect(sent).toEqual([65_535, 0, 65_535]);
  });

  test('one at a time: the last one wanted is the last one sent', async () => {
    const sent: number[] = [];
    const answers: (() => void)[] = [];
    const apply = (prefetch: number) => {
      sent.push(prefetch);
      return new Promise<void>((resolve) => answers.push(resolve));
    };
    const qos = new QoS(apply, 1);
    const first = qos.set(2);
    await Promise.resolve();
    const others = [qos.set(3), qos.set(4)];
    await Promise.resolve();
    expect(sent).toEqual([2]);
    answers[0]?.();
    expect(await first).toBe(2);
    await Promise.resolve();
    answers[1]?.();
    expect(await Promise.all(others)).toEqual([4, 4]);
    expect(sent).toEqual([2, 4]);
  });

  test('what could not be sent is sent by the next update', async () => {
    let isDown = true;
    const sent: number[] = [];
    const qos = new QoS((prefetch) => {
      if (isDown) throw new Error('down');
      sent.push(prefetch);
    }, 1);
    expect(await failure(qos.set(5))).toMatchObject({ message: 'down' });
    isDown = false;
    expect([await qos.update(), sent]).toEqual([5, [5]]);
  });

  test('what is no count is refused', async () => {
    const { qos } = qosOf(1);
    expect(() => qosOf(-1)).toThrow(/initialValue must be an integer/);
    expect(() => qosOf(1, 0)).toThrow(/maxPrefetch must be an integer of at least 1/);
    expect(() => qos.incrementEventually(-1)).toThrow(/n must be an integer/);
    expect(() => qos.decrementEventually(0.5)).toThrow(/n must be an integer/);
    expect(() => qos.set(Number.NaN)).toThrow(/prefetch must be an integer/);
    expect(() => new QoS(undefined as never, 1)).toThrow(/apply must be a function/);
  });
});

onEachBroker('QoS of a consumer', (bench) => {
  test('the broker keeps to it', async () => {
    const queue = bench.queue<number>('qos');
    await queue.declare();
    await bench.fill(queue, 6);
    const got: Message<number>[] = [];
    const came = new Count();
    const consumer = bench.consumer(queue, {
      prefetch: 1,
      onMessage: (message) => {
        got.push(message);
        came.up();
      },
    });
    const qos = new QoS((prefetch) => consumer.qos({ prefetch }), 1);
    await consumer.consume();
    await came.reach(1);
    expect(await bench.depth(queue)).toBe(5);
    qos.incrementEventually(2);
    await qos.update();
    await came.reach(3);
    await bench.untilDepth(queue, 3);
    await Promise.all(got.map((message) => message.ack()));
    await came.reach(6);
    expect(got.map(({ payload }) => payload)).toEqual([0, 1, 2, 3, 4, 5]);
    await consumer.close();
  });
});
