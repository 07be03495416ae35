/** Delivery: prefetch, fairness, rotation, cancelling, get. */
import { describe, expect, test } from 'vitest';
import type { Delivery, TransportChannel } from '../../src/transport/contract.js';
import { deferred } from '../../src/util/deferred.js';
import { BareDriver, LongPollDriver, RemoteDriver, TerseDriver } from './doubles.js';
import {
  consume,
  drain,
  freshBroker,
  memoryModule,
  moduleOf,
  oneChannel,
  open,
  publish,
  settled,
  textOf,
} from './harness.js';

const numbered = (count: number, prefix = '') => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

async function fill(channel: TransportChannel, queue: string, bodies: readonly string[]): Promise<void> {
  await Promise.all(bodies.map((body) => publish(channel, body, { routingKey: queue })));
}

/** Counts of what each inbox got. */
const counts = (...inboxes: readonly { readonly deliveries: readonly unknown[] }[]) =>
  inboxes.map(({ deliveries }) => deliveries.length);

describe('deliveries', () => {
  test('come in order, with everything about them', async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('x', 'direct');
    await channel.queueDeclare('q');
    await channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'k' });
    const inbox = await consume(channel, 'q', { consumerTag: 'mine' });
    for (const body of ['1', '2', '3'])
      await publish(channel, body, { exchange: 'x', routingKey: 'k', messageId: body });
    await inbox.count(3);
    expect(inbox.texts).toEqual(['1', '2', '3']);
    expect(inbox.deliveries[0]).toMatchObject({
      exchange: 'x',
      routingKey: 'k',
      consumerTag: 'mine',
      redelivered: false,
      deliveryCount: 0,
      properties: { messageId: '1' },
    });
  });

  test('never come from inside a call', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q', { onDelivery: ({ deliveryTag }) => channel.ack(deliveryTag) });
    const done = publish(channel, '1', { routingKey: 'q' });
    expect(inbox.texts).toEqual([]);
    await done;
    const [delivery] = await inbox.count(1);
    expect(delivery).toBeDefined();
  });

  test("a sink that throws harms nobody else's messages", async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    const thrown = deferred<unknown>();
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', thrown.resolve);
    try {
      const inbox = await consume(channel, 'q', {
        onDelivery: (delivery) => {
          if (textOf(delivery) === '1') throw new Error('a bug in a sink');
        },
      });
      await fill(channel, 'q', ['1', '2']);
      expect(await thrown.promise).toMatchObject({ message: 'a bug in a sink' });
      await inbox.count(2);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });

  test('cannot be mixed up with what the publisher or another consumer does to a message', async () => {
    const { channel } = await oneChannel();
    for (const queue of ['q1', 'q2']) {
      await channel.queueDeclare(queue);
      await channel.queueBind({ queue, exchange: 'amq.fanout', routingKey: '' });
    }
    const headers = { list: [1] };
    const body = Buffer.from('body');
    await channel.publish(
      { exchange: 'amq.fanout', routingKey: '', body, properties: { headers }, unroutable: 'reject' },
      'confirmed',
    );
    body.fill(0);
    headers.list.push(2);
    const first = (await channel.get('q1')) as Delivery;
    expect(first).toMatchObject({ properties: { headers: { list: [1] } } });
    expect(textOf(first)).toBe('body');
    first.body.fill(1);
    (first.properties.headers as typeof headers).list.push(3);
    await channel.reject(first.deliveryTag, { requeue: true });
    for (const queue of ['q1', 'q2']) {
      const again = (await channel.get(queue)) as Delivery;
      expect(textOf(again)).toBe('body');
      expect(again.properties.headers).toEqual({ list: [1] });
    }
  });
});

describe('prefetch', () => {
  test('of each consumer bounds what it has unsettled; settling lets more come', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(10));
    await channel.qos({ prefetch: 3, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await settled();
    expect(inbox.texts).toEqual(['0', '1', '2']);
    void channel.ack(inbox.deliveries[1]?.deliveryTag);
    await inbox.count(4);
    void channel.ack(inbox.deliveries[3]?.deliveryTag, { multiple: true });
    await settled();
    expect(inbox.texts).toEqual(numbered(7));
  });

  test('applies to consumers started afterwards; 0 is no limit', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('a');
    await channel.queueDeclare('b');
    await fill(channel, 'a', numbered(300));
    await fill(channel, 'b', numbered(5));
    const unlimited = await consume(channel, 'a');
    await channel.qos({ prefetch: 2, scope: 'consumer' });
    const limited = await consume(channel, 'b');
    await settled();
    expect(counts(unlimited, limited)).toEqual([300, 2]);
  });

  test('of a channel bounds all its consumers together, and starves none', async () => {
    const { channel } = await oneChannel();
    for (const queue of ['a', 'b', 'empty']) await channel.queueDeclare(queue);
    await fill(channel, 'a', numbered(10));
    await fill(channel, 'b', numbered(10));
    await channel.qos({ prefetch: 2, scope: 'channel' });
    const empty = await consume(channel, 'empty');
    const [a, b] = [await consume(channel, 'a'), await consume(channel, 'b')];
    let most = 0;
    for (let done = 0; done < 20; done++) {
      await settled(2);
      const all = [...a.deliveries, ...b.deliveries];
      most = Math.max(most, all.length - done);
      void channel.ack([...a.deliveries, ...b.deliveries].sort(byNumber)[done]?.deliveryTag);
    }
    expect(most).toBe(2);
    expect(counts(a, b, empty)).toEqual([10, 10, 0]);
    expect(Math.abs(a.deliveries.length - b.deliveries.length)).toBeLessThanOrEqual(2);
  });

  test('of a channel is not asked for twice over', async () => {
    const driver = new RemoteDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    for (const queue of ['a', 'b']) {
      await channel.queueDeclare(queue);
      await fill(channel, queue, numbered(3));
    }
    await channel.flow(false);
    await channel.qos({ prefetch: 1, scope: 'channel' });
    const acking = ({ deliveryTag }: Delivery) => void channel.ack(deliveryTag);
    const inboxes = [
      await consume(channel, 'a', { onDelivery: acking }),
      await consume(channel, 'b', { onDelivery: acking }),
    ];
    await channel.flow(true);
    for (const inbox of inboxes) await inbox.count(3);
    // Each take asked one queue for one message, so nothing had to be given back.
    expect(driver.callsOf('take').every(({ size }) => size === 1)).toBe(true);
    expect(driver.callsOf('settle').reduce((sum, { size }) => sum + size, 0)).toBe(6);
  });

  test('of a channel may be raised at any time', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(10));
    await channel.qos({ prefetch: 1, scope: 'channel' });
    const inbox = await consume(channel, 'q');
    await settled();
    expect(counts(inbox)).toEqual([1]);
    await channel.qos({ prefetch: 4, scope: 'channel' });
    await settled();
    expect(counts(inbox)).toEqual([4]);
  });

  test('does not hold back consumers that do not acknowledge, nor get', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await channel.queueDeclare('other');
    await fill(channel, 'q', numbered(300));
    await fill(channel, 'other', numbered(3));
    await channel.qos({ prefetch: 1, scope: 'channel' });
    const inbox = await consume(channel, 'q', { noAck: true });
    await inbox.count(300);
    expect(inbox.texts).toEqual(numbered(300));
    for (const text of numbered(3)) expect(textOf((await channel.get('other')) as Delivery)).toBe(text);
  });

  test.each([-1, 1.5, 65_536, '5' as unknown as number])('%s is refused', async (prefetch) => {
    const { channel } = await oneChannel();
    await expect(channel.qos({ prefetch, scope: 'consumer' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

const byNumber = (a: Delivery, b: Delivery) => Number(String(a.deliveryTag)) - Number(String(b.deliveryTag));

describe('several consumers of one queue', () => {
  test('get one message after another in rotation while they have room', async () => {
    const { channel, opened } = await oneChannel();
    const { channel: second } = await opened.channel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(9));
    await channel.flow(false);
    await second.flow(false);
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const small = await consume(channel, 'q');
    const [a, b] = [await consume(second, 'q'), await consume(second, 'q')];
    await Promise.all([channel.flow(true), second.flow(true)]);
    await settled();
    expect(counts(small, a, b)).toEqual([1, 4, 4]);
  });

  test('of higher x-priority come first while they have room', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await channel.qos({ prefetch: 2, scope: 'consumer' });
    const low = await consume(channel, 'q');
    const high = await consume(channel, 'q', { arguments: { 'x-priority': 10 } });
    await fill(channel, 'q', numbered(3));
    await settled();
    expect([high.texts, low.texts]).toEqual([['0', '1'], ['2']]);
    await expect(consume(channel, 'q', { arguments: { 'x-priority': 'high' } })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
  });

  test('on several connections share what is there', async () => {
    const broker = freshBroker();
    const channels = await Promise.all([1, 2, 3].map(async () => (await (await open({ broker })).channel()).channel));
    const [first] = channels as [TransportChannel];
    await first.queueDeclare('q');
    const inboxes = await Promise.all(channels.map((channel) => consume(channel, 'q')));
    await settled();
    await fill(first, 'q', numbered(90));
    await settled();
    const got = counts(...inboxes);
    expect(got.reduce((sum, count) => sum + count)).toBe(90);
    for (const count of got) expect(count).toBeGreaterThanOrEqual(15);
  });

  test('with and without acknowledgement, each get their part', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(20));
    await channel.qos({ prefetch: 100, scope: 'consumer' });
    const starts = [consume(channel, 'q'), consume(channel, 'q', { noAck: true })] as const;
    const [acking, other] = await Promise.all(starts);
    await settled();
    expect([...acking.texts, ...other.texts].map(Number).sort((a, b) => a - b)).toEqual(numbered(20).map(Number));
  });
});

describe('several queues', () => {
  test('ten thousand messages in one, then one in another: handled within one batch', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('busy');
    await channel.queueDeclare('quiet');
    await fill(channel, 'busy', numbered(10_000));
    const order: string[] = [];
    const handle = (delivery: Delivery) => {
      order.push(delivery.routingKey);
      void channel.ack(delivery.deliveryTag);
      if (order.length === 500) void publish(channel, 'x', { routingKey: 'quiet' });
    };
    const busy = await consume(channel, 'busy', { onDelivery: handle });
    const quiet = await consume(channel, 'quiet', { onDelivery: handle });
    await quiet.count(1);
    expect(order.indexOf('quiet')).toBeLessThan(500 + 2 * 128);
    await busy.count(10_000);
    expect(busy.texts).toEqual(numbered(10_000));
  });

  test('more of them than a batch has places: each has its turn', async () => {
    const { channel } = await oneChannel();
    const queues = numbered(300, 'q');
    for (const queue of queues) await channel.queueDeclare(queue);
    for (const queue of queues) await fill(channel, queue, numbered(5));
    const order: string[] = [];
    await channel.flow(false);
    for (const queue of queues) {
      await channel.consume(
        queue,
        { consumerTag: queue },
        { onDelivery: ({ routingKey }) => order.push(routingKey), onCancel: () => {} },
      );
    }
    await channel.flow(true);
    while (order.length < 1500) await settled(1);
    // Before any queue has its second message, every queue has had its first.
    expect(new Set(order.slice(0, 300)).size).toBe(300);
  });

  test.each([
    ['priority', ['b', 'b', 'b', 'a', 'a', 'a']],
    ['sorted', ['a', 'a', 'a', 'b', 'b', 'b']],
  ])('queue_order_strategy %s', async (strategy, expected) => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker, transportOptions: { queue_order_strategy: strategy } })).channel();
    const order: string[] = [];
    const sink = { onDelivery: ({ routingKey }: Delivery) => order.push(routingKey), onCancel: () => {} };
    for (const queue of ['b', 'a']) await channel.queueDeclare(queue);
    // Both consumers are there before the first take, and both queues are filled.
    await channel.flow(false);
    for (const queue of ['b', 'a']) await channel.consume(queue, { consumerTag: queue }, sink);
    await fill(channel, 'a', numbered(3));
    await fill(channel, 'b', numbered(3));
    await channel.flow(true);
    await settled();
    expect(order).toEqual(expected);
  });

  test.each([{ queue_order_strategy: 'random' }, { deadletter_queue: 5 }])(
    '%j is refused',
    async (transportOptions) => {
      await expect(open({ broker: freshBroker(), transportOptions })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    },
  );
});

describe('cancel', () => {
  test('after it, nothing comes; what was delivered may be settled', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(2));
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await inbox.count(1);
    await channel.cancel(inbox.tag);
    expect(channel.ack(inbox.deliveries[0]?.deliveryTag)).toBe(true);
    await settled();
    expect(inbox.texts).toEqual(['0']);
    expect((await channel.queueDeclare('q', { passive: true })).consumerCount).toBe(0);
    expect(await drain(channel, 'q')).toEqual(['1']);
  });

  test('from within a delivery: the rest of the batch stays in the queue, in order and unmarked', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(10));
    const inbox = await consume(channel, 'q', { onDelivery: () => void channel.cancel('tag'), consumerTag: 'tag' });
    await inbox.count(1);
    await settled();
    expect(inbox.texts).toEqual(['0']);
    const rest: Delivery[] = [];
    for (let delivery = await channel.get('q'); delivery !== undefined; delivery = await channel.get('q'))
      rest.push(delivery);
    expect(rest.map(textOf)).toEqual(numbered(10).slice(1));
    expect(rest.some(({ redelivered }) => redelivered)).toBe(false);
  });

  test('without acknowledgement: what was taken for it comes still, for it is nowhere else', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(200));
    let cancelled: Promise<void> | undefined;
    const inbox = await consume(channel, 'q', {
      consumerTag: 'tag',
      noAck: true,
      onDelivery: () => (cancelled ??= channel.cancel('tag')),
    });
    await inbox.count(1);
    await cancelled;
    const got = inbox.deliveries.length;
    await settled();
    expect(inbox.deliveries).toHaveLength(got);
    expect([...inbox.texts, ...(await drain(channel, 'q'))]).toEqual(numbered(200));
  });

  test('in flight: what arrives for it goes back', async () => {
    const driver = new RemoteDriver();
    const { channel } = await (await open({ broker: freshBroker(), module: moduleOf(() => driver) })).channel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q');
    await settled();
    const release = driver.hold();
    const published = publish(channel, '1', { routingKey: 'q' });
    while (driver.callsOf('take').length < 2) await settled(1);
    const cancelled = channel.cancel(inbox.tag);
    release();
    await cancelled;
    await published;
    expect(inbox.texts).toEqual([]);
    expect(await channel.get('q')).toMatchObject({ redelivered: false });
  });

  test('a tag may be used again afterwards, not before; one that nobody has is no error', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await consume(channel, 'q', { consumerTag: 'tag' });
    await expect(consume(channel, 'q', { consumerTag: 'tag' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await channel.cancel('tag');
    await consume(channel, 'q', { consumerTag: 'tag' });
    await channel.cancel('none');
  });

  test('right behind an un-awaited consume', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    const started = consume(channel, 'q', { consumerTag: 'tag' });
    const cancelled = channel.cancel('tag');
    const inbox = await started;
    await cancelled;
    await publish(channel, 'm', { routingKey: 'q' });
    await settled();
    expect(inbox.texts).toEqual([]);
  });
});

describe('a queue that is deleted', () => {
  test.each(['by this channel', 'by another connection'])(
    '%s cancels its consumers; the channel lives on',
    async (by) => {
      const broker = freshBroker();
      const { channel } = await (await open({ broker })).channel();
      const { channel: other } = await (await open({ broker })).channel();
      await channel.queueDeclare('q');
      const inbox = await consume(channel, 'q', { consumerTag: 'tag' });
      await (by === 'by this channel' ? channel : other).queueDelete('q');
      expect(await inbox.cancellation()).toMatchObject({ code: 'CONSUMER_CANCELLED', recoverable: true });
      await channel.queueDeclare('q');
      const next = await consume(channel, 'q', { consumerTag: 'tag' });
      await publish(channel, 'm', { routingKey: 'q' });
      await next.count(1);
    },
  );

  test('on a store that does not tell is noticed by looking', async () => {
    const broker = freshBroker();
    const module = moduleOf(() => new BareDriver());
    const { channel } = await (await open({ broker, module })).channel();
    const { channel: other } = await (await open({ broker, module })).channel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q');
    await other.queueDelete('q');
    expect(await inbox.cancellation()).toMatchObject({ code: 'CONSUMER_CANCELLED' });
  });
});

describe('exclusive consumers', () => {
  test('are refused where there are others, and refuse others', async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker })).channel();
    const { channel: other } = await (await open({ broker })).channel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q', { exclusive: true });
    const refused = {
      code: 'ACCESS_REFUSED',
      message: expect.stringContaining("queue 'q' in vhost '/' in exclusive use"),
    };
    await expect(consume(other, 'q')).rejects.toMatchObject(refused);
    await expect(consume(channel, 'q')).rejects.toMatchObject(refused);
    await channel.cancel(inbox.tag);
    await consume(other, 'q');
    await expect(consume(channel, 'q', { exclusive: true })).rejects.toMatchObject(refused);
  });
});

describe('a single active consumer', () => {
  test('the first has the queue alone; the next takes over, on whatever connection', async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker })).channel();
    const { channel: other } = await (await open({ broker })).channel();
    await channel.queueDeclare('q', { arguments: { 'x-single-active-consumer': true } });
    const first = await consume(channel, 'q', { onDelivery: ({ deliveryTag }) => channel.ack(deliveryTag) });
    const second = await consume(channel, 'q', {
      arguments: { 'x-priority': 5 },
      onDelivery: ({ deliveryTag }) => channel.ack(deliveryTag),
    });
    const third = await consume(other, 'q');
    await fill(channel, 'q', numbered(5));
    await first.count(5);
    await channel.cancel(first.tag);
    await fill(channel, 'q', ['a']);
    await second.count(1);
    await channel.cancel(second.tag);
    await fill(channel, 'q', ['b']);
    await third.count(1);
    expect([first.texts, second.texts, third.texts]).toEqual([numbered(5), ['a'], ['b']]);
  });

  test('is refused where the store cannot keep to it', async () => {
    const { channel } = await oneChannel(moduleOf(() => new BareDriver()));
    const options = { arguments: { 'x-single-active-consumer': true } };
    await expect(channel.queueDeclare('q', options)).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });
});

test('noLocal is refused rather than not kept', async () => {
  const { channel } = await oneChannel();
  await channel.queueDeclare('q');
  await expect(consume(channel, 'q', { noLocal: true })).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
});

test('flow stops and resumes the deliveries of a channel', async () => {
  const { channel, opened } = await oneChannel();
  const { channel: other } = await opened.channel();
  await channel.queueDeclare('q');
  const [stopped, flowing] = [await consume(channel, 'q'), await consume(other, 'q')];
  await channel.flow(false);
  await fill(channel, 'q', numbered(4));
  await settled();
  expect(counts(stopped, flowing)).toEqual([0, 4]);
  await other.flow(false);
  await fill(channel, 'q', numbered(4));
  await settled();
  await channel.flow(true);
  await stopped.count(4);
  expect(counts(stopped, flowing)).toEqual([4, 4]);
});

describe('get', () => {
  test('one message with the number that is left; undefined when there is none', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await fill(channel, 'q', numbered(2));
    const first = (await channel.get('q')) as Delivery;
    expect(first).toMatchObject({ messageCount: 1, redelivered: false });
    expect(first.consumerTag).toBeUndefined();
    expect(await channel.get('q', { noAck: true })).toMatchObject({ messageCount: 0 });
    expect(await channel.get('q')).toBeUndefined();
    await channel.reject(first.deliveryTag, { requeue: true });
    expect(await channel.get('q')).toMatchObject({ redelivered: true, deliveryCount: 1 });
  });

  test('gives back what it took when it cannot answer', async () => {
    const driver = new RemoteDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    await fill(channel, 'q', ['1']);
    driver.fail('stat');
    await expect(channel.get('q')).rejects.toMatchObject({ code: 'STORE_ERROR' });
    expect(await channel.get('q')).toMatchObject({ redelivered: false });
  });
});

describe('a driver without hints', () => {
  test('is asked while somebody has room, and not otherwise', async () => {
    const driver = new BareDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    const takes = () => driver.callsOf('take').length;
    const pause = () => new Promise((resolve) => setTimeout(resolve, 60));
    await channel.queueDeclare('q');
    await pause();
    expect(takes()).toBe(0);
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await pause();
    expect(takes()).toBeGreaterThan(2);
    await fill(channel, 'q', ['1']);
    await inbox.count(1);
    const whenFull = takes();
    await pause();
    expect(takes()).toBe(whenFull);
    void channel.ack(inbox.deliveries[0]?.deliveryTag);
    await fill(channel, 'q', ['2']);
    await inbox.count(2);
    await channel.cancel(inbox.tag);
    const afterwards = takes();
    await pause();
    expect(takes()).toBe(afterwards);
  });

  test("polling_interval takes the place of the driver's own", async () => {
    const driver = new BareDriver({ pollInterval: 60_000 });
    const opened = await open({
      broker: freshBroker(),
      module: moduleOf(() => driver),
      transportOptions: { polling_interval: '0.005' },
    });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q');
    await settled();
    await fill(channel, 'q', ['1']);
    await inbox.count(1);
  });

  test.each([0, -1, 'often', Number.NaN])('polling_interval %s is refused', async (interval) => {
    const module = moduleOf(() => new BareDriver());
    await expect(
      open({ broker: freshBroker(), module, transportOptions: { polling_interval: interval } }),
    ).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('polling_interval'),
    });
  });
});

test('a driver that keeps silent about a queue until it was emptied is asked until then', async () => {
  const { channel } = await oneChannel(moduleOf(() => new TerseDriver()));
  await channel.queueDeclare('q');
  await channel.queueDeclare('other');
  await channel.qos({ prefetch: 3, scope: 'consumer' });
  const acking = ({ deliveryTag }: Delivery) => void channel.ack(deliveryTag);
  const inbox = await consume(channel, 'q', { onDelivery: acking });
  const unlimited = await consume(channel, 'other', { noAck: true });
  for (const batch of [numbered(3), numbered(50), numbered(1)]) {
    await Promise.all([fill(channel, 'q', batch), fill(channel, 'other', numbered(400))]);
  }
  await inbox.count(54);
  await unlimited.count(1200);
});

describe('a driver that can wait', () => {
  test('waits in the store; a new consumer and the end of one interrupt it', async () => {
    const driver = new LongPollDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('a');
    await channel.queueDeclare('b');
    const a = await consume(channel, 'a');
    await settled();
    const b = await consume(channel, 'b');
    await fill(channel, 'a', ['1']);
    await fill(channel, 'b', ['2']);
    await a.count(1);
    await b.count(1);
    await channel.cancel(a.tag);
    await channel.cancel(b.tag);
    expect(driver.aborted).toBeGreaterThan(0);
    await fill(channel, 'a', ['3']);
    expect(await drain(channel, 'a')).toEqual(['3']);
  });

  test('a consumer that has room again is waited for too', async () => {
    const driver = new LongPollDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('a');
    await channel.queueDeclare('b');
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const [a, b] = [await consume(channel, 'a'), await consume(channel, 'b')];
    await fill(channel, 'a', ['1', '2']);
    await a.count(1);
    await settled();
    await channel.ack(a.deliveries[0]?.deliveryTag);
    await a.count(2);
    await fill(channel, 'b', ['3']);
    await b.count(1);
  });
});

test('takes that fail are made again, with a pause and a word about it', async () => {
  const driver = new RemoteDriver();
  const { channel, opened } = await oneChannel(moduleOf(() => driver));
  await channel.queueDeclare('q');
  driver.fail('take');
  const inbox = await consume(channel, 'q');
  await fill(channel, 'q', ['1']);
  await inbox.count(1);
  expect(opened.problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
});

test('a consumer on memory with leases works alike', async () => {
  const { channel } = await oneChannel(memoryModule({ lease: 10_000 }));
  await channel.queueDeclare('q');
  const inbox = await consume(channel, 'q', { onDelivery: ({ deliveryTag }) => channel.ack(deliveryTag) });
  await fill(channel, 'q', numbered(300));
  await inbox.count(300);
  expect(inbox.texts).toEqual(numbered(300));
});
