import { expect, test } from 'vitest';
import { LamportClock } from '../../src/clock/index.js';
import { InvalidArgumentError } from '../../src/errors.js';

test('counts on, and past what it receives', () => {
  const clock = new LamportClock();
  expect([clock.forward(), clock.forward(), clock.adjust(10), clock.adjust(3), clock.forward(), clock.value]).toEqual([
    1, 2, 11, 12, 13, 13,
  ]);
  expect(new LamportClock(7).forward()).toBe(8);
  expect(() => new LamportClock(-1)).toThrow(InvalidArgumentError);
});

test.each([[undefined], [null], ['9'], [-5], [7.5], [Number.NaN], [Number.POSITIVE_INFINITY], [2 ** 53], [10n]])(
  'what is no count, such as %s, only counts as an event',
  (other) => {
    const clock = new LamportClock(4);
    expect(clock.adjust(other)).toBe(5);
  },
);

test('the first of sorted events, by process where the clocks are equal', () => {
  const clock = new LamportClock();
  expect(
    clock.sortHeap([
      [1, 'b'],
      [2, 'a'],
    ]),
  ).toEqual([1, 'b']);
  expect(
    clock.sortHeap([
      [1, 'c'],
      [1, 'a', 'more'],
      [1, 'b'],
      [2, ''],
    ]),
  ).toEqual([1, 'a', 'more']);
  expect(clock.sortHeap([])).toBeUndefined();
});
