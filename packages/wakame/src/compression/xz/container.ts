/**
 * The .xz file format (The .xz File Format 1.2.1), which Python's `lzma` writes and reads:
 *
 * ```
 * FD '7zXZ' 00  flags:2 crc    block …    00 count (size size)… pad crc    crc size:4 flags:2 'YZ'
 *                                │        the index: sizes of the blocks   the footer
 *                                └ size flags filters pad crc   LZMA2   pad   check
 * ```
 */

import { DecodeError } from '../../errors.js';
import { Output } from '../output.js';
import { CRC32_CHECK, checkOf, crc32Bytes } from './crc.js';
import { decodeLzma2 } from './lzma2-decoder.js';
import { encodeLzma2 } from './lzma2-encoder.js';

const MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const END_MAGIC = Buffer.from('YZ');
const LZMA2 = 0x21;
/** The size of the window, 8 MiB, as LZMA2's one property. */
const WINDOW_PROPERTY = 22;

/** Writes an .xz file of one block. */
export function xz(body: Uint8Array): Uint8Array {
  const flags = Buffer.from([0, CRC32_CHECK]);
  const parts: Uint8Array[] = [MAGIC, flags, crc32Bytes(flags)];
  const index: number[] = [0, 0];
  if (body.length > 0) {
    const header = Buffer.from([2, 0, LZMA2, 1, WINDOW_PROPERTY, 0, 0, 0]);
    const data = encodeLzma2(body);
    const check = checkOf(CRC32_CHECK, body) as Uint8Array;
    parts.push(header, crc32Bytes(header), data, padding(data.length), check);
    index[1] = 1;
    index.push(...numberBytes(header.length + 4 + data.length + check.length), ...numberBytes(body.length));
  }
  const indexBytes = Buffer.concat([Buffer.from(index), padding(index.length)]);
  const end = Buffer.alloc(6);
  end.writeUInt32LE(indexBytes.length / 4);
  flags.copy(end, 4);
  return Buffer.concat([...parts, indexBytes, crc32Bytes(indexBytes), crc32Bytes(end), end, END_MAGIC]);
}

/** To a multiple of four. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}

/** Seven bits a byte, the lowest first. */
function numberBytes(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

/**
 * Reads an .xz file, several streams one after the other too. Throws DECODE_FAILED for what is none, or is broken, and
 * MESSAGE_TOO_LARGE rather than yield more than `maxBytes`.
 */
export function unxz(file: Uint8Array, maxBytes: number): Uint8Array {
  const reader = new Reader(file);
  const output = new Output('lzma', maxBytes);
  do readStream(reader, output);
  while (reader.skipZeros());
  return output.view();
}

function fail(problem: string): never {
  throw new DecodeError(`lzma: ${problem}`);
}

function readStream(reader: Reader, output: Output): void {
  if (!reader.take(6).equals(MAGIC)) fail('not an xz file');
  const flags = reader.take(2);
  reader.expectCrc(flags);
  if (flags[0] !== 0 || flags[1]! > 0x0f) fail('unknown flags');
  const sizes: number[] = [];
  for (let head = reader.byte(); head !== 0; head = reader.byte())
    sizes.push(...readBlock(reader, head, flags[1]!, output));
  const indexSize = readIndex(reader, sizes);
  const crc = reader.take(4);
  const end = reader.take(6);
  if (!crc.equals(crc32Bytes(end))) fail('the checksum of the footer is wrong');
  if (end.readUInt32LE() !== indexSize / 4 - 1 || !end.subarray(4).equals(flags)) fail('the footer is wrong');
  if (!reader.take(2).equals(END_MAGIC)) fail('the footer is wrong');
}

/** Returns the two sizes that the index has to repeat. */
function readBlock(reader: Reader, head: number, checkKind: number, output: Output): [number, number] {
  const start = reader.at - 1;
  const outputStart = output.length;
  readBlockHeader(reader, start, (head + 1) * 4);
  const dataStart = reader.at;
  reader.at = decodeLzma2(reader.bytes, reader.at, output);
  const dataSize = reader.at - dataStart;
  reader.expectPadding(dataStart);
  const check = checkOf(checkKind, output.view().subarray(outputStart));
  if (check === undefined) fail('an unknown kind of check');
  if (!reader.take(check.length).equals(check)) fail('the checksum of a block is wrong');
  return [dataStart - start + dataSize + check.length, output.length - outputStart];
}

/** The sizes that it may declare are passed over: those of the index are checked. */
function readBlockHeader(reader: Reader, start: number, size: number): void {
  const flags = reader.byte();
  if ((flags & 0x3f) !== 0) fail('filters other than LZMA2');
  if ((flags & 0x40) !== 0) reader.number();
  if ((flags & 0x80) !== 0) reader.number();
  if (reader.number() !== LZMA2 || reader.number() !== 1) fail('filters other than LZMA2');
  reader.byte();
  if (reader.at > start + size - 4) fail('a header is wrong');
  reader.at = start;
  reader.expectCrc(reader.take(size - 4));
}

function readIndex(reader: Reader, sizes: readonly number[]): number {
  const start = reader.at - 1;
  if (reader.number() !== sizes.length / 2) fail('the index is wrong');
  for (const size of sizes) if (reader.number() !== size) fail('the index is wrong');
  reader.expectPadding(start);
  const end = reader.at;
  reader.at = start;
  reader.expectCrc(reader.take(end - start));
  return reader.at - start;
}

class Reader {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    return this.bytes[this.at++] ?? fail('it ends too early');
  }

  take(count: number): Buffer {
    if (this.at + count > this.bytes.length) fail('it ends too early');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  /** Seven bits a byte, the lowest first, nine bytes at most. */
  number(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 56; factor *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    return fail('a number is too long');
  }

  expectCrc(bytes: Uint8Array): void {
    if (!this.take(4).equals(crc32Bytes(bytes))) fail('a checksum is wrong');
  }

  /** Zeros up to a multiple of four bytes after `start`. */
  expectPadding(start: number): void {
    while ((this.at - start) % 4 !== 0) if (this.byte() !== 0) fail('padding that is not zero');
  }

  /** Passes over what may stand between streams. Whether anything else follows. */
  skipZeros(): boolean {
    while (this.bytes[this.at] === 0) this.at++;
    return this.at < this.bytes.length;
  }
}
