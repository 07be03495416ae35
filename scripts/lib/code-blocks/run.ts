/** node run.ts <folder> <name…>: runs programs that check.ts has written, one after the other, and compares what they print with what they say. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';
import type { Task } from './check.ts';

/** Milliseconds for one program. */
const TIMEOUT = 15_000;

const [folder = '', ...names] = process.argv.slice(2);
const tasks = JSON.parse(readFileSync(join(folder, 'tasks.json'), 'utf8')) as Task[];
const scratch = mkdtempSync(join(tmpdir(), 'wakame-code-'));
const say = console.log;
// What programs tell beside their output is nothing to us.
for (const level of ['warn', 'info', 'error'] as const) console[level] = () => undefined;
let failed = 0;
let current = '';

function fail(error: unknown): void {
  failed += 1;
  process.stderr.write(`${current}: ${error instanceof Error ? error.stack : error}\n`);
}

process.on('uncaughtException', fail);
process.chdir(scratch);
for (const task of tasks.filter(({ name }) => names.includes(name))) {
  current = task.label;
  const printed: string[] = [];
  console.log = (...words: unknown[]) => printed.push(format(...words));
  try {
    const program = import(pathToFileURL(join(folder, `${task.name}.ts`)).href);
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`does not end; printed:\n${printed.join('\n')}`)), TIMEOUT);
    await Promise.race([program, late]).finally(() => clearTimeout(timer));
    const text = printed.join('\n').trim();
    if (task.prints !== undefined && text !== task.prints) {
      throw new Error(`should print:\n${task.prints}\nbut prints:\n${text}`);
    }
  } catch (error) {
    fail(error);
  } finally {
    console.log = say;
  }
}
process.chdir(folder);
rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
// Programs may leave connections open, as they do in a page that shows a part of a larger one.
process.exit(failed === 0 ? 0 : 1);
