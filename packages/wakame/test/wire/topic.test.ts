import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bindingPattern,
  knownBindingPatterns,
  matchTopic,
  TopicIndex,
} from '../../src/transports/virtual/wire/index.js';
import { golden, goldenFacts } from '../golden/read.js';

const bindings = golden<[binding: string, taken: string[]]>('rabbitmq-topic.json');
const keys = goldenFacts('rabbitmq-topic.json')['keys'] as string[];

describe('as RabbitMQ routes', () => {
  test.each(bindings)('binding %j', (binding, taken) => {
    expect(keys.filter((key) => matchTopic(binding, key)).sort()).toEqual([...taken].sort());
  });

  test('all bindings in one index', () => {
    const index = new TopicIndex<string>();
    for (const [binding] of bindings) index.add(binding, binding);
    for (const key of keys) {
      const expected = bindings.filter(([, taken]) => taken.includes(key)).map(([binding]) => binding);
      expect([...index.match(key)].sort()).toEqual(expected.sort());
    }
  });
});

const word = fc.constantFrom('', 'a', 'b', 'ab', '*', '#', 'a*');
const key = fc.array(word, { maxLength: 6 }).map((words) => words.join('.'));

describe('TopicIndex', () => {
  test('finds what matching one binding after another finds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(key, fc.nat(5)), { maxLength: 30 }),
        fc.array(key, { maxLength: 10 }),
        (pairs, routingKeys) => {
          const index = new TopicIndex<number>();
          for (const [binding, value] of pairs) index.add(binding, value);
          for (const routingKey of routingKeys) {
            const expected = new Set(
              pairs.filter(([binding]) => matchTopic(binding, routingKey)).map(([, value]) => value),
            );
            expect(index.match(routingKey)).toEqual(expected);
          }
        },
      ),
    );
  });

  test('forgets what is deleted, and keeps the rest', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(key, fc.nat(3)), { maxLength: 20 }),
        fc.array(fc.tuple(key, fc.nat(3))),
        key,
        (pairs, gone, routingKey) => {
          const index = new TopicIndex<number>();
          const left = new Map(pairs.map((pair) => [JSON.stringify(pair), pair]));
          for (const [binding, value] of pairs) index.add(binding, value);
          for (const pair of [...gone, ...pairs.slice(0, 5)]) {
            expect(index.delete(...pair)).toBe(left.delete(JSON.stringify(pair)));
          }
          expect(index.size).toBe(left.size);
          const expected = [...left.values()]
            .filter(([binding]) => matchTopic(binding, routingKey))
            .map(([, value]) => value);
          expect(index.match(routingKey)).toEqual(new Set(expected));
        },
      ),
    );
  });

  test('says whether a pair was new', () => {
    const index = new TopicIndex<string>();
    expect([index.add('a.*', 'q'), index.add('a.*', 'q'), index.add('a', 'q'), index.size]).toEqual([
      true,
      false,
      true,
      2,
    ]);
    expect([index.delete('a.#', 'q'), index.delete('a.*', 'p'), index.delete('a.*', 'q'), index.size]).toEqual([
      false,
      false,
      true,
      1,
    ]);
  });

  test('a lookup does not walk the bindings: ten thousand more cost no step more', () => {
    const lookups = (count: number): number => {
      const index = new TopicIndex<number>();
      for (let i = 0; i < count; i++) index.add(`*.${i}.#`, i);
      let steps = 0;
      const counted = class extends Set<unknown> {
        override add(value: unknown) {
          steps++;
          return super.add(value);
        }
      };
      const original = globalThis.Set;
      globalThis.Set = counted as SetConstructor;
      try {
        expect([...index.match('x.7.y')]).toEqual([7]);
      } finally {
        globalThis.Set = original;
      }
      return steps;
    };
    expect(lookups(10_010)).toBe(lookups(10));
  });

  test('many # in one binding do not make it slow', () => {
    const binding = Array.from({ length: 40 }, () => '#.a').join('.');
    const index = new TopicIndex<string>();
    index.add(binding, 'q');
    const routingKey = 'a.'.repeat(60).concat('b');
    expect(matchTopic(binding, routingKey)).toBe(false);
    expect(index.match(routingKey).size).toBe(0);
    expect(index.match('a.'.repeat(60).concat('a'))).toEqual(new Set(['q']));
  });
});

describe('the expression stored for Python', () => {
  const plainWord = fc.constantFrom('a', 'b', 'ab', 'a_b', 'é', 'a-$^[(');
  const routingKeys = fc.array(plainWord, { maxLength: 6 }).map((words) => words.join('.'));
  const bindingKeys = fc.array(fc.oneof(plainWord, fc.constantFrom('*', '#', 'a*', '#b')), { maxLength: 6 });

  test('takes exactly the keys that the binding takes', () => {
    fc.assert(
      fc.property(bindingKeys, routingKeys, (words, routingKey) => {
        const binding = words.join('.');
        // Nothing in it means something else to Python's re.
        expect(new RegExp(bindingPattern(binding)).test(routingKey)).toBe(matchTopic(binding, routingKey));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['stock.us', '^stock\\.us$'],
    ['stock.*', '^stock\\.[^\\.]+$'],
    ['stock.#', '^stock(?:\\.[^\\.]*)*$'],
    ['#.nyse', '^(?:[^\\.]*\\.)*nyse$'],
    ['#', '^.*$'],
    ['#.#', '^.*$'],
    ['*.#', '^[^\\.]+(?:\\.[^\\.]*)*$'],
    ['#.*', '^[^\\.]+(?:\\.[^\\.]*)*$'],
    ['', '^$'],
    ['a*', '^a\\*$'],
  ])('%j is stored as %s', (binding, pattern) => {
    expect(bindingPattern(binding)).toBe(pattern);
  });

  test.each(golden<[string, string]>('binding-pattern.json'))(
    "Kombu's own is known, to take it off: %j %s",
    (binding, pattern) => {
      expect(knownBindingPatterns(binding)).toContain(pattern);
      expect(knownBindingPatterns(binding)[0]).toBe(bindingPattern(binding));
      if (!/[*#]/.test(binding)) expect(bindingPattern(binding)).toBe(pattern);
    },
  );
});

test('kombu#2568: * is one word, # may be none', () => {
  expect(matchTopic('stock.*', 'stock.us.nasdaq')).toBe(false);
  expect(matchTopic('stock.#', 'stock')).toBe(true);
  expect(matchTopic('#.x', 'x')).toBe(true);
  expect(matchTopic('a.#.b', 'a.b')).toBe(true);
});
