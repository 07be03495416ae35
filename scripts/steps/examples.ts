import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { brokers, type Status, status } from '../lib/brokers/index.ts';
import { CommandFailed, capture } from '../lib/command.ts';
import { root } from '../setup.mjs';

/** What an example says of itself at its end, to be true. */
const prints = /^(?:\/\/|#) Prints:\n((?:(?:\/\/|#).*\n?)+)/m;

/** Milliseconds for one program. */
const timeout = 120_000;

/**
 * Runs every program in examples/ inside this process's own broker, memory://, on a file, and on each broker that is up. Those that say what
 * they print have to print that.
 */
export async function examples(): Promise<void> {
  const found = await Promise.all(brokers.map(status));
  const missing = found.filter(({ state }) => state === 'stopped');
  if (missing.length > 0)
    throw new Error(`not running: ${missing.map(({ broker }) => broker.title)}: scripts/brokers up`);

  const failures: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'wakame-examples-'));
  const urls = [`sqlite:${encodeURI(folder)}/examples.db`, ...found.map(urlOf)];
  const env = { ...process.env, PATH: `${commandFolder(folder)}${delimiter}${process.env.PATH}` };
  const run = async ([program, ...args]: Program) => {
    const label = `${program} ${args.join(' ')}`;
    const started = performance.now();
    try {
      const interpreter = program.endsWith('.sh') ? 'sh' : 'node';
      const printed = await capture(interpreter, [join('examples', program), ...args], { timeout, env });
      check(program, printed);
      console.log(`ok     ${label} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    } catch (error) {
      const said = error instanceof CommandFailed ? error.output : '';
      console.error(`FAILED ${label}\n${(error as Error).message}\n${said}`);
      failures.push(label);
    }
  };
  // One after the other on each broker, where they may meet; those of different brokers at the same time.
  const byBroker = Map.groupBy(programs(urls), ([, ...args]) => args.at(-1));
  await Promise.all(
    [...byBroker.values()].map(async (runs) => {
      for (const program of runs) await run(program);
    }),
  );
  rmSync(folder, { recursive: true });
  if (failures.length > 0) throw new Error(`${failures.length} examples failed: ${failures.join('; ')}`);
}

/** A folder for PATH in which there is the command `wakame`, as it was built. */
function commandFolder(folder: string): string {
  const command = `#!/bin/sh\nexec node '${join(root, 'packages', 'cli', 'dist', 'main.js')}' "$@"\n`;
  writeFileSync(join(folder, 'wakame'), command, { mode: 0o755 });
  return folder;
}

/** A program and its arguments, of which the last one names the broker. */
type Program = readonly [string, ...string[]];

function programs(urls: readonly string[]): Program[] {
  const simple = globSync('*.ts', { cwd: join(root, 'examples') })
    .filter((file) => !/^export /m.test(source(file)))
    .sort();
  return [
    ...['memory://examples', ...urls].flatMap((url) => simple.map((program) => [program, url] as const)),
    // The client by itself; the one leaves its messages to the other.
    ...urls
      .filter((url) => url.startsWith('amqp:'))
      .flatMap((url) => [['amqp/publish.ts', url] as const, ['amqp/consume.ts', url] as const]),
    // Two processes, which need a broker that both can reach.
    ...urls.map((url) => ['mailbox/main.ts', url] as const),
    // With the command, a process for each use of it.
    ...urls.filter((url) => /^(sqlite|amqp):/.test(url)).map((url) => ['shell/orders.sh', url] as const),
    // On a file of its own.
    ['demo/main.ts'],
    ...['memory://demo', ...urls.filter((url) => !url.startsWith('sqlite:'))].map(
      (url) => ['demo/main.ts', '--url', url] as const,
    ),
  ];
}

function check(program: string, printed: string): void {
  const said = prints.exec(source(program))?.[1];
  if (said === undefined) {
    if (basename(program) !== 'main.ts') throw new Error('does not say at its end what it prints');
    return;
  }
  const expected = said.replace(/^(?:\/\/|#) ?/gm, '').trim();
  if (printed.replaceAll(/ +$/gm, '').trim() !== expected) {
    throw new Error(`should print:\n${expected}\nbut prints:\n${printed}`);
  }
}

function source(program: string): string {
  return readFileSync(join(root, 'examples', program), 'utf8');
}

function urlOf({ broker, variables }: Status): string {
  return variables[`WAKAME_TEST_${broker.name.toUpperCase()}_URL`] ?? '';
}
