import { PROB_BITS, PROB_SHIFT } from './model.js';

/** Writes bits of given probabilities: the inverse of the range decoder. */
export class RangeEncoder {
  readonly #bytes: Uint8Array;
  #length = 0;
  /** Up to 2 ** 40: a carry may still go into bytes that are held back. */
  #low = 0;
  #range = 0xffffffff;
  #cache = 0;
  #held = 1;

  /** Writes into `bytes`, whose size its user minds. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes that there would be if it ended here. */
  get size(): number {
    return this.#length + this.#held + 4;
  }

  /** Ends. Returns the number of bytes. */
  finish(): number {
    for (let i = 0; i < 5; i++) this.#shift();
    return this.#length;
  }

  bit(probs: Uint16Array, index: number, bit: number): void {
    const prob = probs[index]!;
    const bound = (this.#range >>> PROB_BITS) * prob;
    if (bit === 0) {
      this.#range = bound;
      probs[index] = prob + (((1 << PROB_BITS) - prob) >>> PROB_SHIFT);
    } else {
      this.#low += bound;
      this.#range -= bound;
      probs[index] = prob - (prob >>> PROB_SHIFT);
    }
    this.#normalize();
  }

  tree(probs: Uint16Array, start: number, bits: number, value: number): void {
    let node = 1;
    for (let i = bits - 1; i >= 0; i--) {
      const bit = (value >>> i) & 1;
      this.bit(probs, start + node, bit);
      node = (node << 1) | bit;
    }
  }

  reverseTree(probs: Uint16Array, start: number, bits: number, value: number): void {
    let node = 1;
    for (let i = 0; i < bits; i++) {
      const bit = (value >>> i) & 1;
      this.bit(probs, start + node, bit);
      node = (node << 1) | bit;
    }
  }

  direct(value: number, bits: number): void {
    for (let i = bits - 1; i >= 0; i--) {
      this.#range >>>= 1;
      if (((value >>> i) & 1) === 1) this.#low += this.#range;
      this.#normalize();
    }
  }

  #normalize(): void {
    while (this.#range < 0x1000000) {
      this.#range = (this.#range << 8) >>> 0;
      this.#shift();
    }
  }

  /** Moves the highest byte out, unless a carry could still change it: then it and the 0xff after it wait. */
  #shift(): void {
    if (this.#low < 0xff000000 || this.#low >= 2 ** 32) {
      const carry = this.#low >= 2 ** 32 ? 1 : 0;
      let byte = this.#cache;
      for (; this.#held > 0; this.#held--) {
        this.#bytes[this.#length++] = byte + carry;
        byte = 0xff;
      }
      this.#cache = Math.floor(this.#low / 2 ** 24) & 0xff;
    }
    this.#held++;
    this.#low = (this.#low % 2 ** 24) * 256;
  }
}
