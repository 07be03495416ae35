import { DecodeError } from '../../../../errors.js';
import { checkInteger } from '../../../../util/check.js';
import { parseExactJson } from './exact.js';
import { decodeTyped, type TypedValue } from './typed.js';

/** What a peer's JSON may ask for at most. */
export interface JsonLimits {
  /** Levels of arrays and objects. Default 512; at most 1024. */
  readonly maxDepth?: number | undefined;
  /** Characters of text. Default 128 Mi. */
  readonly maxLength?: number | undefined;
}

const DEFAULT_DEPTH = 512;
const DEFAULT_LENGTH = 128 * 1024 * 1024;

/**
 * Reads Kombu's JSON. As `JSON.parse`, and beyond it: typed values become the classes of this folder, NaN, Infinity and
 * -Infinity are numbers, and an integer that a number cannot hold exactly is a bigint. A member named `__proto__` is
 * an ordinary own property. A byte order mark is passed over.
 *
 * Most texts have none of that, and go through the engine's parser after two searches that prove it. Throws DECODE_FAILED
 * (MESSAGE_TOO_LARGE for a text that is too long).
 */
export function parseJson(text: string, limits: JsonLimits = {}): unknown {
  const maxLength = limits.maxLength ?? DEFAULT_LENGTH;
  const maxDepth =
    limits.maxDepth === undefined ? DEFAULT_DEPTH : checkInteger('maxDepth', limits.maxDepth, { max: 1024 });
  if (text.length > maxLength) {
    throw new DecodeError(`JSON of ${text.length} characters exceeds ${maxLength}`, { code: 'MESSAGE_TOO_LARGE' });
  }
  const value = parsePlain(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text, maxDepth);
  const needsWalk = typeof value === 'object' && value !== null && (mayHoldTyped(text) || mayBeDeep(text, maxDepth));
  return needsWalk ? revive(value, maxDepth) : value;
}

function parsePlain(text: string, maxDepth: number): unknown {
  if (!mayHoldBigInteger(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // NaN or Infinity, which the engine refuses; or an error, which the exact parser tells more of.
    }
  }
  return parseExactJson(text, maxDepth);
}

/**
 * Whether a number stands in the text that may not fit: an integer of 16 digits or more. Such a run covers every 16th place
 * somewhere, so only those are looked at.
 */
function mayHoldBigInteger(text: string): boolean {
  for (let at = 15; at < text.length; at += 16) {
    if (!isDigit(text.charCodeAt(at))) continue;
    let start = at;
    while (start > 0 && isDigit(text.charCodeAt(start - 1))) start--;
    while (at + 1 < text.length && isDigit(text.charCodeAt(at + 1))) at++;
    if (at - start >= 15 && !BEFORE_FRACTION_OR_TEXT.has(text[start - 1])) return true;
  }
  return false;
}

/** What ends with a run of digits and is no integer, though it may be part of one: then the search errs on the safe side. */
const BEFORE_FRACTION_OR_TEXT: ReadonlySet<string | undefined> = new Set(['.', '"']);

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** An underscore may also be written as an escape. */
function mayHoldTyped(text: string): boolean {
  return text.includes('__type__') || (text.includes('\\u005') && /\\u005[fF]/.test(text));
}

/** Counts the opening brackets, those within strings too, no further than it takes to know. */
function mayBeDeep(text: string, maxDepth: number): boolean {
  if (text.length < 2 * maxDepth) return false;
  let count = 0;
  for (const bracket of '[{') {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (++count > maxDepth) return true;
    }
  }
  return false;
}

/** Replaces typed values in place, innermost first, and refuses more than `levels` of nesting. */
function revive(value: unknown, levels: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) throw new DecodeError('JSON is nested too deep');
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      if (typeof item === 'object') value[i] = revive(item, levels - 1);
    }
    return value;
  }
  const members = value as Record<string, unknown>;
  const keys = Object.keys(members);
  for (const key of keys) {
    const member = members[key];
    if (typeof member === 'object') members[key] = revive(member, levels - 1);
  }
  return isTyped(members, keys) ? decodeTyped(members) : value;
}

function isTyped(members: object, keys: readonly string[]): members is TypedValue {
  return keys.length === 2 && '__value__' in members && '__type__' in members && typeof members.__type__ === 'string';
}
