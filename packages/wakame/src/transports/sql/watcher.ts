import { LONGEST_TIMER } from '../../util/timer.js';
import type { QueueHints } from '../virtual/driver.js';
import type { Look } from './operations/hints.js';

/** Milliseconds until the next look while a queue gives all that it is asked for. */
const AT_EASE = 25;

/** A queue that is watched. */
interface Watched {
  /** It was told of, and nobody came to take since. */
  told: boolean;
  /** Something happened to it since it was told of. */
  changed: boolean;
  /** Undefined: it does not exist, as far as is known. */
  id: number | undefined;
}

export interface WatcherOptions {
  readonly pace: { readonly shortest: number; readonly longest: number };
  readonly look: (queues: readonly string[]) => Promise<Look>;
  /** Whether others changed something; undefined: that takes a look. */
  readonly changed: (() => boolean) | undefined;
  /** There is something to sweep. */
  readonly due: () => void;
}

/**
 * Finds out which of the queues watched have something, and tells each once until it is taken from. It looks when this process changed
 * something, when it is told by another one, when a time stored has come, and else at a pace: soon after something happened, and less and less often
 * when nothing does.
 */
export class Watcher {
  readonly #options: WatcherOptions;
  readonly #watched = new Map<string, Watched>();
  #hints: QueueHints | undefined;
  #interval: number;
  #tick: NodeJS.Timeout | undefined;
  /** For the next time stored. */
  #alarm: NodeJS.Timeout | undefined;
  /** For a look that can wait. */
  #later: NodeJS.Timeout | undefined;
  #looking = false;
  #again = false;
  #stopped = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#interval = options.pace.shortest;
  }

  /** Makes these the queues watched. */
  set(queues: readonly string[], hints: QueueHints): void {
    this.#hints = hints;
    const wanted = new Set(queues);
    for (const queue of this.#watched.keys()) if (!wanted.has(queue)) this.#watched.delete(queue);
    for (const queue of wanted) {
      if (!this.#watched.has(queue)) this.#watched.set(queue, { told: false, changed: false, id: undefined });
    }
    if (this.#watched.size === 0) return this.#pause();
    this.look();
    this.#interval = this.#options.pace.shortest;
    this.#scheduleTick();
  }

  /**
   * Somebody took from these queues.
   *
   * @param got `all`: as much as was asked for. Whoever takes goes on by itself then, and to look after each take would double the work.
   */
  taken(queues: Iterable<string>, got: 'nothing' | 'some' | 'all'): void {
    let changed = false;
    for (const queue of queues) {
      const watched = this.#watched.get(queue);
      if (watched === undefined) continue;
      changed ||= watched.changed;
      watched.told = false;
      watched.changed = false;
    }
    if (changed || got === 'some') this.look();
    else if (got === 'all') this.#lookLater();
  }

  /** These queues changed; undefined: any may have. */
  nudge(ids: ReadonlySet<number> | undefined): void {
    let concerns = ids === undefined;
    for (const watched of this.#watched.values()) {
      const { id, told } = watched;
      if (id !== undefined && ids?.has(id) === false) continue;
      if (told) watched.changed = true;
      else concerns = true;
    }
    if (concerns) this.look();
  }

  /** Looks soon. */
  look(): void {
    this.#again = true;
    if (this.#looking || this.#stopped || this.#watched.size === 0) return;
    this.#looking = true;
    queueMicrotask(() => void this.#look());
  }

  #lookLater(): void {
    if (this.#later !== undefined || this.#stopped || this.#watched.size === 0) return;
    this.#later = setTimeout(() => {
      this.#later = undefined;
      this.look();
    }, AT_EASE);
  }

  stop(): void {
    this.#stopped = true;
    this.#pause();
    this.#watched.clear();
  }

  #pause(): void {
    clearTimeout(this.#tick);
    clearTimeout(this.#alarm);
    clearTimeout(this.#later);
    this.#tick = undefined;
    this.#alarm = undefined;
    this.#later = undefined;
  }

  async #look(): Promise<void> {
    try {
      while (this.#again && !this.#stopped && this.#watched.size > 0) {
        this.#again = false;
        this.#see(await this.#options.look([...this.#watched.keys()]));
      }
    } catch {
      // A loss is told by itself; and what was not seen now is with the next look.
    }
    this.#looking = false;
  }

  #see({ ready, existing, due, next }: Look): void {
    if (this.#stopped) return;
    for (const [queue, watched] of [...this.#watched]) {
      const id = existing.get(queue);
      const isGone = id !== watched.id && watched.id !== undefined;
      watched.id = id;
      if (isGone) {
        watched.told = false;
        watched.changed = false;
        this.#hints?.gone(queue);
      }
      if (watched.told || !ready.has(queue)) continue;
      watched.told = true;
      this.#interval = this.#options.pace.shortest;
      this.#hints?.ready(queue);
    }
    if (due) this.#options.due();
    this.#setAlarm(next);
  }

  #setAlarm(next: number | undefined): void {
    clearTimeout(this.#alarm);
    this.#alarm = undefined;
    if (next === undefined || this.#stopped || this.#watched.size === 0) return;
    this.#alarm = setTimeout(() => this.look(), Math.min(LONGEST_TIMER, Math.ceil(next) + 1));
  }

  /** As long as there is somebody to tell, this keeps the process alive: no socket does. */
  #scheduleTick(): void {
    if (this.#tick !== undefined || this.#stopped) return;
    this.#tick = setTimeout(() => {
      this.#tick = undefined;
      const { changed, pace } = this.#options;
      this.#interval = Math.min(pace.longest, this.#interval * 1.5);
      if (changed === undefined || changed()) {
        if (changed !== undefined) this.#interval = pace.shortest;
        this.look();
      }
      this.#scheduleTick();
    }, this.#interval);
  }
}
