/** Publishing through a channel: answers, unroutable messages, batches. */
import { describe, expect, test } from 'vitest';
import { EncodeError, MessageNacked, UnroutableError } from '../../src/errors.js';
import type { UnroutablePolicy } from '../../src/transport/message.js';
import { BareDriver, RemoteDriver } from './doubles.js';
import { drain, freshBroker, message, moduleOf, oneChannel, open, publish, textOf } from './harness.js';

/** A channel over a driver at the other end of a wire. */
async function remoteChannel(driver = new RemoteDriver(), transportOptions: Record<string, unknown> = {}) {
  const broker = freshBroker();
  const opened = await open({ broker, module: moduleOf(() => driver), transportOptions });
  return { ...(await opened.channel()), driver, opened, broker };
}

describe('what the store answers', () => {
  test('stored: resolves; the message is as it was published', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    const properties = { contentType: 'text/plain', priority: 0, headers: { a: [1, { b: null }] }, correlationId: 'c' };
    await publish(channel, 'body', { routingKey: 'q', ...properties });
    expect(await channel.get('q')).toMatchObject({
      exchange: '',
      routingKey: 'q',
      properties,
      redelivered: false,
      messageCount: 0,
    });
  });

  test('full: nacked, though other queues took it', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('small', { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
    await channel.queueDeclare('large');
    for (const queue of ['small', 'large']) await channel.queueBind({ queue, exchange: 'amq.fanout', routingKey: '' });
    await publish(channel, '1', { exchange: 'amq.fanout' });
    const failure = await publish(channel, '2', { exchange: 'amq.fanout' }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MessageNacked);
    expect(failure).toMatchObject({ code: 'NACKED', outcome: 'refused', message: expect.stringContaining("'small'") });
    expect(await drain(channel, 'large')).toEqual(['1', '2']);
  });

  test('an error of its own: the outcome is unknown, and the channel lives on', async () => {
    const { channel, driver } = await remoteChannel();
    await channel.queueDeclare('q');
    driver.fail('send', { done: true });
    await expect(publish(channel, '1', { routingKey: 'q' })).rejects.toMatchObject({
      code: 'STORE_ERROR',
      outcome: 'unknown',
    });
    await publish(channel, '2', { routingKey: 'q' });
    expect(await drain(channel, 'q')).toEqual(['1', '2']);
  });
});

function circle(): Record<string, unknown> {
  const table: Record<string, unknown> = {};
  table.self = table;
  return table;
}

describe('what cannot be sent rejects alone, before anything is sent', () => {
  test.each([
    ['routing key', { routingKey: 'k'.repeat(256) }, 'INVALID_ARGUMENT'],
    ['expiration', { expiration: '1.5' }, 'INVALID_ARGUMENT'],
    ['expiration', { expiration: '-1' }, 'INVALID_ARGUMENT'],
    ['priority', { priority: 256 }, 'INVALID_ARGUMENT'],
    ['priority', { priority: 0.5 }, 'INVALID_ARGUMENT'],
    ['notBefore', { notBefore: Number.NaN }, 'INVALID_ARGUMENT'],
    ['transactions', { transaction: {} }, 'NOT_SUPPORTED'],
    ['correlationId', { correlationId: 'c'.repeat(256) }, 'INVALID_ARGUMENT'],
    ['deliveryMode', { deliveryMode: 3 }, 'INVALID_ARGUMENT'],
    ['headers.a.0: [Function: callback]', { headers: { a: [function callback() {}] } }, 'ENCODE_FAILED'],
    ['headers.sign: Symbol(s)', { headers: { sign: Symbol('s') } }, 'ENCODE_FAILED'],
    ['headers.map', { headers: { map: new Map() } }, 'ENCODE_FAILED'],
    ['more than 255 bytes', { headers: { ['k'.repeat(256)]: 1 } }, 'ENCODE_FAILED'],
    ['in a circle', { headers: circle() }, 'ENCODE_FAILED'],
  ])('%s of %j', async (name, options, code) => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await expect(publish(channel, 'm', { routingKey: 'q', ...options })).rejects.toMatchObject({
      code,
      outcome: 'not-sent',
      message: expect.stringContaining(name),
    });
    await publish(channel, 'm', { routingKey: 'q' });
  });

  test('a body larger than the store takes', async () => {
    const { channel } = await remoteChannel(new RemoteDriver({ maxMessageBytes: 10 }));
    await channel.queueDeclare('q');
    await publish(channel, '0123456789', { routingKey: 'q' });
    await expect(publish(channel, '0123456789a', { routingKey: 'q' })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      outcome: 'not-sent',
    });
  });

  test('what only the driver finds out it cannot write', async () => {
    const { channel, driver } = await remoteChannel();
    await channel.queueDeclare('q');
    const refusal = new EncodeError('cannot be written');
    driver.refuse((outbounds) => {
      if (outbounds.some(({ message }) => textOf(message) === '3')) throw refusal;
    });
    const results = await Promise.allSettled(
      ['1', '2', '3', '4'].map((text) => publish(channel, text, { routingKey: 'q' })),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(results[2]).toMatchObject({ reason: { code: 'ENCODE_FAILED', outcome: 'not-sent' } });
    expect(await drain(channel, 'q')).toEqual(['1', '2', '4']);
  });

  test('one bad publish among 200: the other 199 arrive once, in order', async () => {
    const { channel } = await remoteChannel();
    await channel.queueDeclare('q');
    const publishes = Array.from({ length: 200 }, (_, i) =>
      publish(channel, `${i}`, i === 100 ? { exchange: 'missing' } : { routingKey: 'q' }),
    );
    const results = await Promise.allSettled(publishes);
    expect(results.flatMap(({ status }, i) => (status === 'rejected' ? [i] : []))).toEqual([100]);
    expect(results[100]).toMatchObject({
      reason: {
        code: 'NOT_FOUND',
        outcome: 'refused',
        message: expect.stringContaining("no exchange 'missing' in vhost '/'"),
      },
    });
    const expected = Array.from({ length: 200 }, (_, i) => `${i}`).filter((text) => text !== '100');
    expect(await drain(channel, 'q')).toEqual(expected);
  });
});

describe.each([
  ['a queue that does not exist', { routingKey: 'none' }],
  ['a key that nothing is bound with', { exchange: 'amq.direct', routingKey: 'none' }],
])('unroutable: %s', (_name, where) => {
  const attempt = async (unroutable: UnroutablePolicy) => {
    const { channel, returned } = await oneChannel();
    const failure = await publish(channel, 'm', { ...where, unroutable, correlationId: 'c' }).then(
      () => undefined,
      (error: unknown) => error,
    );
    return { failure, returned: returned.map(({ body, ...rest }) => ({ ...rest, text: textOf({ body }) })) };
  };

  test('reject', async () => {
    const { failure, returned } = await attempt('reject');
    expect(failure).toBeInstanceOf(UnroutableError);
    expect(failure).toMatchObject({
      code: 'UNROUTABLE',
      outcome: 'refused',
      returned: { replyCode: 312, replyText: 'NO_ROUTE', exchange: '', ...where },
    });
    expect(returned).toEqual([]);
  });

  test('report: the message comes back before the publish resolves', async () => {
    const { failure, returned } = await attempt('report');
    expect(failure).toBeUndefined();
    expect(returned).toEqual([
      { replyCode: 312, replyText: 'NO_ROUTE', exchange: '', ...where, properties: { correlationId: 'c' }, text: 'm' },
    ]);
  });

  test('ignore', async () => {
    expect(await attempt('ignore')).toEqual({ failure: undefined, returned: [] });
  });
});

describe('before a message is unroutable', () => {
  test('kombu#1063, celery#5903: the shared table is looked at again: a binding made by another process a moment ago counts', async () => {
    const driver = new BareDriver();
    const { channel, broker } = await remoteChannel(driver);
    await channel.queueDeclare('q');
    await channel.exchangeDeclare('x', 'direct');
    await expect(publish(channel, '1', { exchange: 'x', routingKey: 'k' })).rejects.toMatchObject({
      code: 'UNROUTABLE',
    });
    const other = await (await open({ broker, module: moduleOf(() => new BareDriver()) })).channel();
    await other.channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'k' });
    await publish(channel, '2', { exchange: 'x', routingKey: 'k' });
    expect(await drain(channel, 'q')).toEqual(['2']);
  });

  test('so does an exchange, and a queue that took the place of another', async () => {
    const { channel, broker } = await remoteChannel(new BareDriver());
    await expect(publish(channel, '1', { exchange: 'x', routingKey: 'k' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const other = await (await open({ broker, module: moduleOf(() => new BareDriver()) })).channel();
    await other.channel.exchangeDeclare('x', 'direct');
    await other.channel.queueDeclare('q1');
    await other.channel.queueBind({ queue: 'q1', exchange: 'x', routingKey: 'k' });
    await publish(channel, '2', { exchange: 'x', routingKey: 'k' });
    await other.channel.queueDelete('q1');
    await other.channel.queueDeclare('q2');
    await other.channel.queueBind({ queue: 'q2', exchange: 'x', routingKey: 'k' });
    await publish(channel, '3', { exchange: 'x', routingKey: 'k' });
    expect(await drain(channel, 'q2')).toEqual(['3']);
  });

  test("Kombu's deadletter_queue takes it, made when first needed; without an exchange there is no message to keep", async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker, transportOptions: { deadletter_queue: 'lost' } })).channel();
    await channel.exchangeDeclare('x', 'topic');
    await publish(channel, '1', { exchange: 'x', routingKey: 'k' });
    await publish(channel, '2', { routingKey: 'none' });
    await expect(publish(channel, '3', { exchange: 'missing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const first = await channel.get('lost', { noAck: true });
    expect(first).toMatchObject({ exchange: 'x', routingKey: 'k' });
    expect(await drain(channel, 'lost')).toEqual(['2']);
  });
});

describe('batches', () => {
  test('what is published in one tick, on whatever channels, is one send', async () => {
    const { channel, driver, opened } = await remoteChannel();
    const { channel: second } = await opened.channel();
    await channel.queueDeclare('q');
    const publishes = Array.from({ length: 1000 }, (_, i) =>
      publish(i % 2 === 0 ? channel : second, `${i}`, { routingKey: 'q' }),
    );
    expect(channel.bufferedBytes).toBeGreaterThan(0);
    await Promise.all(publishes);
    expect(driver.callsOf('send').map(({ size }) => size)).toEqual([1000]);
    expect(channel.bufferedBytes).toBe(0);
    expect(await drain(channel, 'q')).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
  });

  test('those of the next tick do not wait for the answer to the former', async () => {
    const { channel, driver } = await remoteChannel();
    await channel.queueDeclare('q');
    const release = driver.hold();
    const publishes: Promise<void>[] = [];
    for (let i = 0; i < 3; i++) {
      publishes.push(publish(channel, `${i}`, { routingKey: 'q' }));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(driver.callsOf('send')).toHaveLength(3);
    release();
    await Promise.all(publishes);
    expect(await drain(channel, 'q')).toEqual(['0', '1', '2']);
  });

  test('what waits for the table is not overtaken', async () => {
    const { channel, broker } = await remoteChannel(new BareDriver());
    await channel.queueDeclare('q');
    await channel.exchangeDeclare('x', 'direct');
    await channel.exchangeDeclare('y', 'direct');
    for (const exchange of ['x', 'y']) await channel.queueBind({ queue: 'q', exchange, routingKey: 'k' });
    // Another connection, which knows neither exchange yet.
    const { channel: other } = await (await open({ broker, module: moduleOf(() => new BareDriver()) })).channel();
    const publishes = [publish(other, '1', { exchange: 'x', routingKey: 'k' })];
    await Promise.resolve();
    await Promise.resolve();
    publishes.push(publish(other, '2', { routingKey: 'q' }), publish(other, '3', { exchange: 'y', routingKey: 'k' }));
    await Promise.resolve();
    await Promise.resolve();
    publishes.push(publish(other, '4', { routingKey: 'q' }));
    await Promise.all(publishes);
    expect(await drain(channel, 'q')).toEqual(['1', '2', '3', '4']);
  });

  test('each transaction has its own, and the order holds', async () => {
    const { channel, driver } = await remoteChannel(new RemoteDriver({ transactions: true }));
    await channel.queueDeclare('q');
    const [one, two] = [{ name: 'one' }, { name: 'two' }];
    const plan = [undefined, one, one, two, undefined];
    await Promise.all(plan.map((transaction, i) => publish(channel, `${i}`, { routingKey: 'q', transaction })));
    expect(driver.callsOf('send').map(({ size, argument }) => [size, argument])).toEqual([
      [1, expect.any(Array)],
      [2, { transaction: one }],
      [1, { transaction: two }],
      [1, expect.any(Array)],
    ]);
    expect(await drain(channel, 'q')).toEqual(['0', '1', '2', '3', '4']);
  });

  test('one copy to each queue, however many ways lead there', async () => {
    const { channel } = await remoteChannel();
    await channel.queueDeclare('q');
    await channel.exchangeDeclare('x', 'topic');
    for (const routingKey of ['a.*', 'a.b', '#']) await channel.queueBind({ queue: 'q', exchange: 'x', routingKey });
    await publish(channel, 'm', { exchange: 'x', routingKey: 'a.b' });
    expect(await drain(channel, 'q')).toEqual(['m']);
  });
});

describe("mode 'written'", () => {
  const MiB = 1024 * 1024;

  test('resolves at once below 16 MiB, and waits above', async () => {
    const { channel, driver } = await remoteChannel();
    await channel.queueDeclare('q');
    const release = driver.hold();
    const large = { ...message('', { routingKey: 'q' }), body: Buffer.alloc(10 * MiB) };
    await channel.publish(large, 'written');
    let written = false;
    const second = channel.publish(large, 'written').then(() => {
      written = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBe(false);
    expect(channel.bufferedBytes).toBe(20 * MiB);
    release();
    await second;
    expect(channel.bufferedBytes).toBeLessThanOrEqual(16 * MiB);
  });

  test('never rejects afterwards; what goes wrong then is a problem', async () => {
    const { channel, driver, opened } = await remoteChannel();
    await channel.queueDeclare('q');
    driver.fail('send');
    await channel.publish(message('1', { routingKey: 'q' }), 'written');
    await channel.publish(message('2', { exchange: 'missing' }), 'written');
    await channel.queueDeclare('q', { passive: true });
    expect(opened.problems.map(({ code }) => code).sort()).toEqual(['NOT_FOUND', 'STORE_ERROR']);
  });

  test('an unroutable one is returned, whatever was asked', async () => {
    const { channel, returned } = await remoteChannel();
    await channel.publish(message('m', { routingKey: 'none', unroutable: 'reject' }), 'written');
    await channel.queueDeclare('q');
    expect(returned.map(textOf)).toEqual(['m']);
  });
});

test('a loop of awaited publishes leaves the event loop its turns', async () => {
  const { channel } = await oneChannel();
  await channel.queueDeclare('q');
  let turns = 0;
  const count = setInterval(() => turns++, 0);
  for (let i = 0; i < 20_000; i++) await publish(channel, 'm', { routingKey: 'q' });
  clearInterval(count);
  expect(turns).toBeGreaterThan(5);
});
