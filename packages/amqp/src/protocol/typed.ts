import { isDate, isUint8Array } from 'node:util/types';
import { InvalidArgumentError } from '../errors.js';
import { describe } from './problem.js';

/** A decimal as the wire has it: `value` / 10^`scale`. */
export interface Decimal {
  /** Digits behind the point, 0 to 255. */
  readonly scale: number;
  /** The digits as a signed 32-bit integer. */
  readonly value: number;
}

/** What each type code holds. The codes are RabbitMQ's. */
interface TypedContent {
  b: number;
  B: number;
  s: number;
  u: number;
  I: number;
  i: number;
  L: number | bigint;
  f: number;
  d: number;
  D: Decimal;
  T: number | bigint;
  S: string | Uint8Array;
  x: Uint8Array;
}

/** The field types that can be chosen by hand, by the code that stands on the wire. */
export type TypeCode = keyof TypedContent;

const range = (low: number, high: number) => (value: unknown) =>
  Number.isInteger(value) && (value as number) >= low && (value as number) <= high;

const int32 = range(-2_147_483_648, 2_147_483_647);

const TYPES: { readonly [C in TypeCode]: { readonly name: string; fits(value: unknown): boolean } } = {
  b: { name: 'int8', fits: range(-128, 127) },
  B: { name: 'uint8', fits: range(0, 255) },
  s: { name: 'int16', fits: range(-32_768, 32_767) },
  u: { name: 'uint16', fits: range(0, 65_535) },
  I: { name: 'int32', fits: int32 },
  i: { name: 'uint32', fits: range(0, 4_294_967_295) },
  L: {
    name: 'int64',
    fits: (value) => (typeof value === 'bigint' ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value)),
  },
  f: {
    name: 'float',
    // A finite number that becomes infinite would be another number.
    fits: (value) => typeof value === 'number' && Number.isFinite(value) === Number.isFinite(Math.fround(value)),
  },
  d: { name: 'double', fits: (value) => typeof value === 'number' },
  D: {
    name: 'decimal',
    fits: (value) => range(0, 255)((value as Decimal | null)?.scale) && int32((value as Decimal).value),
  },
  T: {
    name: 'timestamp',
    fits: (value) =>
      typeof value === 'bigint'
        ? BigInt.asUintN(64, value) === value
        : Number.isSafeInteger(value) && (value as number) >= 0,
  },
  S: { name: 'longstr', fits: (value) => typeof value === 'string' || isUint8Array(value) },
  x: { name: 'bytes', fits: isUint8Array },
};

/**
 * A field value together with the type it is written with; {@link typed} has a function for each type. What is
 * received as one (a decimal, a timestamp that no `Date` can hold) can be sent again as it is.
 */
export class TypedValue<C extends TypeCode = TypeCode> {
  readonly code: C;
  readonly value: TypedContent[C];

  /** Throws InvalidArgumentError for a value that the type cannot hold. */
  constructor(code: C, value: TypedContent[C]) {
    if (!Object.hasOwn(TYPES, code)) {
      throw new InvalidArgumentError(`${describe(code)} is not the code of a field type`);
    }
    const type = TYPES[code];
    if (!type.fits(value)) {
      throw new InvalidArgumentError(`typed.${type.name}: ${describe(value)} is not a value of this type`);
    }
    this.code = code;
    this.value = value;
  }
}

/** Any typed value, told apart by `code`. */
export type AnyTypedValue = { [C in TypeCode]: TypedValue<C> }[TypeCode];

/**
 * Values of a field table whose type matters to the reader. Without these, a table is written with the types that
 * every py-amqp reads alike (`S t d I L T F A V`). **Not among them are `int8`, `uint8` and `int16`**: py-amqp swaps
 * the first two, and up to 5.3.1 reads `int16` as a string and loses its place in the table.
 *
 * Each throws InvalidArgumentError for a value that the type cannot hold.
 *
 * ```ts
 * { 'x-max-priority': typed.uint8(10), price: typed.decimal({ scale: 2, value: 1999 }), digest: typed.bytes(sha) }
 * ```
 */
export const typed = {
  /** `b`: −128 to 127. */
  int8: (value: number) => new TypedValue('b', value),
  /** `B`: 0 to 255. */
  uint8: (value: number) => new TypedValue('B', value),
  /** `s`: −32768 to 32767. */
  int16: (value: number) => new TypedValue('s', value),
  /** `u`: 0 to 65535. */
  uint16: (value: number) => new TypedValue('u', value),
  /** `I`: −2^31 to 2^31 − 1. */
  int32: (value: number) => new TypedValue('I', value),
  /** `i`: 0 to 2^32 − 1. */
  uint32: (value: number) => new TypedValue('i', value),
  /** `L`: −2^63 to 2^63 − 1; beyond 2^53 as a bigint. */
  int64: (value: number | bigint) => new TypedValue('L', value),
  /** `f`: the number is rounded to 32 bits. */
  float: (value: number) => new TypedValue('f', value),
  /** `d`, also for an integer. */
  double: (value: number) => new TypedValue('d', value),
  /** `D`. The digits are signed, as py-amqp and the Java client have it. */
  decimal: (value: Decimal) => new TypedValue('D', value),
  /** `T`: seconds since 1970, 0 to 2^64 − 1. A `Date` loses its milliseconds. */
  timestamp: (seconds: number | bigint | Date) =>
    new TypedValue('T', isDate(seconds) ? Math.floor(seconds.getTime() / 1000) : seconds),
  /** `S`: text, or bytes that are text to the reader when they are UTF-8. */
  longstr: (value: string | Uint8Array) => new TypedValue('S', value),
  /** `x`: bytes that stay bytes, whatever they hold. */
  bytes: (value: Uint8Array) => new TypedValue('x', value),
} as const;
