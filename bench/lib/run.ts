/** Rounds of measurements, each in a fresh process. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Sample } from './sample.ts';

/** One thing to measure, of one participant. */
export interface Case {
  readonly suite: string;
  readonly scenario: string;
  readonly adapter: string;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Before each measurement. */
  readonly prepare?: (() => Promise<void>) | undefined;
}

/** The samples of one case, a round each. */
export interface Result {
  readonly suite: string;
  readonly scenario: string;
  readonly adapter: string;
  readonly samples: Sample[];
}

const execute = promisify(execFile);

/**
 * Measures all cases in each round, and tells of what there is after each. Within a scenario the participants' order rotates from round to round, so that none always comes
 * first.
 */
export async function runRounds(
  cases: readonly Case[],
  rounds: number,
  afterRound?: (results: readonly Result[], rounds: number) => void,
): Promise<Result[]> {
  const results = new Map<Case, Result>();
  for (const one of cases) {
    const { suite, scenario, adapter } = one;
    results.set(one, { suite, scenario, adapter, samples: [] });
  }
  const groups = Map.groupBy(cases, ({ suite, scenario }) => `${suite}/${scenario}`);
  for (let round = 0; round < rounds; round++) {
    for (const [name, group] of groups) {
      const started = performance.now();
      for (let i = 0; i < group.length; i++) {
        const one = group[(i + round) % group.length]!;
        await one.prepare?.();
        try {
          results.get(one)?.samples.push(await measure(one));
        } catch (error) {
          // The others shall be measured all the same.
          console.error((error as Error).message);
          process.exitCode = 1;
        }
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.error(`round ${round + 1} of ${rounds}: ${name} (${seconds} s)`);
    }
    afterRound?.([...results.values()], round + 1);
  }
  return [...results.values()];
}

async function measure({ suite, scenario, adapter, command }: Case): Promise<Sample> {
  const [program, ...args] = command;
  try {
    const { stdout } = await execute(program ?? '', args, { timeout: 120_000, maxBuffer: 1e8, killSignal: 'SIGKILL' });
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Sample;
  } catch (error) {
    throw new Error(`${suite}/${scenario} of ${adapter} failed: ${(error as Error).message}`, { cause: error });
  }
}

/** What a sample is about. */
export type Figure = 'cpu' | 'rate' | 'p50' | 'p99' | 'bytes' | 'rss';

/** Median, lowest and highest. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One figure of a sample; undefined where it has none. CPU in microseconds a message, rate in messages a second. */
export function figureOf(sample: Sample, figure: Figure): number | undefined {
  const { messages, seconds, cpu } = sample;
  if (figure === 'cpu') return cpu === undefined ? undefined : cpu / messages;
  if (figure === 'rate') return seconds === undefined ? undefined : messages / seconds;
  return sample[figure];
}

/** A figure over the rounds. */
export function spread(result: Result | undefined, figure: Figure): Spread | undefined {
  const values = (result?.samples ?? []).flatMap((sample) => figureOf(sample, figure) ?? []).sort((a, b) => a - b);
  if (values.length === 0) return undefined;
  return { median: middle(values), min: values[0]!, max: values.at(-1)! };
}

/** The ratios of two participants, round by round. */
export function ratios(of: Result, to: Result, figure: Figure): Spread | undefined {
  const values = of.samples.flatMap((sample, i) => {
    const a = figureOf(sample, figure);
    const other = to.samples[i];
    const b = other === undefined ? undefined : figureOf(other, figure);
    return a === undefined || b === undefined ? [] : a / b;
  });
  values.sort((a, b) => a - b);
  if (values.length === 0) return undefined;
  return { median: middle(values), min: values[0]!, max: values.at(-1)! };
}

function middle(sorted: readonly number[]): number {
  const half = sorted.length / 2;
  return Number.isInteger(half) ? (sorted[half - 1]! + sorted[half]!) / 2 : sorted[Math.floor(half)]!;
}
