import { noop } from '../../util/noop.js';
import type { QueueHints } from '../virtual/driver.js';
import { Watchers } from './watchers.js';

/** Who watches which queues of a broker, by name: a queue may be watched that does not exist. */
export class Watching {
  readonly #exists: (queue: string) => boolean;
  readonly #watchers = new Map<string, Watchers>();
  readonly #watched = new Map<object, ReadonlySet<string>>();

  /** @param exists Whether there is a queue of that name: it has its watchers at hand, even when there are none. */
  constructor(exists: (queue: string) => boolean) {
    this.#exists = exists;
  }

  /** Those who watch a queue. */
  of(queue: string): Watchers {
    let watchers = this.#watchers.get(queue);
    if (watchers === undefined) {
      watchers = new Watchers(queue);
      this.#watchers.set(queue, watchers);
    }
    return watchers;
  }

  /** Makes these the queues that the session watches. Gives those that it did not watch before. */
  set(session: object, queues: ReadonlySet<string>, hints: QueueHints): string[] {
    const former = this.#watched.get(session) ?? new Set();
    for (const queue of former) {
      if (queues.has(queue)) continue;
      this.of(queue).remove(session);
      this.forget(queue);
    }
    const added = [...queues].filter((queue) => !former.has(queue));
    for (const queue of added) this.of(queue).add(session, hints);
    if (queues.size > 0) this.#watched.set(session, queues);
    else this.#watched.delete(session);
    return added;
  }

  /** The session watches nothing any more. */
  end(session: object): void {
    this.set(session, new Set(), { ready: noop, gone: noop });
  }

  /** What was kept for a queue is not needed if it is gone and nobody watches it. */
  forget(queue: string): void {
    if (this.#watchers.get(queue)?.size === 0 && !this.#exists(queue)) this.#watchers.delete(queue);
  }
}
