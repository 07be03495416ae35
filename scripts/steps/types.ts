import { run } from '../lib/command.ts';

/** The types of what is not built: tests, examples, benchmarks, scripts. Needs the build. */
export async function types(): Promise<void> {
  await run('tsc', ['-p', 'tsconfig.test.json']);
}
