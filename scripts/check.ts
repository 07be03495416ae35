/**
 * Runs checks by name, each on its own: node scripts/run.mjs scripts/check.ts [--fix] [--quiet] <check…>
 */
import { parseArgs } from 'node:util';
import { checks } from './steps/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { fix: { type: 'boolean', default: false }, quiet: { type: 'boolean', default: false } },
});
const unknown = positionals.filter((name) => !checks.has(name));
if (unknown.length > 0 || positionals.length === 0) {
  console.error(`checks: ${[...checks.keys()].join(', ')}; not ${unknown.join(', ') || 'none'}`);
  process.exit(2);
}

for (const name of positionals) {
  const started = performance.now();
  try {
    await checks.get(name)?.({ fix: values.fix });
    if (!values.quiet) console.log(`${name}: ok (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
    // What follows needs it.
    if (name === 'build') break;
  }
}
