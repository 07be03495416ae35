import { isUtf8 } from 'node:buffer';
import { isDate, isUint8Array } from 'node:util/types';
import type { FrameSyntaxError } from '../errors.js';
import { ByteReader, ByteWriter, malformed } from './bytes.js';
import { describe, EncodeProblem, named } from './problem.js';
import { UNLIMITED_FRAME_MAX } from './spec.js';
import { type AnyTypedValue, TypedValue } from './typed.js';

/**
 * Field tables (0-9-1 section 4.2.5.5) with the type codes as RabbitMQ and the clients in use read them, which are
 * not the specification's.
 *
 * | JavaScript | written as | |
 * | --- | --- | --- |
 * | string | `S` | |
 * | integer, magnitude up to 2^31 − 1 | `I` | |
 * | other integer up to 2^53 | `L` | |
 * | any other finite number | `d` | fractions, −0, and integers beyond 2^53, which only a double has exactly |
 * | bigint | `L` | within 64 bits, signed |
 * | boolean | `t` | |
 * | Date | `T` | whole seconds, not before 1970 |
 * | Uint8Array | `S` | read back as text when it is UTF-8; {@link typed}`.bytes` keeps bytes bytes |
 * | null; undefined in an array | `V` | an undefined member of a table is left out |
 * | array | `A` | |
 * | plain object | `F` | own enumerable members |
 * | {@link TypedValue} | its code | |
 *
 * These are the codes that py-amqp writes and all of its versions read alike. Everything else (functions, symbols,
 * Map, Set, class instances) is refused by name. So are NaN and ±Infinity: Erlang has no such numbers, and RabbitMQ
 * drops the connection that sends one; {@link typed}`.double` writes them for other brokers.
 */

/** A value that a field table can carry when sent. */
export type FieldValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Date
  | Uint8Array
  | AnyTypedValue
  | readonly FieldValue[]
  | FieldTable;

/** A field table to be sent: headers, arguments of a declaration, client properties. */
export interface FieldTable {
  readonly [key: string]: FieldValue;
}

/**
 * A value as decoded from a field table; each but NaN and ±Infinity can be sent again as it is. Integers are numbers
 * within ±2^53 and bigints outside; `S` is a string when it is UTF-8 and a Buffer otherwise; `x` is a Buffer; `T` is
 * a Date, or a {@link TypedValue} beyond the year 275760; `D` is a {@link TypedValue}.
 */
export type ReceivedValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Buffer
  | AnyTypedValue
  | ReceivedValue[]
  | ReceivedTable;

/** A field table as decoded: a plain object, whose members are its own whatever they are called. */
export interface ReceivedTable {
  [key: string]: ReceivedValue;
}

/** Tables and arrays may be nested this deep, in both directions. */
export const MAX_TABLE_DEPTH = 128;

const LAST_DATE_SECONDS = 8_640_000_000_000;

/** Writes a table with its length. Throws {@link EncodeProblem}. */
export function writeTable(writer: ByteWriter, table: unknown): void {
  if (typeof table !== 'object' || table === null || !isPlain(table)) {
    throw new EncodeProblem(`must be a plain object, not ${describe(table)}`);
  }
  writeMembers(writer, table as FieldTable, 1);
}

function writeMembers(writer: ByteWriter, table: FieldTable, depth: number): void {
  const lengthAt = openLength(writer, depth);
  for (const key of Object.keys(table)) {
    const value = table[key];
    if (value === undefined) continue;
    try {
      writer.shortstr(key);
      writeValue(writer, value, depth);
    } catch (error) {
      throw error instanceof EncodeProblem ? error.under(key) : error;
    }
  }
  closeLength(writer, lengthAt);
}

function writeItems(writer: ByteWriter, items: readonly FieldValue[], depth: number): void {
  const lengthAt = openLength(writer, depth);
  for (let i = 0; i < items.length; i++) {
    try {
      writeValue(writer, items[i], depth);
    } catch (error) {
      throw error instanceof EncodeProblem ? error.under(i) : error;
    }
  }
  closeLength(writer, lengthAt);
}

function openLength(writer: ByteWriter, depth: number): number {
  if (depth > MAX_TABLE_DEPTH) {
    throw new EncodeProblem(`is nested more than ${MAX_TABLE_DEPTH} levels deep; does it contain itself?`);
  }
  const at = writer.unitLength;
  writer.long(0);
  return at;
}

function closeLength(writer: ByteWriter, at: number): void {
  writer.patchLong(at, writer.unitLength - at - 4);
}

function writeValue(writer: ByteWriter, value: FieldValue, depth: number): void {
  switch (typeof value) {
    case 'string':
      writer.octet(0x53 /* S */);
      writer.longstr(value);
      return;
    case 'number':
      writeNumber(writer, value);
      return;
    case 'boolean':
      writer.octet(0x74 /* t */);
      writer.octet(value ? 1 : 0);
      return;
    case 'bigint':
      if (BigInt.asIntN(64, value) !== value) throw new EncodeProblem(`does not fit into 64 bits (${describe(value)})`);
      writer.octet(0x4c /* L */);
      writer.bigint(value);
      return;
    case 'undefined':
      writer.octet(0x56 /* V */);
      return;
    case 'object':
      writeObject(writer, value, depth);
      return;
    default:
      throw unsupported(value);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if ((value | 0) === value && value !== -2_147_483_648 && !Object.is(value, -0)) {
    writer.octet(0x49 /* I */);
    writer.long(value);
  } else if (Number.isSafeInteger(value) && value !== 0) {
    writer.octet(0x4c /* L */);
    writer.longlong(value);
  } else if (Number.isFinite(value)) {
    writer.octet(0x64 /* d */);
    writer.double(value);
  } else {
    throw new EncodeProblem(`is ${value}, which RabbitMQ drops the connection for`);
  }
}

function writeObject(writer: ByteWriter, value: FieldValue & (object | null), depth: number): void {
  if (value === null) {
    writer.octet(0x56 /* V */);
  } else if (Array.isArray(value)) {
    writer.octet(0x41 /* A */);
    writeItems(writer, value, depth + 1);
  } else if (isPlain(value)) {
    writer.octet(0x46 /* F */);
    writeMembers(writer, value as FieldTable, depth + 1);
  } else if (isUint8Array(value)) {
    writer.octet(0x53 /* S */);
    writer.longstr(value);
  } else if (isDate(value)) {
    const seconds = Math.floor(value.getTime() / 1000);
    if (!(seconds >= 0)) {
      throw new EncodeProblem(`is not a date that AMQP can express: it must be valid and not before 1970`);
    }
    writer.octet(0x54 /* T */);
    writer.longlong(seconds);
  } else if (value instanceof TypedValue) {
    writeTyped(writer, value);
  } else {
    throw unsupported(value);
  }
}

function unsupported(value: unknown): EncodeProblem {
  return new EncodeProblem(`is ${describe(value)}, which a field table cannot carry`);
}

/** Made by a literal, by JSON.parse or without a prototype; also of another realm. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'hasOwnProperty');
}

function writeTyped(writer: ByteWriter, typed: AnyTypedValue): void {
  writer.octet(typed.code.charCodeAt(0));
  switch (typed.code) {
    case 'b':
    case 'B':
      writer.octet(typed.value);
      return;
    case 's':
    case 'u':
      writer.short(typed.value);
      return;
    case 'I':
    case 'i':
      writer.long(typed.value);
      return;
    case 'L':
    case 'T':
      if (typeof typed.value === 'bigint') writer.bigint(typed.value);
      else writer.longlong(typed.value);
      return;
    case 'f':
      writer.float(typed.value);
      return;
    case 'd':
      writer.double(typed.value);
      return;
    case 'D':
      writer.octet(typed.value.scale);
      writer.long(typed.value.value);
      return;
    case 'S':
    case 'x':
      writer.longstr(typed.value);
      return;
  }
}

/** The bytes of a table, its length included. Throws InvalidArgumentError that names the member by its path. */
export function encodeTable(table: FieldTable, name = 'table'): Buffer {
  const writer = new ByteWriter(1024);
  writer.unitLimit = UNLIMITED_FRAME_MAX;
  try {
    writeTable(writer, table);
  } catch (error) {
    throw named(error, name);
  }
  return Buffer.concat(writer.take());
}

/** Reads a table with its length. Throws FrameSyntaxError. */
export function readTable(reader: ByteReader): ReceivedTable {
  return readMembers(reader, 1);
}

function readMembers(reader: ByteReader, depth: number): ReceivedTable {
  const outer = enter(reader, depth);
  const table: ReceivedTable = {};
  while (reader.position < reader.end) {
    const key = reader.shortstr();
    const value = readValue(reader, depth);
    // Assigning to __proto__ would set the prototype.
    if (key === '__proto__') {
      Object.defineProperty(table, key, { value, writable: true, enumerable: true, configurable: true });
    } else {
      table[key] = value;
    }
  }
  reader.end = outer;
  return table;
}

function readItems(reader: ByteReader, depth: number): ReceivedValue[] {
  const outer = enter(reader, depth);
  const items: ReceivedValue[] = [];
  while (reader.position < reader.end) items.push(readValue(reader, depth));
  reader.end = outer;
  return items;
}

/**
 * Whether the table has a member of that name. Goes over all of it, checks what {@link readTable} would check, and makes no
 * object: a tenth of the cost.
 *
 * @param name In ASCII.
 */
export function hasMember(reader: ByteReader, name: string): boolean {
  const outer = enter(reader, 1);
  let found = false;
  while (reader.position < reader.end) {
    const length = reader.octet();
    const at = reader.skip(length);
    if (length === name.length && isAt(reader.buffer, at, name)) found = true;
    skipValue(reader, 1);
  }
  reader.end = outer;
  return found;
}

function isAt(buffer: Buffer, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (buffer[at + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** Moves over a value, checking what reading it would check. */
function skipValue(reader: ByteReader, depth: number): void {
  const code = reader.octet();
  switch (code) {
    case 0x56: // V
      return;
    case 0x74: // t
    case 0x62: // b
    case 0x42: // B
      reader.skip(1);
      return;
    case 0x73: // s
    case 0x55: // U
    case 0x75: // u
      reader.skip(2);
      return;
    case 0x49: // I
    case 0x69: // i
    case 0x66: // f
      reader.skip(4);
      return;
    case 0x44: // D
      reader.skip(5);
      return;
    case 0x4c: // L
    case 0x6c: // l
    case 0x64: // d
    case 0x54: // T
      reader.skip(8);
      return;
    case 0x53: // S
    case 0x78: // x
      reader.skip(reader.long());
      return;
    case 0x46: // F
    case 0x41: {
      // A
      const outer = enter(reader, depth + 1);
      while (reader.position < reader.end) {
        if (code === 0x46) reader.skip(reader.octet());
        skipValue(reader, depth + 1);
      }
      reader.end = outer;
      return;
    }
    default:
      throw unknownType(code);
  }
}

function unknownType(code: number): FrameSyntaxError {
  return malformed(`unknown field type 0x${code.toString(16).padStart(2, '0')}`);
}

/** Confines the reader to a nested table or array and returns where it was confined to before. */
function enter(reader: ByteReader, depth: number): number {
  if (depth > MAX_TABLE_DEPTH) throw malformed(`a field table is nested more than ${MAX_TABLE_DEPTH} levels deep`);
  const length = reader.long();
  const outer = reader.end;
  if (length > outer - reader.position) {
    throw malformed(`a table of ${length} bytes where ${outer - reader.position} are left`);
  }
  reader.end = reader.position + length;
  return outer;
}

function readValue(reader: ByteReader, depth: number): ReceivedValue {
  const code = reader.octet();
  switch (code) {
    case 0x53: // S
      return readText(reader);
    case 0x49: // I
      return reader.long() | 0;
    case 0x74: // t
      return reader.octet() !== 0;
    case 0x56: // V
      return null;
    case 0x46: // F
      return readMembers(reader, depth + 1);
    case 0x41: // A
      return readItems(reader, depth + 1);
    case 0x64: // d
      return reader.buffer.readDoubleBE(reader.skip(8));
    case 0x4c: // L
    case 0x6c: // l
      return reader.int64();
    case 0x54: // T
      return readTimestamp(reader);
    case 0x78: // x
      return reader.bytes();
    case 0x44: // D
      return new TypedValue('D', { scale: reader.octet(), value: reader.long() | 0 });
    case 0x66: // f
      return reader.buffer.readFloatBE(reader.skip(4));
    case 0x62: // b
      return (reader.octet() << 24) >> 24;
    case 0x42: // B
      return reader.octet();
    case 0x73: // s
    case 0x55: // U: the specification's code for the same
      return (reader.short() << 16) >> 16;
    case 0x75: // u
      return reader.short();
    case 0x69: // i
      return reader.long();
    default:
      throw unknownType(code);
  }
}

function readText(reader: ByteReader): string | Buffer {
  const length = reader.long();
  const at = reader.skip(length);
  const { buffer } = reader;
  const text = buffer.toString('utf8', at, at + length);
  if (text.includes('\ufffd')) {
    const bytes = buffer.subarray(at, at + length);
    if (!isUtf8(bytes)) return Buffer.from(bytes);
  }
  return text;
}

function readTimestamp(reader: ByteReader): Date | TypedValue<'T'> {
  const seconds = reader.uint64();
  return seconds <= LAST_DATE_SECONDS ? new Date(Number(seconds) * 1000) : new TypedValue('T', seconds);
}

/** The table in `bytes`, which begin with its length. Throws FrameSyntaxError; also when bytes are left over. */
export function decodeTable(bytes: Uint8Array): ReceivedTable {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new ByteReader(buffer, 0, buffer.length);
  const table = readTable(reader);
  if (reader.position !== buffer.length) throw malformed(`${buffer.length - reader.position} bytes follow the table`);
  return table;
}
