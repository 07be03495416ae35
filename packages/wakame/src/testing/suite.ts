import { deepStrictEqual } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Connection } from '../index.js';
import type { TransportFeatures } from '../transport/contract.js';
import { conformanceCases } from './cases/index.js';
import { ConformanceContext } from './context.js';
import { contradictions, excuse } from './features.js';
import type { ConformanceCase, ConformanceOptions } from './types.js';

/** A case, and why it is not run when it is not. */
export interface PlannedCase extends ConformanceCase {
  /** Names the flag that excuses it: `messageTtl: the store has no clock`. */
  readonly skipped: string | undefined;
}

/** What became of one case. */
export interface ConformanceResult {
  readonly group: string;
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped. */
  readonly reason?: string | undefined;
  readonly error?: unknown;
  /** Milliseconds. */
  readonly duration: number;
}

/** The suite of one transport: which cases apply, and how to run one. Made by {@link openSuite}. */
export class ConformanceSuite {
  readonly options: ConformanceOptions;
  readonly features: TransportFeatures;
  readonly plan: readonly PlannedCase[];
  readonly #namespace: string;
  #cases = 0;

  constructor(options: ConformanceOptions, features: TransportFeatures) {
    this.options = options;
    this.features = features;
    this.#namespace = options.namespace ?? `wakame.${randomBytes(4).toString('hex')}`;
    const honesty: ConformanceCase = {
      group: 'features',
      name: 'what is not claimed has a reason, and nothing else has',
      needs: [],
      timeout: 1_000,
      run: async () => deepStrictEqual(contradictions(features, options), []),
    };
    this.plan = [honesty, ...conformanceCases].map((each) => ({
      ...each,
      skipped: excuse(features, options, each.needs),
    }));
  }

  /**
   * Runs one case by itself: the queues and exchanges it made are deleted afterwards, its connections closed. Rejects with what went
   * wrong: a failed assertion, a wait that was in vain, a rejection that nobody handled, a problem that nobody expected.
   */
  async run(planned: ConformanceCase): Promise<void> {
    this.#cases += 1;
    const context = new ConformanceContext(this.options, this.features, `${this.#namespace}.${this.#cases}`);
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', onUnhandled);
    try {
      try {
        await context.deadline(planned.timeout, planned.run(context));
      } finally {
        await context.clean();
        await nextTurn(); // Rejections that nobody handled are told at the end of the turn.
      }
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
    if (unhandled.length > 0) {
      throw new AggregateError(unhandled, 'promises were rejected that nobody handled', { cause: unhandled[0] });
    }
    context.assertNoProblems();
  }

  /** Runs every case that applies, one after the other. Never rejects for a failed case. */
  async runAll(): Promise<readonly ConformanceResult[]> {
    const results: ConformanceResult[] = [];
    for (const planned of this.plan) {
      const { group, name, skipped: reason } = planned;
      const start = performance.now();
      const end = (status: ConformanceResult['status'], error?: unknown) =>
        results.push({ group, name, status, reason, error, duration: performance.now() - start });
      if (reason !== undefined) {
        end('skipped');
        continue;
      }
      await this.run(planned).then(
        () => end('passed'),
        (error: unknown) => end('failed', error),
      );
    }
    return results;
  }
}

/** Connects with `options.url`, for options have a part in what a transport can do, and decides which cases apply. */
export async function openSuite(options: ConformanceOptions): Promise<ConformanceSuite> {
  const connection = new Connection(options.url, options.connection);
  try {
    await connection.connect();
    const { features } = await connection.loadTransport();
    return new ConformanceSuite(options, features);
  } finally {
    await connection.close();
  }
}
