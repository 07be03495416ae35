/** Runs the command `wakame`: as a process where signals, pipes or its end matter, else within this one. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { Connection } from 'wakame';
import { brokerUrl, rabbitmqManagementUrl } from '../../../../scripts/lib/brokers/environment.ts';
import { runCommandLine } from '../../src/run.js';

const loader = new URL('../../../wakame/test/support/source-loader.mjs', import.meta.url).href;
const killedAt = new URL('./killed-at.ts', import.meta.url).href;
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Every command is tested on each of these. */
export const BROKERS = ['rabbitmq', 'redis', 'sqlite'] as const;
export type BrokerName = (typeof BROKERS)[number];

/** A folder that goes with the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakame-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The URL of a broker; RabbitMQ's with where its lists are. SQLite's is a new file, which goes with the test file. */
export function urlOf(broker: BrokerName): string {
  if (broker === 'sqlite') return `sqlite:${temporaryFolder()}/cli.db`;
  if (broker === 'redis') return brokerUrl('redis');
  return `${brokerUrl('rabbitmq')}?manager_port=${new URL(rabbitmqManagementUrl()).port}`;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What runs a command in a process of its own; modules are loaded first. */
export function commandLine(args: readonly string[], modules: readonly string[] = []): string[] {
  return [process.execPath, ...[...modules, loader].flatMap((module) => ['--import', module]), main, ...args];
}

/** The same in a terminal, as the program `script` makes one; what is written to it comes from standard output. */
function terminalLine(args: readonly string[]): string[] {
  const words = commandLine(args).map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return ['script', '-qec', words.join(' '), '/dev/null'];
}

/** A command at work. */
export class Running {
  readonly process: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  readonly #looks = new Set<() => void>();

  constructor([program = '', ...args]: readonly string[], environment: Readonly<Record<string, string>>) {
    const { NO_COLOR: _, FORCE_COLOR: __, WAKAME_URL: ___, ...rest } = process.env;
    this.process = spawn(program, args, { env: { ...rest, ...environment } });
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#look();
    });
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#look();
    });
    // A command need not read its input.
    this.process.stdin.on('error', () => undefined);
    this.ended = once(this.process, 'close').then(([code, signal]) => {
      this.#look();
      return { code, signal, stdout: this.stdout, stderr: this.stderr };
    });
  }

  /** Waits until `condition` holds for what was written; rejects when the command has ended before. */
  async until(condition: (running: Running) => boolean): Promise<void> {
    let over = false;
    void this.ended.then(() => {
      over = true;
    });
    while (!condition(this)) {
      if (over) throw new Error(`the command has ended: ${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => this.#looks.add(resolve));
    }
  }

  #look(): void {
    for (const resolve of this.#looks) resolve();
    this.#looks.clear();
  }
}

/** Runs a command to its end within this process, which spares the time to start one. */
export async function runHere(
  url: string,
  args: readonly string[],
  options: { readonly input?: string | Uint8Array } = {},
): Promise<Ended> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = [stdout, stderr].map((stream) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString();
  });
  const own = Object.assign(new EventEmitter(), {
    stdout,
    stderr,
    stdin: Readable.from([Buffer.from(options.input ?? '')], { objectMode: false }),
    env: { PATH: process.env.PATH, WAKAME_URL: url },
    exitCode: undefined,
  });
  const code = await runCommandLine(args, own as unknown as NodeJS.Process);
  return { code, signal: null, stdout: texts[0]?.() ?? '', stderr: texts[1]?.() ?? '' };
}

/** A connection for looking behind the command, and names that are deleted at the end. */
export function bench(prefix: string, broker: BrokerName, url: string = urlOf(broker)) {
  const connection = new Connection(url);
  const channel = connection.channel();
  const queues: string[] = [];
  const exchanges: string[] = [];
  afterAll(async () => {
    for (const name of queues) await channel.queueDelete(name);
    for (const name of exchanges) await channel.exchangeDelete(name);
    await connection.close();
  });
  let last = 0;
  const next = () => `${prefix}.${process.pid}.${++last}`;
  const wakame = (args: readonly string[], options?: { readonly input?: string | Uint8Array }) =>
    runHere(url, args, options);
  return {
    url,
    wakame,
    /** Runs a command that has to succeed, and gives what it wrote. */
    async succeed(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await wakame(args);
      if (code !== 0) throw new Error(`wakame ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout;
    },
    /** Starts a process. */
    start: (...args: string[]) => new Running(commandLine(args), { WAKAME_URL: url }),
    startOnTerminal: (args: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
      new Running(terminalLine(args), { WAKAME_URL: url, TERM: 'xterm', ...environment }),
    /** Starts a process that kills itself before its n-th deed (killed-at.ts); for 0, one that tells how many there were. */
    startKilledAt: (deed: number, ...args: string[]) =>
      new Running(commandLine(args, [killedAt]), { WAKAME_URL: url, WAKAME_TEST_KILL_AT: String(deed) }),
    connection,
    channel,
    /** A name whose queue is deleted at the end, should there be one. */
    queueName: (): string => {
      const name = next();
      queues.push(name);
      return name;
    },
    exchangeName: (): string => {
      const name = next();
      exchanges.push(name);
      return name;
    },
    async queue(options: { readonly arguments?: Readonly<Record<string, unknown>> } = {}): Promise<string> {
      const name = next();
      queues.push(name);
      await channel.queueDeclare(name, { durable: true, ...options });
      return name;
    },
    /** Puts numbered messages into a queue. */
    async fill(queue: string, count: number, from = 0): Promise<void> {
      const producer = connection.producer();
      await Promise.all(range(count, from).map((n) => producer.publish({ n }, { routingKey: queue })));
    },
    /** The numbers in a queue, in order; they stay there. */
    async numbers(queue: string): Promise<number[]> {
      const own = connection.channel();
      const { messageCount } = await own.queueDeclare(queue, { passive: true });
      const deliveries = await Promise.all(Array.from({ length: messageCount }, () => own.get(queue)));
      const found = deliveries.flatMap((delivery) =>
        delivery === undefined ? [] : (JSON.parse(Buffer.from(delivery.body).toString()) as { n: number }).n,
      );
      await own.close();
      return found;
    },
    async depth(queue: string): Promise<number> {
      return (await channel.queueDeclare(queue, { passive: true })).messageCount;
    },
  };
}

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, n) => n + from);
