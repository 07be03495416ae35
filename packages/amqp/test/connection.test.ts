import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import {
  type Channel,
  type Connection,
  ConnectionClosedError,
  ConnectionForced,
  type MessagingError,
  RecoverableConnectionError,
  ResourceError,
} from '../src/index.js';
import type { FakePeer } from './support/fake-broker.js';
import { pair, rejection } from './support/index.js';

/** The argument of the next `close` event. */
async function closed(emitter: Connection | Channel): Promise<MessagingError | undefined> {
  const [error] = await once(emitter, 'close');
  return error;
}

describe('channels', () => {
  it('have the lowest free number, or the claimed one', async () => {
    const { connection } = await pair();
    const [one, two, seven, three] = await Promise.all([
      connection.channel(),
      connection.channel(),
      connection.channel({ id: 7 }),
      connection.channel(),
    ]);
    expect([one.id, two.id, seven.id, three.id]).toEqual([1, 2, 7, 3]);
    await two.close();
    expect((await connection.channel()).id).toBe(2);
    expect((await connection.channel()).id).toBe(4);
    for (const id of [7, 0, -1, 1.5, 2048]) {
      expect(await rejection(connection.channel({ id }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  it('exhausted: CHANNEL_LIMIT, until one is closed', async () => {
    const { connection } = await pair(async (peer) => {
      await peer.handshake({ tune: { channelMax: 3 } });
      await peer.serve();
    });
    const channels = await Promise.all([1, 2, 3].map(() => connection.channel()));
    const error = await rejection(connection.channel());
    expect(error).toBeInstanceOf(ResourceError);
    expect(error).toMatchObject({ code: 'CHANNEL_LIMIT' });
    expect(error.message).toContain('3');
    await channels[1]?.close();
    expect((await connection.channel()).id).toBe(2);
  });

  it('refused by the server: the reason, and the number is free again', async () => {
    let refuse = true;
    const { connection } = await pair(async (peer) => {
      await peer.handshake();
      await peer.serve({
        'channel.open': ({ channel }) => {
          if (refuse) {
            peer.send(channel, 'channel.close', { replyCode: 506, replyText: 'no memory', classId: 20, methodId: 10 });
          } else {
            peer.send(channel, 'channel.open-ok', {});
          }
          refuse = false;
        },
      });
    });
    expect(await rejection(connection.channel())).toMatchObject({ replyCode: 506, method: 'channel.open' });
    expect((await connection.channel()).id).toBe(1);
  });

  it('an answer to channel.open that comes too late closes the channel and frees its number', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake();
      await fake.expect('channel.open');
    });
    const controller = new AbortController();
    const opening = rejection(connection.channel({ signal: controller.signal }));
    await peer.until(() => peer.log.some(({ name }) => name === 'channel.open'));
    controller.abort('enough');
    expect(await opening).toBe('enough');

    const other = connection.channel();
    expect((await peer.expect('channel.open')).channel).toBe(2);
    peer.send(2, 'channel.open-ok', {});
    await other;
    peer.send(1, 'channel.open-ok', {});
    expect((await peer.expect('channel.close')).channel).toBe(1);
    peer.send(1, 'channel.close-ok', {});
    const declared = (await other).queueDeclare('q');
    await peer.expect('queue.declare');
    peer.send(2, 'queue.declare-ok', { queue: 'q', messageCount: 0, consumerCount: 0 });
    await declared;
    const again = connection.channel();
    expect((await peer.expect('channel.open')).channel).toBe(1);
    peer.send(1, 'channel.open-ok', {});
    await again;
  });

  it('no answer to channel.open: TIMEOUT', async () => {
    const { connection } = await pair((peer) => void peer.handshake(), { rpcTimeout: 50 });
    expect(await rejection(connection.channel())).toMatchObject({ code: 'TIMEOUT' });
  });
});

describe('close', () => {
  it('in order: waits for the answer, tells channels first, then frees everything', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    const events: string[] = [];
    channel.on('close', (error) => events.push(`channel ${error}`));
    connection.on('close', (error) => events.push(`connection ${error}`));
    const [first, second] = [connection.close(), connection.close()];
    expect(connection.state).toBe('closing');
    await Promise.all([first, second]);
    expect(connection.state).toBe('closed');
    expect(channel.state).toBe('closed');
    expect(events).toEqual(['channel undefined', 'connection undefined']);
    expect(peer.log.filter(({ name }) => name === 'connection.close')).toHaveLength(1);
    expect(peer.log.at(-1)?.arguments).toMatchObject({ replyCode: 200, classId: 0, methodId: 0 });
    await connection.close();
    await connection[Symbol.asyncDispose]();
    for (const attempt of [connection.channel(), channel.queueDeclare('q'), connection.updateSecret('s', 'r')]) {
      expect(await rejection(attempt)).toMatchObject({ code: 'CONNECTION_CLOSED' });
    }
    expect(() => channel.basicAck(1)).toThrow(ConnectionClosedError);
  });

  it('waits for calls and confirms under way', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake();
      await fake.serve({ 'queue.declare': () => undefined, 'basic.publish': () => undefined });
    });
    const channel = await connection.channel();
    await channel.confirmSelect();
    const declared = channel.queueDeclare('q');
    const published = channel.basicPublish('', 'q', 'body');
    const closing = connection.close();
    expect(await rejection(channel.basicPublish('', 'q', 'late'))).toMatchObject({
      code: 'CHANNEL_CLOSED',
      outcome: 'not-sent',
    });
    await peer.until(() => peer.log.some(({ name }) => name === 'basic.publish'));
    expect(peer.log.some(({ name }) => name === 'connection.close')).toBe(false);
    peer.send(1, 'queue.declare-ok', { queue: 'q', messageCount: 1, consumerCount: 2 });
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    await closing;
    await expect(declared).resolves.toEqual({ queue: 'q', messageCount: 1, consumerCount: 2 });
    await expect(published).resolves.toBeUndefined();
  });

  it('with confirms that never come: they reject at the deadline, and the close is in order', async () => {
    const { connection } = await pair();
    const channel = await connection.channel();
    await channel.confirmSelect();
    const published = rejection(channel.basicPublish('', 'q', 'body'));
    await connection.close({ timeout: 1000 });
    expect(await published).toMatchObject({ code: 'CONNECTION_CLOSED', outcome: 'unknown' });
  });

  it('does not wait for answers that nobody waits for any more', async () => {
    const { connection } = await pair(async (peer) => {
      await peer.handshake();
      await peer.serve({ 'queue.declare': () => undefined });
    });
    const channel = await connection.channel();
    expect(await rejection(channel.queueDeclare('q', { timeout: 20 }))).toMatchObject({ code: 'TIMEOUT' });
    const started = performance.now();
    await connection.close();
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('with a broker that does not answer: TIMEOUT, and closed all the same', async () => {
    const { connection, peer } = await pair((fake) => void fake.handshake());
    const done = closed(connection);
    expect(await rejection(connection.close({ timeout: 60 }))).toMatchObject({ code: 'TIMEOUT' });
    expect(await done).toBeUndefined();
    expect(connection.state).toBe('closed');
    await peer.hangup();
  });

  it('without waiting', async () => {
    const { connection, peer } = await pair((fake) => void fake.handshake());
    await connection.close({ timeout: 0 });
    await peer.expect('connection.close');
    await peer.hangup();
  });

  it('with a broker that hangs up instead of answering', async () => {
    const { connection } = await pair(async (peer) => {
      await peer.handshake();
      await peer.serve({ 'connection.close': () => peer.reset() });
    });
    await connection.close();
    expect(connection.closeError).toBeUndefined();
  });

  it('flushes what was buffered before', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    const body = Buffer.alloc(3_000_000, 7);
    const published = channel.basicPublish('', 'q', body);
    await connection.close();
    await published;
    await peer.hangup();
    const publish = peer.log.find(({ name }) => name === 'basic.publish');
    expect(publish?.body.equals(body)).toBe(true);
  });

  it('refuses a timeout that is none', async () => {
    const { connection } = await pair();
    expect(await rejection(connection.close({ timeout: -1 }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(connection.state).toBe('open');
  });
});

describe('abort', () => {
  it('drops the socket without a word and rejects what waits with the reason', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake();
      await fake.serve({ 'queue.declare': () => undefined });
    });
    const channel = await connection.channel();
    const declared = rejection(channel.queueDeclare('q'));
    const told = closed(connection);
    connection.abort(new Error('had enough'));
    expect(connection.state).toBe('closed');
    expect(await declared).toMatchObject({ code: 'CONNECTION_CLOSED', message: expect.stringContaining('had enough') });
    expect((await told)?.cause).toMatchObject({ message: 'had enough' });
    await peer.hangup();
    expect(peer.log.some(({ name }) => name === 'connection.close')).toBe(false);
  });

  it('without a reason is no error', async () => {
    const { connection } = await pair();
    const told = closed(connection);
    connection.abort();
    expect(await told).toBeUndefined();
    expect(await rejection(connection.channel())).toMatchObject({ code: 'CONNECTION_CLOSED' });
  });
});

describe('the end by the other side', () => {
  const idle = (peer: FakePeer) => peer.handshake().then(() => peer.serve({ 'queue.declare': () => undefined }));

  /** What a lost connection tells: the `close` events, a pending call, and later ones. */
  async function loss(act: (peer: FakePeer) => void) {
    const { connection, peer } = await pair(idle);
    const channel = await connection.channel();
    await channel.confirmSelect();
    const call = rejection(channel.queueDeclare('q'));
    const publish = rejection(channel.basicPublish('', 'q', 'x'));
    const told = [closed(connection), closed(channel)];
    await peer.until(() => peer.log.some(({ name }) => name === 'basic.publish'));
    act(peer);
    const [error, channelError] = await Promise.all(told);
    expect(channelError).toBe(error);
    expect(connection.closeError).toBe(error);
    const rejected = await call;
    expect(rejected).toMatchObject({ code: error?.code, message: error?.message, cause: error });
    expect(rejected.stack).toContain('connection.test.ts');
    expect(await publish).toMatchObject({ code: error?.code, outcome: 'unknown' });
    expect(await rejection(channel.queueDeclare('q'))).toMatchObject({ code: error?.code });
    expect(await rejection(connection.channel())).toMatchObject({ code: error?.code });
    await connection.close();
    return { error: error as MessagingError, peer };
  }

  it('connection.close: the typed error, answered with close-ok', async () => {
    const { error, peer } = await loss((fake) =>
      fake.send(0, 'connection.close', {
        replyCode: 320,
        replyText: 'CONNECTION_FORCED - bye',
        classId: 0,
        methodId: 0,
      }),
    );
    expect(error).toBeInstanceOf(ConnectionForced);
    expect(error).toMatchObject({ replyCode: 320, replyText: 'CONNECTION_FORCED - bye', recoverable: true });
    await peer.hangup();
    expect(peer.log.at(-1)?.name).toBe('connection.close-ok');
  });

  it('connection.close that blames a method', async () => {
    const { error } = await loss((fake) =>
      fake.send(0, 'connection.close', { replyCode: 540, replyText: 'NOT_IMPLEMENTED', classId: 60, methodId: 40 }),
    );
    expect(error).toMatchObject({ code: 'NOT_SUPPORTED', method: 'basic.publish', classId: 60, methodId: 40 });
  });

  it('an end of the stream', async () => {
    const { error } = await loss((fake) => fake.end());
    expect(error).toBeInstanceOf(RecoverableConnectionError);
    expect(error).toMatchObject({ code: 'CONNECTION_LOST', recoverable: true });
  });

  it('a reset', async () => {
    const { error } = await loss((fake) => fake.reset());
    expect(error).toMatchObject({ code: 'CONNECTION_LOST', cause: { code: 'ECONNRESET' } });
  });

  it.each<[string, number, (peer: FakePeer) => void]>([
    ['a wrong end octet', 501, (peer) => peer.raw(Buffer.from([8, 0, 0, 0, 0, 0, 0, 0xcd]))],
    ['an unknown frame type', 501, (peer) => peer.raw(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0xce]))],
    ['a frame beyond frame_max', 501, (peer) => peer.raw(Buffer.from([1, 0, 1, 0x7f, 0xff, 0xff, 0xff]))],
    ['an unknown method', 503, (peer) => peer.raw(Buffer.from([1, 0, 1, 0, 0, 0, 4, 0, 99, 0, 99, 0xce]))],
    ['a method cut short', 502, (peer) => peer.raw(Buffer.from([1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 60, 7, 0xce]))],
    ['a frame on a channel that is not open', 504, (peer) => peer.deliver(9, 'tag', 1)],
    ['content on channel 0', 505, (peer) => peer.raw(Buffer.from([3, 0, 0, 0, 0, 0, 1, 7, 0xce]))],
    ['a body without a method', 505, (peer) => peer.raw(Buffer.from([3, 0, 1, 0, 0, 0, 1, 7, 0xce]))],
    [
      'a method in the middle of a content',
      505,
      (peer) => {
        const delivery = peer.record(() => peer.deliver(1, 'tag', 1, 'body'));
        peer.raw(delivery.subarray(0, delivery.length - 12));
        peer.send(1, 'channel.flow', { active: true });
      },
    ],
    ['an answer that nobody asked for', 505, (peer) => peer.send(1, 'queue.purge-ok', { messageCount: 1 })],
    ['an answer out of turn on channel 0', 505, (peer) => peer.send(0, 'connection.update-secret-ok', {})],
    ['a method of the client', 505, (peer) => peer.send(1, 'queue.purge', { queue: 'q' })],
    ['close-ok unasked', 505, (peer) => peer.send(1, 'channel.close-ok', {})],
    ['connection.close-ok unasked', 505, (peer) => peer.send(0, 'connection.close-ok', {})],
    [
      'a confirm for what was never published',
      505,
      (peer) => peer.send(1, 'basic.ack', { deliveryTag: 2, multiple: true }),
    ],
  ])('%s: the server is told why', async (_what, replyCode, act) => {
    const { error, peer } = await loss(act);
    expect(error).toMatchObject({ replyCode });
    await peer.hangup();
    expect(peer.log.at(-1)).toMatchObject({ name: 'connection.close', arguments: { replyCode } });
  });

  it('nothing, when the stream comes octet by octet', async () => {
    /** Sends what `write` writes, each octet in a packet of its own. */
    const drip = async (peer: FakePeer, write: () => void) => {
      for (const octet of peer.record(write)) {
        peer.raw(Uint8Array.of(octet));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const { connection, peer } = await pair(async (fake) => {
      const properties = { product: 'FakeBroker', text: 'x'.repeat(300) };
      await fake.until(() => fake.socket.bytesRead >= 8);
      await drip(fake, () =>
        fake.send(0, 'connection.start', {
          versionMajor: 0,
          versionMinor: 9,
          serverProperties: properties,
          mechanisms: 'PLAIN',
          locales: 'en_US',
        }),
      );
      await fake.expect('connection.start-ok');
      await drip(fake, () => fake.send(0, 'connection.tune', { channelMax: 9, frameMax: 4096, heartbeat: 0 }));
      await fake.expect('connection.tune-ok');
      await fake.expect('connection.open');
      await drip(fake, () => fake.send(0, 'connection.open-ok', {}));
      await fake.serve();
    });
    expect(connection).toMatchObject({ state: 'open', channelMax: 9, frameMax: 4096 });
    const channel = await connection.channel();
    const deliveries: string[] = [];
    await channel.basicConsume('q', { consumerTag: 'tag', noAck: true }, ({ body, properties }) =>
      deliveries.push(`${properties.messageId}: ${body}`),
    );
    await drip(peer, () => {
      peer.deliver(1, 'tag', 1, 'one', { messageId: 'a', headers: { n: 1 } });
      peer.deliver(1, 'tag', 2, '', { messageId: 'b' });
      peer.deliver(1, 'tag', 3, 'three', { messageId: 'c' });
    });
    await channel.queueDeclare('q');
    expect(deliveries).toEqual(['a: one', 'b: ', 'c: three']);
  });

  it('py-amqp#330: cut off at any octet of a stream: lost, never mistaken', async () => {
    const { peer } = await pair();
    const stream = peer.record(() => peer.deliver(1, 'ctag-1', 1, 'the body', { contentType: 'text/plain' }));
    for (const cut of [1, 6, 7, 8, 20, stream.length - 1]) {
      const { connection, peer: fake } = await pair();
      const channel = await connection.channel();
      const deliveries: unknown[] = [];
      await channel.basicConsume('q', {}, (delivery) => deliveries.push(delivery));
      const told = closed(connection);
      fake.raw(stream.subarray(0, cut));
      fake.end();
      expect(await told).toMatchObject({ code: 'CONNECTION_LOST' });
      expect(deliveries).toEqual([]);
    }
  });
});

describe('blocked', () => {
  const blocking = async (peer: FakePeer) => {
    await peer.handshake();
    await peer.serve();
  };

  it('is told, and so is its end', async () => {
    const { connection, peer } = await pair(blocking);
    expect(connection.blocked).toBeUndefined();
    peer.send(0, 'connection.blocked', { reason: 'low on memory' });
    expect(await once(connection, 'blocked')).toEqual(['low on memory']);
    expect(connection.blocked).toBe('low on memory');
    peer.send(0, 'connection.unblocked', {});
    await once(connection, 'unblocked');
    expect(connection.blocked).toBeUndefined();
  });

  it('too long: BLOCKED_TIMEOUT', async () => {
    const { connection, peer } = await pair(blocking, { blockedTimeout: 200 });
    const told = closed(connection);
    const started = performance.now();
    // Told again and again, it is not granted more time.
    const timer = setInterval(() => peer.send(0, 'connection.blocked', { reason: 'low on disk' }), 20);
    try {
      const error = await told;
      expect(performance.now() - started).toBeGreaterThan(150);
      expect(error).toMatchObject({ code: 'BLOCKED_TIMEOUT', recoverable: true });
      expect(error?.message).toContain('low on disk');
    } finally {
      clearInterval(timer);
    }
    await peer.hangup();
  });

  it('ended in time: no timeout', async () => {
    const { connection, peer } = await pair(blocking, { blockedTimeout: 400 });
    peer.send(0, 'connection.blocked', { reason: 'x' });
    await once(connection, 'blocked');
    peer.send(0, 'connection.unblocked', {});
    await once(connection, 'unblocked');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(connection.state).toBe('open');
  });

  it('in the same packet as connection.open-ok is not lost', async () => {
    const { connection } = await pair(async (peer) => {
      await peer.start();
      await peer.expect('connection.start-ok');
      peer.send(0, 'connection.tune', { channelMax: 0, frameMax: 0, heartbeat: 0 });
      await peer.expect('connection.open').catch(() => peer.expect('connection.open'));
      const both = peer.record(() => {
        peer.send(0, 'connection.open-ok', {});
        peer.send(0, 'connection.blocked', { reason: 'at once' });
      });
      peer.raw(both);
      await peer.serve();
    });
    expect(connection.blocked).toBe('at once');
  });
});

describe('updateSecret', () => {
  it('sends the new secret and waits for the answer', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake();
      await fake.serve({ 'connection.update-secret': () => fake.send(0, 'connection.update-secret-ok', {}) });
    });
    await connection.updateSecret('new token', 'the old one expires');
    expect(peer.log.at(-1)?.arguments).toEqual({
      newSecret: Buffer.from('new token'),
      reason: 'the old one expires',
    });
  });
});

describe('listeners that fail', () => {
  it('harm neither the connection nor one another', async () => {
    const { connection, peer } = await pair();
    const failures: unknown[] = [];
    connection.on('handlerError', (error) => failures.push(error));
    connection.on('blocked', () => {
      throw new Error('listener one');
    });
    connection.on('blocked', async () => {
      throw new Error('listener two');
    });
    const last = once(connection, 'blocked');
    peer.send(0, 'connection.blocked', { reason: 'x' });
    await last;
    await vi.waitFor(() => expect(failures).toHaveLength(2));
    expect(failures.map(String)).toEqual(['Error: listener one', 'Error: listener two']);
    const channel = await connection.channel();
    expect(channel.state).toBe('open');
  });

  it('are one process warning when nobody listens to handlerError', async () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const { connection, peer } = await pair();
      connection.on('unblocked', () => {
        throw new Error('nobody listens to this one');
      });
      for (let i = 0; i < 3; i += 1) {
        const told = once(connection, 'unblocked');
        peer.send(0, 'connection.unblocked', {});
        await told;
      }
      expect(warnings.mock.calls.filter(([text]) => String(text).includes('nobody listens to this one'))).toHaveLength(
        1,
      );
      expect(connection.state).toBe('open');
    } finally {
      warnings.mockRestore();
    }
  });

  it('amqplib#690: an event named error does not exist: an unheard loss does not crash', async () => {
    const { connection, peer } = await pair();
    const told = closed(connection);
    peer.reset();
    await told;
    expect(connection.eventNames()).not.toContain('error');
  });
});

describe('pressure of unawaited work', () => {
  it('a thousand publishes in one tick are few packets', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    await channel.confirmSelect();
    const writes = vi.spyOn(net.Socket.prototype, 'write');
    const writevs = vi.spyOn(net.Socket.prototype as unknown as { _writev(): void }, '_writev');
    try {
      const publishes = Promise.all(Array.from({ length: 1000 }, () => channel.basicPublish('', 'q', 'x')));
      await peer.until(() => peer.log.filter(({ name }) => name === 'basic.publish').length === 1000);
      expect(writes.mock.calls.length + writevs.mock.calls.length).toBeLessThan(4);
      peer.send(1, 'basic.ack', { deliveryTag: 1000, multiple: true });
      await publishes;
    } finally {
      writes.mockRestore();
      writevs.mockRestore();
    }
  });
});

describe('timers', () => {
  it('are all gone when the connection is closed', async () => {
    const made = vi.spyOn(globalThis, 'setInterval');
    const madeOnce = vi.spyOn(globalThis, 'setTimeout');
    const gone = new Set<unknown>();
    const cleared = [vi.spyOn(globalThis, 'clearInterval'), vi.spyOn(globalThis, 'clearTimeout')];
    try {
      const { connection, peer } = await pair(
        async (fake) => {
          await fake.handshake({ tune: { heartbeat: 60 } });
          await fake.serve({ 'queue.purge': () => undefined });
        },
        { blockedTimeout: 100_000 },
      );
      const channel = await connection.channel();
      const waiting = rejection(channel.queuePurge('q'));
      peer.send(0, 'connection.blocked', { reason: 'x' });
      await once(connection, 'blocked');
      connection.abort();
      await waiting;
      for (const { mock } of cleared) for (const [timer] of mock.calls) gone.add(timer);
      const timers = [...made.mock.results, ...madeOnce.mock.results].map(({ value }) => value);
      // The deadline of connecting, the heartbeat, two calls, the blocked timer.
      expect(timers.length).toBeGreaterThanOrEqual(5);
      expect(timers.filter((timer) => !gone.has(timer))).toEqual([]);
    } finally {
      for (const spy of [made, madeOnce, ...cleared]) spy.mockRestore();
    }
  });
});
