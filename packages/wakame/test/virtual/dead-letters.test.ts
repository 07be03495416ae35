/** Messages that are rejected, expire, are pushed out or fail too often, and where they go. */
import { describe, expect, test } from 'vitest';
import type { Delivery, TransportChannel } from '../../src/transport/contract.js';
import { MemoryDriver } from '../../src/transports/memory/index.js';
import { noop } from '../../src/util/noop.js';
import { BareDriver, RemoteDriver } from './doubles.js';
import {
  consume,
  drain,
  freshBroker,
  memoryModule,
  moduleOf,
  oneChannel,
  open,
  parametersOf,
  publish,
  settled,
  textOf,
} from './harness.js';

/** A queue `q` with these arguments, whose dead letters go through `dlx` to the queue `graves`. */
async function graveyard(made: ReturnType<typeof oneChannel>, args: Record<string, unknown> = {}) {
  const opened = await made;
  const { channel } = opened;
  await channel.exchangeDeclare('dlx', 'fanout');
  await channel.queueDeclare('graves');
  await channel.queueBind({ queue: 'graves', exchange: 'dlx', routingKey: '' });
  await channel.queueDeclare('q', { arguments: { 'x-dead-letter-exchange': 'dlx', ...args } });
  return opened;
}

/** The next dead letter, when it is there. */
async function nextGrave(channel: TransportChannel, queue = 'graves'): Promise<Delivery> {
  for (;;) {
    const delivery = await channel.get(queue, { noAck: true });
    if (delivery !== undefined) return delivery;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const deathsOf = ({ properties }: Delivery) => properties.headers?.['x-death'];

describe.each([
  ['memory', () => oneChannel()],
  ['memory with leases', () => oneChannel(memoryModule({ lease: 10_000 }))],
  ['a store at the other end of a wire', () => oneChannel(moduleOf(() => new RemoteDriver()))],
  ['a store that can do little', () => oneChannel(moduleOf(() => new BareDriver()))],
])('on %s', (_name, make) => {
  test('rejected: the dead letter is there when the rejection is answered', async () => {
    const { channel } = await graveyard(make());
    await publish(channel, 'm', { routingKey: 'q', headers: { own: 1 } });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    expect(await channel.reject(deliveryTag, { requeue: false })).toBe(true);
    const dead = (await channel.get('graves')) as Delivery;
    expect(textOf(dead)).toBe('m');
    expect(dead).toMatchObject({ exchange: 'dlx', routingKey: 'q', redelivered: false });
    expect(dead.properties.headers).toMatchObject({
      own: 1,
      'x-first-death-queue': 'q',
      'x-first-death-reason': 'rejected',
    });
    expect(deathsOf(dead)).toMatchObject([
      { reason: 'rejected', queue: 'q', count: 1, exchange: '', 'routing-keys': ['q'] },
    ]);
    expect(await channel.get('q')).toBeUndefined();
  });

  test("expired: by its own time or the queue's", async () => {
    const { channel } = await graveyard(make(), { 'x-message-ttl': 30 });
    await publish(channel, 'own', { routingKey: 'q', expiration: '5' });
    await publish(channel, 'queue', { routingKey: 'q' });
    // A store without the notion finds out when somebody looks.
    const dead: Delivery[] = [];
    while (dead.length < 2) {
      const early = await channel.get('q');
      if (early !== undefined) await channel.release([early.deliveryTag]);
      const letter = await channel.get('graves', { noAck: true });
      if (letter !== undefined) dead.push(letter);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(dead.map(textOf)).toEqual(['own', 'queue']);
    expect(deathsOf(dead[0] as Delivery)).toMatchObject([{ reason: 'expired', 'original-expiration': '5' }]);
    expect(dead[0]?.properties.expiration).toBeUndefined();
  });

  test('pushed out', async () => {
    const { channel } = await graveyard(make(), { 'x-max-length': 1 });
    for (const text of ['1', '2']) await publish(channel, text, { routingKey: 'q' });
    const dead = await nextGrave(channel);
    expect(textOf(dead)).toBe('1');
    expect(deathsOf(dead)).toMatchObject([{ reason: 'maxlen' }]);
    expect(await drain(channel, 'q')).toEqual(['2']);
  });

  test('refused by reject-publish-dlx: nacked, and a dead letter', async () => {
    const { channel } = await graveyard(make(), { 'x-max-length': 1, 'x-overflow': 'reject-publish-dlx' });
    await publish(channel, '1', { routingKey: 'q' });
    await expect(publish(channel, '2', { routingKey: 'q' })).rejects.toMatchObject({ code: 'NACKED' });
    const dead = (await channel.get('graves')) as Delivery;
    expect(textOf(dead)).toBe('2');
    expect(deathsOf(dead)).toMatchObject([{ reason: 'maxlen', queue: 'q' }]);
  });

  test('refused by reject-publish: nacked, and no dead letter', async () => {
    const { channel } = await graveyard(make(), { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    await publish(channel, '1', { routingKey: 'q' });
    await expect(publish(channel, '2', { routingKey: 'q' })).rejects.toMatchObject({ code: 'NACKED' });
    expect(await drain(channel, 'graves')).toEqual([]);
  });

  test('failed too often', async () => {
    const { channel } = await graveyard(make(), { 'x-delivery-limit': 2 });
    await publish(channel, 'm', { routingKey: 'q' });
    const inbox = await consume(channel, 'q', {
      onDelivery: ({ deliveryTag }) => void channel.reject(deliveryTag, { requeue: true }),
    });
    const dead = await nextGrave(channel);
    expect(deathsOf(dead)).toMatchObject([{ reason: 'delivery_limit' }]);
    expect(inbox.deliveries.map(({ deliveryCount }) => deliveryCount)).toEqual([0, 1, 2]);
  });

  test('the policy may name another key, and the default exchange', async () => {
    const { channel } = await graveyard(make(), {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'graves',
    });
    await publish(channel, 'm', { routingKey: 'q' });
    await channel.reject(((await channel.get('q')) as Delivery).deliveryTag, { requeue: false });
    expect(await nextGrave(channel)).toMatchObject({ exchange: '', routingKey: 'graves' });
  });

  test('without anywhere to go: gone', async () => {
    const { channel } = await graveyard(make(), { 'x-dead-letter-exchange': 'nowhere' });
    await publish(channel, 'm', { routingKey: 'q' });
    expect(await channel.reject(((await channel.get('q')) as Delivery).deliveryTag, { requeue: false })).toBe(true);
    await channel.queueDeclare('plain');
    await publish(channel, 'm', { routingKey: 'plain' });
    expect(await channel.reject(((await channel.get('plain')) as Delivery).deliveryTag, { requeue: false })).toBe(true);
    expect(await drain(channel, 'graves')).toEqual([]);
    expect((await channel.queueDeclare('q', { passive: true })).messageCount).toBe(0);
  });

  test('what the application did to its copy is not in the dead letter', async () => {
    const { channel } = await graveyard(make());
    await publish(channel, 'body', { routingKey: 'q', headers: { list: [1] } });
    const delivery = (await channel.get('q')) as Delivery;
    delivery.body.fill(0);
    (delivery.properties.headers as { list: number[] }).list.push(2);
    await channel.reject(delivery.deliveryTag, { requeue: false });
    const dead = await nextGrave(channel);
    expect(textOf(dead)).toBe('body');
    expect(dead.properties.headers).toMatchObject({ list: [1] });
  });
});

describe('going round', () => {
  test('by itself ends: a message that would expire in the same two queues for ever is dropped', async () => {
    const { channel } = await oneChannel();
    for (const [queue, next] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      await channel.queueDeclare(queue, {
        arguments: { 'x-message-ttl': 5, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': next },
      });
    }
    await publish(channel, 'm', { routingKey: 'a' });
    await new Promise((resolve) => setTimeout(resolve, 60));
    for (const queue of ['a', 'b']) expect((await channel.queueDeclare(queue, { passive: true })).messageCount).toBe(0);
  });

  test('with somebody who rejects goes on, counted: the usual way to retry later', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('work', {
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'wait' },
    });
    await channel.queueDeclare('wait', {
      arguments: { 'x-message-ttl': 5, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'work' },
    });
    await publish(channel, 'm', { routingKey: 'work' });
    const inbox = await consume(channel, 'work', {
      onDelivery: ({ deliveryTag }) => void channel.reject(deliveryTag, { requeue: false }),
    });
    await inbox.count(4);
    expect(deathsOf(inbox.deliveries[3] as Delivery)).toMatchObject([
      { queue: 'wait', reason: 'expired', count: 3 },
      { queue: 'work', reason: 'rejected', count: 3 },
    ]);
  });
});

describe('nothing is lost on the way', () => {
  test('when the dead letter cannot be stored the message stays', async () => {
    const driver = new RemoteDriver();
    const { channel, opened } = await graveyard(oneChannel(moduleOf(() => driver)));
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    driver.fail('send');
    expect(await channel.reject(deliveryTag, { requeue: false })).toBe(false);
    await settled();
    expect(opened.problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
    expect(await channel.get('q')).toMatchObject({ redelivered: true });
  });

  test('what expired while nobody was connected is brought to its exchange by the next who comes', async () => {
    const broker = freshBroker();
    const first = await open({ broker });
    const { channel } = await first.channel();
    await channel.queueDeclare('graves');
    await channel.queueDeclare('q', {
      arguments: { 'x-message-ttl': 10, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' },
    });
    await publish(channel, 'm', { routingKey: 'q' });
    await first.connection.close({ timeout: 1000 });
    await first.transport.dispose();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { channel: next } = await (await open({ broker })).channel();
    expect(textOf(await nextGrave(next))).toBe('m');
  });

  test('what its sweeper left behind is seen to by the next who connects', async () => {
    const broker = freshBroker();
    // A connection that never sweeps.
    const careless = new MemoryDriver();
    await careless.open({
      parameters: parametersOf(broker),
      holder: { id: 'careless', name: 'careless' },
      lost: noop,
      due: noop,
      problem: noop,
    });
    const queue = { durable: false, autoDelete: false, deadLetter: false, arguments: {} };
    const policy = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' };
    careless.declare([
      { name: 'graves', options: queue },
      { name: 'q', options: { ...queue, maxLength: 1, deadLetter: true, arguments: policy } },
    ]);
    const stored = (text: string) => ({ body: Buffer.from(text), properties: {}, exchange: '', routingKey: 'q' });
    careless.send(['1', '2'].map((text) => ({ queue: 'q', message: stored(text) })));
    await careless.retire();
    const { channel } = await (await open({ broker })).channel();
    expect(textOf(await nextGrave(channel))).toBe('1');
  });

  test('a dead letter whose connection is lost while it is sent is sent by the next', async () => {
    const driver = new RemoteDriver();
    const broker = freshBroker();
    const opened = await open({ broker, module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('graves');
    await channel.queueDeclare('q', {
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' },
    });
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    driver.fail('send');
    const sends = driver.callsOf('send').length;
    const rejected = channel.reject(deliveryTag, { requeue: false });
    while (driver.callsOf('send').length === sends) await Promise.resolve();
    driver.cut();
    await opened.closed;
    const { channel: next } = await (await open({ broker, transport: opened.transport })).channel();
    expect(await rejected).toBe(true);
    expect(textOf(await nextGrave(next))).toBe('m');
    expect(await next.get('q')).toBeUndefined();
  });

  test('a rejection made while the connection is lost reaches the exchange after the next connect', async () => {
    const driver = new RemoteDriver();
    const broker = freshBroker();
    const opened = await open({ broker, module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('graves');
    await channel.queueDeclare('q', {
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' },
    });
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    driver.cut();
    await opened.closed;
    const rejected = channel.reject(deliveryTag, { requeue: false });
    const { channel: next } = await (await open({ broker, transport: opened.transport })).channel();
    expect(await rejected).toBe(true);
    expect(textOf(await nextGrave(next))).toBe('m');
  });
});

test('a dead letter may go through an internal exchange', async () => {
  const { channel } = await oneChannel();
  await channel.exchangeDeclare('inner', 'fanout', { internal: true });
  await channel.queueDeclare('graves');
  await channel.queueBind({ queue: 'graves', exchange: 'inner', routingKey: '' });
  await channel.queueDeclare('q', { arguments: { 'x-dead-letter-exchange': 'inner' } });
  await publish(channel, 'm', { routingKey: 'q' });
  await channel.reject(((await channel.get('q')) as Delivery).deliveryTag, { requeue: false });
  expect(await drain(channel, 'graves')).toEqual(['m']);
});
