import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deferred } from '../util/deferred.js';
import type { ChildTask } from './child.js';
import type { ConformanceContext } from './context.js';
import { ignore } from './support.js';

/** How a child ended. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A Node process that does one task, and tells of it. */
export class Child {
  readonly exited: Promise<ChildEnd>;
  readonly #process: ChildProcess;
  readonly #reports = new Map<string, ReturnType<typeof deferred<unknown>>>();
  #output = '';

  constructor(process: ChildProcess) {
    this.#process = process;
    process.stdout?.on('data', (data) => this.#write(data));
    process.stderr?.on('data', (data) => this.#write(data));
    process.on('message', ([name, value]: [string, unknown]) => this.#report(name).resolve(value));
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        resolve({ code, signal });
        for (const [name, report] of this.#reports) {
          report.reject(new Error(`the child ended (${code ?? signal}) before '${name}': ${this.#output}`));
        }
      });
    });
  }

  /** What the child said first under this name. Rejects when it ended without. */
  report(name: string): Promise<unknown> {
    return this.#report(name).promise;
  }

  send(word: string): void {
    this.#process.send(word);
  }

  /** Everything that it wrote to its standard output and error. */
  output(): string {
    return this.#output;
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  #report(name: string): ReturnType<typeof deferred<unknown>> {
    let report = this.#reports.get(name);
    if (report === undefined) {
      report = deferred<unknown>();
      report.promise.catch(ignore); // Nobody need be waiting for it.
      this.#reports.set(name, report);
    }
    return report;
  }

  #write(data: Buffer): void {
    if (this.#output.length < 10_000) this.#output += data.toString();
  }
}

/** Starts a process for a task; it is killed at the end of the case if it still runs. */
export function startChild(t: ConformanceContext, task: Omit<ChildTask, 'url' | 'connection'>): Child {
  const { url = t.options.url, imports = [], execArgv = [] } = t.processes;
  // As JavaScript when installed, as TypeScript when this very file is run from its sources.
  const script = new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url);
  const whole: ChildTask = { ...task, url, connection: t.options.connection };
  const child = new Child(
    fork(fileURLToPath(script), [JSON.stringify(whole)], {
      execArgv: [...execArgv, ...imports.flatMap((module) => ['--import', module])],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    }),
  );
  t.onEnd(async () => {
    child.kill();
    await child.exited;
  });
  return child;
}
