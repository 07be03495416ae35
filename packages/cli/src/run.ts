/** From words to an exit code. */
import { proposeCompletions, run, type StricliProcess } from '@stricli/core';
import { app } from './app.js';
import { type Context, leadingOptions } from './context.js';
import { EXIT } from './exit-codes.js';

/** Runs one command line. Resolves with the exit code; never rejects for what a user does. */
export async function runCommandLine(words: readonly string[], process: NodeJS.Process): Promise<number> {
  const { leading, rest } = leadingOptions(words);
  if (words[0] === '__complete') return complete(words.slice(words[1] === '--' ? 2 : 1), process);
  const context: Context = { process, leading, outcome: { exitCode: EXIT.done } };
  await run(app, rest, { ...context, process: process as NodeJS.Process & StricliProcess });
  const { exitCode } = context.outcome;
  if (exitCode !== EXIT.done) return exitCode;
  // Below 0: the parser did not understand the command line.
  const parsed = Number(process.exitCode ?? EXIT.done);
  return parsed < 0 ? EXIT.usage : parsed;
}

/** What the last word may become, a line each; see the scripts of `wakame completion`. */
async function complete(words: readonly string[], process: NodeJS.Process): Promise<number> {
  const { leading, rest } = leadingOptions(words);
  const context: Context = { process, leading, outcome: { exitCode: EXIT.done } };
  const inputs = rest.length === 0 ? [''] : rest;
  const proposals = await proposeCompletions(app, inputs, {
    ...context,
    process: process as NodeJS.Process & StricliProcess,
  });
  // A name with a line break in it cannot be told by lines.
  const lines = proposals.filter(({ completion }) => !completion.includes('\n'));
  process.stdout.write(lines.map(({ completion, brief }) => `${completion}\t${brief.split('\n', 1)[0]}\n`).join(''));
  return EXIT.done;
}
