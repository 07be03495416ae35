/** Native delayed delivery, on a real RabbitMQ. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.js';
import { type Channel, Connection } from '../../src/connection/index.js';
import type { BasicProperties, Delivery, OutgoingMessage } from '../../src/transport/contract.js';
import { DelayedDelivery } from '../../src/transports/amqp/delayed-delivery.js';
import { FakeBroker, FakeConnection } from '../support/fake-transport.js';

function message(change: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { exchange: '', routingKey: 'q', body: Buffer.from('x'), properties: {}, unroutable: 'ignore', ...change };
}

describe('what is published', () => {
  let broker: FakeBroker;
  let delays: DelayedDelivery;
  let now: number;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
    now = Date.now();
    broker = new FakeBroker();
    const parameters = {} as never;
    const events = { onClose() {}, onBlocked() {}, onUnblocked() {}, onProblem() {} };
    delays = new DelayedDelivery(new FakeConnection(broker, parameters, events), 'quorum');
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  test('seconds in 28 binary words, never early, then the last queue', async () => {
    for (const [delay, bits] of [
      [1, '1'],
      [1000, '1'],
      [1001, '1.0'],
      [5000, '1.0.1'],
      [2 ** 28 * 1000 - 1000, new Array(28).fill('1').join('.')],
    ] as const) {
      const { exchange, routingKey } = await delays.delayed(message(), now + delay);
      expect(exchange).toBe('celery_delayed_27');
      const words = routingKey.split('.');
      expect(words).toHaveLength(29);
      expect(words.slice(0, 28).join('.').endsWith(bits)).toBe(true);
      expect(Number.parseInt(words.slice(0, 28).join(''), 2)).toBe(Math.ceil(delay / 1000));
      expect(broker.queues.has(words[28] ?? '')).toBe(true);
    }
  });

  test('the levels are what Kombu makes, once for a connection', async () => {
    await delays.delayed(message(), now + 5000);
    await delays.delayed(message({ routingKey: 'other' }), now + 5000);
    expect(broker.count('exchangeDeclare celery_delayed_27')).toBe(1);
    expect(broker.queues.get('celery_delayed_3')?.options).toEqual({
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-overflow': 'reject-publish',
        'x-message-ttl': 8000,
        'x-dead-letter-exchange': 'celery_delayed_2',
        'x-dead-letter-strategy': 'at-least-once',
      },
    });
    expect(broker.queues.get('celery_delayed_0')?.options.arguments).toMatchObject({
      'x-dead-letter-exchange': 'celery_delayed_delivery',
    });
    const any = (count: number) => '*.'.repeat(count);
    expect(broker.bindings).toContain(`celery_delayed_25-${any(2)}1.#->celery_delayed_25`);
    expect(broker.bindings).toContain(`celery_delayed_25-${any(2)}0.#->celery_delayed_24`);
    expect(broker.bindings).toContain(`celery_delayed_0-${any(27)}0.#->celery_delayed_delivery`);
    expect(broker.exchanges.get('celery_delayed_delivery')).toBe('topic');
  });

  test('levels that others made of classic queues serve as well', async () => {
    const options = {
      durable: true,
      arguments: {
        'x-queue-type': 'classic',
        'x-overflow': 'reject-publish',
        'x-message-ttl': 2 ** 27 * 1000,
        'x-dead-letter-exchange': 'celery_delayed_26',
      },
    };
    broker.queues.set('celery_delayed_27', { name: 'celery_delayed_27', options, owner: undefined, messages: [] });
    await delays.delayed(message(), now + 5000);
    expect(broker.queues.get('celery_delayed_9')?.options.arguments).toMatchObject({ 'x-queue-type': 'classic' });
  });

  test('the last queue is declared anew in time, so that it outlives every message on its way', async () => {
    const first = await delays.delayed(message(), now + 5000);
    const queue = first.routingKey.split('.')[28] ?? '';
    const expires = Number(broker.queues.get(queue)?.options.arguments?.['x-expires']);
    await delays.delayed(message(), now + 6000);
    expect(broker.count(`queueDeclare ${queue}`)).toBe(1);
    vi.setSystemTime(now + 61 * 60 * 1000);
    await delays.delayed(message(), Date.now() + 7000);
    expect(broker.count(`queueDeclare ${queue}`)).toBe(2);
    // Declared at most an hour before a publish, and on its way for less than eight seconds.
    expect(expires).toBeGreaterThan(60 * 60 * 1000 + 8000);
    const long = await delays.delayed(message(), now + 2 ** 27 * 1000);
    expect(broker.queues.get(long.routingKey.split('.')[28] ?? '')?.options.arguments).not.toHaveProperty('x-expires');
  });

  test('a message that was delayed before is not taken for one that goes round in circles', async () => {
    const headers = {
      'x-death': [],
      'x-first-death-queue': 'a',
      'x-last-death-reason': 'expired',
      'x-deathly': 1,
      mine: 2,
    };
    const properties = { headers, messageId: 'm' };
    const delayed = await delays.delayed(message({ properties }), now + 5000);
    expect(delayed.properties).toEqual({ messageId: 'm', headers: { 'x-deathly': 1, mine: 2 } });
  });

  test('too long, with an expiration, or to an exchange that does not exist: refused, and not sent', async () => {
    await expect(delays.delayed(message(), now + 2 ** 28 * 1000)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'not-sent',
    });
    const expiring = message({ properties: { expiration: '1000' } });
    await expect(delays.delayed(expiring, now + 5000)).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
    await expect(delays.delayed(message({ exchange: 'nowhere' }), now + 5000)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      outcome: 'not-sent',
    });
    await expect(delays.delayed(message({ exchange: 'nowhere' }), now + 5000)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('on RabbitMQ', () => {
  let connection: Connection;
  let channel: Channel;
  const id = `wakame.delayed.${process.pid}.${Date.now().toString(36)}`;
  const queues: string[] = [];
  const exchanges: string[] = [];

  beforeEach(() => {
    connection = new Connection(brokerUrl('rabbitmq'));
    channel = connection.channel();
  });

  afterEach(async () => {
    for (const queue of queues.splice(0)) await channel.queueDelete(queue);
    for (const exchange of exchanges.splice(0)) await channel.exchangeDelete(exchange);
    await connection.close();
  });

  async function consume(queue: string): Promise<{ delivery: Delivery; at: number }[]> {
    const seen: { delivery: Delivery; at: number }[] = [];
    await channel.queueDeclare(queue, { durable: true });
    queues.push(queue);
    await channel.consume(queue, {
      noAck: true,
      onDelivery: (delivery) => seen.push({ delivery, at: Date.now() }),
    });
    return seen;
  }

  test.each([
    ['the default exchange', '', undefined],
    ['a direct exchange', 'direct', 'key'],
    ['a topic exchange', 'topic', 'a.b.c'],
    ['a fanout exchange', 'fanout', 'whatever'],
    ['a headers exchange', 'headers', 'whatever'],
  ])(
    '%s routes as without delay, and the message is what it was',
    async (_, type, key) => {
      const queue = `${id}.${type || 'default'}`;
      const seen = await consume(queue);
      const exchange = type === '' ? '' : queue;
      if (type !== '') {
        exchanges.push(exchange);
        await channel.exchangeDeclare(exchange, type, { durable: true });
        const routingKey = type === 'topic' ? 'a.*.c' : (key ?? '');
        await channel.queueBind({
          queue,
          exchange,
          routingKey,
          arguments: type === 'headers' ? { colour: 'red' } : {},
        });
      }
      const routingKey = key ?? queue;
      const due = Date.now() + 1500;
      const properties = { headers: { colour: 'red' }, messageId: 'm1', priority: 3 };
      await channel.publish(message({ exchange, routingKey, properties, notBefore: due }));
      await channel.publish(message({ exchange, routingKey, properties: { headers: { colour: 'red' } } }));
      await vi.waitFor(() => expect(seen).toHaveLength(2), { timeout: 10_000 });
      const [prompt, delayed] = seen;
      expect(prompt?.delivery.properties.messageId).toBeUndefined();
      expect(delayed?.at).toBeGreaterThanOrEqual(due);
      expect(delayed?.at).toBeLessThan(due + 5000);
      expect(delayed?.delivery).toMatchObject({ exchange, routingKey });
      expect(delayed?.delivery.properties.messageId).toBe('m1');
      expect(delayed?.delivery.properties.priority).toBe(3);
      expect(delayed?.delivery.properties.headers).toMatchObject({ colour: 'red' });
    },
    30_000,
  );

  test('celery#9867: a message may be delayed again with the headers that it came with', async () => {
    const queue = `${id}.again`;
    const seen = await consume(queue);
    await channel.publish(message({ routingKey: queue, notBefore: Date.now() + 1000 }));
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 10_000 });
    const properties: BasicProperties = seen[0]?.delivery.properties ?? {};
    expect(properties.headers).toHaveProperty('x-death');
    await channel.publish(message({ routingKey: queue, properties, notBefore: Date.now() + 1000 }));
    await vi.waitFor(() => expect(seen).toHaveLength(2), { timeout: 10_000 });
  }, 30_000);

  test('an exchange that does not exist rejects at once', async () => {
    const publishing = channel.publish(message({ exchange: `${id}.nowhere`, notBefore: Date.now() + 5000 }));
    await expect(publishing).rejects.toMatchObject({ code: 'NOT_FOUND', outcome: 'not-sent' });
  });
});
