/** A client whose broker says anything at all: every operation ends, in order or with a typed error, and nothing is left open. */
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { connect, MessagingError } from '../src/index.js';
import { OutboundBuffer } from '../src/protocol/index.js';
import { fuzz, generator, mutate, pick, type Random } from './support/fuzz.js';

/** What a broker says first, up to connection.open-ok. */
function handshake(): Buffer {
  return recorded((out) => {
    const serverProperties = { product: 'x', capabilities: { 'basic.nack': true, 'connection.blocked': true } };
    const versions = { versionMajor: 0, versionMinor: 9 };
    out.method(0, 'connection.start', { ...versions, serverProperties, mechanisms: 'PLAIN', locales: 'en_US' });
    out.method(0, 'connection.tune', { channelMax: 10, frameMax: 4096, heartbeat: 0 });
    out.method(0, 'connection.open-ok', {});
  });
}

const delivery = { consumerTag: 'tag', redelivered: false, exchange: 'e', routingKey: 'k' };
const closing = { replyCode: 404, replyText: 'NOT_FOUND', classId: 60, methodId: 40 };

/** What it may say afterwards, each alone. */
const PHRASES: readonly ((out: OutboundBuffer, random: Random) => void)[] = [
  (out) => out.method(1, 'channel.open-ok', {}),
  (out) => out.method(1, 'confirm.select-ok', {}),
  (out) => out.method(1, 'basic.consume-ok', { consumerTag: 'tag' }),
  (out) => out.method(1, 'queue.declare-ok', { queue: 'q', messageCount: 1, consumerCount: 0 }),
  (out, random) => out.content(1, 'basic.deliver', { ...delivery, deliveryTag: random(9) }, { headers: { a: 1 } }, 'x'),
  (out, random) =>
    out.content(1, 'basic.deliver', { ...delivery, deliveryTag: 2 ** 53 - 1 }, {}, Buffer.alloc(random(9000))),
  (out) =>
    out.content(
      1,
      'basic.return',
      { replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: 'q' },
      {},
      'body',
    ),
  (out, random) => out.method(1, 'basic.ack', { deliveryTag: random(4), multiple: random(2) === 0 }),
  (out, random) => out.method(1, 'basic.nack', { deliveryTag: random(4), multiple: true, requeue: false }),
  (out) => out.method(1, 'basic.cancel', { consumerTag: 'tag', nowait: false }),
  (out) => out.method(1, 'basic.cancel-ok', { consumerTag: 'tag' }),
  (out, random) => out.method(1, 'channel.flow', { active: random(2) === 0 }),
  (out) => out.method(1, 'channel.close', closing),
  (out) => out.method(1, 'channel.close-ok', {}),
  (out) => out.method(0, 'connection.blocked', { reason: 'because' }),
  (out) => out.method(0, 'connection.unblocked', {}),
  (out) => out.method(0, 'connection.close', { ...closing, replyCode: 320 }),
  (out) => out.method(0, 'connection.close-ok', {}),
  (out) => out.method(0, 'connection.tune', { channelMax: 1, frameMax: 1, heartbeat: 1 }),
  (out) => out.method(7, 'channel.open-ok', {}),
  (out) => out.heartbeat(),
];

function recorded(write: (out: OutboundBuffer) => void): Buffer {
  const out = new OutboundBuffer({ onPending: () => {}, frameMax: 4096 });
  write(out);
  const chunks: Uint8Array[] = [];
  while (out.byteLength > 0) chunks.push(...out.take());
  return Buffer.concat(chunks);
}

/** A stream in order as far as the handshake most often, and then whatever comes, sometimes with mistakes. */
function stream(random: Random): Buffer {
  const opening = random(5) === 0 ? mutate(handshake(), random) : handshake();
  const usual = recorded((out) => {
    for (const phrase of PHRASES.slice(0, 4)) if (random(8) > 0) phrase(out, random);
  });
  const rest = recorded((out) => {
    for (let count = random(12); count > 0; count--) pick(random, PHRASES)(out, random);
  });
  return Buffer.concat([opening, usual, random(3) === 0 ? mutate(rest, random) : rest]);
}

describe('a client of a broker that says anything', () => {
  let server: net.Server;
  let said: readonly Buffer[] = [];
  let next = 0;
  const sockets = new Set<net.Socket>();

  beforeAll(async () => {
    server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      socket.resume();
      // Once the client has spoken.
      socket.once('data', () => socket.write(said[next++ % said.length] ?? ''));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  /** Uses a connection in every way. Resolves with what failed. */
  async function use(): Promise<unknown[]> {
    const { port } = server.address() as net.AddressInfo;
    const short = { connectTimeout: 60, rpcTimeout: 30, closeTimeout: 30, heartbeat: 0 };
    const errors: unknown[] = [];
    const attempt = <T>(work: Promise<T>) => work.catch((error: unknown) => void errors.push(error));
    const connection = await attempt(connect({ hostname: '127.0.0.1', port, ...short }));
    if (!connection) return errors;
    connection.on('handlerError', (error) => errors.push(error));
    const channel = await attempt(connection.channel());
    const works: Promise<unknown>[] = [];
    if (channel) {
      channel.on('return', () => {});
      works.push(
        attempt(channel.confirmSelect()),
        attempt(channel.basicConsume('q', { consumerTag: 'tag' }, (message) => void message.properties.toObject())),
        attempt(channel.queueDeclare('q')),
        attempt(channel.basicPublish('', 'q', 'body', {}, { mandatory: true })),
        attempt(channel.basicGet('q')),
      );
      await Promise.race([Promise.all(works), sleep(50)]);
      await attempt(channel.close());
    }
    await attempt(connection.close());
    expect(connection.state).toBe('closed');
    const settled = await Promise.race([Promise.all(works), sleep(2000, 'hangs')]);
    expect(settled).not.toBe('hangs');
    return errors;
  }

  fuzz(
    'every operation ends, and what fails is typed',
    (random) => Array.from({ length: 16 }, () => stream(random)),
    async (streams) => {
      said = streams;
      next = 0;
      const errors = (await Promise.all(streams.map(use))).flat();
      const foreign = errors.filter((error) => !(error instanceof MessagingError));
      if (foreign.length > 0) throw foreign[0];
      // Whoever misbehaves is hung up on, and so is whoever does not.
      for (let tries = 0; sockets.size > 0 && tries < 200; tries++) await sleep(5);
      expect(sockets.size).toBe(0);
    },
    (streams) => streams.map((each) => each.toString('hex')).join('\n'),
  );

  fuzz(
    'long floods of returns, cancels, acks and deliveries end, or are hung up on',
    (random) => {
      const phrase = pick(random, PHRASES.slice(4, 12));
      return Buffer.concat([
        handshake(),
        recorded((out) => {
          for (const usual of PHRASES.slice(0, 4)) usual(out, random);
          for (let i = 0; i < 3000; i++) phrase(out, generator(i));
        }),
      ]);
    },
    async (flood) => {
      said = [flood];
      const errors = await use();
      for (const error of errors) expect(error).toBeInstanceOf(MessagingError);
    },
    (flood) => flood.subarray(0, 1000).toString('hex'),
  );
});
