/** Measuring within the measured process: warm-up, then a while that counts. */

/** What one measurement gave. */
export interface Sample {
  readonly messages: number;
  readonly seconds?: number;
  /** Microseconds of CPU (user and system, all threads of this process). */
  readonly cpu?: number;
  /** Microseconds, where messages go one at a time. */
  readonly p50?: number;
  readonly p99?: number;
  /** Bytes of memory, each. */
  readonly bytes?: number;
  /** The most memory that the process had, in bytes. */
  readonly rss?: number;
}

/** Milliseconds of this process's CPU; of the clock, four times as many at most. */
export interface Budget {
  readonly warmUp: number;
  readonly measure: number;
  /** Stop after so many messages, warm-up included: no more are there. */
  readonly most: number;
}

/** Whether a span of so many milliseconds, from now on, is over: a busy machine gives it more time. */
class Span {
  readonly #cpu = process.cpuUsage();
  readonly #end: number;
  readonly #ms: number;
  #next: number;

  constructor(ms: number) {
    this.#ms = ms;
    this.#end = performance.now() + 4 * ms;
    this.#next = performance.now() + ms;
  }

  isOver(): boolean {
    const now = performance.now();
    if (now < this.#next) return false;
    // Asking costs a system call; the time that is left cannot pass faster than the clock on one core.
    const { user, system } = process.cpuUsage(this.#cpu);
    const left = this.#ms - (user + system) / 1000;
    this.#next = now + Math.max(left, 5);
    return left <= 0 || now >= this.#end;
  }
}

class Meter {
  readonly #started = performance.now();
  readonly #cpu = process.cpuUsage();

  /** So many messages since. */
  read(messages: number): Sample {
    const { user, system } = process.cpuUsage(this.#cpu);
    return { messages, seconds: (performance.now() - this.#started) / 1000, cpu: user + system };
  }
}

/** Awaits `step`, which tells how many messages it was, again and again; `finish` counts too. */
export async function repeat(
  budget: Budget,
  step: () => Promise<number>,
  finish?: () => Promise<void>,
): Promise<Sample> {
  const run = async (ms: number, most: number) => {
    const span = new Span(ms);
    let count = 0;
    let steps = 0;
    while (count < most && (++steps % 4 !== 0 || !span.isOver())) count += await step();
    await finish?.();
    return count;
  };
  const before = await run(budget.warmUp, budget.most / 2);
  const meter = new Meter();
  return meter.read(await run(budget.measure, budget.most - before));
}

/**
 * For what goes on by itself: `begin` starts it; `more` is called for each message and says whether to go on; `finished` when the
 * last of them is done.
 *
 * @param each They come one at a time: give percentiles.
 */
export function timed(
  budget: Budget,
  each: boolean,
  begin: (more: () => boolean, finished: (error?: unknown) => void) => void,
): Promise<Sample> {
  /** How many messages pass between two looks at the clock. */
  const lookEvery = each ? 16 : 256;
  return new Promise((resolve, reject) => {
    const times: number[] = [];
    let meter: Meter | undefined;
    let count = 0;
    let from = 0;
    let span = new Span(budget.warmUp);
    let last = performance.now();
    const look = (): boolean => {
      const isLast = count >= (meter === undefined ? budget.most / 2 : budget.most);
      if (!isLast && !span.isOver()) return true;
      if (meter !== undefined) return false;
      meter = new Meter();
      from = count;
      span = new Span(budget.measure);
      return true;
    };
    const more = () => {
      count++;
      if (each) {
        const now = performance.now();
        if (meter !== undefined) times.push(now - last);
        last = now;
      }
      return count % lookEvery !== 0 && count !== budget.most ? true : look();
    };
    const finished = (error?: unknown) => {
      if (error !== undefined || meter === undefined) reject(error ?? new Error('it ended within the warm-up'));
      else resolve({ ...meter.read(count - from), ...percentiles(times) });
    };
    begin(more, finished);
  });
}

function percentiles(times: number[]): Pick<Sample, 'p50' | 'p99'> {
  if (times.length === 0) return {};
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor((times.length - 1) * part)] ?? 0) * 1000;
  return { p50: at(0.5), p99: at(0.99) };
}
