/**
 * Fuzzing: inputs that are nearly right, or not at all, for a few seconds each.
 *
 * `WAKAME_FUZZ_SEED=n` runs the same inputs again, `WAKAME_FUZZ_SECONDS=n` gives each test so many seconds.
 */
import { expect, it } from 'vitest';
import { MessagingError } from '../../src/errors.js';

/** A number from 0 up to `below`. */
export type Random = (below: number) => number;

const SEED = Number(process.env.WAKAME_FUZZ_SEED ?? Date.now() % 2 ** 31);
const SECONDS = Number(process.env.WAKAME_FUZZ_SECONDS ?? 1.5);
if (!Number.isSafeInteger(SEED)) throw new TypeError('WAKAME_FUZZ_SEED must be an integer');
if (!(SECONDS > 0)) throw new TypeError('WAKAME_FUZZ_SECONDS must be a number of seconds');

/** No input may take longer, in milliseconds, on a machine that has other things to do. */
const LONGEST = 5000;
/** Memory that all inputs together may make the process grow by, garbage included. */
const MOST_GROWTH = 700 * 1024 * 1024;

/** A small generator of numbers (mulberry32): the same seed, the same run. */
export function generator(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/**
 * A test that makes inputs and tries them until the time is over. `attempt` throws when something is wrong; how many there were, and
 * the seed, are printed. Each test has numbers of its own, so that it can be run alone.
 */
export function fuzz<I>(
  title: string,
  make: (random: Random) => I,
  attempt: (input: I, random: Random) => void | Promise<void>,
  show: (input: I) => string,
): void {
  it(title, { timeout: SECONDS * 1000 + 60_000 }, async () => {
    const random = generator(SEED);
    const before = process.memoryUsage.rss();
    let [runs, most] = [0, before];
    for (const end = performance.now() + SECONDS * 1000; performance.now() < end; runs++) {
      const input = make(random);
      const start = performance.now();
      try {
        await attempt(input, random);
      } catch (cause) {
        throw new Error(`run ${runs} with WAKAME_FUZZ_SEED=${SEED}: ${show(input).slice(0, 20_000)}`, { cause });
      }
      const took = performance.now() - start;
      if (took > LONGEST) throw new Error(`run ${runs} with seed ${SEED} took ${took} ms: ${show(input)}`);
      if (runs % 64 === 0) most = Math.max(most, process.memoryUsage.rss());
    }
    const growth = Math.round((most - before) / 2 ** 20);
    console.log(`${title}: ${runs} runs, seed ${SEED}, +${growth} MiB`);
    expect(runs).toBeGreaterThan(0);
    expect(most - before).toBeLessThan(MOST_GROWTH);
  });
}

/** What `decode` gives; undefined where it throws one of our errors. Any other error is a defect. */
export function typed<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof MessagingError && typeof error.code === 'string') return undefined;
    throw error;
  }
}

export const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)] as T;

export function randomBytes(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random(most + 1) }, () => random(256)));
}

/** Octets that mean something in AMQP: frame types, the end octet, type codes, extreme lengths. */
export const AMQP_OCTETS: readonly number[] = [
  0,
  1,
  2,
  3,
  8,
  0x7f,
  0x80,
  0xce,
  0xff,
  ...Buffer.from('AMQPFSVtbBsuIiLlfdDTx'),
];
/** The same of the text formats. */
export const TEXT_OCTETS: readonly number[] = Buffer.from(
  '{}[]":,\\0129.eE-+ntf_u"/*&!|>#%@\n\t\u00e9\ud800',
  'latin1',
).toJSON().data;

/** A copy with one to four mistakes: octets changed, turned, lost or repeated, and the end cut off. */
export function mutate(original: Uint8Array, random: Random, meaningful: readonly number[] = AMQP_OCTETS): Buffer {
  let bytes = Buffer.from(original);
  for (let count = 1 + random(4); count > 0 && bytes.length > 0; count--) {
    const at = random(bytes.length);
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = pick(random, meaningful);
        break;
      case 2:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at + 1))]);
        break;
      default:
        bytes = bytes.subarray(0, at + 1);
    }
  }
  return bytes;
}
