import { DecodeError } from '../../errors.js';
import type { Output } from '../output.js';
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
  MATCH_MIN,
  newProbabilities,
  type Properties,
  REP_LENGTH,
  SLOT,
} from './model.js';
import { RangeDecoder } from './range-decoder.js';

function fail(problem: string): never {
  throw new DecodeError(`lzma: ${problem}`);
}

/**
 * Reads LZMA2: chunks of LZMA, and of bytes as they are, each of which begins with its sizes.
 *
 * ```
 * 00                                    the end
 * 01 | 02   size-1:2  bytes             as they are; 01: what came before is forgotten
 * 80 … ff   size-1:2  packed-1:2 [properties]  LZMA; the low 5 bits are the highest of the size. From a0 on the probabilities
 *                                       begin anew, from c0 on with new properties, from e0 on all is forgotten
 * ```
 *
 * @returns Where it ends in `bytes`.
 */
export function decodeLzma2(bytes: Uint8Array, start: number, output: Output): number {
  const decoder = new LzmaDecoder(output);
  let at = start;
  const next = (): number => bytes[at++] ?? fail('it ends too early');
  for (let control = next(); control !== 0; control = next()) {
    if (control > 2 && control < 0x80) fail('an unknown chunk');
    if (control === 1 || control >= 0xe0) decoder.forget();
    const low = next() * 256 + next() + 1;
    if (control < 0x80) {
      decoder.copy(bytes.subarray(at, at + low), low);
      at += low;
    } else {
      const packed = next() * 256 + next() + 1;
      if (control >= 0xc0) decoder.begin(next());
      else if (control >= 0xa0) decoder.begin();
      if (at + packed > bytes.length) fail('it ends too early');
      decoder.decode(new RangeDecoder(bytes, at, at + packed), (control & 0x1f) * 65_536 + low);
      at += packed;
    }
  }
  return at;
}

/** Its dictionary is the output itself, back to where it last forgot. */
class LzmaDecoder {
  readonly #output: Output;
  #origin: number | undefined;
  #properties: Properties | undefined;
  #probs: Uint16Array = new Uint16Array(0);
  #state = 0;
  #reps: [number, number, number, number] = [0, 0, 0, 0];

  constructor(output: Output) {
    this.#output = output;
  }

  /** Nothing before here can be referred to. Properties must come before the next LZMA. */
  forget(): void {
    this.#origin = this.#output.length;
    this.#properties = undefined;
  }

  /** Probabilities as at the beginning, with new properties when there are. */
  begin(properties?: number): void {
    if (properties !== undefined) this.#properties = parseProperties(properties);
    if (this.#properties === undefined) fail('a chunk without properties');
    this.#probs = newProbabilities(this.#properties);
    this.#state = 0;
    this.#reps = [0, 0, 0, 0];
  }

  copy(bytes: Uint8Array, size: number): void {
    if (bytes.length < size) fail('it ends too early');
    if (this.#origin === undefined) fail('the first chunk refers to what came before');
    const at = this.#output.extend(size);
    this.#output.buffer.set(bytes, at);
  }

  decode(coder: RangeDecoder, size: number): void {
    const properties = this.#properties;
    const origin = this.#origin;
    if (properties === undefined || origin === undefined) fail('the first chunk refers to what came before');
    const start = this.#output.extend(size);
    const { buffer } = this.#output;
    const end = start + size;
    const probs = this.#probs;
    const positionMask = (1 << properties.pb) - 1;
    for (let at = start; at < end; ) {
      const position = (at - origin) & positionMask;
      if (coder.bit(probs, IS_MATCH + this.#state * 16 + position) === 0) {
        buffer[at] = this.#literal(coder, buffer, at, origin, properties);
        this.#state = afterLiteral(this.#state);
        at++;
        continue;
      }
      const length = this.#match(coder, position);
      const distance = this.#reps[0] + 1;
      if (distance > at - origin) fail('a match before the beginning');
      if (length > end - at) fail('a match beyond the end of a chunk');
      for (let i = 0; i < length; i++, at++) buffer[at] = buffer[at - distance]!;
    }
    if (!coder.isFinished) fail('a chunk is longer than it says');
  }

  #literal(coder: RangeDecoder, buffer: Uint8Array, at: number, origin: number, { lc, lp }: Properties): number {
    const probs = this.#probs;
    const previous = at === origin ? 0 : buffer[at - 1]!;
    const context = (((at - origin) & ((1 << lp) - 1)) << lc) + (previous >> (8 - lc));
    const start = LITERAL + context * 0x300;
    let symbol = 1;
    if (this.#state >= 7) {
      // After a match, the byte that would have gone on with it is a hint.
      let hint = buffer[at - this.#reps[0] - 1] ?? 0;
      do {
        const hintBit = (hint >> 7) & 1;
        hint <<= 1;
        const bit = coder.bit(probs, start + ((1 + hintBit) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== hintBit) break;
      } while (symbol < 0x100);
    }
    while (symbol < 0x100) symbol = (symbol << 1) | coder.bit(probs, start + symbol);
    return symbol & 0xff;
  }

  /** Reads a match or a repetition. Leaves its distance in the first of the last distances, and returns its length. */
  #match(coder: RangeDecoder, position: number): number {
    const probs = this.#probs;
    const state = this.#state;
    const [rep0, rep1, rep2, rep3] = this.#reps;
    if (coder.bit(probs, IS_REP + state) === 0) {
      const length = this.#length(coder, LENGTH, position);
      this.#reps = [this.#distance(coder, length), rep0, rep1, rep2];
      this.#state = afterMatch(state);
      return length;
    }
    if (coder.bit(probs, IS_REP0 + state) === 0) {
      if (coder.bit(probs, IS_REP0_LONG + state * 16 + position) === 0) {
        this.#state = afterShortRep(state);
        return 1;
      }
    } else if (coder.bit(probs, IS_REP1 + state) === 0) this.#reps = [rep1, rep0, rep2, rep3];
    else if (coder.bit(probs, IS_REP2 + state) === 0) this.#reps = [rep2, rep0, rep1, rep3];
    else this.#reps = [rep3, rep0, rep1, rep2];
    this.#state = afterRep(state);
    return this.#length(coder, REP_LENGTH, position);
  }

  #length(coder: RangeDecoder, start: number, position: number): number {
    const probs = this.#probs;
    if (coder.bit(probs, start) === 0) return MATCH_MIN + coder.tree(probs, start + LENGTH_LOW + position * 8, 3);
    if (coder.bit(probs, start + 1) === 0)
      return MATCH_MIN + 8 + coder.tree(probs, start + LENGTH_MID + position * 8, 3);
    return MATCH_MIN + 16 + coder.tree(probs, start + LENGTH_HIGH, 8);
  }

  /** A slot gives the highest two bits and how many follow; of these the lowest four have probabilities of their own. */
  #distance(coder: RangeDecoder, length: number): number {
    const probs = this.#probs;
    const slot = coder.tree(probs, SLOT + lengthState(length) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = ((2 | (slot & 1)) << bits) >>> 0;
    if (slot < 14) return high + coder.reverseTree(probs, DISTANCE + high - slot, bits);
    const middle = coder.direct(bits - 4);
    return high + middle * 16 + coder.reverseTree(probs, ALIGN, 4);
  }
}

function parseProperties(byte: number): Properties {
  const properties = { lc: byte % 9, lp: Math.floor(byte / 9) % 5, pb: Math.floor(byte / 45) };
  if (properties.pb > 4 || properties.lc + properties.lp > 4) fail('wrong properties');
  return properties;
}
