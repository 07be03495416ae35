import { types } from 'node:util';
import { EncodeError } from '../../errors.js';
import { PyDateTime } from '../../transports/virtual/wire/json/datetime.js';
import { show } from '../../util/check.js';
import { MsgpackExt, TIMESTAMP } from './ext.js';

const MAX_DEPTH = 512;

/**
 * Writes a value as MessagePack, integers in the fewest bytes, bytes as `bin` and text as `str` (`use_bin_type=True`), a `Date` as a
 * timestamp. A `Map` is a map. `toJSON` is honoured, and members that are `undefined` are left out. Throws ENCODE_FAILED, with
 * the path, for what the format has no place for: functions, symbols, cycles, sets, integers of more than 64 bits.
 */
export function encodeMsgpack(value: unknown): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes();
}

class Writer {
  #buffer = Buffer.allocUnsafe(512);
  #at = 0;
  readonly #path: (string | number)[] = [];
  readonly #ancestors = new Set<object>();

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  value(value: unknown): void {
    if (typeof value === 'string') this.#text(value);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'bigint') this.#bigint(value);
    else if (typeof value === 'boolean') this.#head(value ? 0xc3 : 0xc2);
    else if (value === null) this.#head(0xc0);
    else if (typeof value === 'object') this.#object(value);
    else this.#fail(`${typeof value} is not a value of msgpack`);
  }

  #object(value: object): void {
    if (this.#ancestors.has(value)) this.#fail('it contains itself');
    if (this.#ancestors.size === MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH}`);
    this.#ancestors.add(value);
    if (Array.isArray(value)) this.#array(value);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (types.isAnyArrayBuffer(value)) this.#binary(new Uint8Array(value));
    else if (types.isDate(value)) this.#date(value);
    else if (value instanceof MsgpackExt) this.#extension(value.type, value.data);
    else if (value instanceof Map) this.#map([...value]);
    else this.#other(value);
    this.#ancestors.delete(value);
  }

  #other(value: object): void {
    const type = UNWRITABLE.find((unwritable) => value instanceof unwritable);
    if (type !== undefined || ArrayBuffer.isView(value))
      this.#fail(`${value.constructor.name} is not a value of msgpack`);
    const plain =
      'toJSON' in value && typeof value.toJSON === 'function' ? this.#replacement(value.toJSON.bind(value)) : value;
    if (types.isBoxedPrimitive(plain)) this.value(plain.valueOf());
    else if (plain === value) this.#map(Object.entries(value));
    else this.value(plain);
  }

  #replacement(toJSON: (key: string) => unknown): unknown {
    return toJSON(String(this.#path.at(-1) ?? ''));
  }

  #array(items: readonly unknown[]): void {
    if (items.length < 16) this.#head(0x90 | items.length);
    else this.#sized(0xdc, items.length, 2);
    for (let i = 0; i < items.length; i++) this.#member(i, items[i] ?? null);
  }

  #map(entries: readonly (readonly [unknown, unknown])[]): void {
    const present = entries.filter(([, value]) => value !== undefined);
    if (present.length < 16) this.#head(0x80 | present.length);
    else this.#sized(0xde, present.length, 2);
    for (const [key, value] of present) {
      const name = typeof key === 'string' ? key : show(key);
      this.#member(name, key);
      this.#member(name, value);
    }
  }

  #member(key: string | number, value: unknown): void {
    this.#path.push(key);
    this.value(value);
    this.#path.pop();
  }

  #text(text: string): void {
    if (!text.isWellFormed()) this.#fail('text with half a surrogate pair has no UTF-8');
    const length = Buffer.byteLength(text);
    if (length < 32) this.#head(0xa0 | length);
    else this.#sized(0xd9, length, 1);
    this.#reserve(length);
    this.#at += this.#buffer.write(text, this.#at);
  }

  #binary(bytes: Uint8Array): void {
    this.#sized(0xc4, bytes.length, 1);
    this.#raw(bytes);
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      this.#integer(value);
    } else {
      this.#head(0xcb);
      this.#reserve(8);
      this.#at = this.#buffer.writeDoubleBE(value, this.#at);
    }
  }

  #integer(value: number): void {
    if (value >= 0 && value < 0x80) this.#head(value);
    else if (value < 0 && value >= -0x20) this.#head(value + 0x100);
    else if (value >= 2 ** 32 || value < -(2 ** 31)) this.#long(BigInt(value));
    else if (value >= 0) this.#sized(0xcc, value, 1);
    else this.#negative(value);
  }

  #negative(value: number): void {
    const size = value >= -0x80 ? 1 : value >= -0x8000 ? 2 : 4;
    this.#head(size === 1 ? 0xd0 : size === 2 ? 0xd1 : 0xd2);
    this.#reserve(size);
    this.#at = this.#buffer.writeIntBE(value, this.#at, size);
  }

  #bigint(value: bigint): void {
    if (Number.isSafeInteger(Number(value))) this.#integer(Number(value));
    else if (value < 2n ** 64n && value >= -(2n ** 63n)) this.#long(value);
    else this.#fail('an integer of more than 64 bits');
  }

  #date(date: Date): void {
    const milliseconds = date.getTime();
    if (Number.isNaN(milliseconds)) this.#fail('an invalid Date');
    const seconds = Math.floor(milliseconds / 1000);
    const fraction = date instanceof PyDateTime ? date.microsecond : (milliseconds - seconds * 1000) * 1000;
    const data = Buffer.alloc(12);
    data.writeUInt32BE(fraction * 1000);
    data.writeBigInt64BE(BigInt(seconds), 4);
    const short = fraction === 0 && seconds >= 0 && seconds < 2 ** 32;
    this.#extension(TIMESTAMP, short ? data.subarray(8) : data);
  }

  #extension(type: number, data: Uint8Array): void {
    const fixed = [1, 2, 4, 8, 16].indexOf(data.length);
    if (fixed >= 0) this.#head(0xd4 + fixed);
    else this.#sized(0xc7, data.length, 1);
    this.#head(type & 0xff);
    this.#raw(data);
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** A head, and a length or number in the fewest bytes, of which `first` is the head for `smallest` bytes. */
  #sized(first: number, value: number, smallest: 1 | 2): void {
    const size = value < 0x100 && smallest === 1 ? 1 : value < 0x10000 ? 2 : 4;
    if (value >= 2 ** 32) this.#fail('longer than 4 GiB');
    this.#head(first + Math.log2(size / smallest));
    this.#reserve(size);
    this.#at = this.#buffer.writeUIntBE(value, this.#at, size);
  }

  #long(value: bigint): void {
    this.#head(value < 0n ? 0xd3 : 0xcf);
    this.#reserve(8);
    this.#at = this.#buffer.writeBigUInt64BE(BigInt.asUintN(64, value), this.#at);
  }

  #head(byte: number): void {
    this.#reserve(1);
    this.#buffer[this.#at++] = byte;
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + length));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }

  #fail(problem: string): never {
    const path = this.#path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
    const place = path.length > 200 ? `${path.slice(0, 100)}…${path.slice(-100)}` : path;
    throw new EncodeError(`cannot write ${place === '' ? 'the value' : `'${place}'`}: ${problem}`);
  }
}

/** Objects whose content would be dropped without a word. */
const UNWRITABLE = [Set, WeakMap, WeakSet, Promise, RegExp, Error];
