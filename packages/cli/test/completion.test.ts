/** The scripts of `wakame completion`, in the shells that they are for. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeAll, expect, it, vi } from 'vitest';
import { canInstall, install } from '../../../scripts/lib/brokers/debian.ts';
import { capture } from '../../../scripts/lib/command.ts';
import { bench, commandLine, temporaryFolder } from './support/command.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 300_000 });

const { url, succeed, connection } = bench('cli-completion', 'sqlite');
const folder = temporaryFolder();
const shells = ['bash', 'zsh', 'fish'] as const;

beforeAll(async () => {
  for (const shell of shells) {
    if (spawnSync(shell, ['-c', 'true']).error === undefined) continue;
    if (!canInstall()) throw new Error(`${shell} is not installed: apt-get install ${shell}`);
    install(shell);
  }
  for (const shell of shells) writeFileSync(join(folder, `script.${shell}`), await succeed('completion', shell));
  const words = commandLine([]).map((word) => `'${word}'`);
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin', 'wakame'), `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 });
  const channel = connection.channel();
  for (const name of ['orders', 'orders:de', 'orders:fr x', 'payments']) await channel.queueDeclare(name);
});

/** What a shell proposes for the line, given a program for that shell which prints it. */
async function proposals(shell: (typeof shells)[number], program: string, options: readonly string[] = []) {
  const env = {
    ...process.env,
    PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}`,
    HOME: folder,
    WAKAME_URL: url,
  };
  const script = shell === 'fish' ? `source ${folder}/script.fish` : `. ${folder}/script.${shell}`;
  const printed = await capture(shell, [...options, '-c', `${script}\n${program}`], { env, timeout: 60_000 });
  return printed.split('\n').filter((line) => line !== '');
}

it('bash: commands, options, values and queues; what stands before a colon stays', async () => {
  // The words are as bash tears them apart.
  const complete = (line: string, ...words: string[]) =>
    `COMP_LINE='${line}' COMP_POINT=${line.length} COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1} _wakame
printf '%s\\n' "\${COMPREPLY[@]}" --`;
  const printed = await proposals(
    'bash',
    [
      complete('wakame cons', 'wakame', 'cons'),
      complete('wakame publish --rep', 'wakame', 'publish', '--rep'),
      complete('wakame consume ord', 'wakame', 'consume', 'ord'),
      complete('wakame consume orders:', 'wakame', 'consume', 'orders', ':'),
      complete('wakame consume orders:d', 'wakame', 'consume', 'orders', ':', 'd'),
      complete(
        `wakame -u ${url} purge pay`,
        'wakame',
        '-u',
        'sqlite',
        ':',
        url.slice('sqlite:'.length),
        'purge',
        'pay',
      ),
      'complete -p wakame',
    ].join('\n'),
  );
  expect(printed).toEqual([
    ...['consume', '--', '--repeat', '--', 'orders', 'orders:de', String.raw`orders:fr\ x`, '--'],
    ...['de', String.raw`fr\ x`, '--', 'de', '--', 'payments', '--'],
    'complete -o default -F _wakame wakame',
  ]);
});

it('zsh: the same, with what they mean', async () => {
  // Completion proper needs a terminal; these stand for what it hands in and takes.
  const around = `compdef() { : }\n_files() { print files }\n_describe() { print -rl -- "\${proposals[@]}" }`;
  const complete = (...words: string[]) =>
    `words=(${words.map((word) => `'${word}'`).join(' ')}) CURRENT=${words.length}\n_wakame`;
  const program = [
    complete('wakame', 'cons'),
    complete('wakame', 'consume', 'orders:'),
    complete('wakame', 'consume', 'nothing-like-it'),
  ].join('\n');
  writeFileSync(join(folder, 'script.zsh'), `${around}\n${await succeed('completion', 'zsh')}`);
  expect(await proposals('zsh', program, ['-f'])).toEqual([
    'consume:Take messages from queues: print them, or hand each to a program',
    String.raw`orders\:de:Where to take messages from`,
    String.raw`orders\:fr x:Where to take messages from`,
    'files',
  ]);
});

it('fish: the same, by fish itself', async () => {
  const program = ["complete -C 'wakame cons'", "complete -C 'wakame consume orders:'", "complete -C 'wakame '"];
  const printed = await proposals('fish', program.join('\n'));
  expect(printed.slice(0, 3)).toEqual([
    'consume\tTake messages from queues: print them, or hand each to a program',
    'orders:de\tWhere to take messages from',
    'orders:fr x\tWhere to take messages from',
  ]);
  expect(printed).toContain('publish\tPublish messages to an exchange, or straight to a queue');
});
