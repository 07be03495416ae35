import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import type { QueueHints } from '../virtual/driver.js';
import { statOf } from './files.js';
import type { Layout } from './layout.js';
import { parseLater, parseName, recordFile } from './names.js';

export interface WatcherOptions {
  readonly layout: Layout;
  /** Whether any of these has something now: a look at the folder. */
  readonly look: (queues: ReadonlySet<string>) => Promise<readonly string[]>;
  /** A message is to be moved to its queue at that time. */
  readonly waits: (dueAt: number) => void;
  /** The system does not tell of changes. What is missed is found by asking now and then. */
  readonly problem: (error: unknown) => void;
}

/**
 * Tells of queues that may have something, when a file appears, each once until it is taken from. The system says only that a name changed: whether
 * it appeared or went, a look at the file tells.
 */
export class Watcher {
  readonly #options: WatcherOptions;
  /** Queues watched: whether they have been told of. */
  readonly #told = new Map<string, boolean>();
  /** Files in which queues watched are described. */
  readonly #records = new Map<string, string>();
  #hints: QueueHints | undefined;
  #system: readonly FSWatcher[] = [];
  #stopped = false;
  /** The system cannot tell of changes here. */
  #failed = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
  }

  /** Makes these the queues watched. While there are any, the process stays alive. */
  set(queues: readonly string[], hints: QueueHints): void {
    this.#hints = hints;
    const wanted = new Set(queues);
    const added = new Set(queues.filter((queue) => !this.#told.has(queue)));
    for (const queue of this.#told.keys()) if (!wanted.has(queue)) this.#told.delete(queue);
    for (const queue of added) this.#told.set(queue, false);
    this.#records.clear();
    for (const queue of wanted) this.#records.set(recordFile(queue), queue);
    if (wanted.size === 0) this.#ignore();
    else if (this.#system.length === 0 && !this.#failed) this.#listen();
    if (added.size > 0) void this.#look(added);
  }

  /** The queue may have something. */
  nudge(queue: string): void {
    if (this.#stopped || this.#told.get(queue) !== false) return;
    this.#told.set(queue, true);
    this.#hints?.ready(queue);
  }

  /** Somebody here is about to take from these queues: what comes from now on is worth a hint. */
  taking(queues: readonly string[]): void {
    for (const queue of queues) if (this.#told.has(queue)) this.#told.set(queue, false);
  }

  gone(queue: string): void {
    if (this.#told.has(queue)) this.#hints?.gone(queue);
  }

  stop(): void {
    this.#stopped = true;
    this.#told.clear();
    this.#records.clear();
    this.#ignore();
  }

  async #look(queues: ReadonlySet<string>): Promise<void> {
    try {
      for (const queue of await this.#options.look(queues)) this.nudge(queue);
    } catch {
      // A loss is told by itself; and what was not seen now is found by asking.
    }
  }

  #listen(): void {
    const { source, queues } = this.#options.layout;
    const listen = (folder: string, changed: (name: string) => void) => {
      const watcher = watch(folder, (_, name) => {
        if (name !== null && !this.#stopped) changed(name);
      });
      watcher.on('error', (error) => this.#fail(error));
      return watcher;
    };
    const system: FSWatcher[] = [];
    try {
      system.push(listen(source.ready, (name) => this.#messageChanged(name)));
      system.push(
        listen(source.later, (text) => {
          const waiting = parseLater(text);
          if (waiting !== undefined && this.#told.has(waiting.message.queue)) this.#options.waits(waiting.dueAt);
        }),
      );
      system.push(listen(queues, (file) => this.#recordChanged(file)));
      this.#system = system;
    } catch (error) {
      for (const watcher of system) watcher.close();
      this.#fail(error);
    }
  }

  #ignore(): void {
    for (const watcher of this.#system) watcher.close();
    this.#system = [];
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#ignore();
    if (!this.#stopped) this.#options.problem(error);
  }

  #messageChanged(file: string): void {
    const queue = parseName(file)?.queue;
    if (queue === undefined || this.#told.get(queue) !== false) return;
    if (statOf(join(this.#options.layout.source.ready, file)) !== undefined) this.nudge(queue);
  }

  #recordChanged(file: string): void {
    const queue = this.#records.get(file);
    if (queue === undefined) return;
    if (statOf(join(this.#options.layout.queues, file)) === undefined) this.gone(queue);
  }
}
