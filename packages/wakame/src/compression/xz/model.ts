/**
 * What reader and writer of LZMA share: the layout of its probabilities and its states (LZMA specification by I. Pavlov,
 * lzma-specification.txt in the LZMA SDK).
 *
 * LZMA codes one decision after another, each a bit with a probability that adapts to what came before. A decision is between
 * a literal byte, a match (a length and a distance back), and a repetition of one of the last four distances.
 */

/** Probabilities are of a zero bit, in 2048ths, and move by a 32nd. */
export const PROB_BITS = 11;
export const PROB_START = 1 << (PROB_BITS - 1);
export const PROB_SHIFT = 5;

export const MATCH_MIN = 2;
/** Longest match: 8 + 8 + 256 lengths from 2 on. */
export const MATCH_MAX = 273;

/** Where each group of probabilities begins in the one array that holds them all. */
export const IS_MATCH = 0; // by state and position
export const IS_REP = IS_MATCH + 12 * 16; // by state
export const IS_REP0 = IS_REP + 12;
export const IS_REP1 = IS_REP0 + 12;
export const IS_REP2 = IS_REP1 + 12;
export const IS_REP0_LONG = IS_REP2 + 12; // by state and position
export const SLOT = IS_REP0_LONG + 12 * 16; // four trees of 6 bits, by length
export const DISTANCE = SLOT + 4 * 64; // reversed trees of slots 4 to 13
export const ALIGN = DISTANCE + 115; // reversed tree of the lowest 4 bits
export const LENGTH = ALIGN + 16;
export const REP_LENGTH = LENGTH + 2 + 16 * 8 * 2 + 256;
export const LITERAL = REP_LENGTH + 2 + 16 * 8 * 2 + 256; // 0x300 for each context

/** Within the probabilities of a length: two choices, then trees of 3, 3 and 8 bits. */
export const LENGTH_LOW = 2; // by position
export const LENGTH_MID = LENGTH_LOW + 16 * 8;
export const LENGTH_HIGH = LENGTH_MID + 16 * 8;

/** How the contexts are formed: bits of the byte before, and of the position, for literals; of the position for the others. */
export interface Properties {
  readonly lc: number;
  readonly lp: number;
  readonly pb: number;
}

/** All probabilities, as they are at the beginning. */
export function newProbabilities({ lc, lp }: Properties): Uint16Array {
  return new Uint16Array(LITERAL + (0x300 << (lc + lp))).fill(PROB_START);
}

/** The state tells of the last decisions: below 7 the last one was a literal. */
export const afterLiteral = (state: number): number => (state < 4 ? 0 : state < 10 ? state - 3 : state - 6);
export const afterMatch = (state: number): number => (state < 7 ? 7 : 10);
export const afterRep = (state: number): number => (state < 7 ? 8 : 11);
export const afterShortRep = (state: number): number => (state < 7 ? 9 : 11);

/** Which of the four trees of slots a length uses. */
export const lengthState = (length: number): number => Math.min(length - MATCH_MIN, 3);
