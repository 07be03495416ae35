import { DecodeError } from '../../../../errors.js';

/** Python refuses integers of more digits (`sys.int_info.default_max_str_digits`): reading them takes quadratic time. */
const MOST_DIGITS = 4300;

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;

/** The words of JSON, and those of Python's. */
const WORDS: readonly (readonly [word: string, value: unknown])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
];

/**
 * Reads JSON as Python's `json.loads` does: like `JSON.parse`, but with NaN, Infinity and -Infinity, and with a bigint for an
 * integer that a number cannot hold exactly. Throws DECODE_FAILED, naming the place.
 */
export function parseExactJson(text: string, maxDepth: number): unknown {
  return new ExactParser(text, maxDepth).parse();
}

class ExactParser {
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;

  constructor(text: string, maxDepth: number) {
    this.#text = text;
    this.#maxDepth = maxDepth;
  }

  parse(): unknown {
    const value = this.#value(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail('unexpected text');
    return value;
  }

  #value(depth: number): unknown {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === '"') return this.#string();
    if (char === '{' || char === '[') {
      if (depth >= this.#maxDepth) this.#fail('nested too deep');
      this.#at++;
      return char === '{' ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    for (const [word, value] of WORDS) {
      if (char === word[0] && this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #object(depth: number): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    if (this.#take('}')) return members;
    do {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') this.#fail('a member name is wanted');
      const name = this.#string();
      if (!this.#take(':')) this.#fail("':' is wanted");
      const value = this.#value(depth);
      // An assignment would set the prototype.
      if (name === '__proto__') Object.defineProperty(members, name, OWN_PROPERTY(value));
      else members[name] = value;
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail("',' or '}' is wanted");
    return members;
  }

  #array(depth: number): unknown[] {
    const items: unknown[] = [];
    if (this.#take(']')) return items;
    do items.push(this.#value(depth));
    while (this.#take(','));
    if (!this.#take(']')) this.#fail("',' or ']' is wanted");
    return items;
  }

  /** Finds the end; the engine reads the escapes and refuses bare control characters. */
  #string(): string {
    const start = this.#at;
    let end = start;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) this.#fail('a string without an end');
    } while (this.#isEscaped(end));
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch (cause) {
      this.#at = start;
      return this.#fail('a string that is not JSON', cause);
    }
  }

  #isEscaped(at: number): boolean {
    let before = at;
    while (this.#text[before - 1] === '\\') before--;
    return (at - before) % 2 === 1;
  }

  #number(): number | bigint {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null)
      return this.#fail(this.#at < this.#text.length ? 'a value is wanted' : 'the text ends too early');
    const [digits, fraction, exponent] = match;
    const value = Number(digits);
    const exact = fraction !== undefined || exponent !== undefined || Number.isSafeInteger(value);
    if (!exact && digits.length > MOST_DIGITS) this.#fail(`an integer of more than ${MOST_DIGITS} digits`);
    this.#at += digits.length;
    return exact ? value : BigInt(digits);
  }

  #take(char: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  #fail(problem: string, cause?: unknown): never {
    throw new DecodeError(`not JSON: ${problem} at character ${this.#at}`, cause === undefined ? {} : { cause });
  }
}

const OWN_PROPERTY = (value: unknown): PropertyDescriptor => ({
  value,
  configurable: true,
  enumerable: true,
  writable: true,
});
