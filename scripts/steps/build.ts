import { existsSync, globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { root } from '../setup.mjs';

/** Compiles the packages; only what has changed. */
export async function build(): Promise<void> {
  await run('tsc', ['-b']);
  removeOrphans();
}

/** The compiler leaves what it made of a source that is gone now, and npm would publish it. */
function removeOrphans(): void {
  for (const output of globSync('packages/*/dist/**/*.*', { cwd: root })) {
    const source = output.replace('/dist/', '/src/').replace(/(\.d\.ts|\.js)$/, '.ts');
    if (!existsSync(join(root, source)) && !output.endsWith('.tsbuildinfo')) rmSync(join(root, output));
  }
}
