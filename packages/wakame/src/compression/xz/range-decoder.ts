import { DecodeError } from '../../errors.js';
import { PROB_BITS, PROB_SHIFT } from './model.js';

/** Reads bits of given probabilities from bytes. */
export class RangeDecoder {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #range = 0xffffffff;
  #code = 0;

  /** Reads `bytes` from `start` up to `end`. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    if (this.#next() !== 0) throw new DecodeError('lzma: a chunk begins wrongly');
    for (let i = 0; i < 4; i++) this.#code = ((this.#code << 8) | this.#next()) >>> 0;
  }

  /** Whether all bytes were used, and meant what they should at the end. */
  get isFinished(): boolean {
    return this.#at === this.#end && this.#code === 0;
  }

  /** A bit by the probability at `index`, which adapts. */
  bit(probs: Uint16Array, index: number): number {
    const prob = probs[index]!;
    const bound = (this.#range >>> PROB_BITS) * prob;
    const isZero = this.#code < bound;
    if (isZero) {
      this.#range = bound;
      probs[index] = prob + (((1 << PROB_BITS) - prob) >>> PROB_SHIFT);
    } else {
      this.#range -= bound;
      this.#code -= bound;
      probs[index] = prob - (prob >>> PROB_SHIFT);
    }
    if (this.#range < 0x1000000) this.#normalize();
    return isZero ? 0 : 1;
  }

  /** A number of `bits` bits, the highest first, from the tree at `start`. */
  tree(probs: Uint16Array, start: number, bits: number): number {
    let node = 1;
    for (let i = 0; i < bits; i++) node = (node << 1) | this.bit(probs, start + node);
    return node - (1 << bits);
  }

  /** The same, the lowest bit first. */
  reverseTree(probs: Uint16Array, start: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(probs, start + node);
      node = (node << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  /** A number of bits that are as likely one as zero. */
  direct(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.#range >>>= 1;
      const isOne = this.#code >= this.#range;
      if (isOne) this.#code -= this.#range;
      value = (value << 1) | (isOne ? 1 : 0);
      if (this.#range < 0x1000000) this.#normalize();
    }
    return value >>> 0;
  }

  #normalize(): void {
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | this.#next()) >>> 0;
  }

  #next(): number {
    if (this.#at >= this.#end) throw new DecodeError('lzma: a chunk ends too early');
    return this.#bytes[this.#at++]!;
  }
}
