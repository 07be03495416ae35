import { describe, expect, test } from 'vitest';
import { Life } from '../../src/util/life.js';

/** A life, and what it said. */
function life() {
  const said: string[] = [];
  const one = new Life(
    (error) => said.push(`lost ${error}`),
    (error) => said.push(`stop ${error}`),
  );
  return { one, said };
}

describe('the life of an incarnation', () => {
  test('a loss while it opens is thrown by what follows, and told to nobody', () => {
    const { one, said } = life();
    one.check();
    one.lose('early');
    expect(() => one.check()).toThrow('early');
    expect(() => one.opened()).toThrow('early');
    one.lose('again');
    expect([said, one.isOpen]).toEqual([['stop early'], false]);
  });

  test('a loss while it is open is told once, when everything has stopped', () => {
    const { one, said } = life();
    one.opened();
    expect(one.isOpen).toBe(true);
    one.lose('first');
    one.lose('second');
    one.leave();
    one.end('third');
    expect(said).toEqual(['stop first', 'lost first']);
    expect(() => one.check()).toThrow('first');
    expect(one.isOpen).toBe(false);
  });

  test('who leaves may work to the end, and does not hear of a loss', () => {
    const { one, said } = life();
    one.opened();
    one.leave();
    expect(one.isOpen).toBe(false);
    one.check();
    one.lose('late');
    one.end('closed');
    expect(said).toEqual(['stop late']);
  });

  test('an end in order is told to nobody', () => {
    const { one, said } = life();
    one.opened();
    one.end('closed');
    one.lose('late');
    expect(said).toEqual(['stop closed']);
    expect(() => one.check()).toThrow('closed');
  });
});
