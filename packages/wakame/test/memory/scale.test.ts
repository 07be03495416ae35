/** A hundred thousand messages and more: what must not grow, and what must not slow down. */
import { expect, test } from 'vitest';
import { Entry } from '../../src/transports/memory/entry.js';
import { MemoryDriver, memoryBroker } from '../../src/transports/memory/index.js';
import { MemoryQueue } from '../../src/transports/memory/queue.js';
import { Watchers } from '../../src/transports/memory/watchers.js';
import { consume, freshBroker, open, parametersOf, publish, settled } from '../virtual/harness.js';

test('a hundred thousand messages through two connections: each once, in order', async () => {
  const count = 100_000;
  const broker = freshBroker();
  const { channel: publisher } = await (await open({ broker })).channel();
  const { channel } = await (await open({ broker })).channel();
  await channel.queueDeclare('q');
  await channel.qos({ prefetch: 100, scope: 'consumer' });
  let next = 0;
  const disorder: string[] = [];
  const inbox = await consume(channel, 'q', {
    onDelivery: ({ deliveryTag, properties }) => {
      if (properties.messageId !== `${next}`) disorder.push(`${properties.messageId} instead of ${next}`);
      next++;
      void channel.ack(deliveryTag);
    },
  });
  for (let i = 0; i < count; i++) await publish(publisher, 'm', { routingKey: 'q', messageId: `${i}` });
  await inbox.count(count);
  expect(disorder).toEqual([]);
  expect(memoryBroker(broker).queues()).toMatchObject([{ messageCount: 0 }]);
});

test('a queue of a million: sending and taking cost what they cost with a hundred', () => {
  const queue = new MemoryQueue(
    'q',
    { durable: false, autoDelete: false, deadLetter: false, arguments: {} },
    new Watchers('q'),
  );
  const message = { body: new Uint8Array(0), properties: {}, exchange: '', routingKey: 'q' };
  const total = 1_000_000;
  for (let i = 0; i < total; i++) queue.append(new Entry(queue, message, 0, undefined));
  // With anything that moves or looks through the whole, this would take minutes.
  const taken: Entry[] = [];
  for (let i = 0; i < total; i++) {
    taken.push(queue.takeFirst() as Entry);
    if (i % 3 === 0) queue.putBack(taken.pop() as Entry);
  }
  for (const entry of taken) queue.putBack(entry);
  let last = -1;
  let ordered = true;
  for (let entry = queue.takeFirst(); entry !== undefined; entry = queue.takeFirst()) {
    ordered &&= entry.seq > last;
    last = entry.seq;
  }
  expect(ordered).toBe(true);
  expect(queue.readyCount).toBe(0);
});

test('messages that expire in the middle of a queue do not pile up there', async () => {
  const driver = new MemoryDriver();
  const broker = freshBroker();
  await driver.open({
    parameters: parametersOf(broker),
    holder: { id: 'h', name: 'h' },
    lost: () => {},
    due: () => {},
    problem: () => {},
  });
  driver.declare([{ name: 'q', options: { durable: false, autoDelete: false, deadLetter: false, arguments: {} } }]);
  const outbound = (expiresAt: number | undefined) => ({
    queue: 'q',
    message: { body: Buffer.alloc(10), properties: {}, exchange: '', routingKey: 'q' },
    expiresAt,
  });
  driver.send([outbound(undefined)]);
  const now = Date.now();
  for (let i = 0; i < 100_000; i++) driver.send([outbound(now - 1)]);
  expect(driver.stat(['q'])).toMatchObject([{ messageCount: 1 }]);
  expect(driver.peek('q', 10)).toHaveLength(1);
  await driver.retire();
});

test('connections, queues and consumers that come and go leave nothing behind', async () => {
  const broker = freshBroker();
  const control = memoryBroker(broker);
  for (let i = 0; i < 200; i++) {
    const opened = await open({ broker });
    const { channel } = await opened.channel();
    const { queue } = await channel.queueDeclare('', { exclusive: true });
    await channel.exchangeDeclare('x', 'fanout', { autoDelete: true });
    await channel.queueBind({ queue, exchange: 'x', routingKey: '' });
    const inbox = await consume(channel, queue);
    await publish(channel, 'm', { exchange: 'x' });
    await inbox.count(1);
    await opened.connection.close({ timeout: 1000 });
    await opened.transport.dispose();
  }
  await settled();
  expect(control.queues()).toEqual([]);
  expect(control.connectionCount).toBe(0);
});
