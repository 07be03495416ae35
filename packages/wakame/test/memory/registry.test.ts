/** Named brokers, and what a test can do to them. */
import { expect, test } from 'vitest';
import { memoryBroker, resetMemory, transportModule } from '../../src/transports/memory/index.js';
import { consume, drain, freshBroker, open, publish, settled } from '../virtual/harness.js';

const on = async (hostname: string | undefined, virtualHost?: string) => {
  const opened = await open({ broker: '', hostname, virtualHost });
  return (await opened.channel()).channel;
};

test('connections of one name share a broker; others, and other virtual hosts, have their own', async () => {
  const name = freshBroker();
  const first = await on(name);
  await first.queueDeclare('q');
  await publish(first, 'm', { routingKey: 'q' });
  await expect((await on(freshBroker())).queueDeclare('q', { passive: true })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect((await on(name, 'other')).queueDeclare('q', { passive: true })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining("vhost 'other'"),
  });
  expect(await drain(await on(name, '/'), 'q')).toEqual(['m']);
  resetMemory(`${name}/other`);
});

test('without a name: the default broker, which localhost means too', async () => {
  try {
    await (await on(undefined)).queueDeclare('q');
    await (await on('')).queueDeclare('q', { passive: true });
    await (await on('localhost')).queueDeclare('q', { passive: true });
    expect(
      memoryBroker()
        .queues()
        .map((queue) => queue.name),
    ).toEqual(['q']);
  } finally {
    resetMemory('');
  }
});

test('a broker outlives its connections', async () => {
  const name = freshBroker();
  const opened = await open({ broker: name });
  const { channel } = await opened.channel();
  await channel.queueDeclare('q');
  await publish(channel, 'm', { routingKey: 'q' });
  await opened.connection.close({ timeout: 1000 });
  await opened.transport.dispose();
  expect(memoryBroker(name).connectionCount).toBe(0);
  expect(await drain(await on(name), 'q')).toEqual(['m']);
});

test('memoryBroker shows what is there', async () => {
  const name = freshBroker();
  const channel = await on(name);
  await channel.queueDeclare('q1');
  await channel.queueDeclare('q2');
  await publish(channel, 'm', { routingKey: 'q1' });
  await consume(channel, 'q2');
  const broker = memoryBroker(name);
  expect(broker).toMatchObject({ name, connectionCount: 1 });
  expect(broker.queues()).toMatchObject([
    { name: 'q1', messageCount: 1, consumerCount: 0 },
    { name: 'q2', messageCount: 0, consumerCount: 1 },
  ]);
});

test('resetMemory empties a broker and drops its connections; others stay', async () => {
  const [name, other] = [freshBroker(), freshBroker()];
  const opened = await open({ broker: name });
  const { channel } = await opened.channel();
  await channel.exchangeDeclare('x', 'fanout');
  await channel.queueDeclare('q');
  await channel.queueBind({ queue: 'q', exchange: 'x', routingKey: '' });
  await publish(channel, 'm', { exchange: 'x' });
  await (await on(other)).queueDeclare('q');
  resetMemory(name);
  expect(await opened.closed).toMatchObject({ code: 'CONNECTION_LOST', recoverable: true });
  const { channel: next } = await (await open({ broker: name, transport: opened.transport })).channel();
  await expect(next.queueDeclare('q', { passive: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(next.exchangeDeclare('x', 'fanout', { passive: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(memoryBroker(other).queues()).toHaveLength(1);
});

test('resetMemory starts what was stopped, and makes held messages stale', async () => {
  const name = freshBroker();
  const opened = await open({ broker: name });
  const { channel } = await opened.channel();
  await channel.queueDeclare('q');
  await publish(channel, 'm', { routingKey: 'q' });
  const held = await channel.get('q');
  memoryBroker(name).stop();
  resetMemory(name);
  await open({ broker: name, transport: opened.transport });
  await settled();
  expect(await channel.ack(held?.deliveryTag)).toBe(false);
});

test('what polls elsewhere has no effect here, and is said to have none', () => {
  expect(transportModule.transportOptions.has('polling_interval')).toBe(false);
  expect(transportModule.ignoredOptions).toHaveProperty('polling_interval');
  expect([...transportModule.transportOptions].sort()).toEqual(['deadletter_queue', 'queue_order_strategy']);
});
