import type { ConformanceContext } from './context.js';
import type { ConformanceCase, Requirement } from './types.js';

export interface CaseOptions {
  readonly needs?: readonly Requirement[] | undefined;
  /** Milliseconds. Default 20 000. */
  readonly timeout?: number | undefined;
}

export type Define = (name: string, run: (t: ConformanceContext) => Promise<void>, options?: CaseOptions) => void;

/** Collects the cases of one topic. */
export function group(name: string, body: (test: Define) => void): readonly ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  body((caseName, run, { needs = [], timeout = 20_000 } = {}) => {
    cases.push({ group: name, name: caseName, needs, timeout, run });
  });
  return cases;
}
