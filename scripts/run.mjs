/**
 * Runs a program of this repository on the pinned Node, after setting up what is missing:
 *
 *     node scripts/run.mjs [--build] program.ts [arguments…]
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { environment, root, setup } from './setup.mjs';

const started = performance.now();
const build = process.argv[2] === '--build';
const [program, ...args] = process.argv.slice(build ? 3 : 2);
if (program === undefined) throw new Error('usage: node scripts/run.mjs [--build] program.ts [arguments…]');

/**
 * @param {string} file
 * @param {string[]} argv
 * @returns {Promise<number>} The exit code; as a shell has it for a program ended by a signal.
 */
function run(file, argv) {
  return new Promise((resolve, reject) => {
    // A program is named relative to the repository, and works in the folder where the user is.
    const child = spawn(node, [join(root, file), ...argv], { stdio: 'inherit', env });
    // The child decides how to end. Ctrl-C reaches it by itself, the other signals may be meant for this process alone.
    process.on('SIGINT', () => undefined);
    for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal));
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

const node = await setup().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
const env = { ...environment(), WAKAME_SETUP_MS: String(Math.round(performance.now() - started)) };

process.exitCode = build ? await run('scripts/check.ts', ['--quiet', 'build']) : 0;
if (process.exitCode === 0) process.exitCode = await run(program, args);
