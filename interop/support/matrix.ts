/** Tests that are cells of the matrix: a feature, one way, with one column. The reporter makes the table of them. */
import { test } from 'vitest';
import { type Column, columnsBeside } from './columns.ts';

/** Who sends and who receives; `both` where that cannot be told apart. */
export type Direction = 'Node → Python' | 'Python → Node' | 'both';

/** What a test tells the reporter. */
export interface Cell {
  readonly feature: string;
  readonly direction: Direction;
  /** The key of its column. */
  readonly column: string;
  /** Columns in which there is nothing to test, with the reason. */
  readonly absent: Readonly<Record<string, string>>;
}

declare module 'vitest' {
  interface TaskMeta {
    interop?: Cell;
  }
}

/** Why there is nothing to test in a column; undefined where there is. */
export type Unless = (column: Column) => string | undefined;

/**
 * A test of one cell. With a reason of `unless`, there is none in this column, and the table says so.
 *
 * @param timeout Milliseconds, for a test that starts programs. Default: as for every test.
 */
export function cell(
  column: Column,
  direction: Direction,
  feature: string,
  run: () => Promise<void>,
  unless: Unless = () => undefined,
  timeout?: number | undefined,
): void {
  if (unless(column) !== undefined) return;
  const absent = Object.fromEntries(columnsBeside(column.key).flatMap((other) => reasonFor(other, unless)));
  test(`${feature}, ${direction}`, timeout === undefined ? {} : { timeout }, async ({ task }) => {
    task.meta.interop = { feature, direction, column: column.key, absent };
    await run();
  });
}

function reasonFor(column: Column, unless: Unless): [string, string][] {
  const reason = unless(column);
  return reason === undefined ? [] : [[column.key, reason]];
}
