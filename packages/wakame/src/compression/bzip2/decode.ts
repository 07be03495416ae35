import { DecodeError } from '../../errors.js';
import { Output } from '../output.js';
import {
  BLOCK_MAGIC,
  BLOCK_UNIT,
  combineCrc,
  crc32,
  END_MAGIC,
  GROUP_SIZE,
  MAX_CODE_LENGTH,
  MAX_TABLES,
  RUN_B,
} from './format.js';

/**
 * Reads bzip2, several streams one after the other too, as Python's `bz2.decompress` does. Throws DECODE_FAILED, and
 * MESSAGE_TOO_LARGE rather than yield more than `maxBytes`.
 */
export function bunzip2(compressed: Uint8Array, maxBytes: number): Uint8Array {
  const bits = new BitReader(compressed);
  const output = new Output('bzip2', maxBytes);
  do readStream(bits, output);
  while (bits.alignToByte() && bits.startsWith('BZh'));
  return output.view();
}

function fail(problem: string): never {
  throw new DecodeError(`not bzip2: ${problem}`);
}

class BitReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #held = 0;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Up to 24 bits. */
  read(count: number): number {
    while (this.#count < count) {
      if (this.#at >= this.#bytes.length) fail('it ends too early');
      this.#held = ((this.#held << 8) | (this.#bytes[this.#at++] as number)) >>> 0;
      this.#count += 8;
    }
    this.#count -= count;
    const value = (this.#held >>> this.#count) & (2 ** count - 1);
    this.#held &= 2 ** this.#count - 1;
    return value;
  }

  /** 32 or 48 bits. */
  readLong(count: 32 | 48): number {
    return this.read(count - 24) * 2 ** 24 + this.read(24);
  }

  /** Goes on to the next whole byte. `false` at the end. */
  alignToByte(): boolean {
    this.#at -= this.#count >> 3;
    this.#count = 0;
    this.#held = 0;
    return this.#at < this.#bytes.length;
  }

  startsWith(text: string): boolean {
    return Buffer.from(this.#bytes.subarray(this.#at, this.#at + text.length)).toString('latin1') === text;
  }
}

function readStream(bits: BitReader, output: Output): void {
  if (!bits.startsWith('BZh')) fail('it does not begin with BZh');
  bits.read(24);
  const level = bits.read(8) - 0x30;
  if (level < 1 || level > 9) fail('unknown block size');
  const columns = new Uint32Array(level * BLOCK_UNIT);
  let crc = 0;
  for (;;) {
    const magic = bits.readLong(48);
    const expected = bits.readLong(32);
    if (magic === END_MAGIC) {
      if (expected !== crc) fail('its checksum is wrong');
      return;
    }
    if (magic !== BLOCK_MAGIC) fail('a block begins with unknown bits');
    const start = output.length;
    readBlock(bits, columns, output);
    if (crc32(output.view(), start) !== expected) fail('the checksum of a block is wrong');
    crc = combineCrc(crc, expected);
  }
}

function readBlock(bits: BitReader, columns: Uint32Array, output: Output): void {
  if (bits.read(1) === 1) fail('randomized blocks, which nobody has written since 1997');
  const origin = bits.read(24);
  const used = readUsedBytes(bits);
  const tableCount = bits.read(3);
  if (tableCount < 2 || tableCount > MAX_TABLES) fail('the number of tables is wrong');
  const selectors = readSelectors(bits, tableCount);
  const symbolCount = used.length + 2;
  const tables = Array.from({ length: tableCount }, () => readTable(bits, symbolCount));
  const counts = new Uint32Array(256);
  const length = readSymbols(bits, columns, used, selectors, tables, counts);
  if (origin >= length) fail('the origin is outside of the block');
  restore(columns, length, counts, origin, output);
}

/** Which bytes the block has: 16 bits for the ranges of 16 bytes, and 16 for each range that has any. */
function readUsedBytes(bits: BitReader): Uint8Array {
  const ranges = bits.read(16);
  const used: number[] = [];
  for (let range = 0; range < 16; range++) {
    if ((ranges & (0x8000 >> range)) === 0) continue;
    const bytes = bits.read(16);
    for (let i = 0; i < 16; i++) if ((bytes & (0x8000 >> i)) !== 0) used.push(range * 16 + i);
  }
  if (used.length === 0) fail('a block without a byte');
  return Uint8Array.from(used);
}

/** Which table each group of symbols uses, moved to front and unary. */
function readSelectors(bits: BitReader, tableCount: number): Uint8Array {
  const selectors = new Uint8Array(bits.read(15));
  if (selectors.length === 0) fail('a block without a group');
  const order = Array.from({ length: tableCount }, (_, i) => i);
  for (let i = 0; i < selectors.length; i++) {
    let place = 0;
    while (bits.read(1) === 1) if (++place >= tableCount) fail('an unknown table');
    const [table = 0] = order.splice(place, 1);
    order.unshift(table);
    selectors[i] = table;
  }
  return selectors;
}

/** A canonical Huffman code: for each length the last code and what to take from a code to find its symbol. */
interface Table {
  readonly limit: Int32Array;
  readonly base: Int32Array;
  readonly symbols: Uint16Array;
  readonly shortest: number;
}

function readTable(bits: BitReader, symbolCount: number): Table {
  const lengths = new Uint8Array(symbolCount);
  let length = bits.read(5);
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    for (;;) {
      if (length < 1 || length > MAX_CODE_LENGTH) fail('a code is too long');
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  return makeTable(lengths);
}

function makeTable(lengths: Uint8Array): Table {
  const order = Array.from(lengths.keys()).sort((a, b) => lengths[a]! - lengths[b]! || a - b);
  const limit = new Int32Array(MAX_CODE_LENGTH + 1).fill(-1);
  const base = new Int32Array(MAX_CODE_LENGTH + 1);
  let code = 0;
  let at = 0;
  for (let length = 1; length <= MAX_CODE_LENGTH; length++, code <<= 1) {
    base[length] = code - at;
    while (at < order.length && lengths[order[at]!] === length) {
      limit[length] = code++;
      at++;
    }
  }
  return { limit, base, symbols: Uint16Array.from(order), shortest: lengths[order[0]!]! };
}

function readCode(bits: BitReader, { limit, base, symbols, shortest }: Table): number {
  let code = bits.read(shortest);
  for (let length = shortest; length <= MAX_CODE_LENGTH; length++) {
    if (code <= limit[length]! && code - base[length]! < symbols.length) return symbols[code - base[length]!]!;
    code = (code << 1) | bits.read(1);
  }
  return fail('an unknown code');
}

/** Undoes Huffman codes, runs and move to front. Returns the length of the block, whose bytes are then in `columns`. */
function readSymbols(
  bits: BitReader,
  columns: Uint32Array,
  used: Uint8Array,
  selectors: Uint8Array,
  tables: readonly Table[],
  counts: Uint32Array,
): number {
  const front = Uint8Array.from(used);
  const end = used.length + 1;
  let length = 0;
  let run = 0;
  let digit = 1;
  for (let group = 0; group < selectors.length; group++) {
    const table = tables[selectors[group]!]!;
    for (let i = 0; i < GROUP_SIZE; i++) {
      const symbol = readCode(bits, table);
      if (symbol <= RUN_B) {
        run += digit * (symbol + 1);
        digit *= 2;
        if (run > columns.length) fail('a block is too long');
        continue;
      }
      if (length + run + (symbol === end ? 0 : 1) > columns.length) fail('a block is too long');
      const first = front[0]!;
      columns.fill(first, length, length + run);
      counts[first]! += run;
      length += run;
      run = 0;
      digit = 1;
      if (symbol === end) return length;
      const byte = front[symbol - 1]!;
      front.copyWithin(1, 0, symbol - 1);
      front[0] = byte;
      columns[length++] = byte;
      counts[byte]!++;
    }
  }
  return fail('a block without an end');
}

/** Undoes the Burrows-Wheeler transform, and the run-length step before it. The upper 24 bits of `columns` become links. */
function restore(columns: Uint32Array, length: number, counts: Uint32Array, origin: number, output: Output): void {
  const starts = new Uint32Array(256);
  for (let byte = 1; byte < 256; byte++) starts[byte] = starts[byte - 1]! + counts[byte - 1]!;
  for (let i = 0; i < length; i++) {
    const byte = columns[i]! & 0xff;
    const at = starts[byte]!++;
    columns[at] = (columns[at]! & 0xff) | (i << 8);
  }
  let at = columns[origin]! >>> 8;
  let previous = -1;
  let same = 0;
  for (let i = 0; i < length; i++) {
    const entry = columns[at]!;
    at = entry >>> 8;
    const byte = entry & 0xff;
    if (same === 4) {
      output.repeat(previous, byte);
      same = 0;
      previous = -1;
    } else {
      same = byte === previous ? same + 1 : 1;
      previous = byte;
      output.push(byte);
    }
  }
}
