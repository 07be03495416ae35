/** When answers are acknowledged. */
import { expect, test, vi } from 'vitest';
import type { Message } from 'wakame';
import { GatheredAcks } from '../src/rpc/gathered-acks.ts';

function messages(count: number) {
  const acked: number[] = [];
  const all = Array.from({ length: count }, (_, i) => ({ ack: () => Promise.resolve(acked.push(i) > 0) }));
  return { acked, all: all as unknown as Message[] };
}

test('a few at a time, in order, and none for long', () => {
  vi.useFakeTimers();
  try {
    const { acked, all } = messages(19);
    const acks = new GatheredAcks();
    for (const message of all.slice(0, 7)) acks.add(message);
    expect(acked).toEqual([]);
    for (const message of all.slice(7, 18)) acks.add(message);
    expect(acked).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    vi.advanceTimersByTime(20);
    expect(acked).toHaveLength(18);
    acks.add(all[18]!);
    vi.advanceTimersByTime(19);
    expect(acked).toHaveLength(18);
    vi.advanceTimersByTime(1);
    expect(acked).toHaveLength(19);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('at once from the end on', () => {
  const { acked, all } = messages(3);
  const acks = new GatheredAcks();
  acks.add(all[0]!);
  acks.end();
  expect(acked).toEqual([0]);
  acks.add(all[1]!);
  acks.add(all[2]!);
  expect(acked).toEqual([0, 1, 2]);
});
