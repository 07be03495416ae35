import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvalidArgumentError } from '../../src/errors.js';
import { Decimal, PyDate, PyDateTime, PyTime, parseJson, Uuid } from '../../src/transports/virtual/wire/index.js';

describe('PyDateTime', () => {
  test('is a Date that keeps what a Date has no place for', () => {
    const moment = new PyDateTime('2024-01-02T03:04:05.123456-05:30:17');
    expect(moment).toBeInstanceOf(Date);
    expect(moment.toISOString()).toBe('2024-01-02T08:34:22.123Z');
    expect(moment).toMatchObject({ microsecond: 123_456, offset: -19_817, naive: false });
    expect(moment.isoformat()).toBe('2024-01-02T03:04:05.123456-05:30:17');
  });

  test('a naive one is taken as UTC', () => {
    const moment = new PyDateTime('2024-01-02 03:04:05');
    expect(moment).toMatchObject({ naive: true, offset: undefined, text: '2024-01-02 03:04:05' });
    expect(moment.toISOString()).toBe('2024-01-02T03:04:05.000Z');
    expect(JSON.stringify(moment)).toBe('"2024-01-02T03:04:05"');
  });

  test.each([
    ['0001-01-01T00:00:00', '0001-01-01T00:00:00.000Z'],
    ['0099-12-31T23:59:59.999999', '0099-12-31T23:59:59.999Z'],
    ['9999-12-31T23:59:59.999999+00:00', '9999-12-31T23:59:59.999Z'],
    ['1969-12-31T23:59:59.999999', '1969-12-31T23:59:59.999Z'],
    ['2000-02-29T00:00:00.1Z', '2000-02-29T00:00:00.100Z'],
    ['2024-01-01T00:00:00.123456789+0100', '2023-12-31T23:00:00.123Z'],
    ['2024-01-01T12:30', '2024-01-01T12:30:00.000Z'],
    ['2024-01-01T00:00:00+23:59:59.999999', '2023-12-31T00:00:00.000Z'],
  ])('%s is %s', (text, iso) => {
    expect(new PyDateTime(text).toISOString()).toBe(iso);
  });

  test('writes what every Python reads: six decimals or none, +00:00', () => {
    expect(new PyDateTime('2000-02-29 00:00:00.1Z').isoformat()).toBe('2000-02-29T00:00:00.100000+00:00');
  });

  test('follows when it is set to another time', () => {
    const moment = new PyDateTime('2024-01-02T03:04:05.123456');
    moment.setUTCHours(4);
    expect(moment).toMatchObject({
      naive: false,
      offset: 0,
      microsecond: 123_000,
      text: '2024-01-02T04:04:05.123+00:00',
    });
  });

  test.each([
    '',
    '2024-01-02',
    '2024-13-01T00:00:00',
    '2023-02-29T00:00:00',
    '1900-02-29T00:00:00',
    '2024-04-31T00:00:00',
    '0000-01-01T00:00:00',
    '2024-01-01T00:60:00',
    '2024-01-01T00:00:61',
    '2024-01-01T00:00:00+24:00',
    '2024-01-01T00:00:00.',
    'x2024-01-01T00:00:00',
    '+02024-01-01T00:00:00',
    '2024-01-01T00:00:00Z ',
  ])('refuses %j', (text) => {
    expect(() => new PyDateTime(text)).toThrow(InvalidArgumentError);
  });

  test('every moment of the calendar agrees with Date', () => {
    const dates = fc.date({
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(dates, (date) => {
        const moment = new PyDateTime(date.toISOString());
        expect(moment.getTime()).toBe(date.getTime());
        expect(new PyDateTime(moment.isoformat()).getTime()).toBe(date.getTime());
      }),
    );
  });
});

test('PyDate and PyTime', () => {
  expect(new PyDate('2024-02-29')).toMatchObject({ year: 2024, month: 2, day: 29 });
  expect(new PyTime('01:02:03.000004+05:30')).toMatchObject({
    hour: 1,
    minute: 2,
    second: 3,
    microsecond: 4,
    offset: 19_800,
  });
  expect(String(new PyTime('01:02'))).toBe('01:02:00');
  expect(() => new PyDate('2023-02-29')).toThrow(InvalidArgumentError);
  expect(() => new PyTime('24:00:00')).toThrow(InvalidArgumentError);
});

describe('Decimal', () => {
  test.each([
    ['1.10', '1.1'],
    ['1E+3', '1000'],
    ['-0', '0.00'],
    ['0e100', '0'],
    ['100', '1e2'],
    ['.5', '0.50'],
    ['-Infinity', '-inf'],
  ])('%s equals %s', (a, b) => {
    expect(new Decimal(a).equals(new Decimal(b))).toBe(true);
    expect(new Decimal(b).equals(new Decimal(a))).toBe(true);
  });

  test.each([
    ['1.1', '-1.1'],
    ['1.1', '1.11'],
    ['1', '10'],
    ['NaN', 'NaN'],
    ['inf', '-inf'],
    ['1e999999999', '1e999999998'],
    ['0.1', '0.1000000000000000055511151231257827'],
  ])('%s does not equal %s', (a, b) => {
    expect(new Decimal(a).equals(new Decimal(b))).toBe(false);
  });

  test('keeps its digits', () => {
    const text = '1234567890.12345678901234567890';
    expect(`${new Decimal(text)}`).toBe(text);
    expect(JSON.stringify({ price: new Decimal('1.10') })).toBe('{"price":"1.10"}');
    expect(new Decimal('0.5') < new Decimal('0.75')).toBe(true);
  });

  test.each(['', '.', 'e5', '1e', '1,5', '0x1', ' 1', '1_0', 'infinite', '1e9999999999999999999'])(
    'refuses %j',
    (text) => {
      expect(() => new Decimal(text)).toThrow(InvalidArgumentError);
    },
  );
});

test('Uuid', () => {
  const id = new Uuid('{12345678-1234-5678-1234-56781234567A}');
  expect(String(id)).toBe('12345678-1234-5678-1234-56781234567a');
  expect(id.equals(new Uuid('urn:uuid:123456781234567812345678-1234567a'))).toBe(true);
  expect(inspect(id)).toContain('1234567812345678123456781234567a');
  expect(() => new Uuid('123')).toThrow(InvalidArgumentError);
});

test('a UUID that Kombu 5.3.0 wrote with its version', () => {
  const zero = '0'.repeat(32);
  // uuid.UUID(hex=…, version=4) sets these bits in Python.
  const read = (version: unknown) =>
    String(parseJson(JSON.stringify({ __type__: 'uuid', __value__: { hex: zero, version } })));
  expect(read(4)).toBe('00000000-0000-4000-8000-000000000000');
  expect(read(null)).toBe('00000000-0000-0000-0000-000000000000');
});
