/**
 * Everything that has to hold: npm test [-- <filter>…]
 *
 * With filters, only the tests of matching files are run (as vitest matches them: part of the path), and nothing else is checked.
 * `--full` runs the same at scale 50.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { brokers, release, up } from './lib/brokers/index.ts';
import { run, stopCommands } from './lib/command.ts';
import { lock } from './lib/lock.mjs';
import { make, peerNames } from './lib/peers/index.ts';
import { root } from './setup.mjs';
import { checks } from './steps/index.ts';

const { values, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: { full: { type: 'boolean', default: false } },
});
process.env.WAKAME_TEST_SCALE ??= values.full ? '50' : '1';

const lockFile = join(root, '.cache', 'test.lock');
const unlock = await lock(lockFile, {
  wait: false,
  onHeld: (owner) => console.error(`npm test already runs in this checkout, as process ${owner} (${lockFile})`),
});
if (unlock === undefined) process.exit(2);

interface Part {
  readonly name: string;
  readonly seconds: number;
  readonly result: 'ok' | 'failed' | 'not run';
}

const parts: Part[] = [{ name: 'setup', seconds: Number(process.env.WAKAME_SETUP_MS ?? 0) / 1000, result: 'ok' }];

/** Runs a part unless one that it needs has failed. */
async function part(name: string, action: () => Promise<void>, needs: readonly string[] = []): Promise<void> {
  const missing = parts.filter((done) => needs.includes(done.name) && done.result !== 'ok');
  if (stopped || missing.length > 0) {
    console.error(
      `\n── ${name}: not run${stopped ? '' : `, as ${missing.map((done) => done.name).join(' and ')} failed`}`,
    );
    parts.push({ name, seconds: 0, result: 'not run' });
    return;
  }
  console.log(`\n── ${name}`);
  const started = performance.now();
  let result: Part['result'] = 'ok';
  try {
    await action();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    result = 'failed';
  }
  parts.push({ name, seconds: (performance.now() - started) / 1000, result });
}

/** Once told to stop, it begins nothing more but stops the brokers. */
let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stopped = true;
    stopCommands();
  });
}

async function startBrokers(): Promise<void> {
  for (const broker of brokers) {
    const { state, variables } = await up(broker, { keep: false });
    Object.assign(process.env, variables);
    console.log(`${broker.title}: ${state}`);
  }
}

async function makePeers(): Promise<void> {
  await Promise.all(peerNames.map(async (name) => console.log(`Python peer '${name}': ${await make(name)}`)));
}

const report = join(root, '.cache', 'vitest.json');
rmSync(report, { force: true });

async function runTests(): Promise<void> {
  const reporters = [
    '--reporter=default',
    '--reporter=json',
    '--reporter=./interop/support/reporter.ts',
    `--outputFile.json=${report}`,
  ];
  await run('node', [join('node_modules', 'vitest', 'vitest.mjs'), 'run', ...reporters, ...filters]);
}

console.log(`Node ${process.version}, scale ${process.env.WAKAME_TEST_SCALE}`);
const check = (name: string, needs: readonly string[] = []) =>
  part(name, () => checks.get(name)?.({ fix: false }) ?? Promise.reject(new Error(`no check ${name}`)), needs);

if (filters.length === 0) {
  await check('style');
  await check('layers');
  await check('build');
  await check('types', ['build']);
  await check('docs');
  await check('browser', ['docs']);
}
await part('brokers', startBrokers);
await part('peers', makePeers);
await part('tests', runTests, ['brokers', 'peers']);
if (filters.length === 0) {
  await check('packages', ['build', 'brokers']);
  await check('examples', ['build', 'brokers']);
  await check('code-blocks', ['build', 'brokers']);
  await check('bench', ['build']);
  await check('chaos', ['build', 'brokers', 'peers']);
}
const interrupted = stopped;
stopped = false;
await part('brokers stop', release);
unlock();

console.log('');
for (const { name, seconds, result } of parts) {
  console.log(`${name.padEnd(14)}${`${seconds.toFixed(1)} s`.padStart(9)}  ${result}`);
}
console.log(`${'all'.padEnd(14)}${`${parts.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(1)} s`.padStart(9)}`);

interface Totals {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}
const totals = existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as Totals) : undefined;
const failed = interrupted || parts.some(({ result }) => result !== 'ok');
console.log(
  totals === undefined
    ? 'tests: not run'
    : `tests: ${totals.numPassedTests} passed, ${totals.numFailedTests} failed, ${totals.numPendingTests + totals.numTodoTests} skipped`,
);
process.exitCode = failed ? 1 : 0;
