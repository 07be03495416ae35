import { InvalidArgumentError } from './errors.js';

/** What {@link parseLiteral} yields. Dictionaries are Maps, so that no key can reach a prototype. */
export type Literal = string | number | boolean | null | Literal[] | Map<string, Literal>;

const MAX_DEPTH = 16;
const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_]\w*/y;
const SPACE = /\s*/y;
const WORDS: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ['True', true],
  ['true', true],
  ['False', false],
  ['false', false],
  ['None', null],
  ['null', null],
]);
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ['b', '\b'],
  ['f', '\f'],
  ['0', '\0'],
  ['\\', '\\'],
  ['/', '/'],
  ["'", "'"],
  ['"', '"'],
]);

/**
 * Reads a literal written in Python or JSON: strings in either quotes, numbers, `True`/`true`, `None`/`null`, lists,
 * tuples and dictionaries with string keys. pika's URLs carry such dictionaries (`ast.literal_eval`).
 *
 * @throws InvalidArgumentError that tells the position, never the text, which may hold a secret
 */
export function parseLiteral(text: string): Literal {
  let position = 0;

  const fail = (problem: string): never => {
    throw new InvalidArgumentError(`not a Python or JSON literal: ${problem} at offset ${position}`);
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = position;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) position += found.length;
    return found;
  };
  const accept = (character: string): boolean => {
    match(SPACE);
    if (text[position] !== character) return false;
    position += 1;
    return true;
  };

  const string = (quote: string): string => {
    let value = '';
    for (;;) {
      const character = text[position];
      if (character === undefined) return fail('unfinished string');
      position += 1;
      if (character === quote) return value;
      if (character !== '\\') {
        value += character;
        continue;
      }
      const escaped = text[position] ?? '';
      position += 1;
      const digits = escaped === 'x' ? 2 : escaped === 'u' ? 4 : 0;
      if (digits > 0) {
        const code = text.slice(position, position + digits);
        if (!/^[0-9a-fA-F]+$/.test(code) || code.length !== digits) fail('bad escape');
        value += String.fromCharCode(Number.parseInt(code, 16));
        position += digits;
      } else {
        value += ESCAPES.get(escaped) ?? fail('bad escape');
      }
    }
  };

  const items = (end: string, depth: number): Literal[] => {
    const list: Literal[] = [];
    while (!accept(end)) {
      list.push(value(depth + 1));
      if (accept(',')) continue;
      if (accept(end)) break;
      fail(`',' or '${end}' expected`);
    }
    return list;
  };

  const dictionary = (depth: number): Map<string, Literal> => {
    const map = new Map<string, Literal>();
    while (!accept('}')) {
      const key = value(depth + 1);
      if (typeof key !== 'string') return fail('a key that is not a string');
      if (!accept(':')) fail("':' expected");
      map.set(key, value(depth + 1));
      if (accept(',')) continue;
      if (accept('}')) break;
      fail("',' or '}' expected");
    }
    return map;
  };

  function value(depth: number): Literal {
    if (depth > MAX_DEPTH) fail('too deep');
    if (accept('{')) return dictionary(depth);
    if (accept('[')) return items(']', depth);
    if (accept('(')) return items(')', depth);
    if (accept("'")) return string("'");
    if (accept('"')) return string('"');
    const number = match(NUMBER);
    if (number !== undefined) return Number(number);
    const word = match(WORD);
    const constant = word === undefined ? undefined : WORDS.get(word);
    return constant === undefined ? fail('unexpected text') : constant;
  }

  const result = value(0);
  match(SPACE);
  if (position !== text.length) fail('unexpected text');
  return result;
}
