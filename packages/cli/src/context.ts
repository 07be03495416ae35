/** What a command gets of the process it runs in. */
import type { CommandContext, StricliProcess } from '@stricli/core';

/** `this` of every command. */
export interface Context extends CommandContext {
  /** The parser's: what it complains of is written as every error is. Commands use {@link host}. */
  readonly process: StricliProcess;
  readonly host: NodeJS.Process;
  /** What stood before the command: `wakame --json -u amqp://… ping`. */
  readonly leading: Leading;
  /** What the command says of its end. The parser has its own opinion, which counts when this stays 0. */
  readonly outcome: { exitCode: number };
}

export interface Leading {
  readonly url?: string | undefined;
  readonly json: boolean;
}

/** Takes the options that every command has from in front of the command, where people write them, too. */
export function leadingOptions(inputs: readonly string[]): {
  readonly leading: Leading;
  readonly rest: readonly string[];
  /** What is wrong with them. */
  readonly problem?: string | undefined;
} {
  let url: string | undefined;
  let json = false;
  let at = 0;
  for (; at < inputs.length; at++) {
    const input = inputs[at] ?? '';
    if (input === '--json') json = true;
    else if (input.startsWith('--url=')) url = input.slice('--url='.length);
    else if (input === '-u' || input === '--url') {
      url = inputs[++at];
      if (url === undefined) return { leading: { json }, rest: [], problem: `${input} wants a URL after it` };
    } else break;
  }
  return { leading: { url, json }, rest: inputs.slice(at) };
}
