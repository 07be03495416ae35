/** The demo's workers: in this process over `memory://`, each in a process of its own otherwise. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Connection } from 'wakame';
import { startWorker } from './worker.ts';

export interface Worker {
  readonly name: string;
  /** Ends it as a crash would, in the middle of its work. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

class LocalWorker implements Worker {
  readonly name: string;
  readonly #connection: Connection;

  constructor(name: string, connection: Connection) {
    this.name = name;
    this.#connection = connection;
  }

  static async start(url: string, name: string): Promise<Worker> {
    const connection = new Connection(url);
    await startWorker(connection, name);
    return new LocalWorker(name, connection);
  }

  /** Within one process a crash can only be played: the connection goes at once, whatever is in hand. */
  async kill(): Promise<void> {
    await this.#connection.close({ timeout: 0 });
  }

  async stop(): Promise<void> {
    await this.#connection.close();
  }
}

class WorkerProcess implements Worker {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
    this.#exited = once(child, 'exit');
  }

  static async start(url: string, name: string): Promise<Worker> {
    const child = fork(fileURLToPath(new URL('worker-process.ts', import.meta.url)), [url, name]);
    const worker = new WorkerProcess(name, child);
    const started = await Promise.race([once(child, 'message').then(() => true), worker.#exited.then(() => false)]);
    if (!started) throw new Error(`${name} ended before it was ready`);
    return worker;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
  }
}

export function startCrewMember(url: string, name: string): Promise<Worker> {
  return url.startsWith('memory:') ? LocalWorker.start(url, name) : WorkerProcess.start(url, name);
}
