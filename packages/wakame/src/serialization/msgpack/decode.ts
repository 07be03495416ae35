import { DecodeError } from '../../errors.js';
import { dateText, PyDateTime } from '../../transports/virtual/wire/json/datetime.js';
import { decodeUtf8 } from '../../util/utf8.js';
import { MsgpackExt, TIMESTAMP } from './ext.js';

/** The C unpacker of Python stops at a thousand. */
const MAX_DEPTH = 512;

/**
 * Reads one MessagePack value (https://github.com/msgpack/msgpack/blob/master/spec.md) that fills `body`.
 *
 * Integers that a number cannot hold exactly are bigints; `bin` becomes a Uint8Array; keys that are no text become text; timestamps
 * become `Date`s, and other extensions {@link MsgpackExt}. Nothing is allocated by a declared length before that many bytes
 * are there. Throws DECODE_FAILED.
 */
export function decodeMsgpack(body: Uint8Array): unknown {
  const reader = new Reader(body);
  const value = reader.value(0);
  if (reader.at !== body.length) throw new DecodeError(`msgpack: ${body.length - reader.at} bytes after the value`);
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(depth: number): unknown {
    const byte = this.#uint(1);
    if (byte < 0x80) return byte;
    if (byte < 0x90) return this.#map(byte & 0x0f, depth);
    if (byte < 0xa0) return this.#array(byte & 0x0f, depth);
    if (byte < 0xc0) return this.#text(byte & 0x1f);
    if (byte >= 0xe0) return byte - 0x100;
    return this.#byHead(byte, depth);
  }

  #byHead(byte: number, depth: number): unknown {
    switch (byte) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#uint(1 << (byte - 0xc4)));
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extension(this.#uint(1 << (byte - 0xc7)));
      case 0xca:
        return this.#view.getFloat32(this.#skip(4));
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (byte - 0xcc));
      case 0xcf:
        return exact(this.#view.getBigUint64(this.#skip(8)));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return exact(this.#view.getBigInt64(this.#skip(8)));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (byte - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (byte - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 << (byte - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (byte - 0xde)), depth);
      default:
        throw new DecodeError(`msgpack: no value begins with byte ${byte}`);
    }
  }

  #array(length: number, depth: number): unknown[] {
    checkDepth(depth);
    const items: unknown[] = [];
    for (let i = 0; i < length; i++) items.push(this.value(depth + 1));
    return items;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    checkDepth(depth);
    const members: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = keyText(this.value(depth + 1));
      const value = this.value(depth + 1);
      // An assignment would set the prototype.
      if (key !== '__proto__') members[key] = value;
      else Object.defineProperty(members, key, { value, configurable: true, enumerable: true, writable: true });
    }
    return members;
  }

  #text(length: number): string {
    const start = this.#skip(length);
    const text = decodeUtf8(this.#bytes.subarray(start, this.at));
    if (text === undefined) throw new DecodeError('msgpack: text that is not utf-8');
    return text;
  }

  #binary(length: number): Uint8Array {
    const start = this.#skip(length);
    return new Uint8Array(this.#bytes.subarray(start, this.at));
  }

  #extension(length: number): unknown {
    const type = this.#view.getInt8(this.#skip(1));
    const data = this.#binary(length);
    return (type === TIMESTAMP ? timestamp(data) : undefined) ?? new MsgpackExt(type, data);
  }

  #uint(size: number): number {
    const start = this.#skip(size);
    if (size === 1) return this.#view.getUint8(start);
    return size === 2 ? this.#view.getUint16(start) : this.#view.getUint32(start);
  }

  /** Where the next bytes begin. */
  #skip(length: number): number {
    const start = this.at;
    if (length > this.#bytes.length - start) throw new DecodeError('msgpack: the body ends too early');
    this.at += length;
    return start;
  }
}

function checkDepth(depth: number): void {
  if (depth >= MAX_DEPTH) throw new DecodeError('msgpack: nested too deep');
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function keyText(key: unknown): string {
  if (typeof key === 'string') return key;
  if (key === null || typeof key !== 'object') return String(key);
  const text = key instanceof Uint8Array ? decodeUtf8(key) : undefined;
  if (text === undefined) throw new DecodeError('msgpack: a key that is no text');
  return text;
}

/** Seconds and nanoseconds in 4, 8 or 12 bytes; `undefined` for another length. Nanoseconds are cut to microseconds. */
function timestamp(data: Uint8Array): Date | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length === 4) return moment(BigInt(view.getUint32(0)), 0);
  if (data.length === 8) {
    const both = view.getBigUint64(0);
    return moment(both & 0x3ffffffffn, view.getUint32(0) >>> 2);
  }
  return data.length === 12 ? moment(view.getBigInt64(4), view.getUint32(0)) : undefined;
}

function moment(seconds: bigint, nanoseconds: number): Date | undefined {
  const date = new Date(Number(seconds) * 1000 + Math.floor(nanoseconds / 1e6));
  const year = date.getUTCFullYear();
  if (Number.isNaN(year) || nanoseconds > 999_999_999) return undefined;
  if (year < 1 || year > 9999 || nanoseconds % 1e6 === 0) return date;
  const microseconds = String(Math.floor(nanoseconds / 1000)).padStart(6, '0');
  return new PyDateTime(dateText(date).replace(/\.\d+/, `.${microseconds}`));
}
