import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { StandardSchemaV1 } from 'wakame';
import { type Collection, Collector } from '../../src/pidbox/collector.js';
import { UnclaimedReplies } from '../../src/pidbox/unclaimed.js';
import { failure, sequence } from '../messaging/support.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function collector<T = unknown>(
  options: Partial<Collection<T>> = {},
  done: () => void = () => undefined,
): Collector<T> {
  return new Collector<T>(
    { limit: Number.POSITIVE_INFINITY, callback: undefined, schema: undefined, ...options },
    done,
  );
}

const reply = (value: unknown, hostname = 'a') => ({ hostname, value });

function numbers(wait?: Promise<void>): StandardSchemaV1<unknown, number> {
  const check = (value: unknown) => (typeof value === 'number' ? { value } : { issues: [{ message: 'no number' }] });
  const validate = (value: unknown) => (wait === undefined ? check(value) : wait.then(() => check(value)));
  return { '~standard': { version: 1, vendor: 'test', validate } };
}

test('each reply starts the wait for the next anew, as in Kombu', async () => {
  const done = vi.fn();
  const collecting = collector({}, done);
  collecting.waitFor(100);
  for (const n of sequence(5)) {
    vi.advanceTimersByTime(90);
    collecting.add(reply(n));
  }
  expect(done).not.toHaveBeenCalled();
  vi.advanceTimersByTime(100);
  expect(await collecting.replies).toEqual(sequence(5).map((n) => reply(n)));
  expect(done).toHaveBeenCalledTimes(1);
  collecting.add(reply('late'));
  expect(await collecting.replies).toHaveLength(5);
});

test('replies may be complete before the request is known to be out', async () => {
  const done = vi.fn();
  const collecting = collector({ limit: 1 }, done);
  collecting.add(reply(1));
  expect(done).toHaveBeenCalledTimes(1);
  collecting.waitFor(100);
  expect(await collecting.replies).toEqual([reply(1)]);
});

test('there is no silence before the request is out', () => {
  const done = vi.fn();
  const collecting = collector({}, done);
  collecting.add(reply(1));
  vi.advanceTimersByTime(100_000);
  expect(done).not.toHaveBeenCalled();
  collecting.close();
});

test('an unreadable reply counts', async () => {
  const collecting = collector({ limit: 2 });
  collecting.add(reply(1));
  collecting.counted();
  expect(await collecting.replies).toEqual([reply(1)]);
});

test('what the callback throws, it rejects with', async () => {
  const reason = new Error('enough');
  const collecting = collector({
    callback: () => {
      throw reason;
    },
  });
  collecting.waitFor(100);
  collecting.add(reply(1));
  expect(await failure(collecting.replies)).toBe(reason);
});

test.each([
  ['at once', undefined],
  ['later', Promise.resolve()],
])('values are checked %s; one that does not fit is an error, errors stay', async (_, wait) => {
  const heard: unknown[] = [];
  const collecting = collector<number>({ limit: 3, schema: numbers(wait), callback: (each) => heard.push(each) });
  collecting.add(reply(1));
  collecting.add(reply('two', 'b'));
  collecting.add({ hostname: 'c', error: 'KeyError()' });
  const replies = await collecting.replies;
  expect(replies).toEqual([
    { hostname: 'a', value: 1 },
    { hostname: 'b', error: 'the payload does not fit the schema: no number' },
    { hostname: 'c', error: 'KeyError()' },
  ]);
  expect(heard).toHaveLength(3);
});

test('unclaimed replies are kept by call, in bounds', () => {
  const unclaimed = new UnclaimedReplies();
  unclaimed.add('x', reply(1), 10);
  unclaimed.add('x', reply(2), 10);
  unclaimed.add('y', reply(3), 10);
  expect([...unclaimed]).toEqual([
    ['x', [reply(1), reply(2)]],
    ['y', [reply(3)]],
  ]);
  expect(unclaimed.take('x')).toEqual([reply(1), reply(2)]);
  expect(unclaimed.take('x')).toEqual([]);
  expect(unclaimed.size).toBe(1);

  for (const n of sequence(5_000)) unclaimed.add(`many ${n}`, reply(n), 10);
  expect(unclaimed.size).toBe(1_000);
  expect(unclaimed.take('y')).toEqual([]);
  expect(unclaimed.take('many 4999')).toEqual([reply(4_999)]);

  for (const n of sequence(20)) unclaimed.add(`large ${n}`, reply(n), 200_000);
  expect(unclaimed.size).toBe(5);
  for (const n of sequence(5_000)) unclaimed.add('one call', reply(n), 10);
  expect(unclaimed.size).toBeLessThanOrEqual(1_000);
  unclaimed.clear();
  expect([unclaimed.size, ...unclaimed]).toEqual([0]);
});
