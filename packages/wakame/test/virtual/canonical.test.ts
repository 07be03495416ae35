import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonical } from '../../src/util/canonical.js';

test('what means the same has the same text', () => {
  expect(canonical({ a: 1, b: [true, null] })).toBe(canonical({ b: [true, null], a: 1n, c: undefined }));
  expect(canonical(new Uint8Array([1, 2]))).toBe(canonical(Buffer.from([1, 2])));
});

test.each([
  [1, '1'],
  [null, 'null'],
  [true, 'true'],
  [
    [1, [2]],
    [[1], 2],
  ],
  [{ a: { b: 1 } }, { a: 1, b: 1 }],
  [new Date(5), 5],
  [Buffer.from('ab'), 'ab'],
  [{ '"a":1,"b"': 2 }, { a: 1, b: 2 }],
])('%j and %j differ', (a, b) => {
  expect(canonical(a)).not.toBe(canonical(b));
});

test('two JSON values have the same text only if they are the same', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  void fc.assert(
    fc.property(value, value, (a, b) => {
      const same = canonical(a) === canonical(b);
      const sameJson = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
      expect(same).toBe(sameJson);
    }),
  );
});

/** The same value with the members of every object in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return { array: value.map(sorted) };
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return { object: members.map(([key, member]) => [key, sorted(member)]) };
}
