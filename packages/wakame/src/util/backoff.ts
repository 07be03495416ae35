/** A series of pauses between tries. */
export interface BackoffOptions {
  /** Milliseconds before the second try. Default 250. */
  readonly start?: number | undefined;
  /** The longest pause in milliseconds. Default 30 000. */
  readonly max?: number | undefined;
  /** What each pause is multiplied by to give the next. Default 2. */
  readonly factor?: number | undefined;
  /** A number from 0 up to 1, for tests. Default `Math.random`. */
  readonly random?: (() => number) | undefined;
}

/**
 * The pause in milliseconds after failed try number `attempt` (0 is the first): grows by `factor` up to `max`, and lies
 * at random between half of that and the whole, so that clients which lost the same broker do not come back together.
 */
export function jitteredBackoff(attempt: number, options: BackoffOptions = {}): number {
  const { start = 250, max = 30_000, factor = 2, random = Math.random } = options;
  const whole = Math.min(max, start * factor ** attempt);
  return whole / 2 + random() * (whole / 2);
}

/** The intervals of Kombu's retry policies. */
export interface IntervalOptions {
  /** The first pause, in milliseconds. */
  readonly start: number;
  /** What each following pause is longer by. */
  readonly step: number;
  /** The longest pause. */
  readonly max: number;
}

/**
 * Kombu's series of pauses (`kombu.utils.functional.fxrange` as `retry_over_time` uses it): `start`, `start + step`,
 * …, and once `max + start` would be passed, the last one for ever. `{start: 2, step: 2, max: 30}` is 2, 4, … 32, 32, ….
 */
export function* fxrange(options: IntervalOptions): Generator<number, never> {
  const { start, step, max } = options;
  let pause = start;
  for (;;) {
    yield pause;
    if (pause + step <= max + start) pause += step;
  }
}
