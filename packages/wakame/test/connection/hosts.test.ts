import { describe, expect, test } from 'vitest';
import { type FailoverStrategy, HostCycle } from '../../src/connection/hosts.js';

const host = (url: string) => ({ url });
const abc = [host('a'), host('b'), host('c')] as const;

function first(count: number, strategy: FailoverStrategy, random?: () => number): string[] {
  const cycle = new HostCycle([...abc], strategy, host, random);
  const seen = [cycle.current.url];
  while (seen.length < count) seen.push(cycle.advance().url);
  return seen;
}

describe('the order of hosts', () => {
  test('round-robin', () => {
    expect(first(7, 'round-robin')).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a']);
  });

  test('shuffle: each cycle has every host once, and none comes twice in a row', () => {
    for (let run = 0; run < 50; run++) {
      const seen = first(12, 'shuffle');
      for (let i = 0; i < 12; i += 3) expect(seen.slice(i, i + 3).sort()).toEqual(['a', 'b', 'c']);
      for (let i = 1; i < 12; i++) expect(seen[i]).not.toBe(seen[i - 1]);
    }
    const starts = new Set(Array.from({ length: 50 }, () => first(1, 'shuffle')[0]));
    expect(starts.size).toBeGreaterThan(1);
  });

  test('a function, whose order begins again when it ends, and which may name others', () => {
    expect(first(5, (urls) => [...urls].reverse())).toEqual(['c', 'b', 'a', 'c', 'b']);
    expect(
      first(3, function* () {
        for (;;) yield 'elsewhere';
      }),
    ).toEqual(['elsewhere', 'elsewhere', 'elsewhere']);
    expect(() => first(1, () => [])).toThrow(/gave no URL/);
  });

  test('one host is its own next', () => {
    const cycle = new HostCycle([host('only')], 'shuffle', host);
    expect([cycle.current.url, cycle.advance().url, cycle.size]).toEqual(['only', 'only', 1]);
  });
});
