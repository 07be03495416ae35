import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  AccessRefused,
  AuthenticationError,
  type Channel,
  type Connection,
  ConsumerCancelled,
  connect,
  type Delivery,
  MessageNacked,
  NotFound,
  PreconditionFailed,
  ResourceLocked,
  typed,
  UnroutableError,
  VhostNotFoundError,
} from '../src/index.js';
import { deferred, rabbitUrl, rejection, uniqueName } from './support/index.js';

let connection: Connection;
const queues: string[] = [];
const exchanges: string[] = [];

beforeAll(async () => {
  connection = await connect(rabbitUrl(), { connectionName: 'wakame-amqp tests' });
});

afterAll(async () => {
  const channel = await connection.channel();
  for (const queue of queues) await channel.queueDelete(queue);
  for (const exchange of exchanges) await channel.exchangeDelete(exchange);
  await connection.close();
});

/** The name of a queue that is deleted in the end. */
async function queue(channel: Channel, options: Parameters<Channel['queueDeclare']>[1] = {}): Promise<string> {
  const name = uniqueName();
  await channel.queueDeclare(name, { ...options, nowait: false });
  queues.push(name);
  return name;
}

async function exchange(channel: Channel, type: string): Promise<string> {
  const name = uniqueName();
  await channel.exchangeDeclare(name, type);
  exchanges.push(name);
  return name;
}

describe('RabbitMQ: connecting', () => {
  it('tells of itself', () => {
    expect(connection.serverProperties.product).toBe('RabbitMQ');
    expect(connection).toMatchObject({ state: 'open', channelMax: 2047, frameMax: 131_072, heartbeat: 60_000 });
  });

  it('wrong password: AUTH_FAILED', async () => {
    const url = new URL(rabbitUrl());
    url.password = 'wrong';
    const error = await rejection(connect(url.href));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ code: 'AUTH_FAILED', phase: 'sasl', replyCode: 403 });
  });

  it('unknown vhost: VHOST_NOT_FOUND', async () => {
    const url = new URL(rabbitUrl());
    url.pathname = '/no-such-vhost';
    const error = await rejection(connect(url.href));
    expect(error).toBeInstanceOf(VhostNotFoundError);
    expect(error).toMatchObject({ code: 'VHOST_NOT_FOUND', phase: 'open', replyCode: 530 });
  });

  it('AMQPLAIN; small frames; no heartbeats; the least channel_max', async () => {
    const other = await connect(rabbitUrl(), { mechanism: 'AMQPLAIN', frameMax: 4096, heartbeat: 0, channelMax: 1 });
    expect(other).toMatchObject({ frameMax: 4096, heartbeat: 0, channelMax: 1 });
    const channel = await other.channel();
    expect(await rejection(other.channel())).toMatchObject({ code: 'CHANNEL_LIMIT' });
    const name = await queue(await connection.channel());
    const body = Buffer.alloc(100_000, 'frames');
    await channel.confirmSelect();
    await channel.basicPublish('', name, body, { headers: { text: 'x'.repeat(3000) } });
    expect((await channel.basicGet(name, { noAck: true }))?.body.equals(body)).toBe(true);
    expect(
      await rejection(channel.basicPublish('', name, body, { headers: { text: 'x'.repeat(5000) } })),
    ).toMatchObject({ code: 'MESSAGE_TOO_LARGE', outcome: 'not-sent' });
    await other.close();
  });

  it('heartbeats keep an idle connection', async () => {
    const other = await connect(rabbitUrl(), { heartbeat: 1000 });
    expect(other.heartbeat).toBe(1000);
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect(other.state).toBe('open');
    await other.close();
  });

  it('closes twenty connections made at once', async () => {
    const many = await Promise.all(Array.from({ length: 20 }, () => connect(rabbitUrl())));
    await Promise.all(many.map((each) => each.close()));
    expect(many.map(({ state }) => state)).toEqual(Array.from({ length: 20 }, () => 'closed'));
  });

  it('update-secret is answered', async () => {
    await connection.updateSecret('guest', 'test');
  });

  it('a close of the connection is told as a typed error with the method', async () => {
    const other = await connect(rabbitUrl());
    const channel = await other.channel();
    const told = once(other, 'close');
    const error = await rejection(channel.exchangeDeclare(uniqueName(), 'no-such-type'));
    expect(error).toMatchObject({ replyCode: 503, method: 'exchange.declare', code: 'PROTOCOL_ERROR' });
    expect((await told)[0]).toBe(error.cause);
  });
});

describe('RabbitMQ: methods', () => {
  it('exchanges, queues and bindings of every kind', async () => {
    const channel = await connection.channel();
    const [source, destination] = [await exchange(channel, 'topic'), await exchange(channel, 'fanout')];
    const name = await queue(channel);
    await channel.exchangeBind({ destination, source, routingKey: 'a.#' });
    await channel.queueBind({ queue: name, exchange: destination });
    await channel.confirmSelect();
    await channel.basicPublish(source, 'a.b', 'routed', {}, { mandatory: true });
    expect((await channel.basicGet(name, { noAck: true }))?.body.toString()).toBe('routed');
    await channel.exchangeUnbind({ destination, source, routingKey: 'a.#' });
    expect(await rejection(channel.basicPublish(source, 'a.b', 'x', {}, { mandatory: true }))).toBeInstanceOf(
      UnroutableError,
    );
    await channel.queueUnbind({ queue: name, exchange: destination });
    await channel.basicPublish('', name, 'to be purged');
    expect(await channel.queueDeclare(name, { passive: true })).toEqual({
      queue: name,
      messageCount: 1,
      consumerCount: 0,
    });
    expect(await channel.queuePurge(name)).toEqual({ messageCount: 1 });
    const temporary = await channel.queueDeclare('', { exclusive: true });
    expect(temporary.queue).toMatch(/^amq\.gen-/);
    expect(await channel.queueDelete(temporary.queue, { ifEmpty: true, ifUnused: true })).toEqual({ messageCount: 0 });
    expect(await channel.accessRequest('/data', { active: true, write: true, read: true })).toEqual({ ticket: 1 });
    expect(await channel.flow(true)).toEqual({ active: true });
    await channel.close();
  });

  it('transactions', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.txSelect();
    await channel.basicPublish('', name, 'undone');
    await channel.txRollback();
    await channel.basicPublish('', name, 'done');
    await channel.txCommit();
    expect((await channel.basicGet(name))?.body.toString()).toBe('done');
    expect(await channel.basicGet(name)).toBeUndefined();
    await channel.close();
  });

  it('ack, nack, reject, recover', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.confirmSelect();
    await Promise.all(['a', 'b', 'c', 'd'].map((body) => channel.basicPublish('', name, body)));
    const take = async () => {
      const message = await channel.basicGet(name);
      return { tag: message?.deliveryTag ?? 0, body: message?.body.toString(), redelivered: message?.redelivered };
    };
    const [a, b, c, d] = [await take(), await take(), await take(), await take()];
    channel.basicAck(a.tag);
    channel.basicReject(b.tag, { requeue: false });
    channel.basicNack(d.tag, { multiple: true });
    expect(await take()).toMatchObject({ body: 'c', redelivered: true });
    expect(c.body).toBe('c');
    await channel.basicRecover();
    expect(await take()).toMatchObject({ body: 'c' });
    const last = await take();
    expect(last.body).toBe('d');
    channel.basicAck(last.tag, { multiple: true });
    expect(await channel.queueDeclare(name, { passive: true })).toMatchObject({ messageCount: 0 });
    await channel.close();
  });

  it('properties and tables come back as they went', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    const properties = {
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      headers: {
        text: 'naïve ☃',
        int: -1,
        int32: 2 ** 31 - 1,
        int64: 2 ** 40,
        big: 2n ** 60n,
        double: 0.1,
        yes: true,
        nothing: null,
        list: [1, 'two', [3]],
        table: { inner: { deep: 'x' } },
        when: new Date(1_700_000_000_000),
        bytes: Buffer.from([0, 1, 255]),
      },
      deliveryMode: 2,
      priority: 0,
      correlationId: 'c',
      replyTo: 'r',
      expiration: '60000',
      messageId: 'm',
      timestamp: 1_700_000_000,
      type: 't',
      userId: 'guest',
      appId: 'a',
    };
    await channel.confirmSelect();
    await channel.basicPublish('', name, 'x', {
      ...properties,
      headers: { ...properties.headers, float: typed.float(0.5) },
    });
    const message = await channel.basicGet(name, { noAck: true });
    const received = message?.properties.toObject();
    expect(received).toMatchObject({ ...properties, headers: expect.anything() });
    expect(received?.headers).toMatchObject({ ...properties.headers, bytes: expect.anything(), float: 0.5 });
    await channel.close();
  });

  it('a message of 64 MiB goes through', { timeout: 60_000 }, async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    const body = Buffer.alloc(64 * 1024 * 1024);
    for (let i = 0; i < body.length; i += 4099) body[i] = i % 251;
    await channel.confirmSelect();
    await channel.basicPublish('', name, body);
    const message = await channel.basicGet(name, { noAck: true, timeout: 30_000 });
    expect(message?.body.equals(body)).toBe(true);
    await channel.close();
  });
});

describe('RabbitMQ: errors', () => {
  it('amqplib#649: are typed, with the method; the connection and its other channels go on', async () => {
    const other = await connection.channel();
    const name = await queue(other);
    const exclusive = await connect(rabbitUrl());
    const locked = (await (await exclusive.channel()).queueDeclare('', { exclusive: true })).queue;
    const attempts: [(channel: Channel) => Promise<unknown>, unknown, string][] = [
      [(channel) => channel.queueDeclare('no-such-queue', { passive: true }), NotFound, 'queue.declare'],
      [(channel) => channel.queueDeclare(name, { durable: true }), PreconditionFailed, 'queue.declare'],
      [(channel) => channel.queueDeclare('amq.forbidden'), AccessRefused, 'queue.declare'],
      [(channel) => channel.queueDeclare(locked, { passive: true }), ResourceLocked, 'queue.declare'],
      [(channel) => channel.basicConsume('no-such-queue', {}, () => undefined), NotFound, 'basic.consume'],
      [(channel) => channel.basicGet('no-such-queue'), NotFound, 'basic.get'],
    ];
    for (const [attempt, type, method] of attempts) {
      const channel = await connection.channel();
      const error = await rejection(attempt(channel));
      expect(error).toBeInstanceOf(type);
      expect(error.method).toBe(method);
      expect(channel.state).toBe('closed');
    }
    await exclusive.close();
    expect(other.state).toBe('open');
    await other.close();
  });

  it('a publish to a missing exchange among others: the ones before arrive, the rest are told', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.confirmSelect();
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) =>
        channel.basicPublish(index === 100 ? 'no-such-exchange' : '', name, `${index}`),
      ),
    );
    const rejected = results.filter((result) => result.status === 'rejected');
    for (const { reason } of rejected) {
      expect(reason).toBeInstanceOf(NotFound);
      expect(reason).toMatchObject({ method: 'basic.publish', outcome: 'unknown' });
    }
    expect(results[100]?.status).toBe('rejected');
    expect(channel.closeError).toBeInstanceOf(NotFound);
    const next = await connection.channel();
    const { messageCount } = await next.queueDeclare(name, { passive: true });
    expect(messageCount).toBe(100);
    await next.close();
  });

  it('an unknown delivery tag closes the channel', async () => {
    const channel = await connection.channel();
    const told = once(channel, 'close');
    channel.basicAck(99);
    expect((await told)[0]).toMatchObject({ code: 'PRECONDITION_FAILED', method: 'basic.ack' });
  });

  it('a full queue that rejects publishes: NACKED', async () => {
    const channel = await connection.channel();
    const name = await queue(channel, { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
    await channel.confirmSelect();
    await channel.basicPublish('', name, 'fits');
    const error = await rejection(channel.basicPublish('', name, 'does not'));
    expect(error).toBeInstanceOf(MessageNacked);
    expect(error.outcome).toBe('refused');
    await channel.close();
  });

  it('returns among many publishes reject the very ones', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.confirmSelect();
    const returned: string[] = [];
    channel.on('return', ({ body }) => returned.push(body.toString()));
    const results = await Promise.allSettled(
      Array.from({ length: 300 }, (_, index) =>
        channel.basicPublish(
          '',
          index % 3 === 0 ? 'nowhere-at-all' : name,
          `${index}`,
          { messageId: `${index}` },
          {
            mandatory: true,
          },
        ),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(
      results.map((_, index) => (index % 3 === 0 ? 'rejected' : 'fulfilled')),
    );
    expect(returned).toHaveLength(100);
    await channel.close();
  });
});

describe('RabbitMQ: consuming', () => {
  it('delivers all, in order, and counts acks', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.confirmSelect();
    const total = 2000;
    await Promise.all(Array.from({ length: total }, (_, index) => channel.basicPublish('', name, `${index}`)));
    const consumer = await connection.channel();
    await consumer.basicQos({ prefetchCount: 50 });
    const bodies: string[] = [];
    const all = deferred();
    await consumer.basicConsume(name, {}, ({ body, deliveryTag }: Delivery) => {
      bodies.push(body.toString());
      consumer.basicAck(deliveryTag);
      if (bodies.length === total) all.resolve();
    });
    await all.promise;
    expect(bodies).toEqual(Array.from({ length: total }, (_, index) => `${index}`));
    await consumer.close();
    expect(await channel.queueDeclare(name, { passive: true })).toMatchObject({ messageCount: 0, consumerCount: 0 });
    await channel.close();
  });

  it('a loop that is left gives back what it did not yield, in order', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.confirmSelect();
    await Promise.all(['a', 'b', 'c', 'd'].map((body) => channel.basicPublish('', name, body)));
    for await (const { deliveryTag } of channel.consume(name)) {
      channel.basicAck(deliveryTag);
      break;
    }
    const rest: string[] = [];
    for await (const { body, deliveryTag } of channel.consume(name, { idleTimeout: 200 })) {
      rest.push(body.toString());
      channel.basicAck(deliveryTag);
    }
    expect(rest).toEqual(['b', 'c', 'd']);
    await channel.close();
  });

  it('a deleted queue cancels its consumers', async () => {
    const channel = await connection.channel();
    const name = uniqueName();
    await channel.queueDeclare(name);
    const cancelled = deferred<ConsumerCancelled>();
    const tag = await channel.basicConsume(name, { onCancel: cancelled.resolve }, () => undefined);
    const event = once(channel, 'cancel');
    await (await connection.channel()).queueDelete(name);
    expect(await cancelled.promise).toBeInstanceOf(ConsumerCancelled);
    expect(await event).toEqual([tag]);
    await channel.close();
  });

  it('exclusive consumers', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    await channel.basicConsume(name, { exclusive: true }, () => undefined);
    const other = await connection.channel();
    expect(await rejection(other.basicConsume(name, {}, () => undefined))).toBeInstanceOf(AccessRefused);
    await channel.close();
  });

  it('nowait throughout', async () => {
    const channel = await connection.channel();
    const name = uniqueName();
    await channel.queueDeclare(name, { nowait: true });
    await channel.confirmSelect({ nowait: true });
    const delivered = deferred<Delivery>();
    const tag = await channel.basicConsume(name, { nowait: true }, delivered.resolve);
    await channel.basicPublish('', name, 'quick');
    expect((await delivered.promise).body.toString()).toBe('quick');
    await channel.basicCancel(tag, { nowait: true });
    await channel.queueDelete(name, { nowait: true });
    await channel.close();
  });

  it('cancel, consume and get at once: the broker answers them in no certain order', async () => {
    const channel = await connection.channel();
    const name = await queue(channel);
    for (let round = 0; round < 50; round++) {
      const tag = await channel.basicConsume(name, {}, () => undefined);
      const next = channel.basicConsume(name, {}, () => undefined);
      const [message] = await Promise.all([channel.basicGet(name), channel.basicCancel(tag), channel.basicGet(name)]);
      expect(message).toBeUndefined();
      await channel.basicCancel(await next);
    }
    await channel.close();
  });

  it('a hundred channels at once', async () => {
    const channels = await Promise.all(Array.from({ length: 100 }, () => connection.channel()));
    const names = await Promise.all(channels.map((channel) => channel.queueDeclare('', { exclusive: true })));
    await Promise.all(
      channels.map(async (channel, index) => {
        await channel.confirmSelect();
        await channel.basicPublish('', names[index]?.queue ?? '', `${index}`);
        const message = await channel.basicGet(names[index]?.queue ?? '', { noAck: true });
        expect(message?.body.toString()).toBe(`${index}`);
        await channel.close();
      }),
    );
    await vi.waitFor(() => expect(connection.bufferedBytes).toBe(0));
  });
});
