import { setImmediate as turn } from 'node:timers/promises';
import { RecoverableConnectionError } from '../../errors.js';
import { sleep } from '../../util/abort.js';
import { jitteredBackoff } from '../../util/backoff.js';
import { type Deferred, deferred } from '../../util/deferred.js';
import type { Mode, Session } from './backend.js';
import type { Effects } from './context.js';
import type { ErrorReader } from './dialect.js';
import type { Steps } from './steps.js';

/** Operations that are one transaction at most: it must not take long. */
const MOST_TOGETHER = 64;

/** `take` writes, too, and waits for no row that others hold. `alone` is done in no transaction, and with nothing else. */
export type JobMode = Mode | 'take' | 'alone';

interface Job {
  readonly mode: JobMode;
  readonly work: () => Steps<unknown>;
  readonly answer: Deferred<unknown>;
  /** Undefined: it is done by itself. */
  readonly kind: MergedKind | undefined;
}

/** Items that one job is to do together, of several callers: until it is run, or something else is to be written. */
interface Merged {
  readonly items: unknown[];
  readonly answer: Promise<readonly unknown[]>;
}

/** What may be done together with others of its kind: the order between the kinds does not matter. */
export type MergedKind = 'send' | 'settle';

/** Items of one job. */
const MOST_MERGED = 1000;

export interface ExecutorOptions {
  readonly session: Session;
  readonly errors: ErrorReader;
  /**
   * Others lock single rows, in an order of their own: whoever holds what it took must not wait for them. A Kombu that looks for the next message has
   * locked those before it, taken or not, and waits for the one that we hold: if we waited for one of the former, both would wait for ever.
   */
  readonly takesLast: boolean;
  readonly effects: Effects;
  /** Milliseconds that others may be in the way. */
  readonly timeout: number;
  /** The last thing of a transaction that writes: tells other processes of its effects. */
  readonly announce: (effects: Effects) => Steps<void>;
  /** A transaction was committed, and had these effects. */
  readonly committed: (effects: Effects) => void;
  /** The connection is of no more use. */
  readonly lost: (error: unknown) => void;
}

/**
 * Runs operations one after the other. Those that wait together become one transaction, since it is the commit that costs: if one of them
 * fails, it is rolled back and each is run by itself. While others are in the way it tries again after pauses that are partly chance.
 *
 * ```
 *   submit ─▶ jobs ─▶ [ group ] ─▶ one transaction ─▶ answers
 *                         ▲   └ busy: pause ┐
 *                         └─────────────────┘
 * ```
 */
export class Executor {
  readonly #options: ExecutorOptions;
  #jobs: Job[] = [];
  readonly #merged = new Map<MergedKind, Merged>();
  #state: 'idle' | 'running' | 'ended' = 'idle';
  #ended: unknown;
  #idle: Deferred<void> | undefined;

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  submit<T>(mode: JobMode, work: () => Steps<T>): Promise<T> {
    // What is written after this is done after this.
    if (mode !== 'read') this.#merged.clear();
    return this.#submit(mode, work, undefined);
  }

  /**
   * Does something with items, of which each has a result: together with what others want done of this kind in the same turn. If that fails,
   * it is tried with these items alone.
   */
  async merge<I, R>(
    kind: MergedKind,
    items: readonly I[],
    work: (items: readonly I[]) => Steps<readonly R[]>,
  ): Promise<readonly R[]> {
    let merged = this.#merged.get(kind);
    if (merged === undefined || merged.items.length >= MOST_MERGED) {
      const all: I[] = [];
      const answer = this.#submit(
        'write',
        () => {
          if (this.#merged.get(kind)?.items === all) this.#merged.delete(kind);
          return work(all);
        },
        kind,
      );
      merged = { items: all, answer };
      this.#merged.set(kind, merged);
    }
    const start = merged.items.length;
    merged.items.push(...items);
    try {
      return (await merged.answer).slice(start, start + items.length) as R[];
    } catch (error) {
      if (merged.items.length === items.length) throw error;
      return this.#submit('write', () => work(items), kind);
    }
  }

  #submit<T>(mode: JobMode, work: () => Steps<T>, kind: MergedKind | undefined): Promise<T> {
    if (this.#state === 'ended') return Promise.reject(this.#ended);
    const answer = deferred<T>();
    this.#jobs.push({ mode, work, answer: answer as Deferred<unknown>, kind });
    if (this.#state === 'idle') {
      this.#state = 'running';
      void this.#run();
    }
    return answer.promise;
  }

  /** Resolves when nothing is under way. */
  async quiet(): Promise<void> {
    while (this.#state === 'running') {
      this.#idle ??= deferred();
      await this.#idle.promise;
    }
  }

  /** Nothing is run any more: whatever waits, and what is submitted later, rejects with this. */
  end(error: unknown): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#ended = error;
    for (const { answer } of this.#jobs.splice(0)) answer.reject(error);
    this.#idle?.resolve();
  }

  async #run(): Promise<void> {
    while (this.#state === 'running' && this.#jobs.length > 0) {
      // What is submitted in the same turn of the event loop, by all that the answers to the last group set going, comes along; and a database within
      // this process leaves time for everything else.
      await turn();
      const group = this.#nextGroup();
      await this.#runGroup(group);
    }
    if (this.#state === 'running') this.#state = 'idle';
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  /** Reads are not made to wait for a lock that only writing needs; those after a write come along with it. */
  #nextGroup(): Job[] {
    const first = this.#jobs[0]?.mode;
    if (first === 'alone') return this.#jobs.splice(0, 1);
    const writes = first !== 'read';
    let took = false;
    let count = 0;
    for (const { mode } of this.#jobs.slice(0, MOST_TOGETHER)) {
      const isLate = mode === 'write' && took && this.#options.takesLast;
      const belongs = mode === 'read' || (writes && mode !== 'alone' && !isLate);
      if (!belongs) break;
      took ||= mode === 'take';
      count++;
    }
    return settledFirst(this.#jobs.splice(0, count));
  }

  async #runGroup(group: readonly Job[]): Promise<void> {
    const { errors, lost, timeout } = this.#options;
    const patience = performance.now() + timeout;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#tryGroup(group);
      } catch (error) {
        const failure = errors.failureOf(error);
        if (failure === 'busy' && performance.now() < patience && this.#state !== 'ended') {
          await sleep(jitteredBackoff(attempt, { start: 1, max: 25 }));
          continue;
        }
        if (failure === 'failed' && group.length > 1) {
          for (const job of group) await this.#runGroup([job]);
          return;
        }
        const reason = failure === 'busy' ? tooBusy(timeout, error) : error;
        for (const { answer } of group) answer.reject(reason);
        if (failure !== 'failed') {
          this.end(reason);
          lost(reason);
        }
        return;
      }
    }
  }

  async #tryGroup(group: readonly Job[]): Promise<void> {
    if (this.#state === 'ended') throw this.#ended;
    const { session, effects, announce, committed } = this.#options;
    effects.clear();
    const [head] = group as [Job];
    const running = session.transact(head.mode === 'write' || head.mode === 'take' ? 'write' : 'read', function* () {
      const results: unknown[] = [];
      for (const { work } of group) results.push(yield* work());
      if (effects.any) yield* announce(effects);
      return results;
    });
    const results = running instanceof Promise ? await running : running;
    group.forEach(({ answer }, i) => {
      answer.resolve(results[i]);
    });
    if (effects.any) committed(effects);
  }
}

/**
 * What is settled is older than what is sent, and a Kombu on MySQL, which locks all that it reads in the order of the messages, waits for both until they are committed: who
 * had sent, and then waited for what that Kombu locked before, would be waited for in turn.
 */
function settledFirst(group: readonly Job[]): Job[] {
  const ordered: Job[] = [];
  for (const job of group) {
    let place = ordered.length;
    const mayPass = ({ kind, mode }: Job) => kind === 'send' || mode === 'read';
    if (job.kind === 'settle') while (place > 0 && mayPass(ordered[place - 1] as Job)) place--;
    ordered.splice(place, 0, job);
  }
  return ordered;
}

function tooBusy(timeout: number, cause: unknown): Error {
  return new RecoverableConnectionError(`the database was locked by others for more than ${timeout} ms`, { cause });
}
