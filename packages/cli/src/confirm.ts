/** Asks before something is destroyed. */
import { createInterface } from 'node:readline/promises';
import { EXIT, Failure, UsageError } from './exit-codes.js';

/** Goes on after a yes. Without a terminal there is nobody to ask: then it takes `--yes`. */
export async function confirm(
  question: string,
  yes: boolean,
  { stdin, stderr }: NodeJS.Process,
  signal: AbortSignal,
): Promise<void> {
  if (yes) return;
  if (!stdin.isTTY) throw new UsageError(`${question} Say --yes: there is no terminal to ask on`);
  const terminal = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new Failure('nothing was done', EXIT.failed);
  } finally {
    terminal.close();
  }
}
