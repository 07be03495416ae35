import { DecodeError } from '../errors.js';

/** The error of a body that grows beyond its bound while it is decompressed. */
export function tooLarge(method: string, maxBytes: number, cause?: unknown): DecodeError {
  return new DecodeError(`${method}: the body is larger than ${maxBytes} bytes once it is decompressed`, {
    code: 'MESSAGE_TOO_LARGE',
    cause,
  });
}

/** Bytes that grow up to a bound. */
export class Output {
  readonly #method: string;
  readonly #maxBytes: number;
  /** Its first `length` bytes count. Another one after each growth. */
  buffer = Buffer.allocUnsafe(4096);
  length = 0;

  constructor(method: string, maxBytes: number) {
    this.#method = method;
    this.#maxBytes = maxBytes;
  }

  push(byte: number): void {
    if (this.length === this.buffer.length || this.length === this.#maxBytes) this.#reserve(1);
    this.buffer[this.length++] = byte;
  }

  repeat(byte: number, count: number): void {
    const at = this.extend(count);
    this.buffer.fill(byte, at, at + count);
  }

  /** Makes room for bytes that the caller will write into {@link buffer}. Returns where. */
  extend(count: number): number {
    this.#reserve(count);
    this.length += count;
    return this.length - count;
  }

  /** What there is so far, not copied: good until the next byte. */
  view(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  #reserve(count: number): void {
    const needed = this.length + count;
    if (needed > this.#maxBytes) throw tooLarge(this.#method, this.#maxBytes);
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(needed, this.buffer.length * 2)));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}
