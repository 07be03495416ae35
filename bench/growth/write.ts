/** The curves as plots: docs/performance/<id>.svg. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/setup.mjs';
import { type Result, spread } from '../lib/run.ts';
import { type Curve, curves } from './curves.ts';
import { type Line, plot } from './plot.ts';

const folder = join(root, 'docs', 'performance');

/** What a figure of a curve is. */
const UNITS = { cpu: 'CPU a message, µs', bytes: 'bytes a message', rate: 'messages a second' } as const;

/** Writes the plots of all curves that were measured. */
export function writePlots(results: readonly Result[]): void {
  mkdirSync(folder, { recursive: true });
  for (const curve of curves) {
    const lines = linesOf(curve, results);
    if (lines.length === 0) continue;
    const file = join(folder, `${curve.id}.svg`);
    writeFileSync(file, plot({ title: curve.title, x: curve.x, y: UNITS[curve.figure] }, lines));
    console.log(`written: ${file}`);
  }
}

function linesOf({ id, adapters, counts, figure }: Curve, results: readonly Result[]): Line[] {
  return adapters.flatMap((name) => {
    const points = counts.flatMap((count) => {
      const result = results.find((one) => one.scenario === `${id}@${count}` && one.adapter === name);
      const value = spread(result, figure)?.median;
      return value === undefined || value <= 0 ? [] : [[count, value] as const];
    });
    return points.length === 0 ? [] : [{ name, points }];
  });
}

/** For docs/performance.md. */
export function plotLinks(): string {
  return curves.map(({ id, title }) => `![${title}](performance/${id}.svg)`).join('\n\n');
}
