/** A real Celery worker: examples/celery/tasks.py. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Mailbox } from 'wakame';
import { type PeerName, peerPython } from '../../scripts/lib/peers/index.ts';
import { root } from '../../scripts/setup.mjs';

/** Where the application of examples/celery is. */
export const celeryFolder = join(root, 'examples', 'celery');

/** Where Python connects. */
export interface PythonEnd {
  readonly pythonUrl: string;
  readonly pythonOptions: Readonly<Record<string, unknown>>;
}

/** Tells that application where its broker is. */
export function celeryEnvironment({ pythonUrl, pythonOptions }: PythonEnd): Readonly<Record<string, string>> {
  return {
    ...{ PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' },
    ...{ CELERY_BROKER_URL: pythonUrl, CELERY_BROKER_TRANSPORT_OPTIONS: JSON.stringify(pythonOptions) },
  };
}

export class CeleryWorker {
  /** Its name: `worker-…@interop`. */
  readonly hostname: string;
  readonly queue: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #log = '';

  constructor(peer: PeerName, end: PythonEnd, queue: string, settings: Readonly<Record<string, string>> = {}) {
    this.queue = queue;
    this.hostname = `worker-${randomUUID().slice(0, 8)}@interop`;
    // Its other pools lose an event now and then, when two threads touch the buffer of events at once.
    const options = ['--hostname', this.hostname, '--pool', 'solo', '--task-events'];
    const quiet = ['--without-gossip', '--without-mingle', '--loglevel', 'INFO'];
    this.#child = spawn(peerPython(peer), ['-m', 'celery', '-A', 'tasks', 'worker', ...options, ...quiet], {
      cwd: celeryFolder,
      env: { ...process.env, ...celeryEnvironment(end), CELERY_QUEUE: queue, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log = (this.#log + text).slice(-20_000);
      });
    }
    this.#exited = once(this.#child, 'exit');
  }

  /** What it wrote. */
  get log(): string {
    return this.#log;
  }

  /** Resolves when it answers. */
  async ready(workers: Mailbox): Promise<void> {
    const deadline = performance.now() + 40_000;
    while (this.#child.exitCode === null && performance.now() < deadline) {
      const replies = await workers.call([this.hostname], 'ping', {}, { timeout: 500 });
      if (replies.length > 0) return;
      await sleep(50);
    }
    throw new Error(`the Celery worker did not start\n${this.#log}`);
  }

  /** Its exit code, once it has ended. */
  async exited(): Promise<number | null> {
    await this.#exited;
    return this.#child.exitCode;
  }

  /** Ends it, however it is. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
