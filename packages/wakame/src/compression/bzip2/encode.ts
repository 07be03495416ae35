import { burrowsWheeler } from './burrows-wheeler.js';
import { BLOCK_MAGIC, BLOCK_UNIT, combineCrc, crc32, END_MAGIC, GROUP_SIZE, RUN_A, RUN_B } from './format.js';
import { chooseTables } from './tables.js';

/** Of a block of level 9; the last few bytes are left free, as the program does. */
const BLOCK_SIZE = 9 * BLOCK_UNIT - 19;

/** Writes bzip2 of level 9, as Python's `bz2.compress` does. */
export function bzip2(body: Uint8Array): Uint8Array {
  const bits = new BitWriter(body.length / 2 + 100);
  bits.write(24, 0x425a68); // BZh
  bits.write(8, 0x39); // 9
  let crc = 0;
  for (let start = 0; start < body.length; ) {
    const { block, end } = shortenRuns(body, start);
    const sum = crc32(body, start, end);
    crc = combineCrc(crc, sum);
    writeBlock(bits, block, sum);
    start = end;
  }
  bits.writeLong(48, END_MAGIC);
  bits.writeLong(32, crc);
  return bits.bytes();
}

class BitWriter {
  #buffer: Buffer;
  #at = 0;
  #held = 0;
  #count = 0;

  constructor(size: number) {
    this.#buffer = Buffer.allocUnsafe(Math.ceil(size));
  }

  /** Up to 24 bits. */
  write(count: number, value: number): void {
    this.#held = (this.#held << count) | value;
    this.#count += count;
    while (this.#count >= 8) {
      this.#count -= 8;
      this.#push(this.#held >>> this.#count);
    }
    this.#held &= 0xff;
  }

  writeLong(count: 32 | 48, value: number): void {
    this.write(count - 24, Math.floor(value / 2 ** 24));
    this.write(24, value % 2 ** 24);
  }

  /** The last byte filled up with zeros. */
  bytes(): Uint8Array {
    if (this.#count > 0) this.write(8 - this.#count, 0);
    return this.#buffer.subarray(0, this.#at);
  }

  #push(byte: number): void {
    if (this.#at === this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer, Buffer.alloc(this.#at)]);
    this.#buffer[this.#at++] = byte & 0xff;
  }
}

/** Takes bytes into a block, four of the same followed by how many more come: 0 to 251. */
function shortenRuns(body: Uint8Array, start: number): { readonly block: Uint8Array; readonly end: number } {
  const block = new Uint8Array(Math.min(BLOCK_SIZE, Math.ceil((body.length - start) * 1.25)));
  let length = 0;
  let at = start;
  while (at < body.length) {
    const byte = body[at]!;
    let run = 1;
    while (run < 255 && body[at + run] === byte) run++;
    const size = Math.min(run, 4) + (run >= 4 ? 1 : 0);
    if (length + size > BLOCK_SIZE) break;
    block.fill(byte, length, length + Math.min(run, 4));
    if (run >= 4) block[length + 4] = run - 4;
    length += size;
    at += run;
  }
  return { block: block.subarray(0, length), end: at };
}

function writeBlock(bits: BitWriter, block: Uint8Array, crc: number): void {
  const { last, origin } = burrowsWheeler(block);
  bits.writeLong(48, BLOCK_MAGIC);
  bits.writeLong(32, crc);
  bits.write(1, 0);
  bits.write(24, origin);
  const used = writeUsedBytes(bits, block);
  const symbols = moveToFront(last, used);
  const { lengths, codes, selectors } = chooseTables(symbols, used.length + 2);
  bits.write(3, lengths.length);
  bits.write(15, selectors.length);
  writeSelectors(bits, selectors, lengths.length);
  for (const table of lengths) writeTable(bits, table);
  for (let i = 0; i < symbols.length; i++) {
    const table = selectors[Math.floor(i / GROUP_SIZE)]!;
    const symbol = symbols[i]!;
    bits.write(lengths[table]![symbol]!, codes[table]![symbol]!);
  }
}

function writeUsedBytes(bits: BitWriter, block: Uint8Array): Uint8Array {
  const isUsed = new Uint8Array(256);
  for (const byte of block) isUsed[byte] = 1;
  const ranges = Array.from({ length: 16 }, (_, range) => bitsOf(isUsed.subarray(range * 16, range * 16 + 16)));
  bits.write(16, bitsOf(ranges.map((bytes) => (bytes === 0 ? 0 : 1))));
  for (const bytes of ranges) if (bytes !== 0) bits.write(16, bytes);
  return Uint8Array.from(isUsed.keys()).filter((byte) => isUsed[byte] === 1);
}

function bitsOf(flags: ArrayLike<number>): number {
  return Array.from(flags).reduce((value, flag) => value * 2 + flag, 0);
}

/** Each byte as its place in a list to whose front it then moves; runs of place 0 as numbers of the digits RUNA (1) and RUNB (2). */
function moveToFront(last: Uint8Array, used: Uint8Array): Uint16Array {
  const symbols = new Uint16Array(last.length + 1);
  const front = Uint8Array.from(used);
  let length = 0;
  let run = 0;
  const flush = () => {
    for (; run > 0; run = (run - 1) >> 1) symbols[length++] = (run & 1) === 1 ? RUN_A : RUN_B;
  };
  for (const byte of last) {
    if (byte === front[0]) {
      run++;
      continue;
    }
    flush();
    const place = front.indexOf(byte);
    front.copyWithin(1, 0, place);
    front[0] = byte;
    symbols[length++] = place + 1;
  }
  flush();
  symbols[length++] = used.length + 1;
  return symbols.subarray(0, length);
}

function writeSelectors(bits: BitWriter, selectors: Uint8Array, tableCount: number): void {
  const order = Array.from({ length: tableCount }, (_, i) => i);
  for (const table of selectors) {
    const place = order.indexOf(table);
    for (let i = 0; i < place; i++) bits.write(1, 1);
    bits.write(1, 0);
    order.splice(place, 1);
    order.unshift(table);
  }
}

/** Each length by its difference from the one before: 10 for one more, 11 for one less, 0 when it is right. */
function writeTable(bits: BitWriter, lengths: Uint8Array): void {
  let current = lengths[0]!;
  bits.write(5, current);
  for (const length of lengths) {
    for (; current < length; current++) bits.write(2, 0b10);
    for (; current > length; current--) bits.write(2, 0b11);
    bits.write(1, 0);
  }
}
