import { deepEqual, equal, ok } from 'node:assert/strict';
import type { MessagingError } from '../../index.js';
import { startChild } from '../child-process.js';
import { group } from '../define.js';
import { collect, depth, drain, fill, payloads, sequence } from '../support.js';

export const processes = group('processes', (test) => {
  test(
    'a script that closes its connection exits by itself',
    async (t) => {
      const child = startChild(t, { role: 'use-and-close', queue: t.queue('q').name });
      const report = await t.within('the end of the script', child.report('closed'), 3 * t.patience);
      const { code, signal } = await t.within('the exit of the process', child.exited);
      deepEqual([code, signal], [0, null], child.output());
      ok(report);
      equal(child.output(), '', 'it has nothing to warn of');
    },
    { needs: ['processes'], timeout: 60_000 },
  );

  test(
    'messages from another process, and to it',
    async (t) => {
      const [to, from] = [t.queue<number>('to').bind(t.connection), t.queue<number>('from')];
      await to.declare();
      const inbox = await collect(t, from);
      const child = startChild(t, { role: 'pass-on', queue: to.name, to: from.name });
      await t.within('the other process', child.report('ready'), 3 * t.patience);
      await fill(t, to.name, 50);
      deepEqual(payloads(await inbox.take(50)), sequence(50));
      child.send('close');
      deepEqual((await t.within('its exit', child.exited)).code, 0, child.output());
    },
    { needs: ['processes', 'multiProcess'], timeout: 60_000 },
  );

  test(
    'bindings that another process makes and takes away count here, for what is published on either side',
    async (t) => {
      const exchanges = (['fanout', 'topic'] as const).map((type) => t.exchange(type, { type }).bind(t.connection));
      const own = t.queue<string>('own').bind(t.connection);
      const moved = t.queue<string>('moved').bind(t.connection);
      await Promise.all([own, moved, ...exchanges].map((entity) => entity.declare()));
      for (const exchange of exchanges) await own.bindTo(exchange, { routingKey: 'a.*' });
      const [here, there] = [await collect(t, own, { settle: 'auto' }), await collect(t, moved, { settle: 'auto' })];
      // What is known here of the exchanges was read before the other process comes.
      const producer = t.connection.producer({ routingKey: 'a.b' });
      for (const exchange of exchanges) await producer.publish('before', { exchange });
      await here.take(2);

      const names = exchanges.map(({ name }) => name);
      const child = startChild(t, { role: 'bind', queue: moved.name, exchanges: names });
      await t.within('bindings of the other process', child.report('bound'), 3 * t.patience);
      deepEqual(payloads(await there.take(2)), names);
      for (const exchange of exchanges) {
        const text = `ours by ${exchange.type}`;
        await t.eventually(`a message ${text}`, async () => {
          await producer.publish(text, { exchange });
          return there.messages.some(({ payload }) => payload === text);
        });
      }
      child.send('unbind');
      await t.within('the bindings to be gone', child.report('unbound'));
      for (const exchange of exchanges) {
        await own.unbindFrom(exchange, { routingKey: 'a.*' });
        await t.eventually(`no queue of ${exchange.type}`, () =>
          producer.publish('nobody', { exchange, mandatory: true }).then(
            () => false,
            (error: MessagingError) => error.code === 'UNROUTABLE',
          ),
        );
      }
      deepEqual((await t.within('its exit', child.exited)).code, 0, child.output());
    },
    { needs: ['processes', 'multiProcess', 'exchange:fanout', 'exchange:topic'], timeout: 60_000 },
  );

  test(
    'kill -9 of a consumer in its handler: what it held comes again, to another',
    async (t) => {
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      await fill(t, queue.name, 10);
      const child = startChild(t, { role: 'hold', queue: queue.name, prefetch: 4 });
      // It has acknowledged one, is in the handler of the next, and holds three more.
      const held = await t.within('the handler', child.report('handling'), 3 * t.patience);
      equal(held, 1);
      await t.eventually('four messages held', async () => (await depth(t, queue)) === 5);
      child.kill();
      equal((await t.within('its end', child.exited)).signal, 'SIGKILL');
      const inbox = await collect(t, queue, { prefetch: 100 });
      const got = await t.within('nine messages', inbox.take(9), 4 * t.patience);
      deepEqual(
        [...payloads(got)].sort((a, b) => a - b),
        sequence(10).slice(1),
      );
      for (const message of got) {
        if (message.payload <= 4) equal(message.redelivered, true, `message ${message.payload}`);
        equal(await message.ack(), true);
      }
      deepEqual(await drain(t, queue), []);
    },
    { needs: ['processes', 'multiProcess'], timeout: 90_000 },
  );

  test(
    'kill -9 of a publisher: what was confirmed is there',
    async (t) => {
      const queue = t.queue<number>('q').bind(t.connection);
      await queue.declare();
      const child = startChild(t, { role: 'publish-for-ever', queue: queue.name });
      const confirmed = Number(await t.within('some confirms', child.report('confirmed'), 3 * t.patience));
      child.kill();
      await t.within('its end', child.exited);
      const all = payloads(await drain(t, queue));
      ok(all.length >= confirmed, `${confirmed} confirmed, ${all.length} there`);
      deepEqual(all, sequence(all.length));
    },
    { needs: ['processes', 'multiProcess'], timeout: 60_000 },
  );
});
