import { deepEqual, equal } from 'node:assert/strict';
import type { Message } from '../../index.js';
import type { Delivery } from '../../transport/contract.js';
import { group } from '../define.js';
import { collect, depth, drain, fill, payloads, rejection, untilDepth } from '../support.js';

export const settling = group('settling', (test) => {
  test('ack removes the message and resolves true', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 2);
    const inbox = await collect(t, queue);
    for (const message of await inbox.take(2)) {
      equal(message.state, 'RECEIVED');
      equal(await message.ack(), true);
      equal(message.state, 'ACK');
    }
    await inbox.consumer.close();
    await t.connection.close();
    deepEqual(payloads(await drain(t, queue, t.connect())), []);
  });

  test('settling twice is MESSAGE_STATE, by whatever outcome; it is settled as the first time said', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 3);
    const inbox = await collect(t, queue);
    const [acked, rejected, requeued] = await inbox.take(3);
    await acked?.ack();
    await rejected?.reject();
    await inbox.consumer.cancel();
    await requeued?.requeue();
    for (const message of [acked, rejected, requeued]) {
      await rejection(message?.ack() as Promise<unknown>, 'MESSAGE_STATE');
      await rejection(message?.reject() as Promise<unknown>, 'MESSAGE_STATE');
      await rejection(message?.requeue() as Promise<unknown>, 'MESSAGE_STATE');
    }
    await untilDepth(t, queue, 1);
    deepEqual(payloads(await drain(t, queue)), [2]);
  });

  test('two settlements in one turn: the first counts', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 1);
    const message = await (await collect(t, queue)).next();
    const [first, second] = [message.ack(), message.requeue()];
    await rejection(second, 'MESSAGE_STATE');
    equal(await first, true);
    equal(await depth(t, queue), 0);
  });

  test('reject drops the message', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 2);
    const inbox = await collect(t, queue, { prefetch: 1 });
    equal(await (await inbox.next()).reject(), true);
    const second = await inbox.next();
    deepEqual([second.payload, second.redelivered], [1, false]);
    await second.ack();
    equal(await depth(t, queue), 0);
  });

  test('a requeued message comes again, marked, where the flag requeuePosition says', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 3);
    const first = await queue.get();
    equal(await first?.requeue(), true);
    await untilDepth(t, queue, 3);
    const got = await drain(t, queue);
    const back = t.features.requeuePosition === 'back';
    deepEqual(
      got.map(({ payload, redelivered }) => [payload, redelivered]),
      back
        ? [
            [1, false],
            [2, false],
            [0, true],
          ]
        : [
            [0, true],
            [1, false],
            [2, false],
          ],
    );
  });

  test('several requeued messages: each goes where the flag requeuePosition says', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 5);
    const held: (Message<number> | undefined)[] = [];
    for (let i = 0; i < 4; i++) held.push(await queue.get());
    for (const i of [2, 0, 3]) await held[i]?.requeue();
    await untilDepth(t, queue, 4);
    const orders = { original: [0, 2, 3, 4], front: [3, 0, 2, 4], back: [4, 2, 0, 3] };
    deepEqual(payloads(await drain(t, queue)), orders[t.features.requeuePosition]);
  });

  test('what was unsettled when its connection closed comes again, marked and in order', async (t) => {
    const queue = t.queue<number>('q');
    const other = t.connect();
    const inbox = await collect(t, queue, {}, other);
    await fill(t, queue.name, 4);
    const held = await inbox.take(4);
    equal(await held[1]?.ack(), true);
    await other.close();
    await untilDepth(t, queue, 3);
    const again = await drain(t, queue);
    deepEqual(payloads(again), [0, 2, 3]);
    deepEqual(
      again.map(({ redelivered }) => redelivered),
      [true, true, true],
    );
  });

  test('a message of a connection that was closed is stale: ack resolves false', async (t) => {
    const queue = t.queue<number>('q');
    const other = t.connect();
    const inbox = await collect(t, queue, {}, other);
    await fill(t, queue.name, 1);
    const held = await inbox.next();
    await other.close();
    equal(await held.ack(), false);
  });

  test(
    'recover: every unsettled delivery of the consumer comes again',
    async (t) => {
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      await fill(t, queue.name, 3);
      const inbox = await collect(t, queue, { prefetch: 10 });
      const [first] = await inbox.take(3);
      await first?.ack();
      await t.within('recover', inbox.consumer.recover());
      const again = await inbox.take(2);
      deepEqual(
        again.map(({ payload, redelivered }) => [payload, redelivered]),
        [
          [1, true],
          [2, true],
        ],
      );
      for (const message of again) equal(await message.ack(), true);
      equal(await depth(t, queue), 0);
    },
    { needs: ['recover'] },
  );

  test(
    'multiple: one ack, or one reject, for all up to it',
    async (t) => {
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      await fill(t, queue.name, 6);
      const channel = t.connection.channel();
      const deliveries: Delivery[] = [];
      for (let i = 0; i < 6; i++) deliveries.push((await channel.get(queue.name)) as Delivery);
      equal(await channel.ack(deliveries[2]?.deliveryTag, { multiple: true }), true);
      equal(await channel.reject(deliveries[4]?.deliveryTag, { requeue: true, multiple: true }), true);
      await untilDepth(t, queue, 2);
      await channel.close();
      await untilDepth(t, queue, 3);
      deepEqual(payloads(await drain(t, queue)).sort(), [3, 4, 5]);
    },
    { needs: ['multipleAck'] },
  );

  test('a channel that closes gives back what it held', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 2);
    const channel = t.connection.channel();
    await channel.get(queue.name);
    equal(await depth(t, queue), 1);
    await channel.close();
    await untilDepth(t, queue, 2);
    deepEqual(payloads(await drain(t, queue)), [0, 1]);
  });

  test('a thousand acks that nobody awaits are all done', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const count = 1000;
    await fill(t, queue.name, count);
    const inbox = await collect(t, queue, { prefetch: 0 });
    for (const message of await inbox.take(count)) void message.ack();
    await t.connection.close();
    const fresh = t.connect();
    await t.eventually('the queue to be empty', async () => (await depth(t, queue, fresh)) === 0);
    deepEqual(payloads(await drain(t, queue, fresh)), []);
  });

  test('ackLogError and rejectLogError settle as ack and reject do', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 2);
    const inbox = await collect(t, queue);
    const [one, two] = await inbox.take(2);
    await one?.ackLogError();
    await two?.rejectLogError();
    deepEqual([one?.state, two?.state], ['ACK', 'REJECTED']);
    equal(await depth(t, queue), 0);
  });
});
