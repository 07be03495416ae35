import { types } from 'node:util';
import { EncodeError } from '../../../../errors.js';

/** How a language that contains JSON's structures (JSON itself, YAML) writes what is in them. */
export interface WriterStyle {
  /** Its name, for error messages. */
  readonly name: string;
  /** A string, quoted. */
  text(value: string): string;
  number(value: number): string;
  /** Between members, and between a name and its value. */
  readonly comma: string;
  readonly colon: string;
  /**
   * Objects with a form of their own, such as dates: their text; or an object to write in their stead; or `undefined` for those that
   * have none.
   */
  special(value: object): string | object | undefined;
  /** What to do about bytes where the style has no form for them: the end of a sentence. */
  readonly bytesHint: string;
}

/** Deeper values are taken for endless ones. Python stops at about a thousand. */
export const MAX_WRITE_DEPTH = 512;

/**
 * Writes a value piece by piece, and knows the path to each piece. `toJSON` is honoured and members that are `undefined` are
 * left out, as by `JSON.stringify`; what that would drop or distort throws ENCODE_FAILED instead.
 */
export class ValueWriter {
  readonly #style: WriterStyle;
  readonly #path: (string | number)[] = [];
  readonly #ancestors = new Set<object>();

  constructor(style: WriterStyle) {
    this.#style = style;
  }

  write(value: unknown): string {
    switch (typeof value) {
      case 'string':
        return this.#style.text(value);
      case 'number':
        return this.#style.number(value);
      case 'bigint':
      case 'boolean':
        return String(value);
      case 'object':
        return value === null ? 'null' : this.#object(value);
      default:
        return this.#fail(`${typeof value} is not a value of ${this.#style.name}`);
    }
  }

  #object(value: object): string {
    if (this.#ancestors.has(value)) this.#fail('it contains itself');
    if (this.#ancestors.size === MAX_WRITE_DEPTH) this.#fail(`nested deeper than ${MAX_WRITE_DEPTH}`);
    this.#ancestors.add(value);
    const text = (isPlain(value) ? undefined : this.#special(value)) ?? this.#members(value);
    this.#ancestors.delete(value);
    return text;
  }

  /** Objects that are not written by their members; `undefined` for others. */
  #special(value: object): string | undefined {
    if (types.isDate(value)) this.#checkDate(value);
    const special = this.#style.special(value);
    if (typeof special === 'string') return special;
    if (special !== undefined) return this.#members(special);
    if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
      const hint = value instanceof Uint8Array ? this.#style.bytesHint : '';
      this.#fail(`${value.constructor.name} is not a value of ${this.#style.name}${hint}`);
    }
    if (hasToJSON(value)) return this.#replacement(value);
    if (types.isBoxedPrimitive(value)) return this.write(value.valueOf());
    const type = UNWRITABLE.find((unwritable) => value instanceof unwritable);
    return type === undefined ? undefined : this.#fail(`${type.name} is not a value of ${this.#style.name}`);
  }

  #checkDate(date: Date): void {
    if (Number.isNaN(date.getTime())) this.#fail('an invalid Date');
    const year = date.getUTCFullYear();
    if (year < 1 || year > 9999) this.#fail(`the year ${year} is outside of Python's 1 to 9999`);
  }

  #replacement(value: { toJSON(key: string): unknown }): string {
    const replacement = value.toJSON(String(this.#path.at(-1) ?? ''));
    if (replacement === undefined) this.#fail('toJSON() returned undefined');
    return replacement === value ? this.#members(value) : this.write(replacement);
  }

  #members(value: object): string {
    const { comma, colon } = this.#style;
    if (Array.isArray(value)) return `[${Array.from(value, (item, i) => this.#member(i, item ?? null)).join(comma)}]`;
    let text = '';
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue;
      text += `${text === '' ? '' : comma}${this.#style.text(key)}${colon}${this.#member(key, member)}`;
    }
    return `{${text}}`;
  }

  #member(key: string | number, value: unknown): string {
    this.#path.push(key);
    const text = this.write(value);
    this.#path.pop();
    return text;
  }

  #fail(problem: string): never {
    const path = this.#path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
    const place = path.length > 200 ? `${path.slice(0, 100)}…${path.slice(-100)}` : path;
    throw new EncodeError(`cannot write ${place === '' ? 'the value' : `'${place}'`}: ${problem}`);
  }
}

/** Nothing but its members: most objects. */
function isPlain(value: object): boolean {
  if ('toJSON' in value) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null;
}

function hasToJSON(value: object): value is { toJSON(key: string): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}

/** Objects whose content would be dropped without a word. */
const UNWRITABLE = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error];
