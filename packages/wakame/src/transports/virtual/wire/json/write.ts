import { types } from 'node:util';
import { EncodeError } from '../../../../errors.js';
import { dateText, PyDateTime } from './datetime.js';
import { encodeTyped } from './typed.js';
import { MAX_WRITE_DEPTH, ValueWriter, type WriterStyle } from './writer.js';

/** How to write JSON. */
export interface JsonWriteOptions {
  /**
   * Writes dates, bytes, {@link Decimal}, {@link Uuid} and types of your own in Kombu's envelopes, which Kombu understands from 5.3
   * on. Default `false`: a date is an ISO string with `+00:00`, decimals and UUIDs are their text, and bytes are refused.
   */
  readonly typed?: boolean | undefined;
  /** Escapes all that is not ASCII, as Python does. Default `false`. */
  readonly ascii?: boolean | undefined;
}

const UNTYPED: WriterStyle = {
  name: 'JSON',
  // Names and short words seldom need the engine.
  text: (value) => (value.length < 64 && /^[ !#-[\]-~]*$/.test(value) ? `"${value}"` : JSON.stringify(value)),
  // Python writes and reads NaN, Infinity and -Infinity; `null`, as JSON.stringify has it, would be another value.
  number: (value) => String(value),
  special(value) {
    if (value instanceof PyDateTime) return JSON.stringify(value.isoformat());
    return types.isDate(value) ? JSON.stringify(dateText(value)) : undefined;
  },
  comma: ',',
  colon: ':',
  bytesHint: ', but with typed: true it can be, which Kombu reads from 5.3 on',
};

const TYPED: WriterStyle = {
  ...UNTYPED,
  special: (value) => encodeTyped(value) ?? UNTYPED.special(value),
};

/**
 * Writes JSON that Python reads. As `JSON.stringify` (`toJSON` is honoured, members that are `undefined` are left out), but
 * nothing is lost silently: NaN and the infinities are written as `NaN`, `Infinity`, `-Infinity`, as Python does; a bigint is
 * written with all its digits; functions, symbols, cycles, maps, sets and other objects that JSON cannot hold throw
 * ENCODE_FAILED with the path to them.
 */
export function writeJson(value: unknown, options: JsonWriteOptions = {}): string {
  if (value === undefined) throw new EncodeError('undefined is not a value of JSON');
  try {
    const text = isPlain(value, 0)
      ? JSON.stringify(value)
      : new ValueWriter(options.typed === true ? TYPED : UNTYPED).write(value);
    return options.ascii === true ? escapeNonAscii(text) : text;
  } catch (cause) {
    if (cause instanceof EncodeError) throw cause;
    // A getter or toJSON() of the caller's threw, or the text is longer than a string can be.
    throw new EncodeError(`cannot write the value as JSON: ${cause}`, { cause });
  }
}

/** `é` → `\u00e9` in JSON text, where it can only stand within strings. */
export function escapeNonAscii(json: string): string {
  if (!/[\u0080-\uffff]/.test(json)) return json;
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Whether the engine writes a value as we would: only strings, finite numbers, booleans, null, arrays, plain objects. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      return value === null || (depth < MAX_WRITE_DEPTH && isPlainObject(value, depth));
    default:
      return false;
  }
}

function isPlainObject(value: object, depth: number): boolean {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth + 1)) return false;
    return !('toJSON' in value);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false;
  return true;
}
