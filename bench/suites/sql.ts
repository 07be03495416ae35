/** Processes on one SQLite file, beside what SQLite itself does. */
import { fileURLToPath } from 'node:url';
import type { Case } from '../lib/run.ts';
import type { Suite, Wanted } from './suite.ts';

const program = fileURLToPath(new URL('../sql/measure.ts', import.meta.url));

/** The setting of `synchronous` that belongs to each. */
const SCENARIOS = {
  'fleet-full': ['FULL', 'published by 2 processes, handled by 4: synchronous=FULL'],
  'fleet-normal': ['NORMAL', 'the same: synchronous=NORMAL'],
} as const;

/** Messages of one measurement. */
const MESSAGES = 100_000;

export const sql: Suite = {
  name: 'SQLite',
  adapters: ['bare', 'bare-100', 'wakame'],
  titles: Object.entries(SCENARIOS).map(([id, [, title]]) => [id, title]),
};

export function sqlCases(wanted: Wanted): Case[] {
  return Object.entries(SCENARIOS).flatMap(([scenario, [synchronous]]) =>
    sql.adapters
      .filter((adapter) => wanted(scenario, adapter))
      .map((adapter) => ({
        ...{ suite: sql.name, scenario, adapter },
        command: [process.execPath, program, adapter, scenario, String(MESSAGES), synchronous],
      })),
  );
}
