/** What the README and the guide print is run as it stands, line by line, by the shell. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { capture } from '../../../scripts/lib/command.ts';
import { bench, commandLine, temporaryFolder } from './support/command.js';

vi.setConfig({ testTimeout: 300_000 });

// As another broker, for what goes from one to the other.
const here = bench('cli-guide', 'sqlite');
const there = bench('cli-guide', 'sqlite');

/** Lines of the blocks marked as `sh`, without those that install. */
function linesOf(page: string): string[] {
  const text = readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```sh\n(.*?)^```/gms)]
    .flatMap(([, block = '']) => block.split('\n'))
    .filter((line) => line.trim() !== '' && !/^(npm|npx|export) /.test(line));
}

/** A line for a test: it ends, it finds the brokers of the test, and its exit code is one of those that it speaks of. */
function runnable(line: string): string {
  const [, command = '', comment = ''] = /^(.*?)(?:\s{2,}# (.*))?$/.exec(line) ?? [];
  const codes = ['0', ...[...comment.matchAll(/exit code (\d)/g)].map(([, code]) => code)];
  // Nobody answers.
  if (command.includes('celery')) codes.push('3');
  const words = command
    .replaceAll('amqp://here//', here.url)
    .replaceAll(/amqp:\/\/(there\/\/|other\.example\/\/)/g, there.url)
    .replace('--count 100000', '--count 200')
    .replace(/\| jq .*/, '| cat');
  // Ctrl-C, once it is at work.
  const whole = comment.includes('until Ctrl-C') ? `${words} & sleep 3; kill -INT $!; wait $!; test $? = 130` : words;
  return `{ ${whole}\n}; code=$?; case " ${codes.join(' ')} " in *" $code "*) ;; *) echo "exit code $code:" ${quoted(line)}; exit 1;; esac`;
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

it.each(['packages/cli/README.md', 'docs/guides/cli.md'])('%s', async (page) => {
  const folder = temporaryFolder();
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'wakame'), `#!/bin/sh\nexec ${commandLine([]).map(quoted).join(' ')} "$@"\n`, {
    mode: 0o755,
  });
  const channel = there.connection.channel();
  await channel.queueDeclare('orders');
  await channel.exchangeDeclare('shop', 'topic');
  await here.channel.queueDelete('orders');

  const lines = linesOf(page);
  expect(lines.length).toBeGreaterThan(9);
  // Job control, so that what runs in the background can be interrupted.
  writeFileSync(join(folder, 'page.sh'), ['set -m', ...lines.map(runnable)].join('\n'));
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}`, HOME: folder, WAKAME_URL: here.url };
  const said = await capture('bash', ['page.sh'], { cwd: folder, env }).catch(
    (error: Error & { output?: string }) => `${error.message}\n${error.output}`,
  );
  expect(said).not.toMatch(/exit code/);
});
