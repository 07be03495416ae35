import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidArgumentError } from '../../src/errors.js';
import { type BasicProperties, OutboundBuffer, PROTOCOL_HEADER } from '../../src/protocol/index.js';
import * as golden from './golden.js';
import { text } from './helpers.js';
import { Receiver } from './receiver.js';

const create = (frameMax?: number) => new OutboundBuffer({ onPending: () => {}, frameMax });

/** Everything that waits, in as many takes as it needs. */
function drain(out: OutboundBuffer): Buffer {
  const chunks: Uint8Array[] = [];
  while (out.byteLength > 0) chunks.push(...out.take());
  return Buffer.concat(chunks);
}

function receive(bytes: Uint8Array, frameMax?: number) {
  const receiver = new Receiver(frameMax);
  receiver.execute(bytes);
  return receiver.received;
}

const goldenProperties: BasicProperties = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: { lang: 'py', task: 'proj.add', retries: 0, eta: null, timelimit: [null, 300] },
  deliveryMode: 2,
  priority: 0,
  correlationId: '6f0c7a4e-9d0f-4a55-8c5a-0b1f9e3f2c11',
  replyTo: 'reply',
  expiration: '60000',
  messageId: 'm1',
  timestamp: 1763712345,
  type: 't',
  userId: 'guest',
  appId: 'app',
  clusterId: 'c',
};

describe('a publish as py-amqp writes it', () => {
  it.each([
    ['bytes', Buffer.from('[[1, 2], {}, {}]')],
    ['text', '[[1, 2], {}, {}]'],
  ])('is the same the first, the second and every further time: %s', (_, body) => {
    const out = create();
    for (let i = 0; i < 4; i++) {
      out.publish(7, 'celery', 'celery.key', true, goldenProperties, body);
      expect(drain(out).toString('hex')).toBe(golden.PUBLISH);
    }
  });

  it('is the same without properties and body', () => {
    const out = create();
    for (const body of [Buffer.alloc(0), '', new Uint8Array(0)]) {
      out.publish(7, '', 'q', false, undefined, body);
      expect(drain(out).toString('hex')).toBe(golden.PUBLISH_EMPTY);
    }
  });
});

describe('short frames', () => {
  it('are the constant ones', () => {
    const out = create();
    out.protocolHeader();
    out.heartbeat();
    expect(drain(out)).toEqual(Buffer.concat([PROTOCOL_HEADER, Buffer.from('08000000000000ce', 'hex')]));
    expect(Buffer.from(PROTOCOL_HEADER).toString('latin1')).toBe('AMQP\0\0\x09\x01');
  });

  it('of settlements are those of the table', () => {
    const [fast, slow] = [create(), create()];
    for (const tag of [0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      for (const a of [true, false]) {
        fast.ack(3, tag, a);
        slow.method(3, 'basic.ack', { deliveryTag: tag, multiple: a });
        fast.reject(3, tag, a);
        slow.method(3, 'basic.reject', { deliveryTag: tag, requeue: a });
        for (const b of [true, false]) {
          fast.nack(65535, tag, a, b);
          slow.method(65535, 'basic.nack', { deliveryTag: tag, multiple: a, requeue: b });
        }
      }
    }
    expect(drain(fast)).toEqual(drain(slow));
  });

  it.each([-1, 0.5, 2 ** 53, Number.NaN])('refuse a delivery tag of %d', (tag) => {
    const out = create();
    expect(() => out.ack(1, tag, false)).toThrow(InvalidArgumentError);
    expect(() => out.nack(1, tag, false, false)).toThrow('deliveryTag must be an integer');
    expect(() => out.reject(1, tag, false)).toThrow(InvalidArgumentError);
    expect(out.byteLength).toBe(0);
  });
});

describe('templates of publishes', () => {
  it('change nothing of what is written', () => {
    const destination = fc.record({
      channel: fc.constantFrom(1, 2, 257, 65535),
      exchange: fc.constantFrom('', 'x', 'y', 'é'),
      routingKey: fc.constantFrom('', 'k', 'l'),
      mandatory: fc.boolean(),
      properties: fc.constantFrom<BasicProperties | undefined>(undefined, {}, { priority: 0 }, { headers: { a: 'x' } }),
      body: fc.constantFrom<Uint8Array | string>('', 'text', Buffer.from('bytes')),
    });
    fc.assert(
      fc.property(fc.array(destination, { minLength: 1, maxLength: 40 }), (publishes) => {
        const out = create();
        const expected = create();
        for (const { channel, exchange, routingKey, mandatory, properties, body } of publishes) {
          out.publish(channel, exchange, routingKey, mandatory, properties, body);
          expected.content(channel, 'basic.publish', { exchange, routingKey, mandatory }, properties, body);
        }
        expect(drain(out).equals(drain(expected))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('are right when the slab ends in the middle of one', () => {
    const out = create();
    const expected = create();
    for (let i = 0; i < 3000; i++) {
      const key = `key-${i % 3}`;
      out.publish(i % 5, 'exchange', key, false, undefined, 'x'.repeat(i % 90));
      expected.content(
        i % 5,
        'basic.publish',
        { exchange: 'exchange', routingKey: key },
        undefined,
        'x'.repeat(i % 90),
      );
    }
    expect(drain(out).equals(drain(expected))).toBe(true);
  });
});

describe('bodies', () => {
  const sizes = [
    0, 1, 4087, 4088, 4089, 16_383, 16_384, 16_385, 131_063, 131_064, 131_065, 131_072, 131_073, 1_000_000,
  ];
  const cases = [4096, 8192, 131_072, 1_048_576, 0].flatMap((frameMax) => sizes.map((size) => ({ frameMax, size })));

  it.each(cases)('of $size bytes arrive with frame_max $frameMax', ({ frameMax, size }) => {
    const body = Buffer.alloc(size, 'body of a message ');
    const out = create(frameMax);
    out.publish(1, 'e', 'k', false, { type: 't' }, body);
    out.content(1, 'basic.publish', { exchange: 'e', routingKey: 'k' }, { type: 't' }, body);
    const { byteLength } = out;
    const bytes = drain(out);
    expect(bytes.length).toBe(byteLength);
    // The receiver's parser refuses a frame that is longer.
    const received = receive(bytes, frameMax);
    expect(received).toHaveLength(2);
    for (const { body: arrived } of received) expect(arrived?.equals(body)).toBe(true);
  });

  it('from 16 KiB on are not copied', () => {
    for (const size of [16_384, 131_072, 1_048_576]) {
      const body = Buffer.alloc(size);
      const out = create();
      out.publish(1, '', 'k', false, undefined, body);
      let referenced = 0;
      while (out.byteLength > 0) {
        for (const chunk of out.take()) if (chunk.buffer === body.buffer) referenced += chunk.length;
      }
      expect(referenced).toBe(size);
    }
  });

  it('below 16 KiB may be changed at once', () => {
    const body = Buffer.alloc(16_383, 1);
    const out = create();
    out.publish(1, '', 'k', false, undefined, body);
    body.fill(2);
    expect(receive(drain(out))[0]?.body?.equals(Buffer.alloc(16_383, 1))).toBe(true);
  });

  it.each([0, 1, 341, 1024, 1025, 1400, 4088, 5461, 5462, 16_384, 70_000])(
    'of %i characters of text arrive as UTF-8',
    (length) => {
      for (const frameMax of [4096, 131_072]) {
        for (const character of ['a', 'é', '€', '😀']) {
          const body = character.repeat(length);
          const out = create(frameMax);
          out.publish(1, '', 'k', false, undefined, body);
          expect(receive(drain(out), frameMax)[0]?.body?.toString()).toBe(body);
        }
      }
    },
  );

  it('of any text are the same as their bytes', () => {
    fc.assert(
      fc.property(text(3000), (body) => {
        const [asText, asBytes] = [create(4096), create(4096)];
        asText.publish(1, '', 'k', false, undefined, body);
        asBytes.publish(1, '', 'k', false, undefined, Buffer.from(body));
        expect(drain(asText).equals(drain(asBytes))).toBe(true);
      }),
    );
  });

  it('may be any Uint8Array', () => {
    const memory = Uint8Array.from({ length: 60_000 }, (_, i) => i);
    for (const body of [memory.subarray(5, 10), memory.subarray(1, 50_000)]) {
      const out = create();
      out.publish(1, '', 'k', false, undefined, body);
      expect(receive(drain(out))[0]?.body?.equals(body)).toBe(true);
    }
  });
});

describe('what cannot be written', () => {
  const long = 'é'.repeat(128);
  const headers = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`header ${i}`, 'x'.repeat(50)]));
  const failures: [string, (out: OutboundBuffer) => void, string, string][] = [
    [
      'a long routing key',
      (out) => out.publish(1, 'e', long, false, {}, 'b'),
      'INVALID_ARGUMENT',
      'routingKey is 256 bytes long',
    ],
    [
      'a long exchange',
      (out) => out.publish(1, long, 'k', false, {}, 'b'),
      'INVALID_ARGUMENT',
      'exchange is 256 bytes long',
    ],
    [
      'no exchange',
      (out) => out.publish(1, undefined as never, 'k', false, {}, 'b'),
      'INVALID_ARGUMENT',
      'exchange must be a string',
    ],
    [
      'no routing key',
      (out) => out.publish(1, 'e', null as never, false, {}, 'b'),
      'INVALID_ARGUMENT',
      'routingKey must be a string',
    ],
    [
      'a bad header, the last of many',
      (out) => out.publish(1, 'e', 'k', false, { headers: { ...headers, bad: Symbol() as never } }, 'b'),
      'INVALID_ARGUMENT',
      'headers.bad is a symbol',
    ],
    [
      'a bad header',
      (out) =>
        out.publish(1, 'e', 'k', false, { contentType: 'c', headers: { a: [0, { b: new Map() as never }] } }, 'b'),
      'INVALID_ARGUMENT',
      'headers.a[1].b is an object of type Map',
    ],
    [
      'a bad property',
      (out) => out.publish(1, 'e', 'k', false, { priority: 300 }, 'b'),
      'INVALID_ARGUMENT',
      'priority must be',
    ],
    [
      'a bad body',
      (out) => out.publish(1, 'e', 'k', false, {}, { a: 1 } as never),
      'INVALID_ARGUMENT',
      'body must be a string or bytes',
    ],
    [
      'no body',
      (out) => out.publish(1, 'e', 'k', false, {}, undefined as never),
      'INVALID_ARGUMENT',
      'body must be a string or bytes',
    ],
    [
      'text with a lone surrogate',
      (out) => out.publish(1, 'e', 'k', false, {}, 'b\ud800'),
      'INVALID_ARGUMENT',
      'body is not well-formed Unicode',
    ],
    [
      'a long text with a lone surrogate',
      (out) => out.publish(1, 'e', 'k', false, {}, `${'b'.repeat(200_000)}\ud800`),
      'INVALID_ARGUMENT',
      'body is not well-formed Unicode',
    ],
    [
      'properties that do not fit into a frame',
      (out) => out.publish(1, 'e', 'k', false, { headers: { h: 'x'.repeat(131_072) } }, 'b'),
      'MESSAGE_TOO_LARGE',
      'the header with the properties needs 131',
    ],
    [
      'properties far beyond a frame',
      (out) => out.publish(1, 'e', 'k', false, { headers: { h: 'x'.repeat(5_000_000) } }, Buffer.alloc(200_000)),
      'MESSAGE_TOO_LARGE',
      'headers.h takes the frame beyond the largest size allowed',
    ],
    [
      'arguments that do not fit into a frame',
      (out) => out.method(1, 'queue.declare', { queue: 'q', arguments: { a: 'x'.repeat(131_072) } }),
      'MESSAGE_TOO_LARGE',
      'queue.declare needs 131',
    ],
    [
      'a bad argument',
      (out) => out.method(1, 'basic.qos', { prefetchSize: 0, prefetchCount: -1 }),
      'INVALID_ARGUMENT',
      'basic.qos: prefetchCount',
    ],
    [
      'content with a bad property',
      (out) =>
        out.content(
          1,
          'basic.return',
          { replyCode: 312, replyText: 'x', exchange: 'e', routingKey: 'k' },
          { type: long },
          'b',
        ),
      'INVALID_ARGUMENT',
      'type is 256 bytes long',
    ],
  ];

  it.each(failures)('%s leaves the buffer as it was', (_, fail, code, message) => {
    let pending = 0;
    const out = new OutboundBuffer({ onPending: () => pending++ });
    const attempt = () => {
      const before = out.byteLength;
      let thrown: unknown;
      try {
        fail(out);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(InvalidArgumentError);
      expect(thrown).toMatchObject({ code, message: expect.stringContaining(message) });
      expect(out.byteLength).toBe(before);
    };
    attempt();
    expect(pending).toBe(0);
    expect(out.take()).toEqual([]);

    // Also between other frames, behind a long body on the same channel, and again.
    const expected = create();
    for (const target of [out, expected]) {
      target.heartbeat();
      if (target === out) attempt();
      target.publish(1, 'e', 'k', false, undefined, 'before');
      if (target === out) attempt();
      target.publish(1, 'e', 'k', false, undefined, Buffer.alloc(300_000, 1));
      if (target === out) attempt();
      target.publish(1, 'e', 'k', false, undefined, 'behind');
      if (target === out) attempt();
      target.ack(1, 1, false);
    }
    expect(pending).toBe(1);
    expect(drain(out).equals(drain(expected))).toBe(true);
  });

  it('is judged by the frame_max in force', () => {
    const out = create(4096);
    const publish = () => out.publish(1, 'e', 'k', false, { headers: { h: 'x'.repeat(4090) } }, 'b');
    expect(publish).toThrow('a frame of this connection holds at most 4088');
    out.setFrameMax(8192);
    publish();
    expect(receive(drain(out), 8192)[0]?.properties?.headers?.h).toHaveLength(4090);
  });

  it('begins one byte beyond the frame', () => {
    const out = create(4096);
    // class, weight, body size, flags: 14 bytes. Table length, key, type, text length: 11 bytes.
    const publish = (length: number) => out.publish(1, 'e', 'k', false, { headers: { h: 'x'.repeat(length) } }, '');
    publish(4088 - 14 - 11);
    expect(() => publish(4088 - 14 - 11 + 1)).toThrow('needs 4089 bytes');
    const argument = (length: number) => out.method(1, 'connection.secure-ok', { response: Buffer.alloc(length) });
    argument(4088 - 8);
    expect(() => argument(4088 - 7)).toThrow('connection.secure-ok needs 4089 bytes');
    expect(receive(drain(out), 4096)).toHaveLength(2);
  });

  it.each([1, 4095, -1, 0.5, 2 ** 32])('refuses a frameMax of %d', (frameMax) => {
    expect(() => create(frameMax)).toThrow(InvalidArgumentError);
  });
});

describe('a large unit', () => {
  it('moves to a slab of its size, behind what was written before it', () => {
    const out = create();
    const argument = 'x'.repeat(100_000);
    for (let i = 0; i < 3; i++) {
      out.ack(1, i, false);
      out.method(1, 'queue.declare', { queue: `q${i}`, arguments: { argument } });
    }
    const received = receive(drain(out));
    assert.deepEqual(
      received.map(({ name }) => name),
      Array.from({ length: 3 }, () => ['basic.ack', 'queue.declare']).flat(),
    );
    expect(received[5]?.arguments).toMatchObject({ queue: 'q2', arguments: { argument } });
  });
});

describe('the owner', () => {
  it('is told once that something waits', () => {
    let pending = 0;
    const out = new OutboundBuffer({ onPending: () => pending++ });
    out.heartbeat();
    out.heartbeat();
    expect(pending).toBe(1);
    out.take();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(1_000_000));
    out.heartbeat();
    expect(pending).toBe(2);
    out.take();
    expect(out.byteLength).toBeGreaterThan(0);
    out.heartbeat();
    expect(pending).toBe(2);
    drain(out);
    out.heartbeat();
    expect(pending).toBe(3);
  });

  it('is told when much waits, and may take at once', () => {
    const taken: Uint8Array[] = [];
    let most = 0;
    const out: OutboundBuffer = new OutboundBuffer({
      onPending: () => {},
      onFull: () => {
        most = Math.max(most, out.byteLength);
        taken.push(...out.take());
      },
    });
    for (let i = 0; i < 5000; i++) out.publish(1, '', 'k', false, undefined, Buffer.alloc(100));
    taken.push(...out.take());
    expect(receive(Buffer.concat(taken))).toHaveLength(5000);
    expect(most).toBeGreaterThanOrEqual(65_536);
    expect(most).toBeLessThan(70_000);
  });
});

describe('buffers that are filled again when they are written', () => {
  /** What a slow socket sends: it looks at the bytes when their turn comes, `lag` takes later. */
  function sent(
    steps: readonly { readonly count: number; readonly size: number }[],
    lag: number,
    again: boolean,
  ): Buffer {
    const out = create();
    const bytes: Buffer[] = [];
    const writes: { readonly chunks: Uint8Array[]; readonly spent: readonly Buffer[] }[] = [];
    const write = () => {
      const { chunks, spent } = writes.shift() as (typeof writes)[number];
      bytes.push(Buffer.concat(chunks));
      if (!again) return;
      out.reuse(spent);
      if (writes.length === 0) out.rewind();
    };
    steps.forEach(({ count, size }, step) => {
      for (let i = 0; i < count; i++)
        out.publish(1, 'exchange', `${step}.${i}`, false, undefined, Buffer.alloc(size, i));
      const chunks = out.take();
      writes.push({ chunks, spent: out.spent });
      while (writes.length > lag) write();
    });
    while (writes.length > 0) write();
    return Buffer.concat(bytes);
  }

  const step = fc.record({ count: fc.nat(90), size: fc.constantFrom(0, 10, 700, 9000, 16_383, 20_000) });

  it('hold what was written, however late the socket is', () => {
    const run = fc.property(fc.array(step, { minLength: 2, maxLength: 12 }), fc.nat(4), (steps, lag) => {
      expect(sent(steps, lag, true).equals(sent(steps, lag, false))).toBe(true);
    });
    fc.assert(run, { numRuns: 60 });
  });

  it('are few: a socket that keeps up is written to from the same memory', () => {
    const out = create();
    const memory = new Set<ArrayBufferLike>();
    for (let i = 0; i < 1000; i++) {
      for (let j = 0; j < 70; j++) out.publish(1, 'exchange', 'key', false, undefined, Buffer.alloc(1000));
      for (const chunk of out.take()) memory.add(chunk.buffer);
      out.reuse(out.spent);
      out.rewind();
    }
    expect(memory.size).toBeLessThan(5);
  });
});
