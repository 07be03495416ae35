import { MATCH_MAX } from './model.js';

const HASH_BITS = 16;
/** How many earlier places with the same hash are looked at. */
const MAX_TRIES = 48;
/** The hash is of as many bytes: shorter matches are not found. */
const MIN_FOUND = 4;

/** A repetition of earlier bytes. */
export interface Match {
  readonly length: number;
  /** Bytes back, less one, as LZMA counts. */
  readonly distance: number;
}

/** Finds earlier occurrences of what comes next: for each hash of four bytes a chain of the places where it was. */
export class MatchFinder {
  readonly #body: Uint8Array;
  readonly #window: number;
  readonly #heads = new Int32Array(1 << HASH_BITS).fill(-1);
  readonly #previous: Int32Array;
  #entered = 0;

  /** @param window How far back a match may be. */
  constructor(body: Uint8Array, window: number) {
    this.#body = body;
    this.#window = window;
    this.#previous = new Int32Array(body.length);
  }

  /** The longest match at `at`, and of equal ones the nearest. `undefined` when there is none of four bytes. */
  longest(at: number): Match | undefined {
    this.#enterUpTo(at);
    const body = this.#body;
    const limit = Math.min(MATCH_MAX, body.length - at);
    if (limit < MIN_FOUND) return undefined;
    let length = MIN_FOUND - 1;
    let distance = 0;
    let place = this.#heads[hash(body, at)]!;
    for (let tries = MAX_TRIES; tries > 0 && place >= 0 && at - place <= this.#window; tries--) {
      // One that is not longer at its end is not worth comparing from its beginning.
      if (body[place + length] === body[at + length]) {
        const found = commonLength(body, place, at, limit);
        if (found > length) {
          length = found;
          distance = at - place - 1;
          if (found === limit) break;
        }
      }
      place = this.#previous[place]!;
    }
    return length < MIN_FOUND ? undefined : { length, distance };
  }

  #enterUpTo(at: number): void {
    const last = Math.min(at, this.#body.length - MIN_FOUND + 1);
    for (; this.#entered < last; this.#entered++) {
      const key = hash(this.#body, this.#entered);
      this.#previous[this.#entered] = this.#heads[key]!;
      this.#heads[key] = this.#entered;
    }
  }
}

function hash(body: Uint8Array, at: number): number {
  const word = body[at]! | (body[at + 1]! << 8) | (body[at + 2]! << 16) | (body[at + 3]! << 24);
  return Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
}

/** How many bytes from `a` and from `b` on are the same, `limit` at most. */
export function commonLength(body: Uint8Array, a: number, b: number, limit: number): number {
  let length = 0;
  while (length < limit && body[a + length] === body[b + length]) length++;
  return length;
}
