import { describe, expect, test } from 'vitest';
import { headersMatcher } from '../../src/transports/virtual/routing/headers.js';

const matches = (args: Record<string, unknown>, headers: Record<string, unknown> | undefined) =>
  headersMatcher(args)(headers);

describe('x-match', () => {
  const both = { a: 1, b: 'two' };

  test.each([
    ['all', { a: 1, b: 'two', c: 3 }, true],
    ['all', { a: 1 }, false],
    ['any', { a: 1 }, true],
    ['any', { a: 2, b: 'x' }, false],
    [undefined, { a: 1 }, false],
    [undefined, { a: 1, b: 'two' }, true],
  ])('%s against %j: %s', (mode, headers, expected) => {
    expect(matches({ ...both, ...(mode === undefined ? {} : { 'x-match': mode }) }, headers)).toBe(expected);
  });

  test('arguments that begin with x- count only with all-with-x and any-with-x', () => {
    expect(matches({ 'x-match': 'all', 'x-own': 1, a: 1 }, { a: 1 })).toBe(true);
    expect(matches({ 'x-match': 'all-with-x', 'x-own': 1, a: 1 }, { a: 1 })).toBe(false);
    expect(matches({ 'x-match': 'all-with-x', 'x-own': 1, a: 1 }, { a: 1, 'x-own': 1 })).toBe(true);
    expect(matches({ 'x-match': 'any', 'x-own': 1, a: 1 }, { 'x-own': 1 })).toBe(false);
    expect(matches({ 'x-match': 'any-with-x', 'x-own': 1, a: 1 }, { 'x-own': 1 })).toBe(true);
  });

  test('no arguments: all takes everything, any nothing', () => {
    expect(matches({}, undefined)).toBe(true);
    expect(matches({ 'x-match': 'any' }, { a: 1 })).toBe(false);
  });
});

describe('values', () => {
  test('null asks for presence alone', () => {
    expect(matches({ a: null }, { a: 'whatever' })).toBe(true);
    expect(matches({ a: null }, {})).toBe(false);
  });

  test('types must agree, but not how an integer is held', () => {
    expect(matches({ a: 1 }, { a: '1' })).toBe(false);
    expect(matches({ a: 1 }, { a: 1n })).toBe(true);
    expect(matches({ a: true }, { a: 1 })).toBe(false);
  });

  test('tables and arrays are compared by what they hold', () => {
    expect(matches({ a: { x: [1, 2], y: null } }, { a: { y: null, x: [1, 2] } })).toBe(true);
    expect(matches({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
  });

  test('what every object inherits is no header', () => {
    expect(matches({ toString: null }, {})).toBe(false);
  });
});
