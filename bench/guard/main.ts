/**
 * Fails when a hot path allocates more than a tenth more than is written down in `allocations.json`: bytes a message, on the heap and in
 * buffers. Unlike seconds they are the same on every machine. `--update` writes down what is counted now.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { markdown } from '../lib/table.ts';
import { workloads } from './workloads.ts';

const { values } = parseArgs({ options: { update: { type: 'boolean', default: false } } });
const execute = promisify(execFile);
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

type Counts = Record<string, { readonly heap: number; readonly buffers: number }>;

/** More than this much more fails. */
const TOLERANCE = 1.1;
/** Bytes: what is little may vary by as much. */
const GRAIN = 16;

const FLAGS = [
  ...[
    '--expose-gc',
    '--min-semi-space-size=256',
    '--max-semi-space-size=256',
    '--no-opt',
    '--no-maglev',
    '--no-sparkplug',
  ],
  ...['--single-threaded-gc'],
];

async function count(workload: string): Promise<{ heap: number; buffers: number }> {
  const { stdout } = await execute(process.execPath, [...FLAGS, file('count.ts'), workload]);
  const { heap, buffers } = JSON.parse(stdout) as { heap: number; buffers: number };
  return { heap: Math.round(heap), buffers: Math.round(buffers) };
}

const baseline = JSON.parse(readFileSync(file('allocations.json'), 'utf8')) as Counts;
const counts: Counts = {};
for (const name of Object.keys(workloads)) counts[name] = await count(name);

const exceeds = (now: number, before: number | undefined) => now > (before ?? 0) * TOLERANCE + GRAIN;
const rows = Object.entries(counts).map(([name, { heap, buffers }]) => {
  const before = baseline[name];
  const fails = exceeds(heap, before?.heap) || exceeds(buffers, before?.buffers);
  return [name, heap, before?.heap ?? '', buffers, before?.buffers ?? '', fails ? 'MORE' : ''].map(String);
});
console.log(markdown(['bytes a message', 'heap', 'before', 'buffers', 'before', ''], rows));
if (values.update) {
  writeFileSync(file('allocations.json'), `${JSON.stringify(counts, undefined, 2)}\n`);
} else if (rows.some((row) => row.at(-1) !== '')) {
  console.error(
    'Hot paths allocate over a tenth more than before. Where that cannot be helped, write it down: node bench/guard/main.ts --update',
  );
  process.exitCode = 1;
}
