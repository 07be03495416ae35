import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError, EncodeError } from '../../src/errors.js';
import { MsgpackExt, SerializerRegistry } from '../../src/serialization/index.js';
import { Decimal, PyDate, PyDateTime, PyTime, Uuid } from '../../src/transports/virtual/wire/index.js';
import { canonical, normalized } from '../golden/canonical.js';
import { golden } from '../golden/read.js';

const registry = new SerializerRegistry();
const formats = { yaml: 'application/x-yaml', msgpack: 'application/x-msgpack' } as const;
type Format = keyof typeof formats;
const write = (format: Format, value: unknown) => registry.dumps(value, format).body;
const read = (format: Format, body: Uint8Array | string) =>
  registry.loads(Buffer.from(body), formats[format], undefined, [format]);
const names = Object.keys(formats) as Format[];

describe.each(names)('%s', (format) => {
  const rows = golden<{ body: string; value: unknown }>(`${format}.json`);

  test('what Kombu 5.6.2 wrote is read, and written again as the same', () => {
    expect(rows.length).toBeGreaterThan(60);
    for (const { body, value } of rows) {
      const mine = read(format, Buffer.from(body, 'base64'));
      expect(canonical(mine)).toEqual(normalized(value));
      expect(canonical(read(format, write(format, mine)))).toEqual(normalized(value));
    }
  });

  test('any value comes back', () => {
    const limit =
      format === 'msgpack' ? { min: -(2n ** 63n), max: 2n ** 64n - 1n } : { min: -(2n ** 90n), max: 2n ** 90n };
    const day = fc.date({
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    });
    const leaf = fc.oneof(
      fc.bigInt(limit).map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)),
      fc
        .double()
        .map((value) =>
          Object.is(value, -0) || (Number.isInteger(value) && !Number.isSafeInteger(value)) ? 0.5 : value,
        ),
      fc.string({ unit: 'binary' }).map((value) => value.toWellFormed()),
      fc.uint8Array({ maxLength: 300 }),
      day.map((date) => new PyDateTime(date.toISOString().replace(/\.(\d+)Z/, '.$1456+00:00'))),
      fc.constantFrom(null, true, false, '', 'null', 'yes', '1e3', '- a', '\u2028', 'x'.repeat(70_000)),
    );
    const key = fc.oneof(
      fc.string({ unit: 'binary' }).map((value) => value.toWellFormed()),
      fc.constant('__proto__'),
    );
    const values = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie('any')),
        fc.dictionary(key, tie('any'), { noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(values, (value) => {
        expect(canonical(read(format, write(format, [value])))).toEqual(canonical([value]));
      }),
    );
  });

  test('dates, decimals, UUIDs, days and times', () => {
    const moment = new PyDateTime('2024-01-02T03:04:05.000006+00:00');
    const values = [
      moment,
      new Date(0),
      new Decimal('1.10'),
      new Uuid('1'.repeat(32)),
      new PyDate('2024-02-29'),
      new PyTime('01:02:03'),
    ];
    const back = read(format, write(format, values)) as unknown[];
    expect((back[0] as PyDateTime).isoformat()).toBe('2024-01-02T03:04:05.000006+00:00');
    expect((back[1] as Date).getTime()).toBe(0);
    expect(back.slice(2, 4)).toEqual(['1.10', '11111111-1111-1111-1111-111111111111']);
    expect(`${back[4]} ${back[5]}`).toBe('2024-02-29 01:02:03');
  });

  const cycle: unknown[] = [];
  cycle.push(cycle);
  let deep: unknown = 1;
  for (let i = 0; i < 600; i++) deep = [deep];
  test.each([
    ['a function', { a: [() => 1] }, ".a[0]'"],
    ['a symbol', { a: Symbol('s') }, ".a'"],
    ['a cycle', cycle, "[0]'"],
    ['too deep', deep, '[0]'],
    ['a Set', { s: new Set() }, ".s'"],
    ['a Promise', [Promise.resolve()], "[0]'"],
    ['a typed array', [new Float32Array(1)], "[0]'"],
    ['an invalid Date', [new Date(Number.NaN)], "[0]'"],
    ['undefined itself', undefined, 'undefined'],
  ])('%s is ENCODE_FAILED, naming the path', (_, value, path) => {
    expect(() => write(format, value)).toThrow(
      expect.objectContaining({ code: 'ENCODE_FAILED', message: expect.stringContaining(path) }),
    );
  });

  test('toJSON is honoured, undefined members are left out, boxed primitives are their values', () => {
    const value = { a: undefined, b: { toJSON: () => ({ x: 1 }) }, c: new Object('s'), d: [undefined] };
    expect(read(format, write(format, value))).toEqual({ b: { x: 1 }, c: 's', d: [null] });
  });

  test('__proto__ sets nothing', () => {
    const value = Object.defineProperty({}, '__proto__', { value: { polluted: 1 }, enumerable: true });
    const back = read(format, write(format, value)) as object;
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(Object.hasOwn(back, '__proto__')).toBe(true);
  });

  test('whatever is broken is DECODE_FAILED, and never something else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        try {
          read(format, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('msgpack', () => {
  const hex = (value: unknown) => Buffer.from(write('msgpack', value)).toString('hex');

  test.each([
    [0, '00'],
    [127, '7f'],
    [128, 'cc80'],
    [255, 'ccff'],
    [256, 'cd0100'],
    [65_535, 'cdffff'],
    [65_536, 'ce00010000'],
    [2 ** 32 - 1, 'ceffffffff'],
    [2 ** 32, 'cf0000000100000000'],
    [2n ** 64n - 1n, 'cfffffffffffffffff'],
    [-1, 'ff'],
    [-32, 'e0'],
    [-33, 'd0df'],
    [-128, 'd080'],
    [-129, 'd1ff7f'],
    [-32_768, 'd18000'],
    [-32_769, 'd2ffff7fff'],
    [-(2 ** 31), 'd280000000'],
    [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
    [-(2n ** 63n), 'd38000000000000000'],
    [1.5, 'cb3ff8000000000000'],
    [-0, 'cb8000000000000000'],
    ['a', 'a161'],
    ['é', 'a2c3a9'],
    [Uint8Array.of(1, 2), 'c4020102'],
    [[], '90'],
    [{}, '80'],
    [null, 'c0'],
    [new Map([['a', 1]]), '81a16101'],
    [new Date(1000), 'd6ff00000001'],
    [new Date(1500), 'c70cff1dcd65000000000000000001'],
    [new Date(-1000), 'c70cff00000000ffffffffffffffff'],
    [new MsgpackExt(5, Uint8Array.of(9)), 'd40509'],
    [new MsgpackExt(-7, new Uint8Array(3)), 'c703f9000000'],
  ])('%s is %s', (value, bytes) => {
    expect(hex(value)).toBe(bytes);
  });

  test.each([
    ['ca3f800000', 1],
    ['c70d05', undefined],
    ['d6ff00000001', new Date(1000)],
    ['d7ff773594000000000a', new Date(10_500)],
    ['8101a161', { 1: 'a' }],
    ['81c0c3', { null: true }],
    ['81c40161c2', { a: false }],
    ['dd0000000101', [1]],
    ['df00000001a16101', { a: 1 }],
    ['d9016b', 'k'],
    ['c9000000010a63', new MsgpackExt(10, Uint8Array.of(0x63))],
  ])('%s is read', (bytes, value) => {
    const body = Buffer.from(bytes, 'hex');
    if (value === undefined) expect(() => read('msgpack', body)).toThrow(DecodeError);
    else expect(read('msgpack', body)).toEqual(value);
  });

  test.each([
    ['nothing after the head', 'cd'],
    ['bytes after the value', '0101'],
    ['a head that is not used', 'c1'],
    ['an array of four thousand million', 'ddffffffff'],
    ['a map of four thousand million', 'dfffffffff'],
    ['bytes of four thousand million', 'c6ffffffff'],
    ['text that is not utf-8', 'a1ff'],
    ['a key that is an array', '819001'],
    ['a key that is not utf-8', '81c401ff01'],
    ['a thousand levels', `${'91'.repeat(1000)}01`],
    ['a million levels', `${'91'.repeat(1_000_000)}01`],
  ])('%s is DECODE_FAILED', (_, bytes) => {
    expect(() => read('msgpack', Buffer.from(bytes, 'hex'))).toThrow(DecodeError);
  });

  test('what comes as an extension goes as one', () => {
    const body = Buffer.from('92d6ff00000001c7030a010203', 'hex');
    expect(Buffer.from(write('msgpack', read('msgpack', body)))).toEqual(body);
  });

  test('half a surrogate pair, and more than 64 bits, are ENCODE_FAILED', () => {
    for (const value of ['\ud800', { '\ud800': 1 }, 2n ** 64n, -(2n ** 63n) - 1n])
      expect(() => write('msgpack', value)).toThrow(EncodeError);
  });

  test('bytes that are read do not hold on to the body', () => {
    const body = Buffer.concat([Buffer.from('c40161', 'hex')]);
    const bytes = read('msgpack', body) as Uint8Array;
    expect(bytes.buffer).not.toBe(body.buffer);
    expect(bytes).toEqual(Uint8Array.of(0x61));
  });
});

describe('yaml', () => {
  test.each([
    ['y', 'y'],
    ['Yes', true],
    ['off', false],
    ['1e3', '1e3'],
    ['1.0e+3', 1000],
    ['017', 15],
    ['0o17', '0o17'],
    ['-0x1F', -31],
    ['0b11', 3],
    ['1_000', 1000],
    ['1:30', 90],
    ['-1:30.5', -90.5],
    ['12345678901234567890', 12345678901234567890n],
    ['.inf', Number.POSITIVE_INFINITY],
    ['-.inf', Number.NEGATIVE_INFINITY],
    ['.5', 0.5],
    ['=', '='],
    ['~', null],
    ['', new Uint8Array(0)],
    ['a', 'a'],
    ['!!str 5', '5'],
    ['!!set {a: null}', new Set(['a'])],
    ['!!omap [b: 1, a: 2]', { b: 1, a: 2 }],
    ['!!binary aGk=', Uint8Array.of(0x68, 0x69)],
    ['{1: a, null: b, 2024-01-02: c, true: d}', { 1: 'a', null: 'b', '2024-01-02': 'c', true: 'd' }],
    ['{a: 1, a: 2}', { a: 2 }],
    ['x: &a {k: 1}\ny: {<<: *a, z: 2}', { x: { k: 1 }, y: { k: 1, z: 2 } }],
  ])('%s is read as PyYAML reads it', (text, value) => {
    const got = read('yaml', text);
    expect(got instanceof Uint8Array ? new Uint8Array(got) : got).toEqual(value);
  });

  test('timestamps', () => {
    expect(String(read('yaml', '2024-02-29'))).toBe('2024-02-29');
    const moments = [
      '2024-01-02 03:04:05.000006',
      '2024-01-02T03:04:05+02',
      '2024-1-2 3:04:05 -5:30',
      '2024-01-02t03:04:05z'.toUpperCase(),
    ];
    expect(moments.map((text) => (read('yaml', text) as PyDateTime).isoformat())).toEqual([
      '2024-01-02T03:04:05.000006',
      '2024-01-02T03:04:05+02:00',
      '2024-01-02T03:04:05-05:30',
      '2024-01-02T03:04:05+00:00',
    ]);
  });

  test.each([
    ['code', '!!python/object/apply:os.system ["true"]'],
    ['an unknown tag', '- !point [1, 2]'],
    ['two documents', '--- 1\n--- 2'],
    ['a value in itself', '&a [*a]'],
    ['a value in itself, further down', '&a {b: [{c: *a}]}'],
    ['a value in itself, several times', '&a [*a, *a, *a]'],
    ['an unknown alias', '*a'],
    ['a key that is a list', '? [1, 2]\n: 3'],
    ['a day that is none', '2024-02-30'],
    ['too many levels', '['.repeat(600) + ']'.repeat(600)],
    ['far too many levels', '['.repeat(100_000)],
    ['an integer of too many digits', '9'.repeat(5000)],
  ])('%s is DECODE_FAILED', (_, text) => {
    expect(() => read('yaml', text)).toThrow(DecodeError);
  });

  test('aliases that multiply are stopped', () => {
    let bomb = 'a: &a [x,x,x,x,x,x,x,x,x]\n';
    for (const [name, before] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg', 'ih'])
      bomb += `${name}: &${name} [${new Array(9).fill(`*${before}`)}]\n`;
    expect(() => read('yaml', bomb)).toThrow(/alias/i);
  });

  test('what aliases share stays shared', () => {
    const { x, y } = read('yaml', 'x: &a {k: 1}\ny: *a') as { x: object; y: object };
    expect(x).toBe(y);
  });

  test('every string is quoted, so that no reader takes it for something else', () => {
    expect(Buffer.from(write('yaml', { no: ['yes', 1e21, 1e-7, 1.5, '\u2028\x7f😀'] })).toString()).toBe(
      '{"no": ["yes", 1.0e+21, 1.0e-7, 1.5, "\\u2028\\u007f😀"]}\n',
    );
  });

  test('half a surrogate pair is escaped', () => {
    expect(read('yaml', write('yaml', '\ud800'))).toBe('\ud800');
  });
});
