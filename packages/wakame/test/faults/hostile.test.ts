/** Producers and brokers that mean harm. */
import { once } from 'node:events';
import { brotliCompressSync, constants, deflateSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { FakePeer } from '../../../amqp/test/support/fake-broker.js';
import { fakeBroker } from '../../../amqp/test/support/index.js';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import type { MessagingError } from '../../src/errors.js';
import { Consumer, type Message } from '../../src/messaging/index.js';
import type { PublishOptions } from '../../src/messaging/publish-options.js';
import { Count, eventually, failure, onEachBroker } from '../messaging/support.js';

const MIB = 1 << 20;
const json = { contentType: 'application/json', contentEncoding: 'utf-8' };

/** What arrives, and the code of its refusal. */
const HOSTILE: readonly (readonly [what: string, body: () => Uint8Array, options: PublishOptions, code: string])[] = [
  [
    'a zlib bomb',
    () => deflateSync(Buffer.alloc(129 * MIB)),
    { headers: { compression: 'application/x-gzip' } },
    'MESSAGE_TOO_LARGE',
  ],
  ['a brotli bomb', () => brotliBomb(), { headers: { compression: 'application/x-brotli' } }, 'MESSAGE_TOO_LARGE'],
  ['an unknown compression', () => bytes('1'), { headers: { compression: 'application/x-nope' } }, 'DECODE_FAILED'],
  ['a compression that is no text', () => bytes('1'), { headers: { compression: { a: 1 } } }, 'DECODE_FAILED'],
  [
    'what is not compressed though it says so',
    () => bytes('{}'),
    { headers: { compression: 'zlib' } },
    'DECODE_FAILED',
  ],
  [
    'a compressed body that is cut off',
    () => deflateSync('"text"').subarray(0, 8),
    { headers: { compression: 'zlib' } },
    'DECODE_FAILED',
  ],
  [
    'pickle',
    () => bytes("cos\nsystem\n(S'true'\ntR."),
    { contentType: 'application/x-python-serialize' },
    'CONTENT_DISALLOWED',
  ],
  ['a content type that nobody knows', () => bytes('1'), { contentType: 'application/x-nope' }, 'CONTENT_DISALLOWED'],
  ['a content type that is none', () => bytes('1'), { contentType: ';;=/"' }, 'CONTENT_DISALLOWED'],
  ['broken JSON', () => bytes('{"a":'), {}, 'DECODE_FAILED'],
  ['JSON nested too deep', () => bytes('['.repeat(100_000)), {}, 'DECODE_FAILED'],
  ['JSON that is no UTF-8', () => Buffer.of(0x22, 0xff, 0xfe, 0x22), {}, 'DECODE_FAILED'],
  [
    'text in an unknown encoding',
    () => bytes('x'),
    { contentType: 'text/plain', contentEncoding: 'nope-8' },
    'DECODE_FAILED',
  ],
];

const bytes = (text: string) => Buffer.from(text);

/** Zeros beyond the bound in a few bytes. */
function brotliBomb(): Uint8Array {
  return brotliCompressSync(Buffer.alloc(129 * MIB), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
}

onEachBroker('hostile producers', (t) => {
  test('each of their messages is told, dead-lettered and passed over', { timeout: 60_000 }, async () => {
    const dead = t.queue('dead');
    const queue = t.queue<unknown>('hostile', {
      queueArguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead.name },
    });
    await Promise.all([dead.declare(), queue.declare()]);
    const [handled, refused]: [unknown[], [string, Message][]] = [[], []];
    const count = new Count();
    const consumer = new Consumer<unknown>(t.connection, {
      ...{ queues: queue, settle: 'auto', accept: ['json', 'text'] },
      onMessage: ({ payload }) => {
        handled.push(payload);
        count.up();
      },
    });
    consumer.on('decodeError', (error, message) => {
      refused.push([error.code, message]);
      count.up();
    });
    await consumer.consume();
    const producer = t.producer({ routingKey: queue.name });
    for (const [i, [, body, options]] of HOSTILE.entries()) {
      await producer.publish(body(), { ...json, ...options });
      await producer.publish(i);
      await count.reach(2 * i + 2);
    }
    expect(refused.map(([code], i) => [HOSTILE[i]?.[0], code])).toEqual(
      HOSTILE.map(([what, , , code]) => [what, code]),
    );
    expect(handled).toEqual(HOSTILE.map((_, i) => i));
    expect(refused.map(([, message]) => message.state)).toEqual(HOSTILE.map(() => 'REJECTED'));
    await t.untilDepth(dead, HOSTILE.length);
  });

  test('onDecodeError may keep them elsewhere', async () => {
    const [queue, aside] = [t.queue<number>('hostile-kept'), t.queue('aside')];
    await Promise.all([queue.declare(), aside.declare()]);
    const producer = t.producer();
    const consumer = new Consumer<number>(t.connection, {
      ...{ queues: queue, settle: 'auto' },
      onMessage: () => undefined,
      onDecodeError: async (message, error) => {
        const headers = { ...message.headers, reason: error.code };
        await producer.publish(message.body, { routingKey: aside.name, headers, contentType: 'application/data' });
        await message.ack();
      },
    });
    await consumer.consume();
    await producer.publish(Buffer.from('{'), { routingKey: queue.name, ...json });
    await t.untilDepth(aside, 1);
    const kept = await aside.get({ noAck: true });
    expect([Buffer.from(kept?.body ?? []).toString(), kept?.headers]).toMatchObject(['{', { reason: 'DECODE_FAILED' }]);
  });
});

describe('hostile brokers', () => {
  const open: Connection[] = [];

  afterEach(async () => {
    await Promise.all(open.splice(0).map((connection) => connection.close({ timeout: 200 })));
  });

  function connectTo(url: string, options?: ConnectionOptions): { connection: Connection; problems: MessagingError[] } {
    const connection = new Connection(url, options);
    const problems: MessagingError[] = [];
    connection.on('problem', (error) => problems.push(error));
    open.push(connection);
    return { connection, problems };
  }

  /** Calls `consuming` for each consumer that starts, and answers everything else. */
  const serving = (consuming: (peer: FakePeer, channel: number, tag: string, nth: number) => void) => {
    let nth = 0;
    return async (peer: FakePeer) => {
      await peer.handshake();
      await peer.serve({
        'basic.consume': ({ channel, arguments: { consumerTag } }) => {
          peer.send(channel, 'basic.consume-ok', { consumerTag });
          consuming(peer, channel, consumerTag, nth++);
        },
      });
    };
  };

  function handling(connection: Connection, options: object = {}): { readonly got: string[] } {
    const messages: Message<unknown>[] = [];
    const consumer = new Consumer(connection, {
      ...{ queues: 'q', autoDeclare: false, settle: 'auto', prefetch: 0 },
      onMessage: (message) => messages.push(message),
      ...options,
    });
    void consumer.consume();
    return {
      get got() {
        return messages.map(({ body }) => Buffer.from(body).toString());
      },
    };
  }

  test('delivery tags that are forged: the message is handled, what cannot be settled is told, the next one comes', async () => {
    const acks: number[] = [];
    const broker = await fakeBroker(async (peer) => {
      await peer.handshake();
      await peer.serve({
        'basic.consume': ({ channel, arguments: { consumerTag } }) => {
          peer.send(channel, 'basic.consume-ok', { consumerTag });
          for (const [tag, body] of [
            [0, 'none'],
            [1, 'one'],
            [1, 'again'],
            [2 ** 53 - 1, 'high'],
            [2, 'low'],
          ] as const) {
            peer.deliver(channel, consumerTag, tag, body);
          }
        },
        'basic.ack': ({ arguments: { deliveryTag } }) => void acks.push(Number(deliveryTag)),
      });
    });
    const { connection, problems } = connectTo(broker.url);
    const received = handling(connection);
    await eventually('five', () => received.got.length === 5 && acks.length === 4);
    expect(received.got).toEqual(['none', 'one', 'again', 'high', 'low']);
    expect(acks).toEqual([1, 1, 2 ** 53 - 1, 2]);
    expect(problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
    expect(connection.connected).toBe(true);
  });

  test('a delivery tag that no number holds costs the connection, which comes back', async () => {
    const broker = await fakeBroker(
      serving((peer, channel, tag, nth) => {
        if (nth > 0) return peer.deliver(channel, tag, 1, 'fine');
        const frame = peer.record(() => peer.deliver(channel, tag, 1, 'lost'));
        // The tag of basic.deliver is behind the consumer's.
        frame.writeBigUInt64BE(2n ** 63n, 7 + 4 + 1 + tag.length);
        peer.raw(frame);
      }),
    );
    const { connection } = connectTo(broker.url);
    const lost = once(connection, 'disconnected') as Promise<[MessagingError]>;
    const received = handling(connection);
    const [error] = await lost;
    expect(error.code).toMatch(/PROTOCOL_ERROR|DECODE_FAILED|CONNECTION_LOST/);
    await eventually('the next', () => received.got.length === 1);
    expect(received.got).toEqual(['fine']);
  });

  test('a flood of cancels: one consumer at a time, with pauses', async () => {
    const broker = await fakeBroker(
      serving((peer, channel, consumerTag) => {
        for (let i = 0; i < 2000; i++) peer.send(channel, 'basic.cancel', { consumerTag, nowait: true });
      }),
    );
    const { connection } = connectTo(broker.url);
    const cancelled = new Count();
    const consumer = new Consumer(connection, { queues: 'q', onMessage: () => undefined });
    consumer.on('cancelled', () => cancelled.up());
    await consumer.consume();
    await cancelled.reach(3);
    expect(cancelled.value).toBeLessThan(20);
    expect(connection.connected).toBe(true);
    await consumer.close();
  });

  test('a flood of returns that belong to nobody disturbs no publish', async () => {
    const FLOOD = 2000;
    const broker = await fakeBroker(async (peer) => {
      await peer.handshake();
      await peer.serve({
        'basic.publish': ({ channel }) => {
          const returned = { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'e', routingKey: 'never' };
          for (let i = 0; i < FLOOD; i++) peer.content(channel, 'basic.return', returned, 'not yours');
          peer.send(channel, 'basic.ack', { deliveryTag: 1, multiple: false });
        },
      });
    });
    const { connection } = connectTo(broker.url);
    const producer = connection.producer();
    expect(await producer.publish('mine', { routingKey: 'q' })).toEqual({ attempts: 1 });
    expect(connection.connected).toBe(true);
  });

  test('one that opens and never answers: operations end at their deadlines, and close closes', async () => {
    const broker = await fakeBroker(async (peer) => {
      await peer.handshake();
      await peer.hangup();
    });
    const { connection } = connectTo(broker.url, { transportOptions: { readTimeout: 100 } });
    await connection.connect();
    const operations = [
      connection.defaultChannel().queueDeclare('q', { timeout: 300 }),
      connection.producer().publish('x', { routingKey: 'q', timeout: 300 }),
      new Consumer(connection, { queues: 'q', onMessage: () => undefined }).consume({ timeout: 300 }),
    ];
    for (const operation of operations) expect((await failure(operation)).code).toBe('TIMEOUT');
    await connection.close({ timeout: 200 });
    expect(connection.state).toBe('closed');
  });

  test('headers nested without end: that message is refused, the next one comes', async () => {
    const broker = await fakeBroker(
      serving((peer, channel, tag) => {
        let table: Buffer = Buffer.alloc(4);
        for (let depth = 0; depth < 2000; depth++) {
          const inner = Buffer.concat([Buffer.of(1), Buffer.from('aF'), table]);
          table = Buffer.concat([Buffer.alloc(4), inner]);
          table.writeUInt32BE(inner.length);
        }
        const method = peer.record(() => peer.deliver(channel, tag, 1, ''));
        const methodFrame = method.subarray(0, 8 + method.readUInt32BE(3));
        const header = Buffer.concat([Buffer.alloc(12), Buffer.of(0x20, 0), table]);
        header.writeUInt16BE(60);
        const frame = Buffer.concat([Buffer.of(2, 0, channel, 0, 0, 0, 0), header, Buffer.of(0xce)]);
        frame.writeUInt32BE(header.length, 3);
        peer.raw(Buffer.concat([methodFrame, frame]));
        peer.deliver(channel, tag, 2, 'behind it');
      }),
    );
    const { connection } = connectTo(broker.url);
    const refused: string[] = [];
    const onDecodeError = (_message: Message, error: MessagingError) => refused.push(error.code);
    const received = handling(connection, { onDecodeError });
    await eventually('the next', () => received.got.length === 1);
    expect([refused, received.got, connection.connected]).toEqual([['DECODE_FAILED'], ['behind it'], true]);
    expect(broker.peers).toHaveLength(1);
  });
});
