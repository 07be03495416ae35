import { run } from '../lib/command.ts';

/** Formatting and lint. */
export async function style(fix: boolean): Promise<void> {
  await run('biome', ['check', '--error-on-warnings', '--max-diagnostics=100', ...(fix ? ['--write'] : []), '.']);
}
