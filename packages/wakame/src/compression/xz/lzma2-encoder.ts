import { commonLength, type Match, MatchFinder } from './match-finder.js';
import {
  ALIGN,
  afterLiteral,
  afterMatch,
  afterRep,
  afterShortRep,
  DISTANCE,
  IS_MATCH,
  IS_REP,
  IS_REP0,
  IS_REP0_LONG,
  IS_REP1,
  IS_REP2,
  LENGTH,
  LENGTH_HIGH,
  LENGTH_LOW,
  LENGTH_MID,
  LITERAL,
  lengthState,
  MATCH_MAX,
  MATCH_MIN,
  newProbabilities,
  REP_LENGTH,
  SLOT,
} from './model.js';
import { RangeEncoder } from './range-encoder.js';

/** What LZMA's own programs use: contexts of three bits of the byte before, and of two of the position. */
const PROPERTIES = { lc: 3, lp: 0, pb: 2 };
const PROPERTIES_BYTE = (PROPERTIES.pb * 5 + PROPERTIES.lp) * 9 + PROPERTIES.lc;
const POSITION_MASK = (1 << PROPERTIES.pb) - 1;

/** How far back matches go. */
export const WINDOW = 8 * 1024 * 1024;
/** Most bytes that a chunk stands for, and that it takes. */
const CHUNK_SIZE = 2 ** 21;
const CHUNK_PACKED = 2 ** 16;
/** No decision takes more. */
const LONGEST_SYMBOL = 32;

/** Writes LZMA2; the format is drawn at `decodeLzma2`. `body` is not empty. */
export function encodeLzma2(body: Uint8Array): Uint8Array {
  const encoder = new LzmaEncoder(body);
  const chunks: Uint8Array[] = [];
  const packed = new Uint8Array(CHUNK_PACKED);
  let isFirst = true;
  let isFresh = true;
  let knowsProperties = false;
  for (let start = 0; start < body.length; ) {
    if (isFresh) encoder.begin();
    const packedSize = encoder.encodeChunk(packed);
    const size = encoder.at - start;
    if (packedSize < size) {
      const reset = isFirst ? 3 : !knowsProperties ? 2 : isFresh ? 1 : 0;
      const head = [0x80 | (reset << 5) | ((size - 1) >> 16), ...twoBytes(size - 1), ...twoBytes(packedSize - 1)];
      if (reset >= 2) head.push(PROPERTIES_BYTE);
      chunks.push(Uint8Array.from(head), packed.slice(0, packedSize));
      isFresh = false;
      knowsProperties = true;
    } else {
      // Bytes that LZMA does not make fewer, so no more than such a chunk holds. Having coded them, it must begin anew.
      chunks.push(Uint8Array.from([isFirst ? 1 : 2, ...twoBytes(size - 1)]), body.subarray(start, encoder.at));
      isFresh = true;
    }
    isFirst = false;
    start = encoder.at;
  }
  return Buffer.concat([...chunks, Uint8Array.of(0)]);
}

/** Of a number below 2 ** 21: its higher bits are in the control byte. */
function twoBytes(value: number): [number, number] {
  return [(value >> 8) & 0xff, value & 0xff];
}

class LzmaEncoder {
  readonly #body: Uint8Array;
  readonly #finder: MatchFinder;
  #probs = newProbabilities(PROPERTIES);
  #state = 0;
  #reps: [number, number, number, number] = [0, 0, 0, 0];
  /** Bytes encoded so far. */
  at = 0;

  constructor(body: Uint8Array) {
    this.#body = body;
    this.#finder = new MatchFinder(body, WINDOW);
  }

  begin(): void {
    this.#probs = newProbabilities(PROPERTIES);
    this.#state = 0;
    this.#reps = [0, 0, 0, 0];
  }

  /** Encodes as much as a chunk may hold, one byte at least. Returns the bytes that it takes. */
  encodeChunk(packed: Uint8Array): number {
    const coder = new RangeEncoder(packed);
    const end = Math.min(this.#body.length, this.at + CHUNK_SIZE - MATCH_MAX);
    while (this.at < end && coder.size < CHUNK_PACKED - LONGEST_SYMBOL) {
      this.#encodeNext(coder);
    }
    return coder.finish();
  }

  #encodeNext(coder: RangeEncoder): void {
    const position = this.at & POSITION_MASK;
    const rep = this.#longestRep();
    const match = this.#finder.longest(this.at);
    if (rep !== undefined && (match === undefined || isBetterRep(rep.length, match))) {
      this.#encodeRep(coder, rep, position);
    } else if (match !== undefined && !this.#isBetterNext(match)) {
      this.#encodeMatch(coder, match, position);
    } else {
      this.#encodeByte(coder, position);
    }
  }

  /** The longest repetition of one of the last distances, by its index. */
  #longestRep(): { readonly index: number; readonly length: number } | undefined {
    const limit = Math.min(MATCH_MAX, this.#body.length - this.at);
    let best = { index: 0, length: 0 };
    for (const [index, distance] of this.#reps.entries()) {
      const from = this.at - distance - 1;
      const length = from < 0 ? 0 : commonLength(this.#body, from, this.at, limit);
      if (length > best.length) best = { index, length };
    }
    return best.length < MATCH_MIN ? undefined : best;
  }

  /** Whether to write a byte alone, because a longer match begins after it. */
  #isBetterNext(match: Match): boolean {
    if (match.length >= 32 || this.at + 1 >= this.#body.length) return false;
    const next = this.#finder.longest(this.at + 1);
    return next !== undefined && next.length > match.length && next.distance < match.distance * 128 + 1024;
  }

  #encodeByte(coder: RangeEncoder, position: number): void {
    const byte = this.#body[this.at]!;
    const hint = this.#body[this.at - this.#reps[0] - 1];
    const isShortRep = this.#state < 7 && byte === hint;
    coder.bit(this.#probs, IS_MATCH + this.#state * 16 + position, isShortRep ? 1 : 0);
    if (isShortRep) {
      coder.bit(this.#probs, IS_REP + this.#state, 1);
      coder.bit(this.#probs, IS_REP0 + this.#state, 0);
      coder.bit(this.#probs, IS_REP0_LONG + this.#state * 16 + position, 0);
      this.#state = afterShortRep(this.#state);
    } else {
      this.#encodeLiteral(coder, byte, hint ?? 0);
      this.#state = afterLiteral(this.#state);
    }
    this.at++;
  }

  #encodeLiteral(coder: RangeEncoder, byte: number, hint: number): void {
    const previous = this.at === 0 ? 0 : this.#body[this.at - 1]!;
    const start = LITERAL + (previous >> (8 - PROPERTIES.lc)) * 0x300;
    let symbol = 1;
    let hinted = this.#state >= 7;
    for (let i = 7; i >= 0; i--) {
      const bit = (byte >> i) & 1;
      const hintBit = (hint >> i) & 1;
      coder.bit(this.#probs, start + (hinted ? (1 + hintBit) << 8 : 0) + symbol, bit);
      symbol = (symbol << 1) | bit;
      hinted &&= bit === hintBit;
    }
  }

  #encodeMatch(coder: RangeEncoder, { length, distance }: Match, position: number): void {
    const [rep0, rep1, rep2] = this.#reps;
    coder.bit(this.#probs, IS_MATCH + this.#state * 16 + position, 1);
    coder.bit(this.#probs, IS_REP + this.#state, 0);
    this.#encodeLength(coder, LENGTH, length, position);
    this.#encodeDistance(coder, distance, length);
    this.#reps = [distance, rep0, rep1, rep2];
    this.#state = afterMatch(this.#state);
    this.at += length;
  }

  #encodeRep(coder: RangeEncoder, { index, length }: { index: number; length: number }, position: number): void {
    const [rep0, rep1, rep2, rep3] = this.#reps;
    coder.bit(this.#probs, IS_MATCH + this.#state * 16 + position, 1);
    coder.bit(this.#probs, IS_REP + this.#state, 1);
    coder.bit(this.#probs, IS_REP0 + this.#state, index === 0 ? 0 : 1);
    if (index === 0) coder.bit(this.#probs, IS_REP0_LONG + this.#state * 16 + position, 1);
    else coder.bit(this.#probs, IS_REP1 + this.#state, index === 1 ? 0 : 1);
    if (index >= 2) coder.bit(this.#probs, IS_REP2 + this.#state, index === 2 ? 0 : 1);
    if (index === 1) this.#reps = [rep1, rep0, rep2, rep3];
    else if (index === 2) this.#reps = [rep2, rep0, rep1, rep3];
    else if (index === 3) this.#reps = [rep3, rep0, rep1, rep2];
    this.#encodeLength(coder, REP_LENGTH, length, position);
    this.#state = afterRep(this.#state);
    this.at += length;
  }

  #encodeLength(coder: RangeEncoder, start: number, length: number, position: number): void {
    const value = length - MATCH_MIN;
    coder.bit(this.#probs, start, value < 8 ? 0 : 1);
    if (value >= 8) coder.bit(this.#probs, start + 1, value < 16 ? 0 : 1);
    if (value < 8) coder.tree(this.#probs, start + LENGTH_LOW + position * 8, 3, value);
    else if (value < 16) coder.tree(this.#probs, start + LENGTH_MID + position * 8, 3, value - 8);
    else coder.tree(this.#probs, start + LENGTH_HIGH, 8, value - 16);
  }

  #encodeDistance(coder: RangeEncoder, distance: number, length: number): void {
    const bits = distance < 4 ? 0 : 30 - Math.clz32(distance);
    const slot = distance < 4 ? distance : bits * 2 + (distance >>> bits);
    coder.tree(this.#probs, SLOT + lengthState(length) * 64, 6, slot);
    if (slot < 4) return;
    const low = distance & ((1 << bits) - 1);
    if (slot < 14) {
      coder.reverseTree(this.#probs, DISTANCE + (distance - low) - slot, bits, low);
    } else {
      coder.direct(low >>> 4, bits - 4);
      coder.reverseTree(this.#probs, ALIGN, 4, low & 0xf);
    }
  }
}

/** A repetition is written shorter than a match, the more so the further away that is. */
function isBetterRep(length: number, match: Match): boolean {
  const allowance = match.distance >= 32_768 ? 3 : match.distance >= 512 ? 2 : 1;
  return length + allowance >= match.length;
}
