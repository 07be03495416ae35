import { afterAll, describe, expect } from 'vitest';
import { MessagingError } from '../../src/errors.js';
import { DecodedProperties, decodeTable, OutboundBuffer } from '../../src/protocol/index.js';
import { fuzz, mutate, pick, type Random, randomBytes, typed } from '../support/fuzz.js';
import * as golden from './golden.js';
import { Receiver } from './receiver.js';

function serverStream(): Buffer {
  const out = new OutboundBuffer({ onPending: () => {}, frameMax: 4096 });
  const serverProperties = { product: 'x', capabilities: { 'basic.nack': true }, list: [1, 2.5, null] };
  out.method(0, 'connection.start', {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties,
    mechanisms: 'PLAIN',
    locales: 'en',
  });
  const headers = {
    n: 1,
    nested: { list: ['a', 2n ** 60n, new Date(0)] },
    'x-death': [{ count: 1, reason: 'expired' }],
  };
  const delivery = { consumerTag: 'tag', deliveryTag: 1, redelivered: false, exchange: 'e', routingKey: 'k' };
  out.content(1, 'basic.deliver', delivery, { headers, type: 't', timestamp: 5 }, 'body');
  out.heartbeat();
  out.content(
    2,
    'basic.get-ok',
    { deliveryTag: 1, exchange: '', routingKey: 'q', messageCount: 0 },
    {},
    Buffer.alloc(5000, 7),
  );
  out.method(1, 'queue.declare-ok', { queue: 'q', messageCount: 1, consumerCount: 0 });
  return Buffer.concat(out.take());
}

/** What a receiver makes of a stream: what arrived, as text, and the error that ended it. */
function outcome(chunks: Iterable<Buffer>): { seen: string; error: string | undefined } {
  const receiver = new Receiver(4096, 100_000);
  let error: string | undefined;
  try {
    for (const chunk of chunks) receiver.execute(chunk);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(MessagingError);
    error = (thrown as MessagingError).message;
  }
  for (const { properties } of receiver.received) {
    try {
      properties?.toObject();
    } catch (thrown) {
      expect(thrown).toMatchObject({ name: 'FrameSyntaxError', code: 'DECODE_FAILED' });
    }
  }
  const seen = receiver.received.map(({ channel, name, properties, body }) => [
    channel,
    name,
    properties?.bytes.toString('hex'),
    body?.toString('hex'),
  ]);
  return { seen: JSON.stringify(seen), error };
}

function* randomChunks(stream: Buffer, random: Random): Iterable<Buffer> {
  for (let at = 0; at < stream.length; ) {
    const next = at + 1 + random(random(10) === 0 ? 3000 : 12);
    yield Buffer.from(stream.subarray(at, next));
    at = next;
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** However a stream is cut, the same must come of it. */
function isAlike(stream: Buffer, random: Random): string | undefined {
  const whole = outcome([stream]);
  const cut = outcome(randomChunks(stream, random));
  expect(cut.seen).toBe(whole.seen);
  // A frame with two faults may be refused for either.
  expect(cut.error === undefined).toBe(whole.error === undefined);
  return whole.error;
}

describe('what ends in a typed error or none, and alike however it is cut', () => {
  const stream = serverStream();
  const ends = new Set<string>();

  // The mistakes reach many different checks.
  afterAll(() => expect(ends.size).toBeGreaterThan(10));

  fuzz(
    'a stream with mistakes',
    (random) => mutate(stream, random),
    (mutant, random) => void ends.add((isAlike(mutant, random) ?? '').replace(/\d+/g, 'n').slice(0, 60)),
    hex,
  );

  fuzz(
    'frames of noise',
    (random) => {
      const payload = randomBytes(random, 200);
      const head = Buffer.alloc(7);
      head[0] = pick(random, [1, 1, 1, 2, 3, 8, random(256)]);
      head.writeUInt16BE(random(3), 1);
      head.writeUInt32BE(random(10) === 0 ? random(2 ** 32) : payload.length, 3);
      return Buffer.concat([head, payload, Buffer.of(random(10) === 0 ? 0 : 0xce), randomBytes(random, 30)]);
    },
    (noise, random) => void isAlike(noise, random),
    hex,
  );
});

describe('what ends in a typed error or none', () => {
  const table = Buffer.from(golden.TABLE, 'hex');
  const receiver = new Receiver(4096, 100_000);
  receiver.execute(serverStream());
  const properties = receiver.received.flatMap((each) => each.properties?.bytes ?? []);

  fuzz(
    'a field table',
    (random) => (random(4) === 0 ? randomBytes(random, 100) : mutate(table, random)),
    (mutant) => void typed(() => decodeTable(mutant)),
    hex,
  );

  fuzz(
    'properties',
    (random) => (random(4) === 0 ? randomBytes(random, 60) : mutate(pick(random, properties), random)),
    (mutant) => void typed(() => new DecodedProperties(mutant).toObject()),
    hex,
  );
});
