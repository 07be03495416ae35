import { describe, expect, test } from 'vitest';
import {
  Connection,
  LamportClock,
  Mailbox,
  type MailboxOptions,
  type Message,
  type MessagingError,
  type ProducerSource,
  producers,
  Queue,
} from 'wakame';
import { Count, eventually, failure, onEachTransport, onMemory, sequence } from '../messaging/support.js';
import { mailboxOf } from './support.js';

describe('options', () => {
  test('names and queues are those of Kombu', () => {
    const mailbox = new Mailbox('box', { oid: 'me' });
    expect(mailbox.exchange).toMatchObject({ name: 'box.pidbox', type: 'direct', durable: false, autoDelete: false });
    expect(mailbox.exchange.deliveryMode).toBe(1);
    expect(mailbox.replyExchange).toMatchObject({ name: 'reply.box.pidbox', type: 'direct', durable: false });
    const transient = { durable: false, autoDelete: true, exclusive: true };
    const queueArguments = { 'x-expires': 10_000 };
    expect(mailbox.replyQueue).toMatchObject({ name: 'me.reply.box.pidbox', routingKey: 'me', ...transient });
    expect(mailbox.replyQueue.queueArguments).toEqual(queueArguments);
    expect(mailbox.getQueue('host')).toMatchObject({ name: 'host.box.pidbox', routingKey: '', ...transient });
    expect(mailbox.getQueue('host').queueArguments).toBeUndefined();
    expect(new Mailbox('box', { type: 'fanout' }).exchange.type).toBe('fanout');
  });

  test('lifetimes', () => {
    const options = { queueTtl: 1, queueExpires: 2, replyQueueTtl: 3, replyQueueExpires: 4 };
    const durable = new Mailbox('box', { ...options, queueDurable: true });
    const lasting = { durable: true, autoDelete: false, exclusive: false };
    expect(durable.getQueue('host')).toMatchObject(lasting);
    expect(durable.replyQueue).toMatchObject(lasting);
    expect(durable.getQueue('host').queueArguments).toEqual({ 'x-message-ttl': 1, 'x-expires': 2 });
    expect(durable.replyQueue.queueArguments).toEqual({ 'x-message-ttl': 3, 'x-expires': 4 });
    const shared = new Mailbox('box', { queueExclusive: false });
    expect(shared.replyQueue).toMatchObject({ durable: false, autoDelete: true, exclusive: false });
  });

  test.each<[MailboxOptions, string]>([
    [{ queueExclusive: true, queueDurable: true }, 'exclude each other'],
    [{ type: 'topic' as 'direct' }, "type must be one of 'direct', 'fanout'"],
    [{ replyQueueExpires: 0 }, 'replyQueueExpires must be an integer of at least 1'],
    [{ queueExpires: 0 }, 'queueExpires'],
    [{ queueTtl: 1.5 }, 'queueTtl'],
    [{ oid: '' }, 'oid must not be empty'],
    [{ accept: ['jsn'] }, 'jsn'],
    [{ clock: 1 as unknown as LamportClock }, 'clock must be a LamportClock'],
    [{ connection: {} as Connection }, 'connection must be a Connection'],
    [{ producerPool: {} as ProducerSource }, 'producerPool.acquire must be a function'],
    [{ queue_ttl: 1 } as MailboxOptions, "no option 'queue_ttl'"],
  ])('%j is refused', (options, message) => {
    expect(() => new Mailbox('box', options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => new Mailbox('box', options)).toThrow(message);
  });

  test('names must fit', () => {
    expect(() => new Mailbox('')).toThrow('namespace must not be empty');
    expect(() => new Mailbox('x'.repeat(250))).toThrow('255');
    expect(() => new Mailbox('box').getQueue('')).toThrow('hostname must not be empty');
  });

  test.each<[() => Promise<unknown>, string]>([
    [() => box.call('host' as unknown as string[], 'ping'), 'destination must be an array of hostnames'],
    [() => box.cast([''], 'ping'), 'destination must not be empty'],
    [() => box.cast(undefined as unknown as string[], 'ping'), 'destination must be an array'],
    [() => box.abcast(''), 'command must not be empty'],
    [() => box.abcast('ping', [] as never), 'arguments must be an object'],
    [() => box.abcast('ping', {}, { pattern: 1 as never }), 'pattern must be a string'],
    [() => box.abcast('ping', {}, { matcher: 'glob' }), 'there is no pattern'],
    [() => box.broadcast('ping', { destination: ['a'], pattern: '*' }), 'exclude each other'],
    [() => box.multiCall('ping', {}, { timeout: 0 }), 'timeout'],
    [() => box.multiCall('ping', {}, { limit: 0 }), 'limit'],
    [() => box.multiCall('ping', {}, { callback: 1 as never }), 'callback must be a function'],
    [() => box.multiCall('ping', {}, { schema: 1 as never }), 'schema must be a Standard Schema'],
    [() => box.broadcast('ping', { limit: 1 }), 'reply must be true'],
    [() => box.abcast('ping', {}, { timout: 1 } as never), "no option 'timout'"],
  ])('%s is refused', async (call, message) => {
    const error = await failure(call());
    expect([error.code, error.message]).toEqual(['INVALID_ARGUMENT', expect.stringContaining(message)]);
  });

  test('kombu takes an empty destination for all nodes: here it is refused', async () => {
    const error = await failure(box.cast([], 'stop'));
    expect([error.code, error.message]).toEqual(['INVALID_ARGUMENT', expect.stringContaining('must name a node')]);
  });

  test('without a connection nothing can be sent', async () => {
    expect(await failure(new Mailbox('box').abcast('ping'))).toMatchObject({ code: 'NOT_BOUND' });
    expect(await failure(new Mailbox('box').node('a').listen())).toMatchObject({ code: 'NOT_BOUND' });
  });
});

const box = new Mailbox('box', { connection: new Connection('memory://never') });

onEachTransport('Mailbox', (bench) => {
  test('on the wire: the request of a call, and that of a cast', async () => {
    const mailbox = mailboxOf(bench, { clock: new LamportClock(41) });
    const spy = bench.queue<{ ticket: string }>('spy', { exchange: mailbox.exchange });
    await spy.declare();
    const before = Date.now();
    expect(await mailbox.call(['a'], 'ping', { n: 1 }, { timeout: 50 })).toEqual([]);
    await mailbox.cast(['b'], 'note');
    await mailbox.abcast('note', {}, { pattern: 'w*' });
    const [call, cast, abcast] = await bench.drain(spy);
    const { ticket, ...rest } = call?.payload ?? { ticket: '' };
    expect(rest).toStrictEqual({
      ...{ method: 'ping', arguments: { n: 1 }, destination: ['a'], pattern: null, matcher: null },
      reply_to: { exchange: mailbox.replyExchange.name, routing_key: mailbox.oid },
    });
    expect(ticket).toMatch(/^[\da-f-]{36}$/);
    expect(call?.headers).toEqual({ clock: 42, expires: expect.any(Number) });
    const expires = Number(call?.headers['expires']) * 1000;
    expect(expires).toBeGreaterThan(before + 49);
    expect(expires).toBeLessThan(before + 30_000);
    expect(call?.properties).toMatchObject({ deliveryMode: 2, priority: 0, contentType: 'application/json' });
    expect(call?.deliveryInfo).toMatchObject({ exchange: mailbox.exchange.name, routingKey: '' });
    const body = { method: 'note', arguments: {} };
    expect(cast?.payload).toStrictEqual({ ...body, destination: ['b'], pattern: null, matcher: null });
    expect(cast?.headers).toEqual({ clock: 43, expires: 0 });
    expect(abcast?.payload).toStrictEqual({ ...body, destination: null, pattern: 'w*', matcher: 'glob' });
  });

  test('on the wire: a reply', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a', { handlers: { ping: () => ({ ok: 'pong' }) } });
    await node.listen();
    const spy = bench.queue('spy', { exchange: mailbox.replyExchange, routingKey: 'me' });
    await spy.declare();
    const replyTo = { exchange: mailbox.replyExchange.name, routing_key: 'me' };
    const body = { method: 'ping', arguments: {}, destination: null, pattern: null, matcher: null };
    const request = { ...body, ticket: 't', reply_to: replyTo };
    const headers = { clock: 1_000, expires: 0 };
    await bench.producer().publish(request, { exchange: mailbox.exchange.name, headers });
    await bench.untilDepth(spy, 1);
    const [reply] = await bench.drain(spy);
    expect(reply?.payload).toStrictEqual({ a: { ok: 'pong' } });
    expect(reply?.headers).toEqual({ ticket: 't', clock: 1_002 });
    expect(reply?.properties).toMatchObject({ deliveryMode: 1, contentType: 'application/json' });
  });

  test('clocks of caller and node go forward together', async () => {
    const [here, there] = [new LamportClock(10), new LamportClock(5_000)];
    const mailbox = mailboxOf(bench, { clock: here });
    const other = new Mailbox(mailbox.namespace, { connection: bench.connect(), clock: there });
    await other.node('a', { handlers: { ping: () => 'pong' } }).listen();
    await mailbox.call(['a'], 'ping');
    // 11 is sent; there it is 5001, 5002 is sent; here it is 5003.
    expect([here.value, there.value]).toEqual([5_003, 5_002]);
  });

  test('one reply queue serves all calls of a connection; close gives it up, a later call makes it again', async () => {
    const mailbox = mailboxOf(bench);
    await mailbox.node('a', { handlers: { ping: () => 'pong' } }).listen();
    const connection = bench.connect();
    const bound = mailbox.bind(connection);
    expect(mailbox.bind(connection)).toBe(bound);
    expect(bound.bind(bench.connection)).toBe(mailbox);
    expect(bound.oid).not.toBe(mailbox.oid);
    await Promise.all([bound.call(['a'], 'ping'), bound.multiCall('ping', {}, { limit: 1 })]);
    const count = async () => {
      const queue = await connection.channel().queueDeclare(bound.replyQueue.name, { passive: true });
      return queue.consumerCount;
    };
    expect(await count()).toBe(1);
    const waiting = failure(bound.call(['nobody'], 'ping'));
    await bound.call(['a'], 'ping');
    await bound.close();
    expect(await waiting).toMatchObject({ code: 'CHANNEL_CLOSED', message: 'the mailbox was closed' });
    expect(await failure(count())).toMatchObject({ code: 'NOT_FOUND' });
    expect(await bound.call(['a'], 'ping')).toHaveLength(1);
    expect(bench.problems).toEqual([]);
  });

  test('channel: another connection for one call', async () => {
    const mailbox = mailboxOf(bench, { connection: undefined });
    await mailbox.node('a', { channel: bench.connection, handlers: { ping: () => 'pong' } }).listen();
    const connection = bench.connect();
    expect(await mailbox.call(['a'], 'ping', {}, { channel: connection.channel() })).toEqual([
      { hostname: 'a', value: 'pong' },
    ]);
    await mailbox.broadcast('ping', { channel: connection });
  });

  test('broadcast: with and without replies', async () => {
    const mailbox = mailboxOf(bench);
    const heard = new Count();
    for (const name of ['a', 'b']) {
      const node = mailbox.node(name);
      node.handler('add', ({ x }) => {
        heard.up();
        return Number(x) + 1;
      });
      await node.listen();
    }
    expect(await mailbox.broadcast('add', { arguments: { x: 1 } })).toBeUndefined();
    await heard.reach(2);
    const told: unknown[] = [];
    const replies = await mailbox.broadcast('add', {
      ...{ arguments: { x: 1 }, destination: ['b'], reply: true },
      callback: (reply) => told.push(reply),
    });
    expect(replies).toEqual([{ hostname: 'b', value: 2 }]);
    expect(told).toEqual(replies);
  });

  test('a node named twice in a destination answers once', async () => {
    const mailbox = mailboxOf(bench);
    await mailbox.node('a', { handlers: { ping: () => 'pong' } }).listen();
    // Otherwise it would wait for another.
    expect(await mailbox.call(['a', 'a'], 'ping', {}, { timeout: 60_000 })).toHaveLength(1);
  });

  test('what the callback throws, the call rejects with', async () => {
    const mailbox = mailboxOf(bench);
    await mailbox.node('a', { handlers: { ping: () => 'pong' } }).listen();
    const reason = new Error('enough');
    const callback = () => {
      throw reason;
    };
    expect(await failure(mailbox.call(['a'], 'ping', {}, { callback }))).toBe(reason);
  });

  test('an unreadable or malformed reply is told of, and is one of those that the call waits for', async () => {
    const mailbox = mailboxOf(bench);
    const told: MessagingError[] = [];
    mailbox.on('decodeError', (error: MessagingError) => told.push(error));
    const producer = bench.producer({ exchange: mailbox.replyExchange });
    const node = mailbox.node('a');
    await node.listen({
      callback: async (body) => {
        const { ticket, method } = body as { ticket: string; method: string };
        const options = { routingKey: mailbox.oid, headers: { ticket } };
        if (method === 'garbage') await producer.publish('{', { ...options, contentType: 'application/json' });
        else if (method === 'yaml') await producer.publish({ a: 1 }, { ...options, serializer: 'yaml' });
        else await producer.publish({ a: 1, b: 2 }, options);
      },
    });
    for (const method of ['garbage', 'yaml', 'two']) expect(await mailbox.call(['a'], method)).toEqual([]);
    expect(told.map(({ code }) => code)).toEqual(['DECODE_FAILED', 'CONTENT_DISALLOWED', 'DECODE_FAILED']);
  });

  test('a reply without a ticket, as Kombu 2 sends it, is for the only call; a stale one for none', async () => {
    const mailbox = mailboxOf(bench);
    const producer = bench.producer({ exchange: mailbox.replyExchange });
    const node = mailbox.node('a');
    await node.listen({
      callback: async () => {
        const stale = { expires: Date.now() / 1000 - 1 };
        await producer.publish({ a: 'stale' }, { routingKey: mailbox.oid, headers: stale });
        await producer.publish({ a: 'pong' }, { routingKey: mailbox.oid });
      },
    });
    expect(await mailbox.call(['a'], 'ping')).toEqual([{ hostname: 'a', value: 'pong' }]);
  });

  test('another format, and whatever is accepted', async () => {
    const mailbox = mailboxOf(bench, { serializer: 'msgpack', accept: ['msgpack', 'json'] });
    const spy = bench.queue('spy', { exchange: mailbox.exchange });
    await spy.declare();
    await mailbox.node('a', { handlers: { echo: ({ value }) => value } }).listen();
    const value = new Uint8Array([1, 2]);
    const [reply] = await mailbox.call(['a'], 'echo', { value });
    expect(Buffer.from(reply?.value as Uint8Array)).toEqual(Buffer.from(value));
    expect(await mailbox.call(['a'], 'echo', { value: 1 }, { serializer: 'json' })).toEqual([
      { hostname: 'a', value: 1 },
    ]);
    const consumer = bench.consumer(spy, { accept: ['msgpack', 'json'], noAck: true });
    const types: unknown[] = [];
    for await (const message of consumer) {
      types.push(message.contentType);
      if (types.length === 2) break;
    }
    expect(types).toEqual(['application/x-msgpack', 'application/json']);
  });

  test('producers of a pool', async () => {
    const pool = producers.of(bench.connection);
    const mailbox = mailboxOf(bench, { producerPool: pool });
    await mailbox.node('a', { handlers: { ping: () => 'pong' } }).listen();
    expect(await mailbox.call(['a'], 'ping')).toHaveLength(1);
    await pool.reset();
  });

  test('a command that cannot be written is not sent', async () => {
    const mailbox = mailboxOf(bench);
    expect(await failure(mailbox.call(['a'], 'ping', { value: new Map() }))).toMatchObject({ code: 'ENCODE_FAILED' });
    expect(await failure(mailbox.call(['a'], 'ping', {}, { signal: AbortSignal.abort('no') }))).toBe('no');
  });

  test('the reply to a call that was given up is unclaimed', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a');
    const abort = new AbortController();
    node.handler('ping', () => abort.abort(new Error('enough')));
    await node.listen();
    const error = await failure(mailbox.call(['a'], 'ping', {}, { signal: abort.signal }));
    expect(error).toBe(abort.signal.reason);
    await eventually('the reply', () => mailbox.unclaimed.size === 1);
  });

  test('replies beyond the limit are unclaimed', async () => {
    const mailbox = mailboxOf(bench, { type: 'fanout' });
    for (const name of ['a', 'b', 'c']) {
      await mailbox.node(name, { handlers: { ping: () => 'pong' } }).listen();
    }
    expect(await mailbox.multiCall('ping', {}, { limit: 1 })).toHaveLength(1);
    await eventually('two more replies', () => mailbox.unclaimed.size === 2);
    const [[ticket = ''] = []] = mailbox.unclaimed;
    expect(mailbox.unclaimed.take(ticket)).toHaveLength(2);
  });

  test('a thousand calls of fifty concurrent collectors to ten nodes: every reply comes to its caller', async () => {
    const names = sequence(10).map((n) => `node${n}`);
    const namespace = mailboxOf(bench).namespace;
    const mailboxes = sequence(5).map(() => new Mailbox(namespace, { connection: bench.connect() }));
    for (const [i, name] of names.entries()) {
      const nodes = mailboxes[i % mailboxes.length] as Mailbox;
      await nodes.node(name, { handlers: { whose: ({ call }) => `${call} by ${name}` } }).listen();
    }
    // Ten collectors on each connection, which share its reply queue; each makes twenty calls, one after the other.
    const collectors = sequence(50).map(async (collector) => {
      const mailbox = mailboxes[collector % mailboxes.length] as Mailbox;
      for (const turn of sequence(20)) {
        const call = `${collector}.${turn}`;
        const asked = [names[(collector + turn) % 10], names[(collector + turn + 1 + (turn % 9)) % 10]] as string[];
        const replies = await mailbox.call(asked, 'whose', { call }, { timeout: 60_000 });
        const values = replies.map(({ value }) => value);
        expect(new Set(values)).toEqual(new Set(asked.map((name) => `${call} by ${name}`)));
      }
    });
    await Promise.all(collectors);
    expect(mailboxes.map(({ unclaimed }) => unclaimed.size)).toEqual([0, 0, 0, 0, 0]);
  }, 240_000);
});

onMemory('Mailbox over the virtual transport', (bench) => {
  test('Kombu loses replies of concurrent collectors; here a call that ends leaves the others theirs', async () => {
    const mailbox = mailboxOf(bench);
    const waiting: Message[] = [];
    const node = mailbox.node('a');
    await node.listen({ callback: (_, message) => waiting.push(message) });
    const slow = mailbox.call(['a'], 'ping', { n: 1 });
    expect(await mailbox.call(['a'], 'ping', { n: 2 }, { timeout: 20 })).toEqual([]);
    node.handler('ping', ({ n }) => n);
    const [first] = waiting;
    await node.handleMessage(first?.payload, first);
    expect(await slow).toEqual([{ hostname: 'a', value: 1 }]);
  });

  test('kombu#294, celery#6089: an idle reply queue is gone after its time, also when the connection stays', async () => {
    const mailbox = mailboxOf(bench, { queueDurable: true, replyQueueExpires: 50 });
    expect(await mailbox.call(['nobody'], 'ping', {}, { timeout: 10 })).toEqual([]);
    await mailbox.close();
    const queue = new Queue(mailbox.replyQueue.name).bind(bench.connection);
    await eventually('the reply queue to expire', async () => {
      const asked = await queue.queueDeclare({ passive: true }).catch((error: MessagingError) => error.code);
      return asked === 'NOT_FOUND';
    });
  });
});
