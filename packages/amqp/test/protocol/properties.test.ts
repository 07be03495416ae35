import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { FrameSyntaxError, InvalidArgumentError } from '../../src/errors.js';
import {
  BASIC_PROPERTIES,
  type BasicProperties,
  ByteWriter,
  DecodedProperties,
  encodeProperties,
  type FieldTable,
  type ReceivedTable,
  typed,
} from '../../src/protocol/index.js';
import { asReceived, fieldTable, propertiesOf, shortText } from './helpers.js';

function encode(properties: BasicProperties): Buffer {
  const writer = new ByteWriter(64);
  writer.begin();
  encodeProperties(writer, properties);
  return Buffer.concat(writer.take());
}

const names = Object.keys(BASIC_PROPERTIES) as (keyof typeof BASIC_PROPERTIES)[];

const anyProperties: fc.Arbitrary<BasicProperties> = fc.record(
  {
    contentType: shortText,
    contentEncoding: shortText,
    headers: fieldTable,
    deliveryMode: fc.nat(255),
    priority: fc.nat(255),
    correlationId: shortText,
    replyTo: shortText,
    expiration: shortText,
    messageId: shortText,
    timestamp: fc.oneof(fc.maxSafeNat(), fc.bigInt(2n ** 53n, 2n ** 64n - 1n)),
    type: shortText,
    userId: shortText,
    appId: shortText,
    clusterId: shortText,
  },
  { requiredKeys: [] },
);

describe('basic properties', () => {
  it('read back as they were written', () => {
    fc.assert(
      fc.property(anyProperties, (properties) => {
        const decoded = new DecodedProperties(encode(properties));
        const expected: Record<string, unknown> = { ...properties };
        if (properties.headers !== undefined) expected.headers = asReceived(properties.headers);
        assert.deepEqual(decoded.toObject(), expected);
        for (const name of names) assert.deepEqual(decoded[name], expected[name], name);
      }),
      { numRuns: 300 },
    );
  });

  it.each(names)('%s has its flag, in the order of the table', (name) => {
    const type = BASIC_PROPERTIES[name];
    const value = type === 'table' ? { a: 1 } : type === 'shortstr' ? 'x' : 1;
    const bytes = encode({ [name]: value });
    expect(bytes.readUInt16BE(0)).toBe(0x8000 >>> names.indexOf(name));
    assert.deepEqual(new DecodedProperties(bytes).toObject(), { [name]: value });
  });

  it('cloudamqp: are written when they are zero or empty, and not when undefined', () => {
    const properties = { priority: 0, headers: {}, contentType: '', correlationId: undefined };
    expect(encode(properties).toString('hex')).toBe('a800000000000000');
    expect(new DecodedProperties(encode(properties)).toObject()).toEqual({ priority: 0, headers: {}, contentType: '' });
    expect(encode({}).toString('hex')).toBe('0000');
  });

  it('take a Date or a bigint for the timestamp', () => {
    expect(new DecodedProperties(encode({ timestamp: new Date(1763712345678) })).timestamp).toBe(1763712345);
    expect(new DecodedProperties(encode({ timestamp: 2n ** 64n - 1n })).timestamp).toBe(2n ** 64n - 1n);
  });

  it('are sent on byte for byte when they were received', () => {
    // As they came, with types that this package does not write by itself.
    const received = propertiesOf('20000000000801617500ff016256');
    expect(received.headers).toEqual({ a: 255, b: null });
    expect(encode(received)).toEqual(received.bytes);
  });

  it.each<[string, unknown, string]>([
    ['text that is too long', { correlationId: 'é'.repeat(128) }, 'correlationId is 256 bytes long'],
    ['null', { replyTo: null }, 'replyTo must be a string, not null'],
    ['a number for text', { expiration: 60000 }, 'expiration must be a string, not 60000'],
    ['a priority beyond an octet', { priority: 256 }, 'priority must be an integer from 0 to 255, not 256'],
    ['a negative delivery mode', { deliveryMode: -1 }, 'deliveryMode must be an integer from 0 to 255, not -1'],
    ['a negative timestamp', { timestamp: -1 }, 'timestamp must be whole seconds since 1970'],
    ['a timestamp of fractions', { timestamp: 1.5 }, 'timestamp must be whole seconds since 1970'],
    ['a timestamp beyond 64 bits', { timestamp: 2n ** 64n }, 'timestamp must be whole seconds since 1970'],
    ['an invalid Date', { timestamp: new Date(Number.NaN) }, 'timestamp must be whole seconds since 1970'],
    ['text for a Date', { timestamp: '2026-11-21' }, 'timestamp must be whole seconds since 1970'],
    ['headers that are no table', { headers: [] }, 'headers must be a plain object, not an object of type Array'],
    ['a header', { headers: { a: [0, 1, { b: () => {} }] } }, 'headers.a[2].b is a function'],
    ['anything but an object', 'x', 'properties must be an object, not "x"'],
  ])('refuse %s', (_, properties, message) => {
    const build = () => encode(properties as BasicProperties);
    expect(build).toThrow(InvalidArgumentError);
    expect(build).toThrow(message);
  });

  it('have the types of the table', () => {
    expectTypeOf<BasicProperties['contentType']>().toEqualTypeOf<string | undefined>();
    expectTypeOf<BasicProperties['headers']>().toEqualTypeOf<FieldTable | undefined>();
    expectTypeOf<DecodedProperties>().toExtend<BasicProperties>();
    expectTypeOf<DecodedProperties['headers']>().toEqualTypeOf<ReceivedTable | undefined>();
  });
});

describe('received properties', () => {
  it('give the same headers object every time', () => {
    const decoded = new DecodedProperties(encode({ headers: { n: 1 } }));
    expect(decoded.headers).toBe(decoded.headers);
    expect(new DecodedProperties(encode({})).headers).toBeUndefined();
  });

  it('tell whether they have a header as the headers themselves would', () => {
    const name = fc.constantFrom('compression', 'a', '', '__proto__', 'compressio', 'compression2');
    fc.assert(
      fc.property(fieldTable, name, fc.boolean(), (headers, asked, given) => {
        const bytes = encode({
          contentType: 'text/plain',
          headers: given ? { ...headers, [asked]: headers } : headers,
        });
        const unread = new DecodedProperties(bytes);
        const read = new DecodedProperties(bytes);
        const expected = Object.hasOwn(read.headers ?? {}, asked);
        expect(unread.hasHeader(asked)).toBe(expected);
        expect(read.hasHeader(asked)).toBe(expected);
      }),
    );
    expect(new DecodedProperties(encode({})).hasHeader('a')).toBe(false);
  });

  it('refuse to tell where the headers cannot be read', () => {
    fc.assert(
      fc.property(fieldTable, fc.nat(), fc.nat(255), (headers, at, octet) => {
        const bytes = encode({ headers });
        bytes[2 + (at % (bytes.length - 2))] = octet;
        const failure = (action: (properties: DecodedProperties) => unknown) => {
          try {
            action(new DecodedProperties(bytes));
            return undefined;
          } catch (error) {
            return (error as Error).message;
          }
        };
        expect(failure((properties) => properties.hasHeader('a'))).toBe(failure(({ headers }) => headers));
      }),
      { numRuns: 2000 },
    );
  });

  it('show themselves as plain objects', () => {
    const decoded = new DecodedProperties(encode({ type: 'job', headers: { price: typed.int8(1) } }));
    expect(JSON.stringify(decoded)).toBe('{"headers":{"price":1},"type":"job"}');
    expect(inspect(decoded)).toBe(inspect({ headers: { price: 1 }, type: 'job' }));
    expect(inspect(propertiesOf('8000ff'))).toMatch(/^'?DecodedProperties \[.*cannot be decoded/);
  });

  const unreadable = (read: () => unknown) => {
    try {
      read();
    } catch (error) {
      expect(error).toBeInstanceOf(FrameSyntaxError);
      expect(error).toMatchObject({ code: 'DECODE_FAILED' });
      return;
    }
    throw new Error('was decoded');
  };

  it.each<[string, string]>([
    ['no flags', '80'],
    ['nothing at all', ''],
    ['a continuation of the flags', '80010161'],
    ['a flag without meaning', '80020161'],
    ['a text cut short', '80000561'],
    ['a text without length', '8000'],
  ])('with %s throw when they are asked for', (_, hex) => {
    const decoded = propertiesOf(hex);
    unreadable(() => decoded.contentType);
    unreadable(() => decoded.toObject());
  });

  it('that are broken leave those before them readable', () => {
    // contentType, headers (one member of an unknown type), priority
    const decoded = propertiesOf('a80001610000000301787a07');
    expect(decoded.contentType).toBe('a');
    unreadable(() => decoded.headers);
    expect(decoded.priority).toBe(7);
    unreadable(() => decoded.toObject());
  });

  it('never read past their end', () => {
    // headers announce 4 GiB; the timestamp lies behind
    const decoded = propertiesOf('2040ffffffff0000000000000001');
    unreadable(() => decoded.headers);
    unreadable(() => decoded.timestamp);
    expect(decoded.contentType).toBeUndefined();
  });
});
