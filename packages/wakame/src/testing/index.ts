/**
 * The conformance suite: one set of cases that every transport passes, but for what its feature flags declare. It uses
 * the public API alone, and no test runner of its own.
 *
 * ```ts
 * import { describe, it } from 'vitest';                 // or 'node:test'
 * import { transportConformance } from 'wakame/testing';
 *
 * await transportConformance({ describe, it }, { name: 'memory', url: 'memory://conformance' });
 * ```
 */
import { openSuite } from './suite.js';
import type { ConformanceOptions } from './types.js';

export type { ConformanceContext } from './context.js';
export { type ConformanceResult, type ConformanceSuite, openSuite, type PlannedCase } from './suite.js';
export type {
  ConformanceCase,
  ConformanceOptions,
  Disruptor,
  FeatureFlag,
  Means,
  Processes,
  Requirement,
} from './types.js';

/** The two functions of a test runner. Those of vitest and `node:test` fit as they are. */
export interface TestRunner {
  /** Begins a group of tests. */
  describe(name: string, body: () => void): unknown;
  /** Defines a test; `timeout` in milliseconds. */
  it(name: string, options: { timeout: number; skip: boolean }, body: () => Promise<void>): unknown;
}

/** Milliseconds that a runner gives a case to clean up, beyond the case's own deadline, whose error says more. */
const GRACE = 30_000;

/**
 * Tells a runner of every case. A case that does not apply is told as skipped, and its name says which flag excuses it.
 * To be awaited at the top of a test file.
 */
export async function transportConformance(runner: TestRunner, options: ConformanceOptions): Promise<void> {
  const suite = await openSuite(options);
  const patience = (options.patience ?? 10_000) / 10_000;
  for (const group of new Set(suite.plan.map((planned) => planned.group))) {
    runner.describe(`${options.name}: ${group}`, () => {
      for (const planned of suite.plan.filter((each) => each.group === group)) {
        const { name, skipped } = planned;
        const title = skipped === undefined ? name : `${name} [${skipped}]`;
        const timeout = planned.timeout * patience + GRACE;
        runner.it(title, { timeout, skip: skipped !== undefined }, () => suite.run(planned));
      }
    });
  }
}
