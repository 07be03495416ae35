/** Results as tables, and as docs/performance.md. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { root } from '../scripts/setup.mjs';
import { plotLinks } from './growth/write.ts';
import { kombuVersions } from './lib/kombu.ts';
import { peers } from './lib/peers.ts';
import { type Figure, type Result, ratios, spread } from './lib/run.ts';
import { markdown, resultTable, short } from './lib/table.ts';
import { nullBroker, rabbitmq } from './suites/amqp.ts';
import { local } from './suites/local.ts';
import { oslo, osloVersion } from './suites/oslo.ts';
import { redis } from './suites/redis.ts';
import { sql } from './suites/sql.ts';
import { type Target, targets } from './targets.ts';

const FIGURES: readonly (readonly [Figure, string])[] = [
  ['cpu', 'Client CPU, microseconds a message'],
  ['rate', 'Messages a second'],
  ['p50', 'One at a time: median, microseconds'],
  ['p99', 'One at a time: 99th percentile, microseconds'],
  ['bytes', 'Bytes of memory, each'],
  ['rss', 'Peak resident memory of the process, bytes'],
];

const suites = [nullBroker, rabbitmq, redis, sql, local, oslo];

/** All tables, in Markdown; without `withTargets` only what was measured, which in a short run says little. */
export function report(results: readonly Result[], withTargets = true): string {
  const parts: string[] = [];
  for (const { name, adapters, titles } of suites) {
    const ofSuite = results.filter(({ suite }) => suite === name);
    if (ofSuite.length === 0) continue;
    parts.push(`### ${name}`);
    const present = adapters.filter((adapter) => ofSuite.some((one) => one.adapter === adapter));
    for (const [figure, title] of FIGURES) {
      if (figure === 'rss' && name !== nullBroker.name) continue;
      if (!ofSuite.some((one) => spread(one, figure) !== undefined)) continue;
      parts.push(`**${title}**`, resultTable(ofSuite, figure, titles, present));
    }
  }
  const checked = withTargets ? targetTable(results) : undefined;
  if (checked !== undefined) parts.unshift('### Targets', checked);
  return parts.join('\n\n');
}

/** Each target with what was measured; undefined when none was. */
function targetTable(results: readonly Result[]): string | undefined {
  const rows = targets.flatMap((target) => {
    const row = targetRow(target, results);
    return row === undefined ? [] : [row];
  });
  return rows.length === 0 ? undefined : markdown(['', 'ours', 'target', 'measured', ''], rows);
}

const FIGURE_NAMES: Readonly<Record<Figure, string>> = {
  ...{ cpu: 'CPU', rate: 'rate', p50: 'median', p99: '99th percentile', bytes: 'bytes', rss: 'peak memory' },
};

function targetRow(target: Target, results: readonly Result[]): string[] | undefined {
  const { suite, scenario, ours, than, figure, atMost, atLeast } = target;
  const find = (adapter: string) =>
    results.find((one) => one.suite === suite && one.scenario === scenario && one.adapter === adapter);
  const own = find(ours);
  const other = than === undefined ? undefined : find(than);
  if (own === undefined || (than !== undefined && other === undefined)) return undefined;
  const measured = other === undefined ? spread(own, figure) : ratios(own, other, figure);
  if (measured === undefined) return undefined;
  const limit = atMost ?? atLeast ?? 0;
  const met = atMost === undefined ? measured.median >= limit : measured.median <= limit;
  const sign = atMost === undefined ? '≥' : '≤';
  const unit = than === undefined ? (figure === 'cpu' ? ' µs' : figure === 'rate' ? '/s' : '') : ` × ${than}`;
  const titles = suites.find(({ name }) => name === suite)?.titles;
  const title = titles?.find(([id]) => id === scenario)?.[1] ?? scenario;
  const range = measured.min === measured.max ? '' : ` (${short(measured.min)}–${short(measured.max)})`;
  const what = `${FIGURE_NAMES[figure]} ${sign} ${fraction(limit)}${unit}`;
  return [`${suite}: ${title}`, ours, what, `${short(measured.median)}${range}`, met ? 'met' : '**not met**'];
}

function fraction(value: number): string {
  return value < 0.6 && value > 0 ? `1/${Number((1 / value).toFixed(1))}` : short(value);
}

const BEGIN = '<!-- written by npm run bench, from here -->';
const END = '<!-- to here -->';

/** Puts the tables into docs/performance.md, between the marks. */
export function writeReport(results: readonly Result[], rounds: number): void {
  const file = join(root, 'docs', 'performance.md');
  const text = readFileSync(file, 'utf8');
  const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`${file} lacks the marks of what is generated`);
  const parts = [BEGIN, conditions(rounds), report(results), '### How cost grows', plotLinks()];
  const generated = `${parts.join('\n\n')}\n\n`;
  writeFileSync(file, text.slice(0, before) + generated + text.slice(after));
  console.log(`\nwritten: ${file}`);
}

function conditions(rounds: number): string {
  const [cpu] = cpus();
  const versions = Object.entries(peers).map(([name, version]) => `${name} ${version}`);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  return [
    `${new Date().toISOString().slice(0, 10)}, commit ${commit}, Node ${process.version}, ${type()} ${release()},`,
    `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB.`,
    `Peers: ${versions.join(', ')}, ${kombuVersions}, ${osloVersion}. Medians of ${rounds} rounds (lowest–highest).`,
  ].join(' ');
}
