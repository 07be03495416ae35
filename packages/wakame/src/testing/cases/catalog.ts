import { deepEqual, equal, ok } from 'node:assert/strict';
import { group } from '../define.js';

/** The lists of what stands at the broker. */
export const catalog = group('lists', (test) => {
  test('queues, exchanges and bindings are listed as they were declared, and not once they are gone', async (t) => {
    const exchange = t.exchange('e', { type: 'topic' });
    const queue = t.queue('q', { exchange, routingKey: 'a.*', durable: true, queueArguments: { 'x-max-length': 9 } });
    const bound = queue.bind(t.connection);
    await bound.declare();
    const lists = t.connect().catalog;

    const found = (await lists.queues()).filter(({ name }) => name === queue.name);
    equal(found.length, 1);
    const { name, durable, exclusive, autoDelete, arguments: args } = found[0] ?? {};
    deepEqual(
      { name, durable, exclusive, autoDelete, args },
      { name: queue.name, durable: true, exclusive: false, autoDelete: false, args: { 'x-max-length': 9 } },
    );
    deepEqual(
      (await lists.exchanges()).filter(({ name }) => name === exchange.name),
      [{ name: exchange.name, type: 'topic', durable: true, autoDelete: false, internal: false, arguments: {} }],
    );
    const bindings = await lists.bindings();
    deepEqual(
      bindings.filter(({ source }) => source === exchange.name),
      [
        {
          source: exchange.name,
          destinationType: 'queue',
          destination: queue.name,
          routingKey: 'a.*',
          arguments: {},
        },
      ],
    );
    ok(bindings.every(({ source }) => source !== ''));

    await bound.delete();
    await exchange.bind(t.connection).delete();
    ok((await lists.queues()).every(({ name }) => name !== queue.name));
    ok((await lists.exchanges()).every(({ name }) => name !== exchange.name));
    ok((await lists.bindings()).every(({ source }) => source !== exchange.name));
  });

  test(
    'counts come with the queues, at the latest when the broker has counted',
    async (t) => {
      const queue = t.queue('q');
      const producer = t.connection.producer();
      await producer.publish('a', { routingKey: queue.name, declare: [queue] });
      await producer.publish('b', { routingKey: queue.name });
      const { catalog } = t.connection;
      await t.eventually('a count of two', async () => {
        const entry = (await catalog.queues()).find(({ name }) => name === queue.name);
        return entry?.messageCount === 2 && entry.consumerCount === 0;
      });
    },
    { timeout: 30_000 },
  );

  test('a list that is no longer wanted rejects with the reason', async (t) => {
    const reason = new Error('enough');
    const told = await t.connection.catalog.queues({ signal: AbortSignal.abort(reason) }).catch((error) => error);
    equal(told, reason);
  });
});
