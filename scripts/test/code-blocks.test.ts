import { expect, test } from 'vitest';
import { type Program, printsOf, programsOf } from '../lib/code-blocks/blocks.ts';

function page(...lines: string[]): Program[] {
  return programsOf('page.md', lines.join('\n'));
}

function textOf({ lines }: Program): string {
  return lines.map(({ text }) => text).join('\n');
}

test('each block is a program; other languages are none', () => {
  const programs = page(
    '# Title',
    '```ts',
    'one();',
    '```',
    '```sh',
    'two',
    '```',
    '- a list',
    '  ```ts',
    '  three();',
    '  ```',
  );
  expect(programs.map(textOf)).toEqual(['one();', 'three();']);
  expect(programs.map(({ line, run }) => [line, run])).toEqual([
    [3, true],
    [10, true],
  ]);
});

test('given, continues, types only', () => {
  const programs = page(
    ...['<!-- code: given', 'const n = 1;', '-->', '', '```ts', 'one(n);', '```'],
    ...['<!-- code: continues -->', '<!-- code: types only -->', '```ts', 'two(n);', '```'],
    ...['```ts', 'three();', '```'],
  );
  expect(programs.map(textOf)).toEqual(['const n = 1;\none(n);\ntwo(n);', 'three();']);
  expect(programs.map(({ run }) => run)).toEqual([false, true]);
  expect(programs[0]?.lines.map(({ number }) => number)).toEqual([2, 6, 11]);
});

test('a directive that is misspelt, or has no block, is an error with its place', () => {
  expect(() => page('<!-- code: continue -->', '```ts', '```')).toThrow('page.md:1');
  expect(() => page('<!-- code: given -->', '```ts', '```')).toThrow('page.md:1');
  expect(() => page('<!-- code: types only -->', 'text', '```ts', '```')).toThrow('page.md:2');
  expect(() => page('<!-- code: continues -->', '```ts', 'one();', '```')).toThrow('no block to continue');
});

test('what a block prints', () => {
  const [program, silent] = page(
    '```ts',
    'one();',
    '// Prints:',
    '// a',
    '//',
    '// b',
    '```',
    '```ts',
    'two();',
    '```',
  );
  expect(printsOf(program as Program)).toBe('a\n\nb');
  expect(printsOf(silent as Program)).toBeUndefined();
});
