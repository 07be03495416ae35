import { once } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import {
  AccessRefused,
  type Channel,
  ConsumerCancelled,
  ContentTooLarge,
  type Delivery,
  type MessagingError,
  NotFound,
  PreconditionFailed,
  ResourceLocked,
} from '../src/index.js';
import type { FakePeer, Handlers } from './support/fake-broker.js';
import { deferred, pair, rejection } from './support/index.js';

/** A channel and the broker's half of it. */
async function channelOn(handlers: Handlers = {}, options: Parameters<typeof pair>[1] = {}, properties = {}) {
  const { connection, peer } = await pair(async (fake) => {
    await fake.handshake({ properties });
    await fake.serve(handlers);
  }, options);
  return { connection, peer, channel: await connection.channel() };
}

const came = (peer: FakePeer, name: string, count = 1) =>
  peer.until(() => peer.log.filter((method) => method.name === name).length >= count);

const last = (peer: FakePeer) => peer.log.at(-1);

const RABBITMQ = { product: 'RabbitMQ' };

describe('methods', () => {
  const answer =
    (
      name: Parameters<FakePeer['send']>[1],
      args: object = {},
    ): ((method: { channel: number }, peer: FakePeer) => void) =>
    ({ channel }, peer) =>
      peer.send(channel, name, args as never);

  const all: Handlers = {
    'exchange.declare': answer('exchange.declare-ok'),
    'exchange.delete': answer('exchange.delete-ok'),
    'exchange.bind': answer('exchange.bind-ok'),
    'exchange.unbind': answer('exchange.unbind-ok'),
    'queue.bind': answer('queue.bind-ok'),
    'queue.unbind': answer('queue.unbind-ok'),
    'queue.purge': answer('queue.purge-ok', { messageCount: 3 }),
    'queue.delete': answer('queue.delete-ok', { messageCount: 4 }),
    'basic.recover': answer('basic.recover-ok'),
    'basic.get': answer('basic.get-empty'),
    'tx.select': answer('tx.select-ok'),
    'tx.commit': answer('tx.commit-ok'),
    'tx.rollback': answer('tx.rollback-ok'),
    'channel.flow': ({ channel, arguments: { active } }, peer) => peer.send(channel, 'channel.flow-ok', { active }),
    'access.request': answer('access.request-ok', { ticket: 1 }),
  };
  const args = { 'x-one': 1 };

  it.each<[string, (channel: Channel) => Promise<unknown>, object, unknown]>([
    [
      'exchange.declare',
      (channel) =>
        channel.exchangeDeclare('e', 'topic', { durable: true, autoDelete: true, internal: true, arguments: args }),
      {
        exchange: 'e',
        type: 'topic',
        passive: false,
        durable: true,
        autoDelete: true,
        internal: true,
        arguments: args,
      },
      undefined,
    ],
    ['exchange.declare', (channel) => channel.exchangeDeclare('e'), { type: 'direct', durable: false }, undefined],
    ['exchange.delete', (channel) => channel.exchangeDelete('e', { ifUnused: true }), { ifUnused: true }, undefined],
    [
      'exchange.bind',
      (channel) => channel.exchangeBind({ destination: 'd', source: 's', routingKey: 'k', arguments: args }),
      { destination: 'd', source: 's', routingKey: 'k', nowait: false, arguments: args },
      undefined,
    ],
    [
      'exchange.unbind',
      (channel) => channel.exchangeUnbind({ destination: 'd', source: 's' }),
      { destination: 'd', source: 's', routingKey: '' },
      undefined,
    ],
    [
      'queue.declare',
      (channel) => channel.queueDeclare('q', { durable: true, exclusive: true, autoDelete: true, arguments: args }),
      { queue: 'q', passive: false, durable: true, exclusive: true, autoDelete: true, nowait: false, arguments: args },
      { queue: 'q', messageCount: 0, consumerCount: 0 },
    ],
    [
      'queue.declare',
      (channel) => channel.queueDeclare(),
      { queue: '' },
      { queue: 'made-up', messageCount: 0, consumerCount: 0 },
    ],
    [
      'queue.bind',
      (channel) => channel.queueBind({ queue: 'q', exchange: 'e', routingKey: 'k', arguments: args }),
      { queue: 'q', exchange: 'e', routingKey: 'k', arguments: args },
      undefined,
    ],
    [
      'queue.unbind',
      (channel) => channel.queueUnbind({ queue: 'q', exchange: 'e', routingKey: 'k' }),
      { queue: 'q', exchange: 'e', routingKey: 'k', arguments: {} },
      undefined,
    ],
    ['queue.purge', (channel) => channel.queuePurge('q'), { queue: 'q' }, { messageCount: 3 }],
    [
      'queue.delete',
      (channel) => channel.queueDelete('q', { ifEmpty: true, ifUnused: true }),
      { queue: 'q', ifEmpty: true, ifUnused: true },
      { messageCount: 4 },
    ],
    [
      'basic.qos',
      (channel) => channel.basicQos({ prefetchCount: 5, prefetchSize: 6, global: true }),
      { prefetchCount: 5, prefetchSize: 6, global: true },
      undefined,
    ],
    ['basic.recover', (channel) => channel.basicRecover(), { requeue: true }, undefined],
    ['basic.recover', (channel) => channel.basicRecover({ requeue: false }), { requeue: false }, undefined],
    ['basic.get', (channel) => channel.basicGet('q', { noAck: true }), { queue: 'q', noAck: true }, undefined],
    ['confirm.select', (channel) => channel.confirmSelect(), { nowait: false }, undefined],
    ['tx.select', (channel) => channel.txSelect(), {}, undefined],
    ['tx.commit', (channel) => channel.txCommit(), {}, undefined],
    ['tx.rollback', (channel) => channel.txRollback(), {}, undefined],
    ['channel.flow', (channel) => channel.flow(false), { active: false }, { active: false }],
    [
      'access.request',
      (channel) => channel.accessRequest('/data', { read: true }),
      { realm: '/data', read: true, write: false },
      { ticket: 1 },
    ],
  ])('%s', async (name, call, sent, result) => {
    const { channel, peer } = await channelOn(all);
    expect(await call(channel)).toEqual(result);
    expect(last(peer)).toMatchObject({ name, channel: 1, arguments: sent });
  });

  it('nowait: sent with the bit, and nothing is awaited', async () => {
    const { channel, peer } = await channelOn();
    await Promise.all([
      channel.exchangeDeclare('e', 'fanout', { nowait: true }),
      channel.exchangeDelete('e', { nowait: true }),
      channel.exchangeBind({ destination: 'd', source: 's', nowait: true }),
      channel.exchangeUnbind({ destination: 'd', source: 's', nowait: true }),
      channel.queueDeclare('q', { nowait: true }),
      channel.queueBind({ queue: 'q', exchange: 'e', nowait: true }),
      channel.queuePurge('q', { nowait: true }),
      channel.queueDelete('q', { nowait: true }),
      channel.basicConsume('q', { nowait: true, consumerTag: 'tag' }, () => undefined),
      channel.basicCancel('tag', { nowait: true }),
      channel.confirmSelect({ nowait: true }),
    ]);
    await came(peer, 'confirm.select');
    const methods = peer.log.slice(-11);
    expect(methods.map(({ name }) => name)).toEqual([
      'exchange.declare',
      'exchange.delete',
      'exchange.bind',
      'exchange.unbind',
      'queue.declare',
      'queue.bind',
      'queue.purge',
      'queue.delete',
      'basic.consume',
      'basic.cancel',
      'confirm.select',
    ]);
    for (const method of methods) expect(method.arguments).toMatchObject({ nowait: true });
    expect(await rejection(channel.queueDeclare('', { nowait: true }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('acks and their like', async () => {
    const { channel, peer } = await channelOn();
    channel.basicAck(1);
    channel.basicAck(2, { multiple: true });
    channel.basicAck(0, { multiple: true });
    channel.basicNack(3);
    channel.basicNack(4, { multiple: true, requeue: false });
    channel.basicReject(2 ** 40);
    channel.basicReject(6, { requeue: false });
    channel.basicRecoverAsync();
    await came(peer, 'basic.recover-async');
    expect(peer.log.slice(-8).map(({ name, arguments: args }) => [name, args])).toEqual([
      ['basic.ack', { deliveryTag: 1, multiple: false }],
      ['basic.ack', { deliveryTag: 2, multiple: true }],
      ['basic.ack', { deliveryTag: 0, multiple: true }],
      ['basic.nack', { deliveryTag: 3, multiple: false, requeue: true }],
      ['basic.nack', { deliveryTag: 4, multiple: true, requeue: false }],
      ['basic.reject', { deliveryTag: 2 ** 40, requeue: true }],
      ['basic.reject', { deliveryTag: 6, requeue: false }],
      ['basic.recover-async', { requeue: true }],
    ]);
    for (const tag of [0, -1, 1.5, undefined as unknown as number, '1' as unknown as number]) {
      expect(() => channel.basicAck(tag)).toThrow(/no delivery tag/);
    }
  });

  it('arguments that cannot be encoded: named, nothing is sent, the channel goes on', async () => {
    const { channel, peer } = await channelOn();
    await channel.queueDeclare('q');
    const before = peer.bytes;
    const long = 'x'.repeat(256);
    const bad: Promise<unknown>[] = [
      channel.queueDeclare(long),
      channel.exchangeDeclare('e', 5 as unknown as string),
      channel.queueBind({ queue: 'q', exchange: 'e', arguments: { f: (() => undefined) as unknown as string } }),
      channel.queueBind({ queue: 'q', exchange: 'e', nowait: true, routingKey: long }),
      channel.basicQos({ prefetchCount: 65_536 }),
      channel.queueDeclare('q', { timeout: -1 }),
      channel.basicConsume(long, {}, () => undefined),
      channel.basicConsume('q', {}, undefined as unknown as () => void),
    ];
    for (const call of bad) expect(await rejection(call)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(peer.bytes).toBe(before);
    await channel.queueDeclare('q');
  });

  it('what RabbitMQ would close the connection for is refused there, and sent to others', async () => {
    const refused = await channelOn({}, {}, RABBITMQ);
    const calls: ((channel: Channel) => unknown)[] = [
      (channel) => channel.flow(false),
      (channel) => channel.basicRecover({ requeue: false }),
      (channel) => channel.basicQos({ prefetchCount: 1, prefetchSize: 1 }),
      (channel) => channel.basicPublish('', 'q', 'x', {}, { immediate: true }),
      (channel) => channel.basicRecoverAsync({ requeue: false }),
      (channel) =>
        channel.publishRaw(
          { exchange: '', routingKey: 'q', body: 'x', immediate: true },
          { confirmed: () => undefined, failed: () => undefined },
        ),
    ];
    const before = refused.peer.bytes;
    for (const call of calls) {
      const error = await rejection((async () => call(refused.channel))());
      expect(error).toMatchObject({ code: 'NOT_SUPPORTED' });
    }
    expect(refused.peer.bytes).toBe(before);
    await refused.channel.basicQos({ prefetchCount: 1 });

    const { channel, peer } = await channelOn({ 'basic.recover': answer('basic.recover-ok') });
    await channel.basicRecover({ requeue: false });
    await channel.basicPublish('', 'q', 'x', {}, { immediate: true });
    await came(peer, 'basic.publish');
    expect(last(peer)?.arguments).toMatchObject({ immediate: true, mandatory: false });
  });
});

describe('answers', () => {
  it('are matched in order', async () => {
    const { channel, peer } = await channelOn({ 'queue.declare': () => undefined });
    const declared = ['a', 'b', 'c'].map((queue) => channel.queueDeclare(queue));
    await came(peer, 'queue.declare', 3);
    for (const queue of ['a', 'b', 'c']) {
      peer.send(1, 'queue.declare-ok', { queue, messageCount: queue.charCodeAt(0), consumerCount: 0 });
    }
    expect(await Promise.all(declared)).toMatchObject([
      { queue: 'a', messageCount: 97 },
      { queue: 'b', messageCount: 98 },
      { queue: 'c', messageCount: 99 },
    ]);
  });

  it('to consume and cancel come from the queues, and may overtake and be overtaken by others', async () => {
    const silent = () => undefined;
    const { channel, peer } = await channelOn({
      ...{ 'basic.consume': silent, 'basic.cancel': silent, 'basic.get': silent },
    });
    const consumed = ['a', 'b'].map((consumerTag) => channel.basicConsume('q', { consumerTag }, silent));
    const got = channel.basicGet('q');
    await came(peer, 'basic.get');
    peer.send(1, 'basic.get-empty', {});
    expect(await got).toBeUndefined();
    peer.send(1, 'basic.consume-ok', { consumerTag: 'b' });
    peer.send(1, 'basic.consume-ok', { consumerTag: 'a' });
    expect(await Promise.all(consumed)).toEqual(['a', 'b']);

    const cancelled = Promise.all([channel.basicCancel('a'), channel.basicCancel('b')]);
    const purged = channel.queuePurge('q');
    await came(peer, 'queue.purge');
    peer.send(1, 'basic.cancel-ok', { consumerTag: 'b' });
    peer.send(1, 'queue.purge-ok', { messageCount: 7 });
    peer.send(1, 'basic.cancel-ok', { consumerTag: 'a' });
    expect(await purged).toEqual({ messageCount: 7 });
    await cancelled;
  });

  it('that do not come: TIMEOUT with the caller in the stack; one that comes late is dropped, the channel goes on', async () => {
    const { channel, peer } = await channelOn({ 'queue.declare': () => undefined });
    const error = await rejection(channel.queueDeclare('slow', { timeout: 60 }));
    expect(error).toMatchObject({ code: 'TIMEOUT', message: 'no answer to queue.declare within 60 ms' });
    expect(error.stack).toContain('channel.test.ts');
    const next = channel.queueDeclare('next');
    await came(peer, 'queue.declare', 2);
    peer.send(1, 'queue.declare-ok', { queue: 'slow', messageCount: 1, consumerCount: 0 });
    peer.send(1, 'queue.declare-ok', { queue: 'next', messageCount: 2, consumerCount: 0 });
    expect(await next).toMatchObject({ queue: 'next' });
  });

  it('can be given up: signal.reason', async () => {
    const { channel, peer } = await channelOn({ 'queue.declare': () => undefined });
    const controller = new AbortController();
    const call = rejection(channel.queueDeclare('q', { signal: controller.signal }));
    const reason = new Error('not needed');
    controller.abort(reason);
    expect(await call).toBe(reason);
    const before = peer.log.length;
    expect(await rejection(channel.queuePurge('q', { signal: controller.signal }))).toBe(reason);
    expect(await rejection(channel.queuePurge('q', { signal: controller.signal, nowait: true }))).toBe(reason);
    expect(await rejection(channel.confirmSelect({ signal: controller.signal }))).toBe(reason);
    expect(channel.confirming).toBe(false);
    expect(peer.log.slice(before).filter(({ name }) => name !== 'queue.declare')).toEqual([]);
  });

  it('a message fetched too late goes back to its queue', async () => {
    const { channel, peer } = await channelOn({ 'basic.get': () => undefined });
    expect(await rejection(channel.basicGet('q', { timeout: 30 }))).toMatchObject({ code: 'TIMEOUT' });
    expect(await rejection(channel.basicGet('q', { timeout: 30, noAck: true }))).toMatchObject({ code: 'TIMEOUT' });
    const got = { redelivered: false, exchange: 'e', routingKey: 'k', messageCount: 0 };
    peer.content(1, 'basic.get-ok', { deliveryTag: 1, ...got }, 'late');
    peer.content(1, 'basic.get-ok', { deliveryTag: 2, ...got }, 'late');
    await came(peer, 'basic.reject');
    await channel.queueDeclare('q');
    const rejected = peer.log.filter(({ name }) => name === 'basic.reject');
    expect(rejected.map((method) => method.arguments)).toEqual([{ deliveryTag: 1, requeue: true }]);
  });

  it('basic.get-ok has everything', async () => {
    const { channel } = await channelOn({
      'basic.get': ({ channel: id }, peer) =>
        peer.content(
          id,
          'basic.get-ok',
          { deliveryTag: 9, redelivered: true, exchange: 'e', routingKey: 'k', messageCount: 8 },
          'hello',
          { contentType: 'text/plain', headers: { a: 1 } },
        ),
    });
    const message = await channel.basicGet('q');
    expect(message).toMatchObject({
      deliveryTag: 9,
      redelivered: true,
      exchange: 'e',
      routingKey: 'k',
      messageCount: 8,
      body: Buffer.from('hello'),
    });
    expect(message?.properties.toObject()).toEqual({ contentType: 'text/plain', headers: { a: 1 } });
  });
});

describe('channel.close from the server', () => {
  it.each<[number, abstract new (...args: never[]) => MessagingError, string]>([
    [403, AccessRefused, 'ACCESS_REFUSED'],
    [404, NotFound, 'NOT_FOUND'],
    [405, ResourceLocked, 'RESOURCE_LOCKED'],
    [406, PreconditionFailed, 'PRECONDITION_FAILED'],
  ])('%i: typed, answered, everything that waits is told, the number is free', async (replyCode, type, code) => {
    const { connection, channel, peer } = await channelOn({
      'queue.declare': ({ channel: id, arguments: { queue } }, fake) => {
        if (queue === 'bad') fake.send(id, 'channel.close', { replyCode, replyText: 'why', classId: 50, methodId: 10 });
      },
    });
    await channel.confirmSelect();
    const told = once(channel, 'close');
    const calls = [
      rejection(channel.queueDeclare('slow')),
      rejection(channel.basicPublish('', 'q', 'x')),
      rejection(channel.queueDeclare('bad')),
    ];
    const [error] = (await told) as [MessagingError];
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({
      code,
      replyCode,
      replyText: 'why',
      method: 'queue.declare',
      classId: 50,
      methodId: 10,
    });
    const [slow, publish, bad] = await Promise.all(calls);
    for (const each of [slow, publish, bad]) expect(each).toBeInstanceOf(type);
    expect(bad?.stack).toContain('channel.test.ts');
    expect(bad?.cause).toBe(error);
    expect(publish?.outcome).toBe('unknown');
    expect(channel.state).toBe('closed');
    expect(channel.closeError).toBe(error);
    await came(peer, 'channel.close-ok');

    expect(await rejection(channel.queueDeclare('later'))).toMatchObject({ code: 'CHANNEL_CLOSED', cause: error });
    expect(await rejection(channel.basicPublish('', 'q', 'x'))).toMatchObject({ outcome: 'not-sent' });
    expect(() => channel.basicAck(1)).toThrow(expect.objectContaining({ code: 'CHANNEL_CLOSED' }));
    await channel.close();
    const next = await connection.channel();
    expect(next.id).toBe(1);
    expect(connection.state).toBe('open');
  });

  it('forgets what waits behind a long body, and tells those who wait for room', async () => {
    const { channel, peer, connection } = await channelOn();
    peer.pause();
    const body = Buffer.alloc(30 * 1024 * 1024);
    const published = [0, 1, 2].map(() => rejection(channel.basicPublish('', 'q', body)));
    const told = once(channel, 'close');
    const drained = once(connection, 'drain');
    peer.send(1, 'channel.close', { replyCode: 404, replyText: 'no exchange', classId: 60, methodId: 40 });
    await told;
    for (const each of published) expect(await each).toMatchObject({ code: 'NOT_FOUND', outcome: 'unknown' });
    expect(connection.bufferedBytes).toBeLessThan(31 * 1024 * 1024);
    peer.resume();
    await drained;
    await came(peer, 'channel.close-ok');
    expect(peer.log.filter(({ name }) => name === 'basic.publish')).toHaveLength(1);
    expect((await connection.channel()).id).toBe(1);
  });

  it('crossing with our close: both are answered, the number is free only then', async () => {
    const { connection, channel, peer } = await channelOn({
      'channel.close': ({ channel: id }, fake) =>
        fake.send(id, 'channel.close', { replyCode: 406, replyText: 'crossed', classId: 0, methodId: 0 }),
    });
    const told = once(channel, 'close');
    await channel.close();
    expect((await told)[0]).toMatchObject({ code: 'PRECONDITION_FAILED' });
    await came(peer, 'channel.close-ok');
    expect((await connection.channel()).id).toBe(2);
    peer.send(1, 'channel.close-ok', {});
    await connection.channel();
    expect((await connection.channel()).id).toBe(1);
  });
});

describe('close', () => {
  it('waits for what is under way, then says goodbye', async () => {
    const { channel, peer } = await channelOn({ 'basic.publish': () => undefined });
    await channel.confirmSelect();
    const published = channel.basicPublish('', 'q', 'x');
    const closing = channel.close();
    expect(channel.state).toBe('closing');
    await came(peer, 'basic.publish');
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    await published;
    await closing;
    expect(channel.state).toBe('closed');
    expect(last(peer)?.name).toBe('channel.close');
    await channel[Symbol.asyncDispose]();
  });

  it('without an answer: TIMEOUT; the number is not used again before it came', async () => {
    const { connection, channel, peer } = await channelOn({ 'channel.close': () => undefined });
    expect(await rejection(channel.close({ timeout: 50 }))).toMatchObject({ code: 'TIMEOUT' });
    expect(channel.state).toBe('closed');
    expect((await connection.channel()).id).toBe(2);
    peer.send(1, 'channel.close-ok', {});
    await connection.channel();
    expect((await connection.channel()).id).toBe(1);
  });

  it('lets handlers that end just then settle their deliveries, and gives back what comes meanwhile', async () => {
    const { channel, peer } = await channelOn({ 'queue.declare': () => undefined });
    const deliveries: Delivery[] = [];
    const first = deferred();
    await channel.basicConsume('q', { consumerTag: 'tag' }, (delivery) => {
      deliveries.push(delivery);
      first.resolve();
    });
    peer.deliver(1, 'tag', 1);
    await first.promise;
    const declared = channel.queueDeclare('slow');
    const closing = channel.close();
    peer.deliver(1, 'tag', 2);
    channel.basicAck(1);
    await came(peer, 'basic.ack');
    peer.send(1, 'queue.declare-ok', { queue: 'slow', messageCount: 0, consumerCount: 0 });
    await Promise.all([declared, closing]);
    expect(deliveries.map(({ deliveryTag }) => deliveryTag)).toEqual([1]);
    expect(() => channel.basicAck(1)).toThrow(expect.objectContaining({ code: 'CHANNEL_CLOSED' }));
  });
});

describe('consumers', () => {
  it('get deliveries with everything in them', async () => {
    const { channel, peer } = await channelOn();
    const delivered = deferred<Delivery>();
    const tag = await channel.basicConsume('q', { noAck: true, exclusive: true, noLocal: true }, delivered.resolve);
    expect(last(peer)?.arguments).toMatchObject({ consumerTag: tag, noAck: true, exclusive: true, noLocal: true });
    peer.content(
      1,
      'basic.deliver',
      { consumerTag: tag, deliveryTag: 7, redelivered: true, exchange: 'e', routingKey: 'k' },
      'hello',
      { messageId: 'm', priority: 0 },
    );
    const delivery = await delivered.promise;
    expect(delivery).toMatchObject({
      consumerTag: tag,
      deliveryTag: 7,
      redelivered: true,
      exchange: 'e',
      routingKey: 'k',
      body: Buffer.from('hello'),
    });
    expect(delivery.properties.toObject()).toEqual({ messageId: 'm', priority: 0 });
  });

  it('a delivery that comes before consume-ok is not lost', async () => {
    const { channel } = await channelOn({
      'basic.consume': ({ channel: id, arguments: { consumerTag } }, peer) => {
        peer.deliver(id, consumerTag, 1, 'early');
        peer.send(id, 'basic.consume-ok', { consumerTag });
      },
    });
    const bodies: string[] = [];
    await channel.basicConsume('q', {}, ({ body }) => bodies.push(body.toString()));
    expect(bodies).toEqual(['early']);
  });

  it('a delivery for an unknown tag goes back to its queue', async () => {
    const { channel, peer } = await channelOn();
    peer.deliver(1, 'nobody', 5);
    await came(peer, 'basic.reject');
    expect(last(peer)?.arguments).toEqual({ deliveryTag: 5, requeue: true });
    expect(channel.state).toBe('open');
  });

  it('what comes between a cancel and its answer is delivered; after one without answer it goes back, but not with noAck', async () => {
    const { channel, peer } = await channelOn({
      'basic.cancel': ({ channel: id, arguments: { consumerTag, nowait } }, fake) => {
        if (consumerTag !== 'sync') fake.deliver(id, consumerTag, consumerTag === 'async' ? 2 : 3);
        else fake.deliver(id, consumerTag, 1);
        if (!nowait) fake.send(id, 'basic.cancel-ok', { consumerTag });
      },
    });
    const tags: number[] = [];
    const onDelivery = ({ deliveryTag }: Delivery) => tags.push(deliveryTag);
    await channel.basicConsume('q', { consumerTag: 'sync' }, onDelivery);
    await channel.basicConsume('q', { consumerTag: 'async' }, onDelivery);
    await channel.basicConsume('q', { consumerTag: 'async-noack', noAck: true }, onDelivery);
    await channel.basicCancel('sync');
    expect(tags).toEqual([1]);
    await channel.basicCancel('async', { nowait: true });
    await channel.basicCancel('async-noack', { nowait: true });
    await channel.queueDeclare('q');
    await channel.queueDeclare('q');
    expect(tags).toEqual([1]);
    const rejected = peer.log.filter(({ name }) => name === 'basic.reject');
    expect(rejected.map((method) => method.arguments)).toEqual([{ deliveryTag: 2, requeue: true }]);
  });

  it('a tag in use is refused before the broker would close the connection for it', async () => {
    const { channel } = await channelOn();
    await channel.basicConsume('q', { consumerTag: 'same' }, () => undefined);
    const error = await rejection(channel.basicConsume('q', { consumerTag: 'same' }, () => undefined));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining("'same'") });
    await channel.basicCancel('same');
    await channel.basicConsume('q', { consumerTag: 'same' }, () => undefined);
  });

  it('a consume that was given up is cancelled, and can be tried again', async () => {
    const { channel, peer } = await channelOn({ 'basic.consume': () => undefined });
    const error = await rejection(channel.basicConsume('q', { consumerTag: 'tag', timeout: 40 }, () => undefined));
    expect(error).toMatchObject({ code: 'TIMEOUT' });
    await came(peer, 'basic.cancel');
    expect(last(peer)?.arguments).toEqual({ consumerTag: 'tag', nowait: true });
    peer.send(1, 'basic.consume-ok', { consumerTag: 'tag' });
    peer.deliver(1, 'tag', 1);
    await came(peer, 'basic.reject');
    const deliveries: Delivery[] = [];
    const again = channel.basicConsume('q', { consumerTag: 'tag' }, (delivery) => deliveries.push(delivery));
    await came(peer, 'basic.consume', 2);
    peer.deliver(1, 'tag', 2);
    peer.send(1, 'basic.consume-ok', { consumerTag: 'tag' });
    await again;
    expect(deliveries).toHaveLength(1);
  });

  it('cancelled by the broker: onCancel and event, answered where the broker wants it', async () => {
    const { channel, peer } = await channelOn();
    const cancelled = deferred<ConsumerCancelled>();
    await channel.basicConsume('q', { consumerTag: 'one', onCancel: cancelled.resolve }, () => undefined);
    await channel.basicConsume('q', { consumerTag: 'two' }, () => undefined);
    const event = once(channel, 'cancel');
    peer.send(1, 'basic.cancel', { consumerTag: 'one', nowait: true });
    const error = await cancelled.promise;
    expect(error).toBeInstanceOf(ConsumerCancelled);
    expect(error).toMatchObject({ code: 'CONSUMER_CANCELLED' });
    expect(await event).toEqual(['one']);
    const second = once(channel, 'cancel');
    peer.send(1, 'basic.cancel', { consumerTag: 'two' });
    expect(await second).toEqual(['two']);
    await came(peer, 'basic.cancel-ok');
    expect(last(peer)?.arguments).toEqual({ consumerTag: 'two' });
    await channel.basicConsume('q', { consumerTag: 'one' }, () => undefined);
  });

  it('amqplib#334: handlers that throw or reject harm nothing: handlerError with the delivery', async () => {
    const { channel, peer, connection } = await channelOn();
    const failures: [unknown, number | undefined][] = [];
    channel.on('handlerError', (error, delivery) => failures.push([String(error), delivery?.deliveryTag]));
    const tags: number[] = [];
    await channel.basicConsume('q', { consumerTag: 'tag' }, ({ deliveryTag }) => {
      tags.push(deliveryTag);
      if (deliveryTag === 1) throw new Error('sync');
      return deliveryTag === 2 ? Promise.reject(new Error('async')) : undefined;
    });
    // In one packet: the second and third are parsed after the first failed.
    peer.raw(
      peer.record(() => {
        for (const tag of [1, 2, 3]) peer.deliver(1, 'tag', tag);
      }),
    );
    await vi.waitFor(() => expect(failures).toHaveLength(2));
    expect(tags).toEqual([1, 2, 3]);
    expect(failures).toEqual([
      ['Error: sync', 1],
      ['Error: async', 2],
    ]);
    await channel.queueDeclare('q');
    expect(connection.state).toBe('open');
  });

  it('a handler may close, abort or consume in the middle of a packet', async () => {
    const { channel, peer, connection } = await channelOn();
    const tags: number[] = [];
    await channel.basicConsume('q', { consumerTag: 'tag' }, ({ deliveryTag }) => {
      tags.push(deliveryTag);
      if (deliveryTag === 2) connection.abort();
    });
    const told = once(connection, 'close');
    peer.raw(
      peer.record(() => {
        for (const tag of [1, 2, 3]) peer.deliver(1, 'tag', tag);
      }),
    );
    await told;
    expect(tags).toEqual([1, 2]);
  });

  it('a body beyond maxBodyBytes: dead-lettered and told, and the channel goes on', async () => {
    const { channel, peer } = await channelOn(
      {
        'basic.get': ({ channel: id, arguments: { noAck } }, fake) =>
          fake.content(
            id,
            'basic.get-ok',
            { deliveryTag: noAck ? 11 : 10, redelivered: false, exchange: '', routingKey: 'q', messageCount: 0 },
            Buffer.alloc(300_000),
          ),
      },
      { maxBodyBytes: 1000 },
    );
    const failures: unknown[] = [];
    channel.on('handlerError', (error) => failures.push(error));
    const bodies: number[] = [];
    await channel.basicConsume('q', { consumerTag: 'tag' }, ({ body }) => bodies.push(body.length));
    await channel.basicConsume('q', { consumerTag: 'noack', noAck: true }, ({ body }) => bodies.push(body.length));
    peer.deliver(1, 'tag', 1, Buffer.alloc(1001));
    peer.deliver(1, 'tag', 2, Buffer.alloc(1000));
    peer.deliver(1, 'noack', 3, Buffer.alloc(1001));
    await channel.queueDeclare('q');
    expect(bodies).toEqual([1000]);
    expect(failures).toEqual([expect.any(ContentTooLarge), expect.any(ContentTooLarge)]);

    expect(await rejection(channel.basicGet('q'))).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    expect(await rejection(channel.basicGet('q', { noAck: true }))).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    await channel.queueDeclare('q');
    const rejected = peer.log.filter(({ name }) => name === 'basic.reject');
    expect(rejected.map((method) => method.arguments)).toEqual([
      { deliveryTag: 1, requeue: false },
      { deliveryTag: 10, requeue: true },
    ]);
  });

  it('rabbitmq-client: a body is whole when the server tunes a smaller frame than configured', async () => {
    const body = Buffer.from(Array.from({ length: 20_000 }, (_, index) => index % 251));
    const { connection, peer } = await pair(
      async (fake) => {
        await fake.handshake({ tune: { frameMax: 8192 } });
        await fake.serve();
      },
      { frameMax: 131_072 },
    );
    const channel = await connection.channel();
    const delivered = deferred<Delivery>();
    await channel.basicConsume('q', { consumerTag: 'tag' }, delivered.resolve);
    peer.deliver(1, 'tag', 1, body);
    expect((await delivered.promise).body.equals(body)).toBe(true);
    await channel.basicPublish('', 'q', body);
    await came(peer, 'basic.publish');
    expect(last(peer)).toMatchObject({ name: 'basic.publish' });
    expect(peer.log.at(-1)?.body.equals(body)).toBe(true);
    expect(connection.frameMax).toBe(8192);
  });
});

describe('channel.flow from the server', () => {
  it('is answered; publishes wait, in order, and go on', async () => {
    const { channel, peer } = await channelOn();
    const flows: boolean[] = [];
    channel.on('flow', (active) => flows.push(active));
    peer.send(1, 'channel.flow', { active: false });
    await came(peer, 'channel.flow-ok');
    expect(last(peer)?.arguments).toEqual({ active: false });

    const done: string[] = [];
    const publishes = ['one', 'two'].map((body) => channel.basicPublish('', 'q', body).then(() => done.push(body)));
    const bad = rejection(channel.basicPublish('', 'q'.repeat(256), 'bad'));
    await channel.queueDeclare('q');
    expect(peer.log.some(({ name }) => name === 'basic.publish')).toBe(false);
    expect(channel.unsettled).toBe(3);

    peer.send(1, 'channel.flow', { active: true });
    await Promise.all(publishes);
    expect(await bad).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'not-sent' });
    await came(peer, 'basic.publish', 2);
    expect(peer.log.filter(({ name }) => name === 'basic.publish').map(({ body }) => body.toString())).toEqual([
      'one',
      'two',
    ]);
    expect(flows).toEqual([false, true]);
  });

  it('what waited when the channel died was not sent', async () => {
    const { channel, peer, connection } = await channelOn();
    await channel.confirmSelect();
    const sent = rejection(channel.basicPublish('', 'q', 'sent'));
    await came(peer, 'basic.publish');
    peer.send(1, 'channel.flow', { active: false });
    await once(channel, 'flow');
    const held = rejection(channel.basicPublish('', 'q', 'held'));
    connection.abort();
    expect((await sent).outcome).toBe('unknown');
    expect((await held).outcome).toBe('not-sent');
  });
});
