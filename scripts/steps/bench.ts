import { run } from '../lib/command.ts';

/** Whether the benchmark works (how fast anything is, it does not look at), and what the hot paths allocate. Needs the build. */
export async function bench(): Promise<void> {
  await run('node', ['bench/main.ts', '--quick']);
  await run('node', ['bench/guard/main.ts']);
}
