import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MatcherRegistry } from '../../src/matcher/index.js';
import { golden } from '../golden/read.js';

const registry = new MatcherRegistry();

test("glob decides as Python's fnmatchcase", () => {
  const rows = golden<[data: string, pattern: string, matches: boolean]>('glob.json');
  expect(rows.length).toBeGreaterThan(300);
  const wrong = rows.filter(([data, pattern, matches]) => registry.match(data, pattern) !== matches);
  expect(wrong).toEqual([]);
});

test('text without wildcards matches itself alone', () => {
  const text = fc.string({ unit: 'binary' }).map((value) => value.replace(/[*?[]/g, ''));
  fc.assert(
    fc.property(text, text, (data, pattern) => {
      expect(registry.match(data, pattern)).toBe(data === pattern);
      expect(registry.match(data, data)).toBe(true);
      expect(registry.match(data + pattern, `*${pattern}`)).toBe(true);
    }),
  );
});

test('a pattern that would keep a regular expression busy for ever is decided at once', () => {
  const pattern = `${'*a'.repeat(5000)}b`;
  expect(registry.match('a'.repeat(5000), pattern)).toBe(false);
});

describe('the registry', () => {
  test('glob is the default, also where Python sends null', () => {
    expect([registry.match('ab', 'a*'), registry.match('ab', 'a*', null), registry.match('ab', 'a*', 'glob')]).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('matchers come and go by name', () => {
    const own = new MatcherRegistry();
    own.register('prefix', (data, pattern) => data.startsWith(pattern));
    expect(own.match('abc', 'ab', 'prefix')).toBe(true);
    own.unregister('prefix');
    expect(() => own.match('abc', 'ab', 'prefix')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => own.unregister('prefix')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => own.match('a', 'a', 'glib')).toThrow(/did you mean 'glob'/);
  });

  test('pcre is off until it is turned on', () => {
    const own = new MatcherRegistry();
    expect(() => own.match('a', 'a', 'pcre')).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED' }));
    own.enablePcre();
    expect(own.match('worker1@host', 'worker\\d', 'pcre')).toBe(true);
    expect(own.match('a worker1', 'worker\\d', 'pcre')).toBe(false);
    expect(own.match('bc', 'a|b', 'pcre')).toBe(true);
    expect(own.match('xx', '(?P<one>.)(?P=one)', 'pcre')).toBe(true);
    expect(() => own.match('a', '(', 'pcre')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});
