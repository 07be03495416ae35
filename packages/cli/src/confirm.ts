/** Asks before something is destroyed. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
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
  // Line by line, as the terminal gives them: Ctrl-C stays a signal.
  const terminal = createInterface({ input: stdin, terminal: false });
  try {
    stderr.write(`${question} [y/N] `);
    // An end of the input is no yes.
    const [answer = ''] = await Promise.race([once(terminal, 'line', { signal }), once(terminal, 'close', { signal })]);
    if (!/^y(es)?$/i.test(String(answer).trim())) throw new Failure('nothing was done', EXIT.failed);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    terminal.close();
  }
}
