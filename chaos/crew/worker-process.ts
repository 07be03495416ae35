/** One life of a worker, as its parent sees it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/setup.mjs';
import type { Ledger } from '../ledger/ledger.ts';
import { within } from '../within.ts';
import type { Place } from './place.ts';

/** Milliseconds that a worker told to finish may take: publishes have 30 s to find their end, closing 10 s. */
const LONGEST_FINISH = 60_000;
/** From a deadly signal to the end. */
const LONGEST_DEATH = 20_000;

export class WorkerProcess {
  readonly by: string;
  /** Resolves when the process is gone and that is written down. */
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #ledger: Ledger;
  #isOver = false;

  /** @param folder Gets a file with what the worker says. */
  constructor(place: Place, by: string, task: object, ledger: Ledger, folder: string) {
    this.by = by;
    this.#ledger = ledger;
    const { role, language } = place;
    ledger.write({ event: 'started', by, role, language });
    const [command, ...args] = place.command;
    const output = openSync(join(folder, `${by}.txt`), 'a');
    // Its standard input is how it is told to finish; the log is descriptor 3.
    const stdio = ['pipe' as const, output, output, ledger.descriptor];
    this.#process = spawn(command, [...args, JSON.stringify({ by, ...task })], { cwd: root, stdio });
    closeSync(output);
    this.#process.stdin?.on('error', () => {}); // It may be gone already.
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: string | null) => {
        if (this.#isOver) return;
        this.#isOver = true;
        ledger.write({ event: 'ended', by, code, signal });
        resolve();
      };
      this.#process.once('error', (error) => end(null, error.message));
      this.#process.once('exit', end);
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  async kill(): Promise<void> {
    if (this.#isOver) return;
    this.#ledger.write({ event: 'kill', by: this.by });
    await this.#end('SIGKILL');
  }

  /** Holds the process, or lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    if (!this.#isOver) this.#process.kill(name);
  }

  /** Tells it to finish, and waits for its end. One that does not end is ended, which the account will tell. */
  async finish(): Promise<void> {
    if (this.#isOver) return;
    this.#ledger.write({ event: 'told', by: this.by });
    this.#process.stdin?.end();
    await within(this.by, LONGEST_FINISH, this.ended).catch(() => this.#end('SIGABRT'));
  }

  /** Whatever happened, nothing may stay behind. */
  async abandon(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: 'SIGKILL' | 'SIGABRT'): Promise<void> {
    this.#process.kill(signal);
    await within(`the end of ${this.by} after ${signal}`, LONGEST_DEATH, this.ended);
  }
}
