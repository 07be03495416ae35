/** Writes the programs of all pages into a folder, where they are type-checked together, and run. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'wakame';
import { root } from '../../setup.mjs';
import { CommandFailed, capture, run } from '../command.ts';
import { type Line, type Program, printsOf, programsOf } from './blocks.ts';

const folder = join(root, '.cache', 'code-blocks');

interface Written extends Program {
  readonly name: string;
}

/** What the runner is told of a program. */
export interface Task {
  readonly name: string;
  /** For people: page and line. */
  readonly label: string;
  readonly prints: string | undefined;
  readonly usesRabbitmq: boolean;
}

/** Writes them, with their brokers' URLs replaced by those of the tests: each program finds a broker in which there is nothing. */
export function writePrograms(pages: readonly string[]): Written[] {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const programs = pages
    .flatMap((page) => programsOf(page))
    .map((program) => {
      const name = `${program.page.replace(/\.md$/, '').replaceAll('/', '-').toLowerCase()}-${program.line}`;
      return { ...program, name };
    });
  for (const { name, lines } of programs) {
    const text = lines.map((line) => replaceUrls(line.text, name)).join('\n');
    writeFileSync(join(folder, `${name}.ts`), `${text}\nexport {};\n`);
  }
  const compilerOptions = {
    ...{ tsBuildInfoFile: './.tsbuildinfo', noUnusedLocals: false, noUnusedParameters: false },
    moduleDetection: 'force',
  };
  const config = {
    extends: '../../tsconfig.test.json',
    compilerOptions,
    include: ['*.ts'],
    exclude: [],
    references: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  return programs;
}

/** Brokers of the documentation, by the URLs that it uses for them. */
function replaceUrls(text: string, name: string): string {
  const redis = process.env.WAKAME_TEST_REDIS_URL ?? '';
  return text
    .replaceAll(/(memory:\/\/|(?:memoryBroker|resetMemory)\(')(\w*)/g, `$1${name}$2`)
    .replaceAll(
      /amqp:\/\/(guest:guest@)?localhost(:5672)?(\/\/)?(?=['"`?])/g,
      process.env.WAKAME_TEST_RABBITMQ_URL ?? '$&',
    )
    .replaceAll(
      /redis:\/\/localhost(:6379)?(\/0)?(?=['"`])/g,
      redis === '' ? '$&' : `${redis}${redis.includes('?') ? '&' : '?'}global_keyprefix=${name}.`,
    );
}

/** The errors of the compiler, with the page and the line in which they are. */
export async function typeErrors(programs: readonly Written[]): Promise<string[]> {
  const byName = new Map(programs.map((program) => [program.name, program]));
  try {
    await capture('tsc', ['-p', join(folder, 'tsconfig.json'), '--pretty', 'false']);
    return [];
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    return error.output
      .trimEnd()
      .split('\n')
      .map((line) => located(line, byName));
  }
}

function located(message: string, programs: ReadonlyMap<string, Program>): string {
  const [whole, name = '', line = ''] = /([\w.@-]+)\.ts\((\d+),\d+\)/.exec(message) ?? [];
  const program = programs.get(name);
  if (whole === undefined || program === undefined) return message;
  const origin: Line | undefined = program.lines[Number(line) - 1];
  return `${program.page}:${origin?.number ?? '?'}${message.slice(message.indexOf(whole) + whole.length)}`;
}

/**
 * Runs the programs. Those that use RabbitMQ have a process each, at whose end their connections are gone, and what they left at the broker is
 * deleted; the others share one. Rejects when one fails, or prints something else than it says.
 */
export async function runPrograms(programs: readonly Written[]): Promise<void> {
  const tasks: Task[] = programs
    .filter((program) => program.run)
    .map((program) => ({
      ...{ name: program.name, label: `${program.page}:${program.line}`, prints: printsOf(program) },
      usesRabbitmq: program.lines.some(({ text }) => replaceUrls(text, '').includes('amqp://')),
    }));
  writeFileSync(join(folder, 'tasks.json'), JSON.stringify(tasks));
  const start = (chosen: readonly Task[]) =>
    run('node', [join(root, 'scripts', 'lib', 'code-blocks', 'run.ts'), folder, ...chosen.map(({ name }) => name)]);
  const failures: unknown[] = [];
  const note = (error: unknown) => failures.push(error);

  await start(tasks.filter(({ usesRabbitmq }) => !usesRabbitmq)).catch(note);
  for (const task of tasks.filter(({ usesRabbitmq }) => usesRabbitmq)) {
    const before = await standing();
    await start([task]).catch(note);
    await removeOthers(before);
  }
  console.log(`${tasks.length} programs ran, ${programs.length - tasks.length} were type-checked only`);
  if (failures.length > 0) throw new Error('programs of the documentation fail');
}

interface Standing {
  readonly queues: readonly string[];
  readonly exchanges: readonly string[];
}

/** What stands at the RabbitMQ of the tests, but for what goes by itself. */
async function standing(): Promise<Standing> {
  await using connection = await rabbitmq();
  const [queues, exchanges] = await Promise.all([connection.catalog.queues(), connection.catalog.exchanges()]);
  return {
    queues: queues.filter(({ exclusive }) => !exclusive).map(({ name }) => name),
    exchanges: exchanges.map(({ name }) => name),
  };
}

/** The next program may declare the same names otherwise. */
async function removeOthers(before: Standing): Promise<void> {
  const after = await standing();
  await using connection = await rabbitmq();
  await using channel = connection.channel();
  for (const name of after.queues) if (!before.queues.includes(name)) await channel.queueDelete(name);
  for (const name of after.exchanges) if (!before.exchanges.includes(name)) await channel.exchangeDelete(name);
}

async function rabbitmq(): Promise<Connection> {
  // Not there before the build, when this file is read.
  const { Connection } = await import('wakame');
  const { port, username, password } = new URL(process.env.WAKAME_TEST_RABBITMQ_MANAGEMENT_URL ?? '');
  const options = { manager_port: Number(port), manager_userid: username, manager_password: password };
  return new Connection(process.env.WAKAME_TEST_RABBITMQ_URL, { transportOptions: options });
}
