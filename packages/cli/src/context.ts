/** What a command gets of the process it runs in. */
import type { CommandContext } from '@stricli/core';

/** `this` of every command. */
export interface Context extends CommandContext {
  readonly process: NodeJS.Process;
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
export function leadingOptions(inputs: readonly string[]): { leading: Leading; rest: readonly string[] } {
  let url: string | undefined;
  let json = false;
  let at = 0;
  for (; at < inputs.length; at++) {
    const input = inputs[at] ?? '';
    if (input === '--json') json = true;
    else if (input.startsWith('--url=')) url = input.slice('--url='.length);
    else if ((input === '-u' || input === '--url') && inputs[at + 1] !== undefined) url = inputs[++at];
    else break;
  }
  return { leading: { url, json }, rest: inputs.slice(at) };
}
