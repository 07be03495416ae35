import { describe, expect, it } from 'vitest';
import { MessagingError } from '../../src/errors.js';
import { decodeTable, OutboundBuffer } from '../../src/protocol/index.js';
import * as golden from './golden.js';
import { Receiver } from './receiver.js';

/** A small generator of numbers (mulberry32): the same seed, the same run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const BUDGET_MS = 2000;
const SEED = 20_261_121;

/** Octets that mean something somewhere: frame types, the end octet, type codes, extreme lengths. */
const MEANINGFUL = [0, 1, 2, 3, 8, 0x7f, 0x80, 0xce, 0xff, ...Buffer.from('AMQPFSVtbBsuIiLlfdDTx')];

function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(original);
  for (let count = 1 + random(4); count > 0; count--) {
    const at = random(bytes.length);
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = MEANINGFUL[random(MEANINGFUL.length)] as number;
        break;
      case 2:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at + 1))]);
        break;
      default:
        bytes = bytes.subarray(0, at + 1);
    }
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}

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

function* randomChunks(stream: Buffer, random: (below: number) => number): Iterable<Buffer> {
  for (let at = 0; at < stream.length; ) {
    const next = at + 1 + random(random(10) === 0 ? 3000 : 12);
    yield Buffer.from(stream.subarray(at, next));
    at = next;
  }
}

describe(`mutations (seed ${SEED})`, () => {
  it('of a stream end in a typed error or none, and alike however the stream is cut', { timeout: 30_000 }, () => {
    const random = generator(SEED);
    const original = serverStream();
    const ends = new Set<string>();
    let runs = 0;
    for (const stop = performance.now() + BUDGET_MS; performance.now() < stop; runs++) {
      const mutant = mutate(original, random);
      const whole = outcome([mutant]);
      const cut = outcome(randomChunks(mutant, random));
      const hint = `run ${runs}: ${mutant.toString('hex')}`;
      expect(cut.seen, hint).toBe(whole.seen);
      // A frame with two faults may be refused for either.
      expect(cut.error === undefined, hint).toBe(whole.error === undefined);
      ends.add((whole.error ?? '').replace(/\d+/g, 'n').slice(0, 60));
    }
    expect(runs).toBeGreaterThan(100);
    // The mutations reach many different checks.
    expect(ends.size).toBeGreaterThan(10);
  });

  it('of a field table end in a typed error or none', () => {
    const random = generator(SEED + 1);
    const original = Buffer.from(golden.TABLE, 'hex');
    for (let run = 0; run < 20_000; run++) {
      const mutant = mutate(original, random);
      try {
        decodeTable(mutant);
      } catch (error) {
        if (!(error instanceof MessagingError))
          throw new Error(`run ${run}: ${mutant.toString('hex')}`, { cause: error });
      }
    }
  });
});
