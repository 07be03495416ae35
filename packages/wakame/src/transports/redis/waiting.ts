import { LONGEST_TIMER } from '../../util/timer.js';
import type { QueueHints } from '../virtual/driver.js';
import { listOf } from './options.js';

/** From so many clients on, only some of those that wait for a queue are told by the server: as in the scripts. */
const HERD = 4;
/** How long a client may take to come for messages that it was told of, before another is woken: milliseconds. */
const PATIENCE = 100;

/**
 * What is known of a queue that is watched.
 *
 * ```
 *            look: nothing there              the server tells of a change
 *   unknown ────────────────────▶ armed ─────────────────────────────────▶ told ─▶ take ─▶ …
 *      └────── messages: told ◀───────────────────────────────────────────┘
 * ```
 */
interface Watched {
  /** To be looked at with the next batch. */
  pending: boolean;
  /** How many clients consume it, when it was last taken from. */
  takers: number | undefined;
  /** Set while a hint was given that somebody else will get if nobody comes. */
  pass: NodeJS.Timeout | undefined;
  /** A hint was given, and no take has answered since: whoever takes looks again. */
  told: boolean;
  timer: NodeJS.Timeout | undefined;
}

const newlyWatched = (): Watched => ({
  pending: true,
  takers: undefined,
  pass: undefined,
  told: false,
  timer: undefined,
});

function forget({ timer, pass }: Watched): void {
  clearTimeout(timer);
  clearTimeout(pass);
}

/** As far as is known: of a queue that was never taken from, the server has to say. */
function isHerd(watched: Watched | undefined): boolean {
  return watched !== undefined && (watched.takers === undefined || watched.takers > HERD);
}

/** What a take tells of a queue. */
export interface TakeNews {
  /** There are more messages. */
  readonly left: boolean;
  /** How many clients consume the queue. */
  readonly takers: number;
  /** Milliseconds until the next delayed message; -1: none. */
  readonly nextDelayed: number;
  /** 0: it is not declared. */
  readonly incarnation: number;
}

export interface WaitingOptions {
  /** For each: 1 if this client is to have itself told of messages, 0 if it is woken by others; and the incarnation of the queue. */
  readonly guard: (queues: readonly string[]) => Promise<readonly number[]>;
  /** Lets somebody else come for the messages of a queue. */
  readonly pass: (queue: string) => Promise<unknown>;
  /** Reads these keys of several queues; where there is tracking, the server tells of changes to them from then on. */
  readonly look: (keys: readonly string[]) => Promise<unknown>;
  readonly tracking: boolean;
  readonly steps: readonly number[];
  /** Milliseconds, where there is no tracking. */
  readonly pollInterval: number;
  readonly problem: (error: unknown) => void;
  readonly prefix: string;
  readonly separator: string;
}

/**
 * Waits for messages without taking any. A queue that has nothing is read once more, and the server asked to tell when what was read
 * changes: once, for nobody is told twice without having looked again. So an idle consumer costs no command at all, and a message pushed by
 * anybody is known of at once. Where many wait for one queue, two of them have themselves told, and whoever takes wakes as many others as
 * there are messages left. Where the server cannot tell, it is asked at intervals.
 */
export class Waiting {
  readonly #options: WaitingOptions;
  readonly #watched = new Map<string, Watched>();
  /** Which incarnation of a declared queue was last seen. */
  readonly #incarnations = new Map<string, number>();
  #hints: QueueHints | undefined;
  #scheduled = false;
  #poll: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  /** Makes these the queues watched. Resolves when those that are new were looked at. */
  async watch(queues: readonly string[], hints: QueueHints): Promise<void> {
    this.#hints = hints;
    const wanted = new Set(queues);
    for (const [queue, watched] of this.#watched) {
      if (wanted.has(queue)) continue;
      forget(watched);
      this.#watched.delete(queue);
      this.#incarnations.delete(queue);
    }
    const added = [...wanted].filter((queue) => !this.#watched.has(queue));
    for (const queue of added) this.#watched.set(queue, newlyWatched());
    if (!this.#options.tracking) this.#startPolling();
    if (added.length > 0) await this.#look();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#poll);
    for (const watched of this.#watched.values()) forget(watched);
    this.#watched.clear();
    this.#incarnations.clear();
  }

  /** A queue is consumed that is to be watched soon: if it goes meanwhile, that is told; and if another one went before, its consumers hear. */
  stands(queue: string, incarnation: number): void {
    if (this.#watched.has(queue)) this.#isGone(queue, incarnation);
    else if (incarnation > 0) this.#incarnations.set(queue, incarnation);
  }

  taken(queue: string, { left, takers, nextDelayed, incarnation }: TakeNews): void {
    const watched = this.#watched.get(queue);
    if (watched === undefined || this.#isGone(queue, incarnation)) return;
    watched.told = false;
    watched.takers = takers;
    clearTimeout(watched.pass);
    if (left) return this.#ready(queue);
    this.#wakeIn(queue, watched, nextDelayed);
    this.#lookSoon(watched);
  }

  /** Another client woke this one. */
  woken(queue: string): void {
    this.#ready(queue);
  }

  /** Keys that changed; undefined: all may have. */
  changed(keys: readonly string[] | undefined): void {
    if (keys === undefined) {
      for (const watched of this.#watched.values()) this.#lookSoon(watched);
      return;
    }
    for (const key of keys) this.#keyChanged(key);
  }

  #keyChanged(key: string): void {
    const { prefix, separator } = this.#options;
    if (!key.startsWith(prefix)) return;
    const name = key.slice(prefix.length);
    const own = /^_wakame\.(queue|delayed)\.(.*)$/s.exec(name);
    const ownWatched = own === null ? undefined : this.#watched.get(own[2] as string);
    if (ownWatched !== undefined) return this.#lookSoon(ownWatched);
    const at = name.lastIndexOf(separator);
    const queue = at > 0 && !this.#watched.has(name) ? name.slice(0, at) : name;
    this.#ready(queue);
  }

  #ready(queue: string): void {
    const watched = this.#watched.get(queue);
    if (watched === undefined || watched.told) return;
    watched.told = true;
    this.#hints?.ready(queue);
    if (!this.#options.tracking || !isHerd(watched)) return;
    clearTimeout(watched.pass);
    watched.pass = setTimeout(() => {
      this.#options.pass(queue).catch((error: unknown) => this.#failed(error));
    }, PATIENCE);
    watched.pass.unref();
  }

  #wakeIn(queue: string, watched: Watched, ms: number): void {
    clearTimeout(watched.timer);
    watched.timer = undefined;
    if (ms < 0) return;
    watched.timer = setTimeout(() => this.#ready(queue), Math.min(Math.ceil(ms), LONGEST_TIMER));
    watched.timer.unref();
  }

  #lookSoon(watched: Watched): void {
    watched.pending = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#look().catch((error: unknown) => this.#failed(error));
    });
  }

  #failed(error: unknown): void {
    if (!this.#stopped) this.#options.problem(error);
  }

  async #look(): Promise<void> {
    if (this.#stopped) return;
    const queues: string[] = [];
    for (const [queue, watched] of this.#watched) {
      if (!watched.pending) continue;
      watched.pending = false;
      queues.push(queue);
    }
    const batches: Promise<void>[] = [];
    for (let at = 0; at < queues.length; at += 200) batches.push(this.#lookAt(queues.slice(at, at + 200)));
    await Promise.all(batches);
  }

  async #lookAt(pending: readonly string[]): Promise<void> {
    const queues = await this.#guarded(pending);
    if (queues.length === 0 || this.#stopped) return;
    const answer = (await this.#options.look(queues.flatMap((queue) => this.#keysOf(queue)))) as number[];
    queues.forEach((queue, i) => {
      const watched = this.#watched.get(queue);
      if (watched === undefined) return;
      const [hasMessages, incarnation, nextDelayed] = answer.slice(i * 3, i * 3 + 3) as [number, number, number];
      if (this.#isGone(queue, incarnation)) return;
      this.#wakeIn(queue, watched, nextDelayed);
      if (hasMessages === 1) this.#ready(queue);
    });
  }

  /** Tells of the end of the queue that was last seen under this name, also when there is another one already. */
  #isGone(queue: string, incarnation: number): boolean {
    const former = this.#incarnations.get(queue);
    if (incarnation > 0) this.#incarnations.set(queue, incarnation);
    else this.#incarnations.delete(queue);
    if (former === undefined || former === incarnation) return false;
    this.#hints?.gone(queue);
    return true;
  }

  /** Those that this client is to be told of by the server. Of the others it will be woken by those who are. */
  async #guarded(queues: readonly string[]): Promise<readonly string[]> {
    if (!this.#options.tracking) return queues;
    const herds = queues.filter((queue) => isHerd(this.#watched.get(queue)));
    if (herds.length === 0) return queues;
    const answer = await this.#options.guard(herds);
    const reserve = new Set<string>();
    herds.forEach((queue, i) => {
      const [told, incarnation = 0] = answer.slice(i * 2, i * 2 + 2);
      const gone = this.#watched.has(queue) && this.#isGone(queue, incarnation);
      if (told === 0 || gone) reserve.add(queue);
    });
    return queues.filter((queue) => !reserve.has(queue));
  }

  /** What says something about a queue: its lists, its options, its delayed messages. */
  #keysOf(queue: string): string[] {
    const { prefix, steps } = this.#options;
    const lists = steps.map((step) => listOf(this.#options, queue, step));
    return [...lists, `${prefix}_wakame.queue.${queue}`, `${prefix}_wakame.delayed.${queue}`];
  }

  #startPolling(): void {
    if (this.#poll !== undefined || this.#watched.size === 0 || this.#stopped) return;
    this.#poll = setTimeout(() => {
      this.#poll = undefined;
      for (const watched of this.#watched.values()) watched.pending = true;
      this.#look()
        .catch((error: unknown) => this.#failed(error))
        .finally(() => this.#startPolling());
    }, this.#options.pollInterval);
    this.#poll.unref();
  }
}
