/** From words to an exit code. */
import { run, type StricliProcess } from '@stricli/core';
import { app } from './app.js';
import { type Context, leadingOptions } from './context.js';
import { EXIT } from './exit-codes.js';

/** Runs one command line. Resolves with the exit code; never rejects for what a user does. */
export async function runCommandLine(words: readonly string[], process: NodeJS.Process): Promise<number> {
  const { leading, rest } = leadingOptions(words);
  const context: Context = { process, leading, outcome: { exitCode: EXIT.done } };
  await run(app, rest, { ...context, process: process as NodeJS.Process & StricliProcess });
  const { exitCode } = context.outcome;
  if (exitCode !== EXIT.done) return exitCode;
  // Below 0: the parser did not understand the command line.
  const parsed = Number(process.exitCode ?? EXIT.done);
  return parsed < 0 ? EXIT.usage : parsed;
}
