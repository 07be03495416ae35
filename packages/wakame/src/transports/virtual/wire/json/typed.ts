/**
 * The typed values of Kombu's JSON (`kombu.utils.json`): an object with exactly the keys `__type__` and `__value__`.
 *
 * | `__type__` | `__value__` | here |
 * | --- | --- | --- |
 * | `datetime` | `2024-01-02T03:04:05.000006+00:00` | {@link PyDateTime}, a `Date` |
 * | `date` | `2024-01-02` | {@link PyDate} |
 * | `time` | `03:04:05.000006` | {@link PyTime} |
 * | `decimal` | `1.10` | {@link Decimal} |
 * | `uuid` | `{"hex": "…"}` | {@link Uuid} |
 * | `bytes` | text, when the bytes are UTF-8 | `Uint8Array` |
 * | `base64` | base64, when not | `Uint8Array` |
 */

import { DecodeError, InvalidArgumentError } from '../../../../errors.js';
import { show } from '../../../../util/check.js';
import { decodeUtf8 } from '../../../../util/utf8.js';
import { dateText, PyDate, PyDateTime, PyTime } from './datetime.js';
import { Decimal } from './decimal.js';
import { Uuid } from './uuid.js';

/** An envelope as it lies in JSON. */
export interface TypedValue {
  readonly __type__: string;
  readonly __value__: unknown;
}

/** A type of the application's own in Kombu's envelope (`kombu.utils.json.register_type`). */
export interface JsonType<T> {
  /** `__type__` on the wire. */
  readonly marker: string;
  /** Whether a value is of this type: an instance of a class. It is not asked about plain objects. */
  readonly is: (value: unknown) => value is T;
  /** The value to write as `__value__`: plain JSON. */
  readonly encode: (value: T) => unknown;
  /** Its inverse. What it throws becomes the cause of a DECODE_FAILED. */
  readonly decode: (value: unknown) => T;
}

const decoders = new Map<string, (value: unknown) => unknown>([
  ['datetime', (value) => new PyDateTime(text(value))],
  // Python, too, takes the day of a whole datetime here.
  ['date', (value) => new PyDate(text(value).replace(/[T ].*$/, ''))],
  ['time', (value) => new PyTime(text(value))],
  [
    'decimal',
    (value) => new Decimal(typeof value === 'number' || typeof value === 'bigint' ? `${value}` : text(value)),
  ],
  ['uuid', decodeUuid],
  ['bytes', (value) => decodeText(text(value))],
  ['base64', (value) => decodeBase64(text(value))],
]);

const registered: JsonType<unknown>[] = [];

/**
 * Adds a type that is written (with `typed: true`) and read in Kombu's envelope. Registering a marker again replaces it.
 * Throws INVALID_ARGUMENT for a marker of Kombu's own.
 */
export function registerJsonType<T>(type: JsonType<T>): void {
  const at = registered.findIndex((known) => known.marker === type.marker);
  if (at >= 0) registered.splice(at, 1);
  else if (decoders.has(type.marker)) throw new InvalidArgumentError(`'${type.marker}' is one of Kombu's own types`);
  registered.push(type as JsonType<unknown>);
  decoders.set(type.marker, type.decode);
}

/**
 * What an envelope stands for. One of a type nobody registered is returned as it is, so that nothing is lost (Python
 * refuses it). Throws DECODE_FAILED when the value does not fit the type.
 */
export function decodeTyped(envelope: TypedValue): unknown {
  const decode = decoders.get(envelope.__type__);
  if (decode === undefined) return envelope;
  try {
    return decode(envelope.__value__);
  } catch (cause) {
    throw new DecodeError(`not a ${envelope.__type__}: ${show(envelope.__value__)}`, { cause });
  }
}

/** The envelope of a value, when it is of a type that has one; else `undefined`. */
export function encodeTyped(value: object): TypedValue | undefined {
  for (const type of registered) if (type.is(value)) return typed(type.marker, type.encode(value));
  if (value instanceof PyDateTime) return typed('datetime', value.isoformat());
  if (value instanceof Date) return typed('datetime', dateText(value));
  if (value instanceof PyDate) return typed('date', value.toString());
  if (value instanceof PyTime) return typed('time', value.toString());
  if (value instanceof Decimal) return typed('decimal', value.toString());
  if (value instanceof Uuid) return typed('uuid', { hex: value.hex });
  if (value instanceof Uint8Array) return encodeBytes(value);
  return undefined;
}

function typed(type: string, value: unknown): TypedValue {
  return { __type__: type, __value__: value };
}

function encodeBytes(bytes: Uint8Array): TypedValue {
  const asText = decodeUtf8(bytes);
  return asText === undefined ? typed('base64', Buffer.from(bytes).toString('base64')) : typed('bytes', asText);
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new InvalidArgumentError('a string is wanted');
  return value;
}

function decodeText(value: string): Uint8Array {
  if (!value.isWellFormed()) throw new InvalidArgumentError('half a surrogate pair has no bytes');
  return new TextEncoder().encode(value);
}

function decodeBase64(value: string): Uint8Array {
  const digits = value.replace(/\s+/g, '');
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) throw new InvalidArgumentError('not base64');
  return new Uint8Array(Buffer.from(digits, 'base64'));
}

/** The keyword arguments of Python's `uuid.UUID`: `hex`, and `version`, which sets the version and variant bits. */
function decodeUuid(value: unknown): Uuid {
  if (typeof value !== 'object' || value === null || !('hex' in value)) {
    throw new InvalidArgumentError('an object with hex is wanted');
  }
  const uuid = new Uuid(text(value.hex));
  const version = 'version' in value ? value.version : null;
  if (version === null) return uuid;
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1 || version > 8) {
    throw new InvalidArgumentError('a version from 1 to 8 is wanted');
  }
  const variant = ((Number.parseInt(uuid.hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return new Uuid(`${uuid.hex.slice(0, 12)}${version}${uuid.hex.slice(13, 16)}${variant}${uuid.hex.slice(17)}`);
}
