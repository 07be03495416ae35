/** Tables for people: in Markdown, aligned, so that they read well in a terminal too. */
import { type Figure, type Result, type Spread, spread } from './run.ts';

/** Three digits that count. */
export function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)}M`;
  if (value >= 10_000) return `${Math.round(value / 1000)}k`;
  if (value >= 100) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(3, cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** The median, and lowest and highest where there were several rounds. */
export function cell(value: Spread | undefined): string {
  if (value === undefined) return '';
  const { median, min, max } = value;
  return min === max ? short(median) : `${short(median)} (${short(min)}–${short(max)})`;
}

/** One row a scenario, one column a participant. Rows without any value are left out. */
export function resultTable(
  results: readonly Result[],
  figure: Figure,
  scenarios: readonly (readonly [id: string, title: string])[],
  adapters: readonly string[],
): string {
  const rows = scenarios.map(([id, title]) => [
    title,
    ...adapters.map((adapter) =>
      cell(
        spread(
          results.find((one) => one.scenario === id && one.adapter === adapter),
          figure,
        ),
      ),
    ),
  ]);
  return markdown(
    ['', ...adapters],
    rows.filter((row) => row.slice(1).some((one) => one !== '')),
  );
}
