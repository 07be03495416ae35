/** What will go wrong, in which order: the same for the same seed. */
import { Random } from './random.ts';

/** One fault to come. Fractions are in [0, 1); each kind makes of them what it needs. */
export interface Draw {
  readonly kind: string;
  /** Milliseconds of calm before it. */
  readonly pause: number;
  /** How much of its longest time it lasts. */
  readonly duration: number;
  /** Whom it hits. */
  readonly target: number;
  /** In which direction. */
  readonly direction: number;
  /** How strong it is. */
  readonly amount: number;
  /** The next fault does not wait until everybody is at work again. */
  readonly impatient: boolean;
}

/** The part of a kind of fault that its place in the schedule depends on. */
export interface Weighted {
  readonly name: string;
  /** How often it occurs in each round, in which every kind occurs. */
  readonly weight: number;
}

/** Faults without end, in rounds: each kind occurs in every round, in an order of its own. */
export function* schedule(seed: number, kinds: readonly Weighted[]): Generator<Draw, never> {
  const random = new Random(seed);
  const round = kinds.flatMap(({ name, weight }) => Array.from({ length: weight }, () => name));
  for (;;) {
    for (const kind of random.shuffled(round)) {
      yield {
        kind,
        pause: random.between(200, 2500),
        duration: random.next(),
        target: random.next(),
        direction: random.next(),
        amount: random.next(),
        impatient: random.next() < 0.25,
      };
    }
  }
}

/** When a worker is killed, and which: milliseconds from the start, and a fraction of the workers. */
export interface Kill {
  readonly at: number;
  readonly target: number;
}

/** `count` kills at random instants of `duration` milliseconds, in order. */
export function kills(seed: number, count: number, duration: number): Kill[] {
  const random = new Random(seed ^ 0x5bd1e995);
  return Array.from({ length: count }, () => ({ at: random.between(0, duration), target: random.next() })).sort(
    (a, b) => a.at - b.at,
  );
}
