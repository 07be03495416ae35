import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ConfirmRing } from '../src/confirms.js';
import {
  type BasicProperties,
  type Channel,
  type Connection,
  MessageNacked,
  type MessagingError,
  type ReturnedDelivery,
  UnroutableError,
} from '../src/index.js';
import type { FakePeer } from './support/fake-broker.js';
import { connected, fakeBroker, pair, rejection } from './support/index.js';

async function confirming(): Promise<{ connection: Connection; channel: Channel; peer: FakePeer }> {
  const { connection, peer } = await pair();
  const channel = await connection.channel();
  await channel.confirmSelect();
  return { connection, channel, peer };
}

const published = (peer: FakePeer, count: number) =>
  peer.until(() => peer.log.filter(({ name }) => name === 'basic.publish').length >= count);

describe('ConfirmRing', () => {
  it('agrees with a plain map, whatever is published and confirmed in whatever order', () => {
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 90 }) }) },
      fc.record({ tag: fc.nat({ max: 400 }), multiple: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const ring = new ConfirmRing<number>();
        const model = new Map<number, number>();
        let last = 0;
        for (const step of commands) {
          if ('publish' in step) {
            for (let i = 0; i < step.publish; i += 1) {
              last += 1;
              model.set(last, last * 7);
              expect(ring.push(last * 7)).toBe(last);
            }
            continue;
          }
          const { tag, multiple } = step;
          const valid = tag <= last && (tag > 0 || multiple);
          const covered = [...model.keys()].filter(
            (key) => valid && (multiple ? tag === 0 || key <= tag : key === tag),
          );
          const seen: number[] = [];
          expect(ring.settle(tag, multiple, (entry) => seen.push(entry))).toBe(valid);
          expect(seen).toEqual(covered.map((key) => key * 7));
          for (const key of covered) model.delete(key);
          expect(ring.size).toBe(model.size);
          const [oldest] = model.keys();
          expect(ring.find(() => true)).toBe(oldest);
          const from = Math.floor(last / 2);
          const later = [...model.keys()].find((key) => key >= from);
          expect(ring.find(() => true, from)).toBe(later);
          expect(ring.get(from)).toBe(model.get(from));
        }
      }),
    );
  });
});

describe('confirms', () => {
  it('ACM#142: settle the very message, out of order, one by one and many at once', async () => {
    const { channel, peer } = await confirming();
    const order: string[] = [];
    const publishes = Array.from({ length: 6 }, (_, index) =>
      channel.basicPublish('', 'q', `${index + 1}`).then(
        () => order.push(`${index + 1} ok`),
        (error: MessagingError) => order.push(`${index + 1} ${error.code} ${error.outcome}`),
      ),
    );
    expect(channel.unsettled).toBe(6);
    await published(peer, 6);
    peer.send(1, 'basic.ack', { deliveryTag: 3, multiple: false });
    peer.send(1, 'basic.nack', { deliveryTag: 5, multiple: false });
    // Covers 1, 2 and 4; 3 is settled already.
    peer.send(1, 'basic.ack', { deliveryTag: 4, multiple: true });
    peer.send(1, 'basic.ack', { deliveryTag: 3, multiple: false });
    peer.send(1, 'basic.nack', { deliveryTag: 0, multiple: true });
    await Promise.all(publishes);
    expect(order).toEqual(['3 ok', '5 NACKED refused', '1 ok', '2 ok', '4 ok', '6 NACKED refused']);
    expect(channel.unsettled).toBe(0);
  });

  it('a nack is MessageNacked', async () => {
    const { channel, peer } = await confirming();
    const publish = rejection(channel.basicPublish('', 'q', 'x'));
    await published(peer, 1);
    peer.send(1, 'basic.nack', { deliveryTag: 1, multiple: false });
    expect(await publish).toBeInstanceOf(MessageNacked);
  });

  it('count from confirm.select on, also before it is answered', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    await channel.basicPublish('', 'q', 'unconfirmed');
    const selected = channel.confirmSelect();
    const publish = channel.basicPublish('', 'q', 'confirmed');
    await selected;
    await published(peer, 2);
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    await publish;
  });

  it('a publish that cannot be encoded rejects, is not sent and takes no delivery tag', async () => {
    const { channel, peer } = await confirming();
    const bad: Parameters<Channel['basicPublish']>[] = [
      ['', 'q'.repeat(256), 'x'],
      ['', 'q', 5 as unknown as string],
      ['', 'q', undefined as unknown as string],
      ['', 'q', 'x', { priority: 256 }],
      ['', 'q', 'x', { headers: { f: Symbol('no') as unknown as string } }],
      ['', 'q', 'x', { headers: { big: 'h'.repeat(140_000) } }],
    ];
    const before = peer.bytes;
    for (const args of bad) {
      const error = await rejection(channel.basicPublish(...args));
      expect(error).toMatchObject({ outcome: 'not-sent', code: expect.stringMatching(/INVALID_ARGUMENT|TOO_LARGE/) });
    }
    expect(peer.bytes).toBe(before);
    const good = channel.basicPublish('', 'q', 'good');
    await published(peer, 1);
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    await good;
  });

  it('amqplib#867: headers beyond 64 KiB arrive whole', async () => {
    const { channel, peer } = await confirming();
    const headers = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`h${index}`, 'v'.repeat(1000)]));
    const publish = channel.basicPublish('', 'q', 'x', { headers });
    await published(peer, 1);
    expect(peer.log.at(-1)?.properties.headers).toEqual(headers);
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    await publish;
  });

  it('a body beyond maxBodyBytes is refused before it is sent', async () => {
    const { connection } = await pair(undefined, { maxBodyBytes: 100 });
    const channel = await connection.channel();
    await channel.basicPublish('', 'q', Buffer.alloc(100));
    await channel.basicPublish('', 'q', 'é'.repeat(50));
    for (const body of [Buffer.alloc(101), 'x'.repeat(101), 'é'.repeat(51)]) {
      const error = await rejection(channel.basicPublish('', 'q', body));
      expect(error).toMatchObject({ code: 'MESSAGE_TOO_LARGE', outcome: 'not-sent' });
    }
  });

  it('amqplib#191: pending confirms are told when the channel dies', async () => {
    const { channel, peer } = await confirming();
    const publishes = Promise.allSettled([1, 2, 3].map((n) => channel.basicPublish('', 'q', `${n}`)));
    await published(peer, 3);
    peer.send(1, 'basic.ack', { deliveryTag: 1, multiple: false });
    peer.send(1, 'channel.close', { replyCode: 404, replyText: 'no exchange', classId: 60, methodId: 40 });
    expect((await publishes).map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'rejected']);
  });

  it('settlements without promises: told in order; one that throws is handlerError', async () => {
    const { channel, peer } = await confirming();
    const told: string[] = [];
    const failure = once(channel, 'handlerError');
    for (const name of ['a', 'b', 'c']) {
      channel.publishRaw(
        { exchange: '', routingKey: 'q', body: name },
        {
          confirmed: () => {
            told.push(name);
            if (name === 'a') throw new Error('bookkeeping failed');
          },
          failed: (error) => told.push(`${name} ${error.code}`),
        },
      );
    }
    channel.publishRaw(
      { exchange: 'e'.repeat(256), routingKey: '', body: '' },
      { confirmed: () => told.push('never'), failed: (error) => told.push(`d ${error.outcome}`) },
    );
    await published(peer, 3);
    peer.send(1, 'basic.ack', { deliveryTag: 2, multiple: true });
    peer.send(1, 'basic.nack', { deliveryTag: 3, multiple: false });
    expect(String((await failure)[0])).toContain('bookkeeping failed');
    await vi.waitFor(() => expect(told).toEqual(['d not-sent', 'a', 'b', 'c NACKED']));
    await channel.ready();
  });
});

describe('basic.return', () => {
  const giveBack = (
    peer: FakePeer,
    routingKey: string,
    body: Uint8Array | string,
    properties: BasicProperties = {},
    exchange = '',
  ) =>
    peer.content(1, 'basic.return', { replyCode: 312, replyText: 'NO_ROUTE', exchange, routingKey }, body, properties);

  it('rejects the very publish, with the confirm that covers it', async () => {
    const { channel, peer } = await confirming();
    const returns: ReturnedDelivery[] = [];
    channel.on('return', (message) => returns.push(message));
    const outcomes: string[] = [];
    const send = (name: string, key: string, body: string, properties: BasicProperties) =>
      channel.basicPublish('', key, body, properties, { mandatory: true }).then(
        () => outcomes.push(`${name} ok`),
        (error: MessagingError) => {
          expect(error).toBeInstanceOf(UnroutableError);
          outcomes.push(`${name} ${error.code} ${error.outcome}`);
        },
      );
    const publishes = [
      send('1', 'lost', 'same', { messageId: 'a' }),
      send('2', 'found', 'same', {}),
      send('3', 'lost', 'same', { messageId: 'b' }),
      send('4', 'lost', 'other', { messageId: 'b' }),
      channel.basicPublish('', 'lost', 'same', { messageId: 'b' }).then(() => outcomes.push('5 ok')),
    ];
    await published(peer, 5);
    giveBack(peer, 'lost', 'same', { messageId: 'b' });
    giveBack(peer, 'lost', 'other', { messageId: 'b' });
    await vi.waitFor(() => expect(returns).toHaveLength(2));
    expect(outcomes).toEqual([]);
    peer.send(1, 'basic.ack', { deliveryTag: 3, multiple: true });
    peer.send(1, 'basic.nack', { deliveryTag: 4, multiple: false });
    peer.send(1, 'basic.ack', { deliveryTag: 5, multiple: false });
    await Promise.all(publishes);
    expect(outcomes).toEqual(['1 ok', '2 ok', '3 UNROUTABLE refused', '4 UNROUTABLE refused', '5 ok']);
    expect(returns[0]).toMatchObject({ replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: 'lost' });
    expect(returns[0]?.properties.messageId).toBe('b');
    expect(returns[0]?.body.toString()).toBe('same');
  });

  it('of the same message twice rejects both, the oldest first', async () => {
    const { channel, peer } = await confirming();
    channel.on('return', () => undefined);
    const publishes = [1, 2, 3].map(() => channel.basicPublish('', 'lost', 'x', {}, { mandatory: true }));
    const settled = Promise.allSettled(publishes);
    await published(peer, 3);
    giveBack(peer, 'lost', 'x');
    giveBack(peer, 'lost', 'x');
    peer.send(1, 'basic.ack', { deliveryTag: 3, multiple: true });
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });

  it('is matched by the body although the broker rewrote the properties, and else by the address', async () => {
    const { channel, peer } = await confirming();
    const settled = Promise.allSettled(
      ['one', 'two', 'three'].map((body) =>
        channel.basicPublish('', 'lost', body, { headers: { BCC: ['x'] } }, { mandatory: true }),
      ),
    );
    await published(peer, 3);
    giveBack(peer, 'lost', 'three');
    giveBack(peer, 'lost', 'rewritten');
    peer.send(1, 'basic.ack', { deliveryTag: 3, multiple: true });
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
  });

  it('matches any properties that were sent', async () => {
    const { channel, peer } = await confirming();
    const properties: BasicProperties = {
      contentType: 'application/json',
      headers: { n: 1, list: [1, 'two', null], nested: { f: 1.5 } },
      deliveryMode: 2,
      priority: 0,
      timestamp: new Date(1_700_000_000_000),
      appId: 'é',
    };
    const decoy = channel.basicPublish('', 'lost', 'x', { ...properties, priority: 1 }, { mandatory: true });
    const publish = rejection(channel.basicPublish('', 'lost', 'x', properties, { mandatory: true }));
    await published(peer, 2);
    const sent = peer.log.at(-1);
    giveBack(peer, 'lost', 'x', sent?.properties);
    peer.send(1, 'basic.ack', { deliveryTag: 2, multiple: true });
    await decoy;
    expect(await publish).toBeInstanceOf(UnroutableError);
  });

  it('that nobody waits for and nobody hears is a warning, not silence', async () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const { connection, peer } = await pair();
      const channel = await connection.channel();
      await channel.basicPublish('unheard', 'key', 'x', {}, { mandatory: true });
      giveBack(peer, 'key', 'x', {}, 'unheard');
      giveBack(peer, 'key', 'x', {}, 'unheard');
      await channel.queueDeclare('q');
      const texts = warnings.mock.calls.map(([text]) => String(text)).filter((text) => text.includes("'unheard'"));
      expect(texts).toEqual([expect.stringMatching(/returned \(312 NO_ROUTE\) and nobody listens to 'return'/)]);
    } finally {
      warnings.mockRestore();
    }
  });
});

describe('without confirms', () => {
  it('a promise that nobody awaits is no unhandled rejection when the connection dies', async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', onUnhandled);
    try {
      const { connection, peer } = await pair();
      const channel = await connection.channel();
      peer.pause();
      const told = once(channel, 'close');
      for (let i = 0; i < 40; i += 1) void channel.basicPublish('', 'q', Buffer.alloc(1024 * 1024));
      expect(connection.bufferedBytes).toBeGreaterThan(16 * 1024 * 1024);
      const awaited = rejection(channel.basicPublish('', 'q', 'x'));
      connection.abort();
      await told;
      void channel.basicPublish('', 'q', 'after the end');
      expect(await awaited).toMatchObject({ code: 'CONNECTION_CLOSED', outcome: 'unknown' });
      expect(await rejection(channel.ready())).toMatchObject({ code: 'CONNECTION_CLOSED' });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
  });

  it('amqplib#512, amqplib#841: publishes wait while 16 MiB are unsent, and go on when they drained', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    peer.pause();
    let resolved = 0;
    const body = Buffer.alloc(1024 * 1024);
    const publishes = Array.from({ length: 32 }, () => channel.basicPublish('', 'q', body).then(() => (resolved += 1)));
    await channel.queueDeclare('q', { nowait: true });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(resolved).toBeGreaterThan(10);
    expect(resolved).toBeLessThan(24);
    const drained = Promise.all([once(connection, 'drain'), once(channel, 'drain')]);
    peer.resume();
    await drained;
    await Promise.all(publishes);
    await published(peer, 32);
  });

  it('an awaited loop lets timers and sockets have their turn', async () => {
    const { connection } = await pair();
    const channel = await connection.channel();
    let turns = 0;
    let immediate = setImmediate(function count() {
      turns += 1;
      immediate = setImmediate(count);
    });
    // Less than would have to wait for room.
    const body = Buffer.alloc(1000);
    for (let i = 0; i < 12_000; i += 1) await channel.basicPublish('', 'q', body);
    clearImmediate(immediate);
    expect(turns).toBeGreaterThan(5);
  });

  it('a long body of one channel holds up neither the others nor heartbeats', async () => {
    const { connection, peer } = await pair();
    const [one, two] = [await connection.channel(), await connection.channel()];
    const body = Buffer.alloc(50 * 1024 * 1024, 1);
    const long = one.basicPublish('', 'q', body);
    const behind = one.basicPublish('', 'q', 'behind');
    let answered = 0;
    void two.queueDeclare('quick').then(() => {
      answered = peer.bytes;
    });
    await published(peer, 2);
    await Promise.all([long, behind]);
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThan(25 * 1024 * 1024);
    const bodies = peer.log.filter(({ name }) => name === 'basic.publish').map((publish) => publish.body);
    expect(bodies[0]?.equals(body)).toBe(true);
    expect(bodies[1]?.toString()).toBe('behind');
  });
});

describe('memory', () => {
  it('50,000 awaited publishes of 1 KiB to a broker that reads slowly stay within bounds', async () => {
    const { connection, peer } = await pair();
    const channel = await connection.channel();
    peer.pause();
    let highest = 0;
    // Reads nothing until the publisher is held up, then 1 ms in 20; what it takes apart it drops.
    const timer = setInterval(() => {
      if (highest < 15 * 1024 * 1024) return;
      peer.resume();
      peer.received.length = peer.log.length = 0;
      setTimeout(() => peer.pause(), 1);
    }, 20);
    const body = Buffer.alloc(1024, 'x');
    const before = process.memoryUsage();
    let highestRss = 0;
    try {
      for (let i = 0; i < 50_000; i += 1) {
        await channel.basicPublish('', 'q', body);
        highest = Math.max(highest, connection.bufferedBytes);
        if (i % 1000 === 0) {
          const { heapUsed, external, arrayBuffers } = process.memoryUsage();
          highestRss = Math.max(highestRss, heapUsed + external + arrayBuffers);
        }
      }
    } finally {
      clearInterval(timer);
    }
    // Bounded, and it was the bound that held it.
    expect(highest).toBeGreaterThan(15 * 1024 * 1024);
    expect(highest).toBeLessThan(17 * 1024 * 1024);
    expect(highestRss - before.heapUsed - before.external - before.arrayBuffers).toBeLessThan(100 * 1024 * 1024);
  });
});

describe('what arrives is what was published', () => {
  const pem = (name: string) => readFileSync(new URL(`support/certificates/${name}.pem`, import.meta.url));
  // Buffers of 64 KiB are filled again once they are written; long bodies go by themselves.
  const sizes = [0, 1, 100, 1500, 8000, 12_000, 70_000];
  const bodyOf = (i: number) => Buffer.alloc(sizes[(i * 3) % sizes.length] as number, `<${i}>`);

  it.each(['plain', 'tls'])(
    'in order and to the byte, by a socket that is held up time and again: %s',
    async (kind) => {
      let arrived = 0;
      let firstWrong: number | undefined;
      const broker = await fakeBroker(
        async (peer) => {
          await peer.handshake();
          await peer.serve({
            'basic.publish': ({ channel, arguments: { routingKey }, body }) => {
              const i = arrived++;
              if (routingKey !== String(i) || !body.equals(bodyOf(i))) firstWrong ??= i;
              peer.log.length = 0;
              peer.send(channel, 'basic.ack', { deliveryTag: arrived, multiple: false });
            },
          });
        },
        kind === 'tls' ? { tls: { cert: pem('server'), key: pem('server-key') } } : undefined,
      );
      const connection = await connected(broker.url, kind === 'tls' ? { tls: { ca: pem('authority') } } : {});
      const peer = await broker.peer();
      const channel = await connection.channel();
      await channel.confirmSelect();

      let sent = 0;
      for (const [isHeldUp, inOneTurn] of [
        [false, 1],
        [true, 13],
        [false, 40],
        [true, 100],
        [false, 13],
      ] as const) {
        // While nothing is read, the network takes a part, and the rest waits in the process.
        if (isHeldUp) peer.pause();
        const confirms: Promise<void>[] = [];
        let highest = 0;
        for (let n = 0; n < 800; n++) {
          confirms.push(channel.basicPublish('', String(sent), bodyOf(sent)));
          sent++;
          if (n % inOneTurn === 0) await new Promise(setImmediate);
          highest = Math.max(highest, connection.bufferedBytes);
        }
        if (isHeldUp) expect(highest).toBeGreaterThan(1_000_000);
        peer.resume();
        await Promise.all(confirms);
      }
      expect(firstWrong).toBeUndefined();
      expect(arrived).toBe(sent);
    },
  );
});
