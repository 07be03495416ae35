import { describe, expect, it } from 'vitest';
import { parseOptions } from '../options.ts';
import { Random } from '../random.ts';
import { type Draw, kills, schedule } from '../schedule.ts';

const kinds = [
  { name: 'cut', weight: 1 },
  { name: 'kill', weight: 2 },
  { name: 'stall', weight: 1 },
];

function first(seed: number, count: number): Draw[] {
  return schedule(seed, kinds).take(count).toArray();
}

describe('the schedule', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(first(7, 50)).toEqual(first(7, 50));
    expect(first(7, 50)).not.toEqual(first(8, 50));
  });

  it('has every kind in every round, as often as its weight says', () => {
    const names = first(3, 40).map(({ kind }) => kind);
    for (let i = 0; i < names.length; i += 4) {
      expect(names.slice(i, i + 4).sort()).toEqual(['cut', 'kill', 'kill', 'stall']);
    }
    // And not in the same order.
    const rounds = new Set(Array.from({ length: 10 }, (_, i) => names.slice(4 * i, 4 * i + 4).join()));
    expect(rounds.size).toBeGreaterThan(1);
  });

  it('draws fractions', () => {
    for (const { duration, target, direction, amount, pause } of first(5, 200)) {
      for (const fraction of [duration, target, direction, amount]) {
        expect(fraction).toBeGreaterThanOrEqual(0);
        expect(fraction).toBeLessThan(1);
      }
      expect(pause).toBeGreaterThan(0);
    }
  });
});

describe('kills', () => {
  it('as many as wanted, within the time, in order, the same for the same seed', () => {
    const all = kills(4, 100, 60_000);
    expect(all).toHaveLength(100);
    expect(all).toEqual(kills(4, 100, 60_000));
    expect(all).toEqual([...all].sort((a, b) => a.at - b.at));
    for (const { at } of all) expect(at).toBeLessThan(60_000);
  });
});

describe('random numbers', () => {
  it('cover the unit interval evenly', () => {
    const random = new Random(1);
    const tenths = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) tenths[Math.floor(random.next() * 10)]! += 1;
    for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  it('shuffle without losing anything', () => {
    const items = Array.from({ length: 20 }, (_, i) => i);
    const shuffled = new Random(1).shuffled(items);
    expect(shuffled).not.toEqual(items);
    expect(shuffled.sort((a, b) => a - b)).toEqual(items);
  });
});

describe('options', () => {
  it('have defaults', () => {
    expect(parseOptions(['amqp', '--seed', '4'])).toEqual({
      ...{ stand: 'amqp', minutes: 1, seed: 4, messages: 9000, json: undefined },
    });
  });

  it.each([
    [[], "not ''"],
    [['kafka'], "not 'kafka'"],
    [['amqp', 'redis'], "not 'amqp redis'"],
    [['amqp', '--minutes', 'two'], "--minutes must be a number above 0, not 'two'"],
    [['amqp', '--messages', '0'], "--messages must be a number above 0, not '0'"],
    [['amqp', '--seed', '1.5'], "--seed must be a whole number, not '1.5'"],
    [['amqp', '--sede', '1'], '--sede'],
  ])('%j', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
