import { FrameSyntaxError } from '../errors.js';
import { describe, EncodeProblem } from './problem.js';
import { readShortString } from './strings.js';

/** The size of a fresh slab. Larger ones are only made for a unit that does not fit. */
export const SLAB_SIZE = 65_536;
/** So many slabs at most are kept to be filled again: a megabyte. */
const MOST_SPARE = 16;
const NO_SLABS: readonly Buffer[] = [];

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Bytes on their way out: a slab that is filled in place, and a list of chunks that are full or belong to somebody
 * else.
 *
 * ```
 *   chunks: [ …full slabs, referenced bodies… ]      buffer: | taken | ready | open unit | free |
 *                                                               cutAt    mark     position
 * ```
 *
 * What is written between {@link begin} and {@link rollback} is one unit: it stays in one piece, so that lengths can
 * be patched afterwards, and it vanishes without a trace when something in it cannot be written. A unit that outgrows
 * the slab moves to another one; hence positions inside a unit are kept relative to `mark`.
 *
 * Slabs are filled again when whoever took their chunks is done with them and says so ({@link rewind}, {@link reuse}): the garbage
 * collector looks late at memory outside its heap, and a megabyte of messages a millisecond would be hundreds of megabytes by then.
 */
export class ByteWriter {
  buffer: Buffer;
  position = 0;
  /** Where the open unit begins. */
  mark = 0;
  /**
   * A unit may not grow beyond this many bytes. Only tested when the slab is full: it bounds memory, not the format.
   */
  unitLimit = Number.POSITIVE_INFINITY;
  /** The slabs whose last bytes are among the chunks last taken. */
  spent: readonly Buffer[] = NO_SLABS;
  #cutAt = 0;
  #chunks: Uint8Array[] = [];
  /** Slabs that are full, since the last take. */
  #full: Buffer[] = [];
  readonly #spare: Buffer[] = [];

  constructor(size: number = SLAB_SIZE) {
    this.buffer = Buffer.allocUnsafeSlow(size);
  }

  begin(): void {
    this.mark = this.position;
  }

  rollback(): void {
    this.position = this.mark;
  }

  /** Bytes of the open unit. */
  get unitLength(): number {
    return this.position - this.mark;
  }

  /** Makes room for `count` more bytes. */
  ensure(count: number): void {
    if (this.position + count > this.buffer.length) this.#grow(count);
  }

  #grow(count: number): void {
    const unit = this.position - this.mark;
    if (unit + count > this.unitLimit) {
      throw new EncodeProblem('takes the frame beyond the largest size allowed', 'MESSAGE_TOO_LARGE');
    }
    const next =
      unit + count > SLAB_SIZE
        ? Buffer.allocUnsafeSlow(2 * (unit + count))
        : (this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_SIZE));
    this.buffer.copy(next, 0, this.mark, this.position);
    if (this.mark > this.#cutAt) this.#chunks.push(this.buffer.subarray(this.#cutAt, this.mark));
    this.#full.push(this.buffer);
    this.buffer = next;
    this.mark = 0;
    this.#cutAt = 0;
    this.position = unit;
  }

  /** Ends the chunk in hand; what was written goes out before what is written or referenced next. */
  #cut(): void {
    if (this.position > this.#cutAt) this.#chunks.push(this.buffer.subarray(this.#cutAt, this.position));
    this.#cutAt = this.position;
    this.mark = this.position;
  }

  /** Puts bytes into the stream without copying them. They must not change until they are written to the socket. */
  reference(bytes: Uint8Array): void {
    this.#cut();
    this.#chunks.push(bytes);
  }

  /** All chunks, in order. The writer is empty afterwards. */
  take(): Uint8Array[] {
    this.#cut();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.spent = NO_SLABS;
    if (this.#full.length > 0) {
      this.spent = this.#full;
      this.#full = [];
    }
    return chunks;
  }

  /** These slabs, and all chunks cut from them, are needed by nobody any more. */
  reuse(slabs: readonly Buffer[]): void {
    for (const slab of slabs) {
      if (slab.length === SLAB_SIZE && this.#spare.length < MOST_SPARE) this.#spare.push(slab);
    }
  }

  /** All chunks taken so far are needed by nobody any more: the slab in hand is filled from its beginning. */
  rewind(): void {
    if (this.position !== this.#cutAt || this.#chunks.length > 0) return;
    this.position = 0;
    this.mark = 0;
    this.#cutAt = 0;
  }

  octet(value: number): void {
    this.ensure(1);
    this.buffer[this.position++] = value;
  }

  short(value: number): void {
    this.ensure(2);
    const { buffer, position } = this;
    buffer[position] = value >>> 8;
    buffer[position + 1] = value;
    this.position = position + 2;
  }

  /** 32 bits, signed or unsigned. */
  long(value: number): void {
    this.ensure(4);
    this.#put32(this.position, value);
    this.position += 4;
  }

  /** 64 bits of an integer within ±2^53. */
  longlong(value: number): void {
    this.ensure(8);
    const high = Math.floor(value / 4_294_967_296);
    this.#put32(this.position, high);
    this.#put32(this.position + 4, value - high * 4_294_967_296);
    this.position += 8;
  }

  /** 64 bits of a bigint; the caller has checked the range. */
  bigint(value: bigint): void {
    this.ensure(8);
    this.buffer.writeBigUInt64BE(BigInt.asUintN(64, value), this.position);
    this.position += 8;
  }

  float(value: number): void {
    this.ensure(4);
    this.position = this.buffer.writeFloatBE(value, this.position);
  }

  double(value: number): void {
    this.ensure(8);
    this.position = this.buffer.writeDoubleBE(value, this.position);
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** A short string: an octet for the length, then at most 255 bytes of UTF-8. */
  shortstr(value: string): void {
    const { length } = value;
    if (length > 255) throw tooLong(value);
    this.ensure(1 + 3 * length);
    const at = this.position;
    this.position = at + 1;
    this.#utf8(value);
    const size = this.position - at - 1;
    if (size > 255) throw tooLong(value);
    this.buffer[at] = size;
  }

  /** A long string: four octets for the length, then UTF-8 or any bytes. */
  longstr(value: string | Uint8Array): void {
    if (typeof value !== 'string') {
      this.long(value.length);
      this.raw(value);
      return;
    }
    this.ensure(4);
    this.position += 4;
    const before = this.position - this.mark;
    this.utf8(value);
    const size = this.position - this.mark - before;
    this.#put32(this.position - size - 4, size);
  }

  /** UTF-8 without any length. A string that has no UTF-8 (a lone surrogate) is refused rather than mangled. */
  utf8(value: string): void {
    // Three bytes a code unit are always enough; for long strings, it pays to count.
    this.ensure(value.length > 1024 ? Buffer.byteLength(value) : 3 * value.length);
    this.#utf8(value);
  }

  #utf8(value: string): void {
    const { buffer, position } = this;
    const { length } = value;
    if (length <= SHORT) {
      // For a few characters this loop is faster than the call into native code.
      let i = 0;
      for (; i < length; i++) {
        const code = value.charCodeAt(i);
        if (code > 0x7f) break;
        buffer[position + i] = code;
      }
      if (i === length) {
        this.position = position + length;
        return;
      }
    }
    const size = buffer.write(value, position);
    if (size !== length && LONE_SURROGATE.test(value)) throw notText();
    this.position = position + size;
  }

  /** Overwrites 32 bits, `offset` bytes into the open unit. */
  patchLong(offset: number, value: number): void {
    this.#put32(this.mark + offset, value);
  }

  /** Overwrites 16 bits, `offset` bytes into the open unit. */
  patchShort(offset: number, value: number): void {
    const at = this.mark + offset;
    this.buffer[at] = value >>> 8;
    this.buffer[at + 1] = value;
  }

  #put32(at: number, value: number): void {
    const { buffer } = this;
    buffer[at] = value >>> 24;
    buffer[at + 1] = value >>> 16;
    buffer[at + 2] = value >>> 8;
    buffer[at + 3] = value;
  }
}

const SHORT = 10;

/** The UTF-8 of a text on its own. Refuses what has none, as {@link ByteWriter.utf8} does. */
export function utf8Bytes(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length !== text.length && LONE_SURROGATE.test(text)) throw notText();
  return bytes;
}

function notText(): EncodeProblem {
  return new EncodeProblem('is not well-formed Unicode');
}

function tooLong(value: string): EncodeProblem {
  return new EncodeProblem(
    `is ${Buffer.byteLength(value)} bytes long; an AMQP short string holds at most 255 (${describe(value)})`,
  );
}

/** Bytes that came in: reads forward and never beyond `end`. Throws FrameSyntaxError where something is cut short. */
export class ByteReader {
  readonly buffer: Buffer;
  position: number;
  end: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
  }

  /** Moves over `count` bytes and returns where they begin. */
  skip(count: number): number {
    const at = this.position;
    if (count > this.end - at) {
      throw malformed(`${count} bytes are announced where ${this.end - at} are left`);
    }
    this.position = at + count;
    return at;
  }

  octet(): number {
    return this.buffer[this.skip(1)] as number;
  }

  short(): number {
    const at = this.skip(2);
    return ((this.buffer[at] as number) << 8) | (this.buffer[at + 1] as number);
  }

  /** 32 bits, unsigned. */
  long(): number {
    return uint32(this.buffer, this.skip(4));
  }

  /** 64 bits of a tag or count, which must be exact as a number. */
  longlong(): number {
    const at = this.skip(8);
    const high = uint32(this.buffer, at);
    if (high > 0x1f_ffff) throw malformed('a 64-bit tag or count exceeds 2^53');
    return high * 4_294_967_296 + uint32(this.buffer, at + 4);
  }

  /** 64 bits, signed: a number within the safe range, a bigint outside. */
  int64(): number | bigint {
    const at = this.skip(8);
    const high = uint32(this.buffer, at) | 0;
    if (high >= -0x20_0000 && high <= 0x1f_ffff) {
      const value = high * 4_294_967_296 + uint32(this.buffer, at + 4);
      if (Number.isSafeInteger(value)) return value;
    }
    return this.buffer.readBigInt64BE(at);
  }

  /** 64 bits, unsigned: a number within the safe range, a bigint outside. */
  uint64(): number | bigint {
    const at = this.skip(8);
    const high = uint32(this.buffer, at);
    return high <= 0x1f_ffff ? high * 4_294_967_296 + uint32(this.buffer, at + 4) : this.buffer.readBigUInt64BE(at);
  }

  /** A short string; bytes that are not UTF-8 become U+FFFD. */
  shortstr(): string {
    const length = this.octet();
    const at = this.skip(length);
    return readShortString(this.buffer, at, at + length);
  }

  /** A long string as text; bytes that are not UTF-8 become U+FFFD. */
  longstr(): string {
    const length = this.long();
    const at = this.skip(length);
    return this.buffer.toString('utf8', at, at + length);
  }

  /** A long string as bytes of its own. */
  bytes(): Buffer {
    const length = this.long();
    const at = this.skip(length);
    return Buffer.from(this.buffer.subarray(at, at + length));
  }
}

/** 32 bits at a position, unsigned. */
export function uint32(buffer: Uint8Array, at: number): number {
  return (
    (((buffer[at] as number) << 24) |
      ((buffer[at + 1] as number) << 16) |
      ((buffer[at + 2] as number) << 8) |
      (buffer[at + 3] as number)) >>>
    0
  );
}

/** The error for bytes that break the grammar (reply code 502). */
export function malformed(what: string): FrameSyntaxError {
  return new FrameSyntaxError(`malformed AMQP data: ${what}`, { replyCode: 502 });
}
