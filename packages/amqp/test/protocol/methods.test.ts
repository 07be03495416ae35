import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { FrameSyntaxError, InvalidArgumentError, InvalidCommand } from '../../src/errors.js';
import {
  ByteWriter,
  type ContentMethodName,
  decodeAck,
  decodeArguments,
  decodeDeliver,
  decodeGetOk,
  decodeMethod,
  decodeReturn,
  encodeMethod,
  METHOD_IDS,
  METHODS,
  type MethodArguments,
  type MethodInput,
  type MethodName,
  type MethodSpec,
  methodName,
  OutboundBuffer,
  type ReceivedTable,
  type ReplyName,
} from '../../src/protocol/index.js';
import * as golden from './golden.js';
import { asReceived, methodArguments, methodNames } from './helpers.js';

function encode<N extends MethodName>(name: N, args: MethodInput<N>): Buffer {
  const writer = new ByteWriter(64);
  writer.begin();
  encodeMethod(writer, name, args);
  return Buffer.concat(writer.take());
}

/** Encodes and decodes; the names are checked on the way. */
function roundTrip(name: MethodName, args: unknown): unknown {
  const bytes = encode(name, args as MethodInput<MethodName>);
  const decoded = decodeMethod(bytes.readInt32BE(0), bytes, 4, bytes.length);
  expect(decoded.name).toBe(name);
  return decoded.arguments;
}

const goldenInputs: { [N in keyof typeof golden.METHODS]: MethodInput<N> } = {
  'connection.start-ok': {
    clientProperties: { product: 'x', capabilities: { 'basic.nack': true } },
    mechanism: 'PLAIN',
    response: '\0guest\0guest',
    locale: 'en_US',
  },
  'connection.tune-ok': { channelMax: 2047, frameMax: 131072, heartbeat: 60 },
  'connection.open': { virtualHost: '/' },
  'connection.close': { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 },
  'channel.open': {},
  'exchange.declare': { exchange: 'media', type: 'topic', durable: true, arguments: { 'alternate-exchange': 'ae' } },
  'exchange.bind': { destination: 'dst', source: 'src', routingKey: 'a.#' },
  'queue.declare': {
    queue: 'video',
    durable: true,
    autoDelete: true,
    arguments: { 'x-max-priority': 10, 'x-expires': 3_000_000_000 },
  },
  'queue.bind': { queue: 'video', exchange: 'media', routingKey: 'v.*', arguments: { 'x-match': 'all' } },
  'queue.unbind': { queue: 'video', exchange: 'media', routingKey: 'v.*', arguments: {} },
  'basic.qos': { prefetchSize: 0, prefetchCount: 100, global: false },
  'basic.consume': {
    queue: 'video',
    consumerTag: 'tag1',
    noAck: true,
    exclusive: true,
    arguments: { 'x-priority': 5 },
  },
  'basic.ack': { deliveryTag: 2 ** 40 + 5, multiple: true },
  'basic.reject': { deliveryTag: 7, requeue: true },
  'basic.nack': { deliveryTag: 7, multiple: false, requeue: true },
  'confirm.select': {},
};

describe('methods as py-amqp writes them', () => {
  it.each(Object.entries(golden.METHODS))('%s', (name, hex) => {
    const out = new OutboundBuffer({ onPending: () => {} });
    out.method(3, name as MethodName, goldenInputs[name as keyof typeof goldenInputs]);
    expect(Buffer.concat(out.take()).toString('hex')).toBe(hex);
  });
});

describe('every method', () => {
  it.each(methodNames)('%s reads back as it was written', (name) => {
    fc.assert(
      fc.property(methodArguments(name), (args) => {
        const expected = Object.entries(args).map(([key, value]) =>
          Buffer.isBuffer(value) ? [key, value] : [key, asReceived(value as ReceivedTable)],
        );
        assert.deepEqual(roundTrip(name, args), Object.fromEntries(expected));
      }),
      { numRuns: 60 },
    );
  });

  it.each(methodNames)('%s is refused when cut short or too long', (name) => {
    fc.assert(
      fc.property(methodArguments(name), fc.nat(), (args, cut) => {
        const bytes = encode(name, args as MethodInput<MethodName>);
        const id = bytes.readInt32BE(0);
        if (bytes.length > 4) {
          expect(() => decodeMethod(id, bytes, 4, 4 + (cut % (bytes.length - 4)))).toThrow(FrameSyntaxError);
        }
        expect(() => decodeMethod(id, Buffer.concat([bytes, Buffer.of(0)]), 4, bytes.length + 1)).toThrow(
          FrameSyntaxError,
        );
      }),
      { numRuns: 20 },
    );
  });

  it('has an id of its own, by which its name is found', () => {
    expect(new Set(Object.values(METHOD_IDS)).size).toBe(methodNames.length);
    for (const name of methodNames) expect(methodName(METHOD_IDS[name])).toBe(name);
    expect(methodName((10 << 16) | 99)).toBeUndefined();
  });

  it('is answered by methods that exist, which the other side may send', () => {
    for (const [name, spec] of Object.entries(METHODS) as [MethodName, MethodSpec][]) {
      for (const reply of spec.replies ?? []) {
        const answer: MethodSpec = METHODS[reply as MethodName];
        expect(answer, `${reply}, the answer to ${name}`).toBeDefined();
        if (spec.from !== 'both') expect(answer.from).not.toBe(spec.from);
      }
    }
  });

  it('has at most eight bits in a row', () => {
    for (const { fields } of Object.values(METHODS) as MethodSpec[]) {
      const kinds = Object.values(fields).map((domain) => (domain.endsWith('bit') ? 'b' : '-'));
      expect(kinds.join('')).not.toContain('b'.repeat(9));
    }
  });

  it('has RabbitMQ’s number', () => {
    expect(METHOD_IDS['exchange.unbind-ok']).toBe((40 << 16) | 51);
    expect(METHOD_IDS['connection.update-secret']).toBe((10 << 16) | 70);
    expect(METHOD_IDS['basic.nack']).toBe((60 << 16) | 120);
  });
});

describe('decoders for hot methods', () => {
  const decoders = {
    'basic.deliver': decodeDeliver,
    'basic.get-ok': decodeGetOk,
    'basic.return': decodeReturn,
    'basic.ack': decodeAck,
  };

  it.each(Object.keys(decoders) as (keyof typeof decoders)[])('%s is decoded as by the table', (name) => {
    fc.assert(
      fc.property(methodArguments(name), fc.nat(), (args, cut) => {
        const bytes = encode(name, args as MethodInput<MethodName>);
        assert.deepEqual(decoders[name](bytes, 4, bytes.length), decodeArguments(name, bytes, 4, bytes.length));
        const end = 4 + (cut % (bytes.length - 4));
        expect(() => decoders[name](bytes, 4, end)).toThrow(FrameSyntaxError);
      }),
    );
  });

  const routingKeyOf = (routingKey: string) => {
    const delivery = { consumerTag: 't', deliveryTag: 1, redelivered: false, exchange: 'e', routingKey };
    const bytes = encode('basic.deliver', delivery);
    return decodeDeliver(bytes, 4, bytes.length).routingKey;
  };

  it('keep strings apart that differ in a few bytes only', () => {
    const keys = ['aXbcYd', 'aZbcWd', 'aXbcYd', 'a€c€d', 'aé1cé1d', ''];
    for (const key of [...keys, ...keys, 'k'.repeat(64), 'k'.repeat(65), 'k'.repeat(255)]) {
      expect(routingKeyOf(key)).toBe(key);
    }
  });

  it('keep strings apart that begin alike', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 40 }), (key) => {
        for (let length = key.length; length > 0; length--) {
          expect(routingKeyOf(key.slice(0, length))).toBe(key.slice(0, length));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('arguments that cannot be sent', () => {
  const message = (build: () => unknown) => {
    try {
      build();
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidArgumentError);
      return (error as Error).message;
    }
    throw new Error('was not refused');
  };

  it.each<[string, () => unknown, string]>([
    [
      'a name of 256 bytes',
      () => encode('queue.declare', { queue: 'é'.repeat(128) }),
      `queue.declare: queue is 256 bytes long; an AMQP short string holds at most 255 ("${'é'.repeat(40)}…")`,
    ],
    [
      'a lone surrogate',
      () => encode('queue.declare', { queue: '\ud800' }),
      'queue.declare: queue is not well-formed Unicode',
    ],
    [
      'a missing name',
      () => encode('queue.bind', { exchange: 'e', routingKey: 'k' } as never),
      'queue.bind: queue must be a string, not undefined',
    ],
    [
      'a missing delivery tag, which would mean "all"',
      () => encode('basic.ack', { multiple: true } as never),
      'basic.ack: deliveryTag must be an integer from 0 to 9007199254740991, not undefined',
    ],
    [
      'an inexact delivery tag',
      () => encode('basic.ack', { deliveryTag: 2 ** 53 }),
      'basic.ack: deliveryTag must be an integer from 0 to 9007199254740991, not 9007199254740992',
    ],
    [
      'a number out of range',
      () => encode('basic.qos', { prefetchSize: 0, prefetchCount: 65536 }),
      'basic.qos: prefetchCount must be an integer from 0 to 65535, not 65536',
    ],
    [
      'a fraction',
      () => encode('basic.qos', { prefetchSize: 0.5, prefetchCount: 1 }),
      'basic.qos: prefetchSize must be an integer from 0 to 4294967295, not 0.5',
    ],
    [
      'a bit that is no boolean',
      () => encode('basic.qos', { prefetchSize: 0, prefetchCount: 1, global: 1 as never }),
      'basic.qos: global must be true or false, not 1',
    ],
    [
      'a bad table',
      () => encode('queue.declare', { queue: 'q', arguments: { a: [{ b: Symbol() as never }] } }),
      'queue.declare: arguments.a[0].b is a symbol, which a field table cannot carry',
    ],
    [
      'a secret that is neither text nor bytes, without showing it',
      () => encode('connection.secure-ok', { response: 12345 as never }),
      'connection.secure-ok: response must be a string or bytes',
    ],
  ])('%s', (_, build, expected) => {
    expect(message(build)).toBe(expected);
  });

  it('takes bytes where the protocol has binary strings', () => {
    expect(roundTrip('connection.secure', { challenge: Uint8Array.of(0, 0xff) })).toEqual({
      challenge: Buffer.of(0, 0xff),
    });
  });
});

describe('what cannot be decoded', () => {
  it('is an unknown method', () => {
    expect(() => decodeMethod((60 << 16) | 99, Buffer.alloc(0), 0, 0)).toThrow(InvalidCommand);
    expect(() => decodeMethod(-1, Buffer.alloc(0), 0, 0)).toThrow('class 65535, method 65535');
  });

  it('is a delivery tag that no number holds exactly', () => {
    const bytes = Buffer.from('002000000000000000', 'hex');
    expect(() => decodeAck(bytes, 0, bytes.length)).toThrow('exceeds 2^53');
  });
});

describe('types', () => {
  it('follow from the table', () => {
    expectTypeOf<MethodArguments<'queue.declare-ok'>>().toEqualTypeOf<{
      readonly queue: string;
      readonly messageCount: number;
      readonly consumerCount: number;
    }>();
    expectTypeOf<MethodArguments<'connection.open'>>().toEqualTypeOf<{ readonly virtualHost: string }>();
    expectTypeOf<MethodArguments<'basic.consume'>['arguments']>().toEqualTypeOf<ReceivedTable>();
    expectTypeOf<MethodArguments<'connection.secure'>['challenge']>().toEqualTypeOf<Buffer>();
    expectTypeOf<{ queue: string; durable: undefined }>().toExtend<MethodInput<'queue.declare'>>();
    expectTypeOf<{ durable: true }>().not.toExtend<MethodInput<'queue.declare'>>();
    expectTypeOf<{ multiple: true }>().not.toExtend<MethodInput<'basic.ack'>>();
    expectTypeOf<ReplyName<'basic.get'>>().toEqualTypeOf<'basic.get-ok' | 'basic.get-empty'>();
    expectTypeOf<ReplyName<'basic.ack'>>().toEqualTypeOf<never>();
    expectTypeOf<ContentMethodName>().toEqualTypeOf<
      'basic.publish' | 'basic.return' | 'basic.deliver' | 'basic.get-ok'
    >();
  });
});
