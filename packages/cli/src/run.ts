/** From words to an exit code. */
import { proposeCompletions, run, type StricliProcess } from '@stricli/core';
import { app } from './app.js';
import { type Context, leadingOptions } from './context.js';
import { EXIT } from './exit-codes.js';
import { Output } from './output.js';
import { shellWords } from './parse.js';

/** Runs one command line. Resolves with the exit code; never rejects for what a user does. */
export async function runCommandLine(words: readonly string[], process: NodeJS.Process): Promise<number> {
  if (words[0] === '__complete') return complete(words.slice(1), process);
  const { leading, rest, problem } = leadingOptions(words);
  const json = leading.json || rest.includes('--json');
  const out = new Output(process.stdout, process.stderr, { json, environment: process.env });
  if (problem !== undefined) {
    out.fail(problem, 'INVALID_ARGUMENT');
    return EXIT.usage;
  }
  const parser = parserProcess(process, (message) => out.fail(message, 'INVALID_ARGUMENT'));
  const context: Context = { process: parser, host: process, leading, outcome: { exitCode: EXIT.done } };
  await run(app, helpOption(rest), context);
  const { exitCode } = context.outcome;
  if (exitCode !== EXIT.done) return exitCode;
  // Below 0: the parser did not understand the command line.
  const parsed = Number(parser.exitCode ?? EXIT.done);
  return parsed < 0 ? EXIT.usage : parsed;
}

/** `wakame help publish` is `wakame publish --help`. */
function helpOption(words: readonly string[]): readonly string[] {
  return words[0] === 'help' ? [...words.slice(1), '--help'] : words;
}

/** What the parser sees of the process: its complaints are errors like all others. */
function parserProcess(process: NodeJS.Process, complain: (message: string) => void): StricliProcess {
  const { stdout, env } = process;
  const write = (text: string) => complain(text.split('\n', 1)[0] ?? '');
  return { stdout, env, stderr: { write } };
}

/** What the last word may become, a line each; see the scripts of `wakame completion`. */
async function complete([form, ...given]: readonly string[], process: NodeJS.Process): Promise<number> {
  // `-- word…`, or `--line text word`, of which the word is the part that the shell takes for the last.
  const words = form === '--line' ? shellWords(given[0] ?? '').slice(1) : given;
  const { leading, rest } = leadingOptions(words);
  const parser = parserProcess(process, () => undefined);
  const context: Context = { process: parser, host: process, leading, outcome: { exitCode: EXIT.done } };
  const proposals = await proposeCompletions(app, rest.length === 0 ? [''] : rest, context);
  const standing = form === '--line' ? standsAlready(words.at(-1) ?? '', given[1] ?? '') : 0;
  // A name with a line break in it cannot be told by lines.
  const lines = proposals.filter(({ completion }) => !completion.includes('\n'));
  const text = lines.map(({ completion, brief }) => `${completion.slice(standing)}\t${brief.split('\n', 1)[0]}\n`);
  process.stdout.write(text.join(''));
  return EXIT.done;
}

/** How much of the word is before what the shell takes for it. */
function standsAlready(word: string, last: string): number {
  return Math.max(0, word.length - (/^[:=]$/.test(last) ? 0 : last.length));
}
