/** Acknowledging, rejecting, releasing, recovering. */
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Delivery, DeliveryTag, TransportChannel } from '../../src/transport/contract.js';
import { RemoteDriver } from './doubles.js';
import { consume, drain, freshBroker, moduleOf, oneChannel, open, publish, settled, textOf } from './harness.js';

const memory = () => oneChannel();
const remote = () => oneChannel(moduleOf(() => new RemoteDriver()));

async function withMessages(made: ReturnType<typeof memory>, count = 5) {
  const { channel, ...rest } = await made;
  await channel.queueDeclare('q');
  for (let i = 0; i < count; i++) await publish(channel, `${i}`, { routingKey: 'q' });
  return { channel, ...rest };
}

/** Tags of all that is there. */
async function getAll(channel: TransportChannel): Promise<DeliveryTag[]> {
  const tags: DeliveryTag[] = [];
  for (let got = await channel.get('q'); got !== undefined; got = await channel.get('q')) tags.push(got.deliveryTag);
  return tags;
}

const left = async (channel: TransportChannel) => {
  const all: [string, boolean][] = [];
  for (
    let got = await channel.get('q', { noAck: true });
    got !== undefined;
    got = await channel.get('q', { noAck: true })
  ) {
    all.push([textOf(got), got.redelivered]);
  }
  return all;
};

describe.each([
  ['on a synchronous driver', memory],
  ['on one at the other end of a wire', remote],
])('%s', (_name, make) => {
  test('ack, one and up to one', async () => {
    const { channel } = await withMessages(make());
    const tags = await getAll(channel);
    expect(await channel.ack(tags[1])).toBe(true);
    expect(await channel.ack(tags[3], { multiple: true })).toBe(true);
    await channel.close();
    const { channel: next } = await nextChannel(channel);
    expect(await left(next)).toEqual([['4', true]]);
  });

  test('reject with and without requeue, one and up to one', async () => {
    const { channel } = await withMessages(make());
    const tags = await getAll(channel);
    expect(await channel.reject(tags[0], { requeue: false })).toBe(true);
    expect(await channel.reject(tags[2], { requeue: true, multiple: true })).toBe(true);
    expect(await channel.reject(tags[4], { requeue: false, multiple: true })).toBe(true);
    expect(await left(channel)).toEqual([
      ['1', true],
      ['2', true],
    ]);
  });

  test('release: back to its place, unmarked', async () => {
    const { channel } = await withMessages(make());
    const tags = await getAll(channel);
    await channel.release(tags.slice(1, 4));
    expect(await left(channel)).toEqual(['1', '2', '3'].map((text) => [text, false]));
  });

  test('recover: all that is unsettled, in order, marked', async () => {
    const { channel } = await withMessages(make());
    const tags = await getAll(channel);
    channel.ack(tags[2]);
    await channel.recover();
    expect(await channel.ack(tags[0])).toBe(false);
    expect(await left(channel)).toEqual(['0', '1', '3', '4'].map((text) => [text, true]));
  });

  test('the end of the channel gives back what is unsettled; it is stale then', async () => {
    const { channel } = await withMessages(make());
    const tags = await getAll(channel);
    await channel.close();
    expect(await channel.ack(tags[0])).toBe(false);
    expect(await channel.reject(tags[1], { requeue: true })).toBe(false);
    const { channel: next } = await nextChannel(channel);
    expect(await left(next)).toEqual(['0', '1', '2', '3', '4'].map((text) => [text, true]));
  });

  test("a tag settled before, of another channel's, of a message without acknowledgement or made up is refused", async () => {
    const { channel } = await withMessages(make());
    const { channel: other } = await nextChannel(channel);
    const tag = (await channel.get('q'))?.deliveryTag;
    const free = (await channel.get('q', { noAck: true }))?.deliveryTag;
    const refused = { code: 'PRECONDITION_FAILED', message: expect.stringContaining('unknown delivery tag') };
    await expect(other.ack(tag)).rejects.toMatchObject(refused);
    await expect(channel.ack(free)).rejects.toMatchObject(refused);
    await expect(channel.ack(1)).rejects.toMatchObject(refused);
    await expect(channel.ack(undefined, { multiple: true })).rejects.toMatchObject(refused);
    expect(await channel.ack(tag)).toBe(true);
    await expect(channel.ack(tag)).rejects.toMatchObject(refused);
    await expect(channel.reject(tag, { requeue: true })).rejects.toMatchObject(refused);
    await expect(channel.release([tag])).rejects.toMatchObject(refused);
    expect(channel.state).toBe('open');
  });

  test('a message whose queue was deleted is stale', async () => {
    const { channel } = await withMessages(make());
    const tag = (await channel.get('q'))?.deliveryTag;
    await channel.queueDelete('q');
    expect(await channel.ack(tag)).toBe(false);
  });

  test('a rejected message comes again, first of all, and again', async () => {
    const { channel } = await withMessages(make(), 2);
    const seen: [string, boolean, number | undefined][] = [];
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q', {
      onDelivery: (delivery) => {
        seen.push([textOf(delivery), delivery.redelivered, delivery.deliveryCount]);
        if (seen.length < 3) void channel.reject(delivery.deliveryTag, { requeue: true });
        else void channel.ack(delivery.deliveryTag);
      },
    });
    await inbox.count(4);
    expect(seen).toEqual([
      ['0', false, 0],
      ['0', true, 1],
      ['0', true, 2],
      ['1', false, 0],
    ]);
  });
});

async function nextChannel(channel: TransportChannel) {
  const next = await channel.connection.openChannel('consume', { onClose: () => {}, onReturned: () => {} });
  return { channel: next };
}

test('memory answers at once', async () => {
  const { channel } = await withMessages(memory());
  const [first, second] = await getAll(channel);
  expect(channel.ack(first)).toBe(true);
  expect(channel.reject(second, { requeue: true })).toBe(true);
});

test('tags show their number, and nothing of the machinery', async () => {
  const { channel } = await withMessages(memory());
  const [first, second] = await getAll(channel);
  expect(`${first} ${second}`).toBe('1 2');
  expect(JSON.stringify({ tag: first })).toBe('{"tag":1}');
  expect(inspect(first)).toBe('DeliveryTag 1');
});

test('what is settled in one tick, on whatever channels, is one call', async () => {
  const driver = new RemoteDriver();
  const broker = freshBroker();
  const opened = await open({ broker, module: moduleOf(() => driver) });
  const { channel } = await opened.channel();
  const { channel: other } = await opened.channel();
  await channel.queueDeclare('q');
  for (let i = 0; i < 20; i++) await publish(channel, `${i}`, { routingKey: 'q' });
  await channel.qos({ prefetch: 10, scope: 'consumer' });
  await other.qos({ prefetch: 10, scope: 'consumer' });
  const [a, b] = [await consume(channel, 'q'), await consume(other, 'q')];
  await a.count(10);
  await b.count(10);
  const answers = [
    ...a.deliveries.map(({ deliveryTag }) => channel.ack(deliveryTag)),
    ...b.deliveries.map(({ deliveryTag }) => other.ack(deliveryTag)),
  ];
  expect(await Promise.all(answers)).toEqual(new Array(20).fill(true));
  expect(driver.callsOf('settle').map(({ size }) => size)).toEqual([20]);
});

describe('when the store answers a settlement with an error', () => {
  test('it is sent again, and true when the first had got through', async () => {
    const driver = new RemoteDriver();
    const { channel } = await withMessages(oneChannel(moduleOf(() => driver)), 2);
    const [first] = await getAll(channel);
    driver.fail('settle', { done: true });
    expect(await channel.ack(first)).toBe(true);
  });

  test('for good: false, and a problem; the message comes back some day', async () => {
    const driver = new RemoteDriver();
    const { channel, opened } = await withMessages(oneChannel(moduleOf(() => driver)), 1);
    const [tag] = await getAll(channel);
    for (let i = 0; i < 3; i++) driver.fail('settle');
    expect(await channel.ack(tag)).toBe(false);
    await settled();
    expect(opened.problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
  });
});

test('a thousand messages taken and requeued one by one come again in their order', async () => {
  const { channel } = await withMessages(memory(), 1000);
  const tags = await getAll(channel);
  for (const tag of shuffled(tags)) channel.reject(tag, { requeue: true });
  expect(await drain(channel, 'q')).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
});

/** In an order that looks like none, the same each time. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item, i) => ({ item, key: (i * 7919) % 1009 }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

test('a delivery is of a channel: settling it does not need the consumer any more', async () => {
  const { channel } = await withMessages(memory(), 1);
  const inbox = await consume(channel, 'q');
  const [delivery] = (await inbox.count(1)) as [Delivery];
  await channel.cancel(inbox.tag);
  expect(channel.ack(delivery.deliveryTag)).toBe(true);
});
