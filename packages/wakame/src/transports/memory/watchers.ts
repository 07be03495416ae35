import type { QueueHints } from '../virtual/driver.js';

/** One who wants hints about a queue. `told`: it knows that there may be messages, and has not come for them yet. */
interface Watch {
  readonly hints: QueueHints;
  told: boolean;
}

/**
 * Those who want hints about one queue, by name: it may not exist yet. Each is told once and then again only after a take of
 * its own, so that a thousand messages sent in a row cost one hint.
 */
export class Watchers {
  readonly queue: string;
  readonly #watches = new Map<object, Watch>();
  #untold = 0;

  constructor(queue: string) {
    this.queue = queue;
  }

  get size(): number {
    return this.#watches.size;
  }

  add(session: object, hints: QueueHints): void {
    this.remove(session);
    this.#watches.set(session, { hints, told: false });
    this.#untold++;
  }

  remove(session: object): void {
    const watch = this.#watches.get(session);
    if (watch === undefined) return;
    if (!watch.told) this.#untold--;
    this.#watches.delete(session);
  }

  /** There are messages. */
  ready(): void {
    if (this.#untold === 0) return;
    for (const watch of this.#watches.values()) this.#tell(watch);
  }

  /** `session` has taken; `remaining`: there are messages still. */
  taken(session: object, remaining: boolean): void {
    const watch = this.#watches.get(session);
    if (watch === undefined) return;
    if (watch.told) {
      watch.told = false;
      this.#untold++;
    }
    if (remaining) this.#tell(watch);
  }

  gone(): void {
    for (const watch of this.#watches.values()) watch.hints.gone(this.queue);
  }

  /** How many others than `session` were told and may come for messages now. */
  rivals(session: object): number {
    if (this.#watches.size <= 1) return 0;
    const told = this.#watches.size - this.#untold;
    return this.#watches.get(session)?.told === true ? told - 1 : told;
  }

  #tell(watch: Watch): void {
    if (watch.told) return;
    watch.told = true;
    this.#untold--;
    watch.hints.ready(this.queue);
  }
}
