import { deepEqual, equal } from 'node:assert/strict';
import type { MessagingError } from '../../index.js';
import { group } from '../define.js';
import { depth, failure, rejection } from '../support.js';

export const simple = group('SimpleQueue', (test) => {
  test('put, get, qsize, clear', async (t) => {
    const name = t.queue('simple').name;
    t.exchangeName('simple');
    const queue = t.connection.simpleQueue(name);
    await queue.put({ n: 1 });
    await queue.put('two');
    await t.eventually('two messages', async () => (await queue.qsize()) === 2);
    const first = await queue.get({ timeout: t.patience });
    deepEqual(first.payload, { n: 1 });
    equal(await first.ack(), true);
    await (await queue.get({ timeout: t.patience })).reject({ requeue: true });
    const second = await queue.get({ timeout: t.patience });
    deepEqual([second.payload, second.redelivered], ['two', true]);
    await second.ack();
    await queue.put('three');
    await queue.put('four');
    await queue.close();
    const other = t.connection.simpleQueue(name);
    await t.eventually('two messages', async () => (await other.qsize()) === 2);
    equal(await other.clear(), 2);
    equal(await other.qsize(), 0);
    await other.close();
  });

  test('get waits as long as it was told, then it is EMPTY; getNoWait does not wait', async (t) => {
    const name = t.queue('simple').name;
    t.exchangeName('simple');
    const queue = t.connection.simpleQueue(name);
    await rejection(queue.getNoWait(), 'EMPTY');
    await rejection(queue.get({ timeout: 30 }), 'EMPTY');
    const waiting = queue.get({ timeout: t.patience });
    await queue.put('late');
    equal((await t.within('get', waiting)).payload, 'late');
    const reason = new Error('stop');
    equal(await failure(queue.get({ signal: AbortSignal.abort(reason) })), reason);
    await queue.close();
    await queue.close();
  });

  test('closing gives back what was not taken', async (t) => {
    const entity = t.queue('simple');
    t.exchangeName('simple');
    const queue = t.connection.simpleQueue(entity.name);
    for (const body of ['a', 'b', 'c']) await queue.put(body);
    const first = await queue.get({ timeout: t.patience });
    await first.ack();
    await queue.close();
    await t.eventually('two messages', async () => (await depth(t, entity)) === 2);
  });

  test(
    'a buffer is transient: it belongs to its connection and goes with it',
    async (t) => {
      const name = t.name('buffer');
      const owner = t.connect();
      const buffer = owner.simpleBuffer(name);
      await buffer.put('x');
      await rejection(t.connection.defaultChannel().queueDeclare(name, { passive: true }), 'RESOURCE_LOCKED');
      const message = await buffer.get({ timeout: t.patience });
      deepEqual([message.payload, message.state], ['x', 'ACK']);
      await buffer.close();
      await owner.close();
      await t.eventually('the buffer to go', () =>
        t.connection
          .defaultChannel()
          .queueDeclare(name, { passive: true })
          .then(
            () => false,
            (error: MessagingError) => error.code === 'NOT_FOUND',
          ),
      );
    },
    { needs: ['autoDelete', 'exclusive'] },
  );
});
