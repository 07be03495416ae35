import { noop } from '../../../util/noop.js';
import type { Driver, QueueOptions } from '../driver.js';

/** How long a queue's options are believed, in milliseconds: another client may delete it and declare it with others. */
const BELIEVED = 1000;
const MOST_QUEUES = 10_000;

/** The options of queues, as far as a store tells them, read again after a second. Answers come in the order of the questions. */
export class KnownOptions {
  readonly #driver: Driver;
  readonly #known = new Map<string, { readonly options: QueueOptions | undefined; readonly until: number }>();
  /** The last question, until it is answered. */
  #asking: Promise<void> | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** For each name, in one question to the store for those that are not known. */
  of(queues: Iterable<string>): Promise<ReadonlyMap<string, QueueOptions | undefined>> {
    const before = this.#asking;
    const answer = before === undefined ? this.#ask(queues) : before.then(() => this.#ask(queues));
    const settled = answer.then(noop, noop);
    this.#asking = settled;
    void settled.then(() => {
      if (this.#asking === settled) this.#asking = undefined;
    });
    return answer;
  }

  async #ask(queues: Iterable<string>): Promise<ReadonlyMap<string, QueueOptions | undefined>> {
    const now = performance.now();
    const found = new Map<string, QueueOptions | undefined>();
    const unknown: string[] = [];
    for (const queue of new Set(queues)) {
      const known = this.#known.get(queue);
      if (known !== undefined && now < known.until) found.set(queue, known.options);
      else unknown.push(queue);
    }
    if (unknown.length === 0) return found;
    const stats = await this.#driver.stat(unknown);
    if (this.#known.size > MOST_QUEUES) this.#known.clear();
    unknown.forEach((queue, i) => {
      const options = stats[i]?.options;
      found.set(queue, options);
      this.#known.set(queue, { options, until: performance.now() + BELIEVED });
    });
    return found;
  }

  forget(queues: Iterable<string>): void {
    for (const queue of queues) this.#known.delete(queue);
  }
}
