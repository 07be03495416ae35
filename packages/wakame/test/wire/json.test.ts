import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError, EncodeError, InvalidArgumentError } from '../../src/errors.js';
import {
  Decimal,
  PyDate,
  PyDateTime,
  PyTime,
  parseJson,
  registerJsonType,
  Uuid,
  writeJson,
} from '../../src/transports/virtual/wire/index.js';
import { canonical, normalized } from '../golden/canonical.js';
import { golden } from '../golden/read.js';

const rows = golden<{ text: string; value: unknown }>('typed-json.json');

describe('what Kombu 5.6.2 wrote', () => {
  test.each(rows)('is read: $text', ({ text, value }) => {
    expect(canonical(parseJson(text))).toEqual(normalized(value));
  });

  test.each(rows)('is written again and read as the same: $text', ({ text, value }) => {
    const written = writeJson(parseJson(text), { typed: true, ascii: true });
    expect(written).toMatch(/^[\x20-\x7f]*$/);
    expect(canonical(parseJson(written))).toEqual(normalized(value));
  });
});

/** Text of JSON whose numbers JavaScript can hold. */
const plainJson = fc
  .letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.string({ unit: 'binary' }),
      fc.maxSafeInteger(),
      fc.double({ noInteger: true, noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(null, true, false, '__proto__', '1234567890123456789'),
      fc.array(tie('any')),
      fc.dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), tie('any')),
    ),
  }))
  .any.map((value) => JSON.stringify(value));

describe('reading', () => {
  test('plain JSON is what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(plainJson, (text) => {
        expect(parseJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test('the exact parser agrees with the fast one', () => {
    fc.assert(
      fc.property(plainJson, (text) => {
        // NaN at the end makes the engine's parser give up.
        const exact = parseJson(`[${text},NaN]`) as unknown[];
        expect(exact[0]).toEqual(JSON.parse(text));
      }),
    );
  });

  test.each([
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992n],
    ['9007199254740993', 9007199254740993n],
    ['-9007199254740993', -9007199254740993n],
    ['18446744073709551615', 18446744073709551615n],
    [' 12345678901234567890 ', 12345678901234567890n],
    ['[1,12345678901234567890]', [1, 12345678901234567890n]],
    ['{"a":12345678901234567890}', { a: 12345678901234567890n }],
    ['{"a":\n12345678901234567890\n}', { a: 12345678901234567890n }],
    ['12345678901234567890.5', Number('12345678901234567890.5')],
    ['12345678901234567890e2', Number('12345678901234567890e2')],
    ['0.12345678901234567890', Number('0.12345678901234567890')],
    ['"12345678901234567890"', '12345678901234567890'],
    ['"x 12345678901234567890"', 'x 12345678901234567890'],
  ])('integers beyond 2^53 are exact: %s', (text, value) => {
    expect(parseJson(text)).toEqual(value);
  });

  test('every integer comes back as it was, wherever it stands', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), fc.string(), (integer, text) => {
        const padded = `{${JSON.stringify(text)}:[${JSON.stringify(text)},${integer}, ${integer} ]}`;
        const [, first, second] = (parseJson(padded) as Record<string, unknown[]>)[text] as unknown[];
        expect(String(first)).toBe(String(integer));
        expect(second).toBe(first);
        expect(typeof first).toBe(Number.isSafeInteger(Number(integer)) ? 'number' : 'bigint');
      }),
    );
  });

  test('NaN and the infinities', () => {
    expect(parseJson('[NaN, Infinity, -Infinity]')).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
  });

  test('an escape in __type__ hides nothing', () => {
    expect(parseJson(String.raw`{"\u005f_type__":"bytes","__value__":"x"}`)).toEqual(Uint8Array.of(0x78));
  });

  test.each([
    '{"__type__":"frozenset","__value__":[1]}',
    '{"__type__":1,"__value__":2}',
    '{"__type__":"x","__value__":1,"more":2}',
  ])('what is no known typed value is kept as it is: %s', (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  test.each([
    '{"__type__":"datetime","__value__":"2024-02-30T00:00:00"}',
    '{"__type__":"datetime","__value__":"2024-01-01T24:00:00"}',
    '{"__type__":"datetime","__value__":5}',
    '{"__type__":"date","__value__":"x"}',
    '{"__type__":"time","__value__":"25:00"}',
    '{"__type__":"decimal","__value__":"1,5"}',
    '{"__type__":"uuid","__value__":"12345678123456781234567812345678"}',
    '{"__type__":"uuid","__value__":{"hex":"123"}}',
    '{"__type__":"base64","__value__":"a"}',
    '{"__type__":"base64","__value__":"%%%%"}',
    String.raw`{"__type__":"bytes","__value__":"\ud800"}`,
    '',
    '[',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    '[1}',
    'NaNs',
    'nan',
    '+1',
    '01',
    '1.',
    '"a\nb"',
    '"\\x"',
    '"abc',
    '[NaN "',
    '{"a" NaN}',
    '{NaN:1}',
    '1 2',
  ])('refuses %j', (text) => {
    expect(() => parseJson(text)).toThrow(DecodeError);
  });

  test('a byte order mark, as some producers send, is passed over', () => {
    expect(parseJson('\ufeff{"a":1}')).toEqual({ a: 1 });
  });

  test('__proto__ is an ordinary member and sets nothing', () => {
    for (const text of ['{"__proto__":{"polluted":1}}', '{"x":NaN,"__proto__":{"polluted":1}}']) {
      const value = parseJson(text) as Record<string, unknown>;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(Object.hasOwn(value, '__proto__')).toBe(true);
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    }
  });

  test.each([
    ['arrays', '[', ']'],
    ['objects', '{"a":', '}'],
  ])('%s are nested no deeper than allowed', (_, open, close) => {
    const nest = (depth: number, inner: string) => open.repeat(depth) + inner + close.repeat(depth);
    for (const inner of ['1', 'NaN']) {
      expect(() => parseJson(nest(512, inner))).not.toThrow();
      expect(() => parseJson(nest(513, inner))).toThrow(/nested too deep/);
      expect(() => parseJson(nest(200_000, inner))).toThrow(/nested too deep/);
      expect(() => parseJson(nest(4, inner), { maxDepth: 3 })).toThrow(/nested too deep/);
    }
    expect(parseJson(`["${'['.repeat(2000)}"]`)).toEqual(['['.repeat(2000)]);
  });

  test('no longer than allowed', () => {
    expect(() => parseJson('"12345"', { maxLength: 6 })).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }),
    );
    expect(parseJson('"12345"', { maxLength: 7 })).toBe('12345');
  });

  test('an integer of too many digits is refused at once', () => {
    expect(() => parseJson(`[${'9'.repeat(1_000_000)}]`)).toThrow(/digits/);
  });
});

describe('writing', () => {
  test('plain values are written as JSON.stringify writes them', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(writeJson(value)).toBe(JSON.stringify(value));
      }),
    );
  });

  test('what the slow way writes is the same as the fast one', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // A bigint sends the whole value the slow way.
        expect(writeJson([value, 1n])).toBe(JSON.stringify([value, 1]));
      }),
    );
  });

  test('any value comes back', () => {
    const day = fc.date({
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    });
    const leaf = fc.oneof(
      fc
        .bigInt({ min: -(2n ** 70n), max: 2n ** 70n })
        .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)),
      fc
        .double()
        .map((value) =>
          Object.is(value, -0) || (Number.isInteger(value) && !Number.isSafeInteger(value)) ? 0.5 : value,
        ),
      fc.string({ unit: 'binary' }),
      fc.uint8Array(),
      day.map((date) => new PyDateTime(date.toISOString().replace('Z', '+00:00'))),
      fc.uuid().map((text) => new Uuid(text)),
      fc.constantFrom(null, true, false, new Decimal('1.10'), new PyDate('2024-02-29'), new PyTime('01:02:03.000004')),
    );
    const values = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie('any')),
        fc.dictionary(fc.string(), tie('any'), { noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(values, fc.boolean(), (value, ascii) => {
        expect(canonical(parseJson(writeJson(value, { typed: true, ascii })))).toEqual(canonical(value));
      }),
    );
  });

  test('members that are undefined are left out, items become null', () => {
    const b = [undefined, null, 1];
    delete b[1];
    expect(writeJson({ a: undefined, b, c: 1n })).toBe('{"b":[null,null,1],"c":1}');
    expect(writeJson({ a: undefined, b })).toBe('{"b":[null,null,1]}');
  });

  test('NaN and the infinities, which JSON.stringify turns to null', () => {
    expect(writeJson([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])).toBe(
      '[NaN,Infinity,-Infinity]',
    );
  });

  test('dates: text with +00:00 and three decimals, or typed', () => {
    const date = new Date('2024-01-02T03:04:05Z');
    expect(writeJson({ date })).toBe('{"date":"2024-01-02T03:04:05.000+00:00"}');
    expect(writeJson({ date }, { typed: true })).toBe(
      '{"date":{"__type__":"datetime","__value__":"2024-01-02T03:04:05.000+00:00"}}',
    );
  });

  test('a datetime from Python keeps microseconds and naivety, typed or not', () => {
    const text = '{"at":{"__type__":"datetime","__value__":"2024-01-02T03:04:05.000006"}}';
    expect(writeJson(parseJson(text), { typed: true })).toBe(text);
    expect(writeJson(parseJson(text))).toBe('{"at":"2024-01-02T03:04:05.000006"}');
  });

  test('kombu#1821, kombu#1841: untyped: plain text, as Kombu before 5.3', () => {
    const value = [
      new Decimal('1.10'),
      new Uuid('12345678123456781234567812345678'),
      new PyDate('2024-01-02'),
      new PyTime('01:02:03'),
    ];
    expect(writeJson(value)).toBe('["1.10","12345678-1234-5678-1234-567812345678","2024-01-02","01:02:03"]');
  });

  test('bytes only typed: as text when they are UTF-8, else base64', () => {
    expect(() => writeJson({ a: [new Uint8Array(1)] })).toThrow(/'\.a\[0\]'.*typed: true/);
    expect(() => writeJson(Buffer.from('x'))).toThrow(EncodeError);
    expect(writeJson([Buffer.from('é'), Uint8Array.of(255)], { typed: true })).toBe(
      '[{"__type__":"bytes","__value__":"é"},{"__type__":"base64","__value__":"/w=="}]',
    );
  });

  test('toJSON is honoured', () => {
    const asked: string[] = [];
    const thing = {
      toJSON(key: string) {
        asked.push(key);
        return { at: new Date(0) };
      },
    };
    expect(writeJson({ thing })).toBe('{"thing":{"at":"1970-01-01T00:00:00.000+00:00"}}');
    expect(asked).toEqual(['thing']);
    const list = Object.assign([1], { toJSON: () => 'list' });
    expect(writeJson({ list })).toBe('{"list":"list"}');
  });

  test('class instances by their members, boxed primitives by their values', () => {
    class Point {
      x = 1;
    }
    const boxed = (value: unknown) => new Object(value);
    expect(writeJson([new Point(), boxed('s'), boxed(1), boxed(2n), boxed(true)])).toBe('[{"x":1},"s",1,2,true]');
    expect(writeJson(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}');
  });

  const cycle: Record<string, unknown> = {};
  cycle['again'] = [cycle];
  test.each([
    ['a function', { a: [() => 1] }, ".a[0]'"],
    ['a symbol', { a: Symbol('s') }, ".a'"],
    ['a cycle', cycle, ".again[0]'"],
    ['a Map', { m: new Map() }, ".m'"],
    ['a Set', [new Set()], "[0]'"],
    ['a Promise', { p: Promise.resolve() }, ".p'"],
    ['an Error', { e: new Error('x') }, ".e'"],
    ['a typed array', { t: new Float32Array(1) }, ".t'"],
    ['an ArrayBuffer', { t: new ArrayBuffer(1) }, ".t'"],
    ['an invalid Date', { d: new Date(Number.NaN) }, ".d'"],
    ['a year Python has not', { d: new Date('+010000-01-01') }, ".d'"],
    ['undefined itself', undefined, 'undefined'],
    ['toJSON that gives undefined', { a: { toJSON: () => undefined } }, ".a'"],
  ])('%s is ENCODE_FAILED, naming the path', (_, value, path) => {
    for (const typed of [false, true]) {
      expect(() => writeJson(value, { typed })).toThrow(
        expect.objectContaining({ code: 'ENCODE_FAILED', message: expect.stringContaining(path) }),
      );
    }
  });

  test('what a getter throws is the cause', () => {
    const cause = new Error('no');
    const value = {
      get a() {
        throw cause;
      },
    };
    expect(() => writeJson(value)).toThrow(expect.objectContaining({ code: 'ENCODE_FAILED', cause }));
  });

  test('the same object twice is no cycle', () => {
    const shared = { x: 1n };
    expect(writeJson([shared, shared])).toBe('[{"x":1},{"x":1}]');
  });

  test('too deep, or endless by toJSON, is an error and no stack overflow', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 513; i++) deep = [deep];
    expect(() => writeJson(deep)).toThrow(/nested deeper than 512/);
    const endless = { toJSON: () => ({ inner: endless }) };
    expect(() => writeJson(endless)).toThrow(EncodeError);
    let allowed: unknown = 1;
    for (let i = 0; i < 512; i++) allowed = [allowed];
    expect(writeJson(allowed)).toBe(`${'['.repeat(512)}1${']'.repeat(512)}`);
  });

  test('half a surrogate pair is escaped, as Python does', () => {
    expect(writeJson('\ud800')).toBe(String.raw`"\ud800"`);
    expect(writeJson(['\ud800', 1n])).toBe(String.raw`["\ud800",1]`);
  });

  test('in ASCII when asked', () => {
    expect(writeJson({ é: '😀' }, { ascii: true })).toBe(String.raw`{"\u00e9":"\ud83d\ude00"}`);
  });
});

describe('types of the application', () => {
  class Money {
    readonly cents: number;
    constructor(cents: number) {
      this.cents = cents;
    }
  }

  test('are written and read in an envelope', () => {
    registerJsonType<Money>({
      marker: 'money',
      is: (value): value is Money => value instanceof Money,
      encode: (money) => money.cents,
      decode: (cents) => new Money(cents as number),
    });
    const text = '[{"__type__":"money","__value__":5}]';
    expect(writeJson([new Money(5)], { typed: true })).toBe(text);
    expect(parseJson(text)).toEqual([new Money(5)]);
  });

  test("may not take the place of Kombu's own", () => {
    const type = { marker: 'bytes', is: (_: unknown): _ is never => false, encode: () => 0, decode: () => 0 as never };
    expect(() => registerJsonType(type)).toThrow(InvalidArgumentError);
  });
});
