/** What private servers of databases share: a folder, a port, a process that must not be root's. */
import { type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Server } from './broker.ts';
import { findProcesses, freePorts, isFree, isListening, signal, waitUntil } from './processes.ts';
import { stateFolder } from './state.ts';

const host = '127.0.0.1';
const second = 1000;

/** A kind of database server. */
export interface DatabaseKind {
  readonly name: string;
  readonly title: string;
  /** Whom it runs as when root starts it: the user that its Debian package makes. Undefined: root, if that must be. */
  readonly user?: string;
  /** The scheme of its URLs. */
  readonly scheme: string;
  /** Fills an empty folder of data. */
  readonly initialize: (data: string) => Command;
  readonly serve: (data: string, port: number) => Command;
  /** The signal that ends it in an orderly way while clients are connected. */
  readonly stopSignal: NodeJS.Signals;
  /** Makes user and database once it accepts connections; does nothing when they are there. Rejects while it is starting. */
  readonly provide: (server: DatabaseServer) => Promise<void>;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** The name of the user, the password and the database that tests use. */
export const account = 'wakame';

/** One private server. It keeps its port, and what it holds, when it is stopped or killed and started again. */
export class DatabaseServer implements Server {
  readonly folder: string;
  readonly #kind: DatabaseKind;
  readonly #data: string;
  readonly #user: { readonly uid: number; readonly gid: number } | undefined;
  #port: number;

  private constructor(kind: DatabaseKind, folder: string, port: number) {
    this.folder = folder;
    this.#kind = kind;
    this.#port = port;
    this.#user = kind.user !== undefined && process.getuid?.() === 0 ? idsOf(kind.user) : undefined;
    const hash = createHash('sha256').update(folder).digest('hex').slice(0, 16);
    // The server's user has to get there, which a home of root's does not allow.
    const isReachable = this.#user === undefined || reachable(folder);
    this.#data = isReachable ? join(folder, 'data') : join(tmpdir(), `wakame-${kind.name}-${hash}`);
  }

  static async open(kind: DatabaseKind, folder: string): Promise<DatabaseServer> {
    const file = portFile(folder);
    const port = existsSync(file) ? Number(readFileSync(file, 'utf8')) : await choosePort(folder);
    return new DatabaseServer(kind, folder, port);
  }

  /** One of a test's own, empty. @param name Distinguishes those of one kind and checkout that run at the same time. */
  static async startOwn(kind: DatabaseKind, name: string): Promise<DatabaseServer> {
    if (!/^[a-z0-9-]+$/.test(name)) throw new TypeError(`not a name for a server: '${name}'`);
    const server = await DatabaseServer.open(kind, join(stateFolder, `${kind.name}-${name}`));
    await server.kill();
    await server.start({ fresh: true });
    return server;
  }

  get host(): string {
    return host;
  }

  get port(): number {
    return this.#port;
  }

  get data(): string {
    return this.#data;
  }

  get url(): string {
    return this.urlOf(account);
  }

  /** The URL of another database of this server. */
  urlOf(database: string): string {
    return `${this.#kind.scheme}://${account}:${account}@${host}:${this.#port}/${database}`;
  }

  get variables(): Readonly<Record<string, string>> {
    return { [`WAKAME_TEST_${this.#kind.name.toUpperCase()}_URL`]: this.url };
  }

  async isRunning(): Promise<boolean> {
    return this.#servers().length > 0 && (await isListening(this.#port));
  }

  async start(options: { fresh?: boolean | undefined } = {}): Promise<void> {
    if (await this.isRunning()) return;
    await this.kill();
    if (options.fresh) this.remove();
    if (!(await isFree(this.#port))) this.#port = await choosePort(this.folder);
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(portFile(this.folder), String(this.#port));
    const log = join(this.folder, 'console.log');
    try {
      this.#initialize(log);
      await this.#launch(log);
    } catch (error) {
      await this.kill();
      const tail = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').slice(-10).join('\n') : '';
      throw new Error(`${this.#kind.title} did not start: ${(error as Error).message}\n${tail}\n(${log})`, {
        cause: error,
      });
    }
  }

  /** Ends the server in an orderly way, by force when that takes more than 20 seconds. */
  async stop(): Promise<void> {
    // One that is paused must go on to notice.
    await this.#end([this.#kind.stopSignal, 'SIGCONT']).catch(() => this.kill());
  }

  /** As a crash: nothing is said to the clients and nothing is written any more. */
  async kill(): Promise<void> {
    await this.#end(['SIGKILL']);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The server stops to read, write and answer, while its connections stay. */
  pause(): void {
    for (const pid of this.#servers()) signal(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const pid of this.#servers()) signal(pid, 'SIGCONT');
  }

  /** Deletes what a stopped server left. */
  remove(): void {
    for (const folder of [this.#data, this.folder]) rmSync(folder, { recursive: true, force: true });
  }

  #initialize(log: string): void {
    const done = join(this.folder, 'initialized');
    if (existsSync(done)) return;
    rmSync(this.#data, { recursive: true, force: true });
    mkdirSync(this.#data, { recursive: true, mode: 0o700 });
    if (this.#user !== undefined) chownSync(this.#data, this.#user.uid, this.#user.gid);
    const { program, args } = this.#kind.initialize(this.#data);
    const { status, error, stdout, stderr } = spawnSync(program, [...args], {
      ...this.#user,
      cwd: this.#data,
      encoding: 'utf8',
    });
    writeFileSync(log, `${stdout ?? ''}${stderr ?? ''}`);
    if (error) throw error;
    if (status !== 0) throw new Error(`${program} ended with exit code ${status}`);
    writeFileSync(done, '');
  }

  async #launch(log: string): Promise<void> {
    const output = openSync(log, 'a');
    const { program, args } = this.#kind.serve(this.#data, this.#port);
    const options: SpawnOptions = { detached: true, stdio: ['ignore', output, output], cwd: this.#data, ...this.#user };
    const server = spawn(program, [...args], options);
    closeSync(output);
    let failure: string | undefined;
    server.once('error', (error) => {
      failure = error.message;
    });
    server.once('exit', (code, by) => {
      failure ??= `${program} ended with ${by ?? `exit code ${code}`}`;
    });
    server.unref();
    await waitUntil(`${this.#kind.title} answering on port ${this.#port}`, 60 * second, async () => {
      if (failure !== undefined) throw new Error(failure);
      if (!(await isListening(this.#port))) return false;
      return this.#kind.provide(this).then(
        () => true,
        () => false,
      );
    });
  }

  async #end(signals: NodeJS.Signals[]): Promise<void> {
    if (this.#servers().length === 0) return;
    for (const name of signals) for (const pid of this.#servers()) signal(pid, name);
    await waitUntil(`${this.#kind.title} ending`, 20 * second, () => this.#servers().length === 0);
    await waitUntil(`port ${this.#port} closing`, 10 * second, async () => !(await isListening(this.#port)));
  }

  /** Told by the folder of data on their command line. */
  #servers(): number[] {
    return findProcesses((line) => line.includes(`${this.#data} `) && line.includes(this.#kind.serve('', 0).program));
  }
}

/** Runs a client program of a database. Rejects with what it complains about. */
export function runClient(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input = '',
): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = spawn(program, [...args], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    let complaint = '';
    client.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    client.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    client.once('error', reject);
    client.once('close', (code) => {
      if (code === 0) resolve(output.trimEnd());
      else reject(new Error(`${program}: ${complaint.trim() || `exit code ${code}`}`));
    });
    client.stdin.on('error', () => undefined).end(input);
  });
}

function idsOf(user: string): { readonly uid: number; readonly gid: number } {
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout));
  if (!uid || !gid) throw new Error(`there is no user ${user}, whom root could run the server as`);
  return { uid, gid };
}

/** Whether everybody may enter the folder's parents. */
function reachable(folder: string): boolean {
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    if (existsSync(parent) && (statSync(parent).mode & 0o001) === 0) return false;
    if (parent === dirname(parent)) return true;
  }
}

function portFile(folder: string): string {
  return join(folder, 'port');
}

async function choosePort(folder: string): Promise<number> {
  const [port] = (await freePorts(folder, 1)) as [number];
  return port;
}
