import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameSyntaxError, InvalidArgumentError } from '../../src/errors.js';
import {
  decodeTable,
  encodeTable,
  type FieldTable,
  type FieldValue,
  MAX_TABLE_DEPTH,
  TypedValue,
  typed,
} from '../../src/protocol/index.js';
import * as golden from './golden.js';
import { asReceived, fieldTable } from './helpers.js';

/** The bytes of one value in a table, its key `k` and the table's length cut off. */
const encodedValue = (value: FieldValue) => encodeTable({ k: value }).toString('hex', 6);

/** What a table with the one value given in hexadecimal is read as. */
function decodedValue(hex: string): unknown {
  const entry = Buffer.from(`016b${hex}`, 'hex');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(entry.length);
  return decodeTable(Buffer.concat([length, entry])).k;
}

const refusal = (build: () => unknown) => {
  try {
    build();
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidArgumentError);
    return (error as InvalidArgumentError).message;
  }
  throw new Error('was not refused');
};

describe('field tables as py-amqp writes them', () => {
  const table = {
    text: 'héllo €',
    empty: '',
    yes: true,
    no: false,
    zero: 0,
    one: 1,
    minus: -1,
    limit: 300,
    int32max: 2147483647,
    int32beyond: 2147483648,
    int32min: -2147483648,
    safe: Number.MAX_SAFE_INTEGER,
    half: 0.5,
    tenth: 0.1,
    unix: 1763712345.678901,
    huge: 1e40,
    none: null,
    when: new Date(Date.UTC(2026, 10, 21, 8, 30)),
    list: [1, 'a', null, [true, { x: 1.5 }]],
    nested: { a: { b: [] }, c: {} },
    price: typed.decimal({ scale: 2, value: -1999 }),
    bytes: Uint8Array.of(0xff, 0xfe, 0x00),
  };

  it('are written byte for byte the same', () => {
    expect(encodeTable(table).toString('hex')).toBe(golden.TABLE);
  });

  it('are read with the same values', () => {
    assert.deepEqual(decodeTable(Buffer.from(golden.TABLE, 'hex')), { ...table, bytes: Buffer.of(0xff, 0xfe, 0x00) });
  });
});

describe('writing a field table', () => {
  it('reads back as it was', () => {
    fc.assert(
      fc.property(fieldTable, (table) => {
        assert.deepEqual(decodeTable(encodeTable(table)), asReceived(table));
      }),
      { numRuns: 500 },
    );
  });

  it('kombu#2354, py-amqp#469, py-amqp#438: uses only type codes that every py-amqp reads', () => {
    const codes = new Set<string>();
    fc.assert(
      fc.property(
        fc.oneof(
          fc.maxSafeInteger(),
          fc.double({ noDefaultInfinity: true, noNaN: true }),
          fc.integer(),
          fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
        ),
        (value) => {
          codes.add(Buffer.from(encodedValue(value), 'hex').toString('latin1', 0, 1));
        },
      ),
    );
    expect([...codes].sort()).toEqual(['I', 'L', 'd']);
  });

  it.each<[string, FieldValue, string]>([
    ['0', 0, '4900000000'],
    ['-0', -0, '648000000000000000'],
    ['2^31 - 1', 2 ** 31 - 1, '497fffffff'],
    ['2^31', 2 ** 31, '4c0000000080000000'],
    ['-(2^31 - 1)', -(2 ** 31) + 1, '4980000001'],
    ['-2^31', -(2 ** 31), '4cffffffff80000000'],
    ['3000000000 (an amqp-client.js bug)', 3_000_000_000, '4c00000000b2d05e00'],
    ['0.1 (an amqp-client.js bug)', 0.1, '643fb999999999999a'],
    ['1e40 (an amqp-client.js bug)', 1e40, '64483d6329f1c35ca5'],
    ['2^53 - 1', 2 ** 53 - 1, '4c001fffffffffffff'],
    ['-(2^53 - 1)', -(2 ** 53) + 1, '4cffe0000000000001'],
    ['2^53, exact only as a double', 2 ** 53, '644340000000000000'],
    ['1e300', 1e300, '647e37e43c8800759c'],
    ['5n', 5n, '4c0000000000000005'],
    ['2n ** 63n - 1n', 2n ** 63n - 1n, '4c7fffffffffffffff'],
    ['-(2n ** 63n)', -(2n ** 63n), '4c8000000000000000'],
    ['true', true, '7401'],
    ['null', null, '56'],
    ['text', 'a€', '530000000461e282ac'],
    ['bytes', Uint8Array.of(1, 2), '53000000020102'],
    ['a Date', new Date(1999), '540000000000000001'],
    ['undefined in an array', [undefined], '410000000156'],
    ['a hole in an array', new Array(1), '410000000156'],
  ])('%s', (_, value, hex) => {
    expect(encodedValue(value)).toBe(hex);
  });

  it('leaves out undefined members', () => {
    expect(encodeTable({ a: undefined, b: 1, c: undefined })).toEqual(encodeTable({ b: 1 }));
  });

  it('writes own members only, and takes objects without prototype and of other realms', () => {
    const bare = Object.assign(Object.create(null), { a: 1 }) as FieldTable;
    const foreign = runInNewContext('({ a: 1 })') as FieldTable;
    expect(encodeTable(bare)).toEqual(encodeTable({ a: 1 }));
    expect(encodeTable({ t: foreign })).toEqual(encodeTable({ t: { a: 1 } }));
    expect(encodeTable({ t: runInNewContext('new Date(5000)') })).toEqual(encodeTable({ t: new Date(5000) }));
  });

  it('amqplib#867: is not cut off at 64 KiB', () => {
    const table = { long: 'é'.repeat(60_000), list: Array.from({ length: 20_000 }, (_, i) => `item ${i}`) };
    assert.deepEqual(decodeTable(encodeTable(table)), table);
  });

  it.each<[string, unknown, string]>([
    ['a function', { a: [1, { b: () => 1 }] }, 'headers.a[1].b is a function, which a field table cannot carry'],
    ['a symbol', { a: Symbol('x') }, 'headers.a is a symbol'],
    ['a Map', { 'x-list': [new Map()] }, 'headers.x-list[0] is an object of type Map'],
    ['a class instance', { a: new (class Point {})() }, 'headers.a is an object of type Point'],
    ['a boxed number', { a: new Object(1) }, 'headers.a is an object of type Number'],
    ['a Float64Array', { a: new Float64Array(1) }, 'headers.a is an object of type Float64Array'],
    ['NaN', { a: Number.NaN }, 'headers.a is NaN, which RabbitMQ drops the connection for'],
    ['Infinity', { a: [Number.NEGATIVE_INFINITY] }, 'headers.a[0] is -Infinity'],
    ['a bigint beyond 64 bits', { a: 2n ** 63n }, 'headers.a does not fit into 64 bits (9223372036854775808n)'],
    ['an invalid Date', { a: new Date(Number.NaN) }, 'headers.a is not a date that AMQP can express'],
    ['a Date before 1970', { a: new Date(-1) }, 'headers.a is not a date that AMQP can express'],
    ['a lone surrogate', { a: { b: '\ud800' } }, 'headers.a.b is not well-formed Unicode'],
    ['a lone surrogate in a long text', { a: `${'x'.repeat(5000)}\udfff` }, 'headers.a is not well-formed Unicode'],
    ['a key of 256 bytes', { ['é'.repeat(128)]: 1 }, `headers["${'é'.repeat(64)}…"] is 256 bytes long`],
    ['a key of 256 characters', { a: { ['k'.repeat(256)]: 1 } }, `headers.a.${'k'.repeat(64)}… is 256 bytes long`],
    ['an array for a table', [1], 'headers must be a plain object, not an object of type Array'],
    ['null for a table', null, 'headers must be a plain object, not null'],
    ['text for a table', 'x', 'headers must be a plain object, not "x"'],
  ])('refuses %s and says where it is', (_, table, message) => {
    expect(refusal(() => encodeTable(table as FieldTable, 'headers'))).toContain(message);
  });

  it('takes a key of 255 bytes', () => {
    const key = `${'é'.repeat(127)}x`;
    expect(decodeTable(encodeTable({ [key]: 1 }))).toEqual({ [key]: 1 });
  });

  it('refuses a cycle by its depth', () => {
    const cycle: Record<string, FieldValue> = {};
    cycle.again = [cycle];
    const message = refusal(() => encodeTable(cycle, 'headers'));
    expect(message).toMatch(
      /^headers\.again\[0\]\.again\[0\].* is nested more than 128 levels deep; does it contain itself\?$/,
    );
    expect(message.length).toBeLessThan(500);
  });

  it('nests as deep as it reads, and no deeper', () => {
    const nested = (depth: number): FieldTable => (depth === 1 ? {} : { n: nested(depth - 1) });
    const deepest = encodeTable(nested(MAX_TABLE_DEPTH));
    assert.deepEqual(decodeTable(deepest), nested(MAX_TABLE_DEPTH));
    refusal(() => encodeTable(nested(MAX_TABLE_DEPTH + 1)));
  });
});

describe('typed values', () => {
  it.each<[string, TypedValue, string, unknown]>([
    ['int8', typed.int8(-128), '6280', -128],
    ['uint8', typed.uint8(255), '42ff', 255],
    ['int16', typed.int16(-32768), '738000', -32768],
    ['uint16', typed.uint16(65535), '75ffff', 65535],
    ['int32', typed.int32(-2147483648), '4980000000', -2147483648],
    ['uint32', typed.uint32(4294967295), '69ffffffff', 4294967295],
    ['int64', typed.int64(-1), '4cffffffffffffffff', -1],
    ['int64 of a bigint', typed.int64(-(2n ** 63n)), '4c8000000000000000', -(2n ** 63n)],
    ['float', typed.float(0.5), '663f000000', 0.5],
    ['double', typed.double(1), '643ff0000000000000', 1],
    ['double of NaN', typed.double(Number.NaN), '647ff8000000000000', Number.NaN],
    ['double of Infinity', typed.double(Number.NEGATIVE_INFINITY), '64fff0000000000000', Number.NEGATIVE_INFINITY],
    ['decimal', typed.decimal({ scale: 3, value: 7 }), '440300000007', typed.decimal({ scale: 3, value: 7 })],
    ['timestamp', typed.timestamp(5), '540000000000000005', new Date(5000)],
    ['timestamp of a Date', typed.timestamp(new Date(5999)), '540000000000000005', new Date(5000)],
    ['timestamp of a bigint', typed.timestamp(2n ** 64n - 1n), '54ffffffffffffffff', typed.timestamp(2n ** 64n - 1n)],
    ['longstr', typed.longstr('hi'), '53000000026869', 'hi'],
    ['longstr of bytes', typed.longstr(Buffer.from('hi')), '53000000026869', 'hi'],
    ['bytes', typed.bytes(Buffer.from('hi')), '78000000026869', Buffer.from('hi')],
  ])('%s', (_, value, hex, received) => {
    expect(encodedValue(value as FieldValue)).toBe(hex);
    assert.deepEqual(decodedValue(hex), received);
  });

  it.each<[string, () => unknown]>([
    ['int8', () => typed.int8(128)],
    ['uint8', () => typed.uint8(-1)],
    ['int16', () => typed.int16(32768)],
    ['uint16', () => typed.uint16(65536)],
    ['int32', () => typed.int32(2147483648)],
    ['uint32', () => typed.uint32(1.5)],
    ['int64', () => typed.int64(2 ** 53)],
    ['int64', () => typed.int64(2n ** 63n)],
    ['float', () => typed.float(1e40)],
    ['double', () => typed.double('1' as never)],
    ['decimal', () => typed.decimal({ scale: 256, value: 1 })],
    ['decimal', () => typed.decimal({ scale: 1, value: 2 ** 31 })],
    ['decimal', () => typed.decimal(null as never)],
    ['timestamp', () => typed.timestamp(-1)],
    ['timestamp', () => typed.timestamp(new Date(Number.NaN))],
    ['timestamp', () => typed.timestamp(2n ** 64n)],
    ['longstr', () => typed.longstr(1 as never)],
    ['bytes', () => typed.bytes('text' as never)],
  ])('%s refuses what it cannot hold', (name, build) => {
    expect(refusal(build)).toMatch(new RegExp(`^typed\\.${name}: .* is not a value of this type$`));
  });

  it('cannot be made around the check', () => {
    expect(refusal(() => new TypedValue('b', 1000))).toContain('typed.int8');
    expect(refusal(() => new TypedValue('Z' as 'b', 1))).toContain('"Z" is not the code of a field type');
  });
});

describe('reading a field table', () => {
  it.each<[string, string, unknown]>([
    ['b: signed, as RabbitMQ', '62ff', -1],
    ['B: unsigned, as RabbitMQ', '42ff', 255],
    ['s: a 16-bit integer, as RabbitMQ', '73ffff', -1],
    ['U: the same in the specification', '55ffff', -1],
    ['u', '75ffff', 65535],
    ['i', '69ffffffff', 4294967295],
    ['l: signed, as RabbitMQ writes 64 bits', '6cffffffffffffffff', -1],
    ['l within the safe range', '6c001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['l beyond', '6c0020000000000000', 2n ** 53n],
    ['L, least safe', '4cffe0000000000001', Number.MIN_SAFE_INTEGER],
    ['L below', '4cffe0000000000000', -(2n ** 53n)],
    ['f', '663dcccccd', Math.fround(0.1)],
    ['t of any non-zero octet', '7402', true],
    ['x', '7800000001ff', Buffer.of(0xff)],
    ['S that is not UTF-8', '5300000002c328', Buffer.of(0xc3, 0x28)],
    ['S with U+FFFD in it', '5300000003efbfbd', '\ufffd'],
    ['S with a byte order mark', '5300000004efbbbf61', '\ufeffa'],
    ['T at the last Date', '54000007dba8218000', new Date(8.64e15)],
    ['T beyond', '54000007dba8218001', typed.timestamp(8_640_000_000_001)],
  ])('%s', (_, hex, value) => {
    assert.deepEqual(decodedValue(hex), value);
  });

  it('never sets a prototype', () => {
    const hostile = encodeTable(JSON.parse('{"__proto__":{"polluted":true},"constructor":1}') as FieldTable);
    const table = decodeTable(hostile);
    expect(Object.getPrototypeOf(table)).toBe(Object.prototype);
    expect(Object.keys(table)).toEqual(['__proto__', 'constructor']);
    expect((table as { polluted?: unknown }).polluted).toBeUndefined();
    expect(encodeTable(table)).toEqual(hostile);
  });

  it('cloudamqp#206: does not share memory with what it read from', () => {
    const bytes = encodeTable({ raw: typed.bytes(Buffer.from('abc')), odd: Buffer.of(0xff) });
    const table = decodeTable(bytes);
    bytes.fill(0);
    assert.deepEqual(table, { raw: Buffer.from('abc'), odd: Buffer.of(0xff) });
  });

  it.each([
    ['a length beyond the end', '00000001'],
    ['no complete length', '000000'],
    ['a key cut short', '000000020561'],
    ['a key without value', '000000020161'],
    ['an unknown type', '00000003016b7a'],
    ['a 32-bit integer cut short', '00000006016b49000000'],
    ['a 64-bit integer cut short', '00000009016b4c000000000000'],
    ['a double cut short', '00000009016b64000000000000'],
    ['a string longer than its table', '00000008016b530000000261'],
    ['a nested table longer than its table', '00000007016b4600000001'],
    ['a nested table whose member runs over its end', '0000000e016b4600000003016b5300000000'],
    ['a decimal cut short', '00000004016b4402'],
    ['bytes after the table', '0000000000'],
  ])('refuses %s', (_, hex) => {
    expect(() => decodeTable(Buffer.from(hex, 'hex'))).toThrow(FrameSyntaxError);
  });

  it('refuses what is nested too deep, without a stack overflow', () => {
    let hex = '';
    for (let depth = 0; depth < 20_000; depth++) hex = `016b46${(hex.length / 2).toString(16).padStart(8, '0')}${hex}`;
    const table = Buffer.from((hex.length / 2).toString(16).padStart(8, '0') + hex, 'hex');
    expect(() => decodeTable(table)).toThrow(/nested more than 128 levels deep/);
  });

  it('fails in a typed way, or yields a table, for any mutation', () => {
    const original = Buffer.from(golden.TABLE, 'hex');
    fc.assert(
      fc.property(fc.nat(original.length - 1), fc.nat(255), fc.nat(original.length), (at, octet, length) => {
        const mutant = Buffer.from(original.subarray(0, length));
        if (at < mutant.length) mutant[at] = octet;
        try {
          decodeTable(mutant);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameSyntaxError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
