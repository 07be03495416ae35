/** What the virtual transport does for stores that cannot: delay, TTL, lengths, broadcast. */
import { describe, expect, test } from 'vitest';
import type { Delivery, TransportChannel } from '../../src/transport/contract.js';
import { MemoryDriver } from '../../src/transports/memory/index.js';
import { completed } from '../../src/transports/virtual/emulation/index.js';
import { BareDriver, BroadcastingDriver } from './doubles.js';
import { driverContract } from './driver-contract.js';
import {
  consume,
  drain,
  freshBroker,
  type memoryModule,
  message,
  moduleOf,
  oneChannel,
  open,
  parametersOf,
  publish,
  settled,
  textOf,
} from './harness.js';

const bareModule = () => moduleOf(() => new BareDriver());
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const emptyStore = () => parametersOf(freshBroker());
driverContract('a bare store', { createDriver: () => new BareDriver(), emptyStore });
driverContract('the same, completed', {
  createDriver: () => completed(new BareDriver()),
  emptyStore,
  lacks: { delay: false, messageTtl: false, maxLength: false },
});
driverContract('a store that broadcasts, completed', {
  createDriver: () => completed(new BroadcastingDriver()),
  emptyStore,
});

test('a driver that lacks nothing is used as it is', () => {
  const driver = new MemoryDriver();
  expect(completed(driver)).toBe(driver);
});

describe('delay', () => {
  test('a consumer gets each message at its time, those without one at once', async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('q');
    const now = Date.now();
    const arrivals: [string, number][] = [];
    const inbox = await consume(channel, 'q', {
      onDelivery: (delivery) => arrivals.push([textOf(delivery), Date.now()]),
    });
    await publish(channel, 'later', { routingKey: 'q', notBefore: now + 1000 });
    await publish(channel, 'soon', { routingKey: 'q', notBefore: now + 500 });
    await publish(channel, 'at once', { routingKey: 'q' });
    await inbox.count(3);
    expect(arrivals.map(([text]) => text)).toEqual(['at once', 'soon', 'later']);
    expect(arrivals[1]?.[1]).toBeGreaterThanOrEqual(now + 500);
    expect(arrivals[2]?.[1]).toBeGreaterThanOrEqual(now + 1000);
    expect(inbox.deliveries.some(({ redelivered }) => redelivered)).toBe(false);
  });

  test('messages that wait do not keep the others, nor use up the prefetch', async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('q');
    const notBefore = Date.now() + 60_000;
    await Promise.all(Array.from({ length: 300 }, () => publish(channel, 'waits', { routingKey: 'q', notBefore })));
    await publish(channel, 'now', { routingKey: 'q' });
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await inbox.count(1);
    expect(inbox.texts).toEqual(['now']);
    await channel.cancel(inbox.tag);
  });

  test('get passes them by and leaves them where they were', async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('q');
    const notBefore = Date.now() + 50;
    await publish(channel, 'later', { routingKey: 'q', notBefore });
    await publish(channel, 'now', { routingKey: 'q' });
    expect(await drain(channel, 'q')).toEqual(['now']);
    while (Date.now() < notBefore) await pause(5);
    expect(await drain(channel, 'q')).toEqual(['later']);
  });

  test('without acknowledgement too, and nothing is lost when the consumer goes before the time', async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker, module: bareModule() })).channel();
    await channel.queueDeclare('q');
    const notBefore = Date.now() + 600;
    for (const text of ['1', '2']) await publish(channel, text, { routingKey: 'q', notBefore });
    const first = await consume(channel, 'q', { noAck: true });
    await pause(20);
    await channel.cancel(first.tag);
    const { channel: other } = await (await open({ broker, module: bareModule() })).channel();
    const second = await consume(other, 'q', { noAck: true });
    await second.count(2);
    expect([first.texts, second.texts]).toEqual([[], ['1', '2']]);
    await settled();
    expect(await drain(channel, 'q')).toEqual([]);
  });

  test('the loss of the connection gives back what waited, to whoever consumes', async () => {
    const driver = new BareDriver();
    const broker = freshBroker();
    const opened = await open({ broker, module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    const notBefore = Date.now() + 600;
    await publish(channel, 'm', { routingKey: 'q', notBefore });
    await consume(channel, 'q');
    await pause(15);
    driver.cut();
    await opened.closed;
    await open({ broker, transport: opened.transport });
    const { channel: other } = await (await open({ broker, module: bareModule() })).channel();
    const inbox = await consume(other, 'q');
    await inbox.count(1);
    expect(inbox.deliveries[0]?.redelivered).toBe(false);
    expect(Date.now()).toBeGreaterThanOrEqual(notBefore);
  });

  test('what waits keeps its lease', async () => {
    const lease = 500;
    const broker = freshBroker();
    const module = moduleOf(() => new BareDriver({ lease }, { lease }));
    const { channel } = await (await open({ broker, module })).channel();
    const { channel: other } = await (await open({ broker, module })).channel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q', notBefore: Date.now() + 3 * lease });
    const inboxes = [await consume(channel, 'q'), await consume(other, 'q')];
    await Promise.race(inboxes.map((inbox) => inbox.count(1)));
    await settled();
    const deliveries = inboxes.flatMap((inbox) => inbox.deliveries);
    expect(deliveries.map(({ redelivered }) => redelivered)).toEqual([false]);
  });

  test("what it writes on a message is not the application's to see, nor a dead letter's to keep", async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('graves');
    await channel.queueDeclare('q', {
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' },
    });
    await publish(channel, 'm', { routingKey: 'q', notBefore: Date.now() + 20, expiration: '60000' });
    const inbox = await consume(channel, 'q', {
      onDelivery: ({ deliveryTag }) => void channel.reject(deliveryTag, { requeue: false }),
    });
    await inbox.count(1);
    expect(inbox.deliveries[0]?.properties).toEqual({ expiration: '60000' });
    for (;;) {
      const dead = await channel.get('graves', { noAck: true });
      if (dead !== undefined) break;
      await pause(2);
    }
  });
});

describe('message TTL', () => {
  test('an expired message is not delivered, to consumers or to get', async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('q', { arguments: { 'x-message-ttl': 30 } });
    for (const text of ['1', '2']) await publish(channel, text, { routingKey: 'q' });
    await publish(channel, 'own', { routingKey: 'q', expiration: '5' });
    await pause(40);
    await publish(channel, 'fresh', { routingKey: 'q' });
    expect(textOf((await channel.get('q')) as Delivery)).toBe('fresh');
    await publish(channel, 'fresh too', { routingKey: 'q' });
    const inbox = await consume(channel, 'q');
    await inbox.count(1);
    expect(inbox.texts).toEqual(['fresh too']);
  });
});

describe('sends made one after the other', () => {
  const sent = (queue: string, text: string) => ({ queue, message: message(text) });

  async function twoQueues(options: { readonly maxLength?: number } = {}) {
    const driver = completed(new BareDriver());
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    await channel.queueDeclare('other', {
      arguments: options.maxLength === undefined ? {} : { 'x-max-length': options.maxLength },
    });
    return { driver, channel };
  }

  test('keep their order when only the first has to ask for the options of a queue', async () => {
    const { driver, channel } = await twoQueues();
    await driver.send([sent('q', '1')]);
    // The options of 'other' are not known yet, those of 'q' are.
    await Promise.all([driver.send([sent('other', 'x'), sent('q', '2')]), driver.send([sent('q', '3')])]);
    expect(await drain(channel, 'q')).toEqual(['1', '2', '3']);
  });

  test('keep their order when the first has to be counted', async () => {
    const { driver, channel } = await twoQueues({ maxLength: 5 });
    await driver.send([sent('q', '1'), sent('other', 'x')]);
    const sends = [driver.send([sent('other', 'y'), sent('q', '2')]), driver.send([sent('q', '3')])];
    await settled(1);
    sends.push(driver.send([sent('q', '4')]));
    await Promise.all(sends);
    expect(await drain(channel, 'q')).toEqual(['1', '2', '3', '4']);
  });
});

describe('queue TTL', () => {
  const exists = (channel: TransportChannel) =>
    channel.queueDeclare('q', { passive: true }).then(
      () => true,
      () => false,
    );

  test('the one who declared it deletes it when nobody used it; consumers anywhere keep it', async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker, module: bareModule() })).channel();
    const { channel: other } = await (await open({ broker, module: bareModule() })).channel();
    await channel.queueDeclare('q', { arguments: { 'x-expires': 50 } });
    const inbox = await consume(other, 'q');
    await pause(150);
    expect(await exists(other)).toBe(true);
    await other.cancel(inbox.tag);
    while (await exists(other)) await pause(10);
  });
});

describe('maximum length', () => {
  test('in bytes is refused, for it cannot be kept', async () => {
    const { channel } = await oneChannel(bareModule());
    await expect(channel.queueDeclare('q', { arguments: { 'x-max-length-bytes': 10 } })).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
    });
  });

  test('a batch is cut where the queue is full', async () => {
    const { channel } = await oneChannel(bareModule());
    await channel.queueDeclare('q', { arguments: { 'x-max-length': 3, 'x-overflow': 'reject-publish' } });
    const results = await Promise.allSettled(
      ['1', '2', '3', '4', '5'].map((text) => publish(channel, text, { routingKey: 'q' })),
    );
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(await drain(channel, 'q')).toEqual(['1', '2', '3']);
  });
});

describe('fanout by the store', () => {
  async function subscribed(
    queues: readonly string[],
    options: { readonly module?: ReturnType<typeof memoryModule>; readonly broker?: string } = {},
  ) {
    const driver = new BroadcastingDriver();
    const broker = options.broker ?? freshBroker();
    const opened = await open({ broker, module: options.module ?? moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.exchangeDeclare('news', 'fanout');
    for (const queue of queues) {
      await channel.queueDeclare(queue);
      await channel.queueBind({ queue, exchange: 'news', routingKey: '' });
    }
    return { channel, driver, broker, opened };
  }

  test('every queue with a consumer gets a copy, over all connections (Kombu: only the last queue did)', async () => {
    const { channel, broker } = await subscribed(['q1', 'q2']);
    const { channel: other } = await subscribed(['q3'], { broker });
    const inboxes = [await consume(channel, 'q1'), await consume(channel, 'q2'), await consume(other, 'q3')];
    for (const text of ['1', '2']) await publish(other, text, { exchange: 'news' });
    for (const inbox of inboxes) {
      await inbox.count(2);
      expect(inbox.texts).toEqual(['1', '2']);
    }
  });

  test('nobody subscribed: unroutable; nothing is kept for later', async () => {
    const { channel } = await subscribed(['q']);
    await expect(publish(channel, 'm', { exchange: 'news' })).rejects.toMatchObject({ code: 'UNROUTABLE' });
    const inbox = await consume(channel, 'q');
    await publish(channel, 'now', { exchange: 'news' });
    await inbox.count(1);
    expect(inbox.texts).toEqual(['now']);
  });

  test('prefetch, acknowledgement, rejection and requeueing work as for any other', async () => {
    const { channel } = await subscribed(['q']);
    await channel.qos({ prefetch: 2, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    for (const text of ['1', '2', '3']) await publish(channel, text, { exchange: 'news' });
    await settled(10);
    expect(inbox.texts).toEqual(['1', '2']);
    expect((await channel.queueDeclare('q', { passive: true })).messageCount).toBe(1);
    expect(await channel.reject(inbox.deliveries[0]?.deliveryTag, { requeue: true })).toBe(true);
    await inbox.count(3);
    expect(inbox.deliveries[2]).toMatchObject({ redelivered: true, deliveryCount: 1 });
    expect(textOf(inbox.deliveries[2] as Delivery)).toBe('1');
    expect(await channel.ack(inbox.deliveries[1]?.deliveryTag)).toBe(true);
    await inbox.count(4);
    expect(inbox.texts).toEqual(['1', '2', '1', '3']);
  });

  test('the same queue takes messages of other exchanges from the store', async () => {
    const { channel } = await subscribed(['q']);
    const inbox = await consume(channel, 'q');
    await publish(channel, 'direct', { routingKey: 'q' });
    await inbox.count(1);
    await publish(channel, 'news', { exchange: 'news' });
    await inbox.count(2);
    expect(await Promise.all(inbox.deliveries.map(({ deliveryTag }) => channel.ack(deliveryTag)))).toEqual([
      true,
      true,
    ]);
  });

  test('bindings made and undone while consuming count at once', async () => {
    const { channel, driver } = await subscribed(['q']);
    await channel.exchangeDeclare('more', 'fanout');
    const inbox = await consume(channel, 'q');
    await channel.queueBind({ queue: 'q', exchange: 'more', routingKey: '' });
    await publish(channel, '1', { exchange: 'more' });
    await inbox.count(1);
    await channel.queueUnbind({ queue: 'q', exchange: 'news', routingKey: '' });
    expect(driver.subscriptions('news')).toBe(0);
    await expect(publish(channel, '2', { exchange: 'news' })).rejects.toMatchObject({ code: 'UNROUTABLE' });
    await channel.cancel(inbox.tag);
    expect(driver.subscriptions('more')).toBe(0);
  });

  test('a consumer that cannot be subscribed is not started, and leaves nothing behind', async () => {
    const { channel, driver } = await subscribed(['q']);
    driver.refuseSubscriptions = true;
    await expect(consume(channel, 'q', { consumerTag: 'tag' })).rejects.toMatchObject({ code: 'STORE_ERROR' });
    expect(await channel.queueDeclare('q', { passive: true })).toMatchObject({ consumerCount: 0 });
    driver.refuseSubscriptions = false;
    const inbox = await consume(channel, 'q', { consumerTag: 'tag' });
    await publish(channel, 'm', { exchange: 'news' });
    await inbox.count(1);
  });

  test('an exchange bound to a fanout exchange reaches its subscribers', async () => {
    const { channel } = await subscribed(['q']);
    await channel.exchangeDeclare('source', 'topic');
    await channel.exchangeBind({ destination: 'news', source: 'source', routingKey: 'a.#' });
    const inbox = await consume(channel, 'q');
    await publish(channel, 'm', { exchange: 'source', routingKey: 'a.b' });
    await inbox.count(1);
    expect(inbox.deliveries[0]).toMatchObject({ exchange: 'source', routingKey: 'a.b' });
  });

  test('after a loss the next incarnation subscribes anew', async () => {
    const { channel, driver, broker, opened } = await subscribed(['q']);
    const first = await consume(channel, 'q');
    await publish(channel, '1', { exchange: 'news' });
    const [delivery] = (await first.count(1)) as [Delivery];
    driver.cut();
    await opened.closed;
    const { channel: next } = await (await open({ broker, transport: opened.transport })).channel();
    const second = await consume(next, 'q');
    await publish(next, '2', { exchange: 'news' });
    await second.count(1);
    expect(driver.subscriptions('news')).toBe(1);
    expect(await channel.ack(delivery.deliveryTag)).toBe(true);
  });

  test('a queue whose consumers never catch up loses the oldest, and says so', async () => {
    const { channel, opened } = await subscribed(['q']);
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    for (let i = 0; i < 11; i++) {
      await Promise.all(
        Array.from({ length: 1000 }, (_, j) =>
          channel.publish(message(`${i * 1000 + j}`, { exchange: 'news' }), 'confirmed'),
        ),
      );
    }
    await settled();
    expect(inbox.texts).toEqual(['0']);
    expect((await channel.queueDeclare('q', { passive: true })).messageCount).toBe(10_000);
    expect(opened.problems.length).toBeGreaterThan(0);
  });
});
