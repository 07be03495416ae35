import type { AttachResult, ConsumerRecord, QueueOptions } from '../virtual/driver.js';
import { statOf, touched } from './files.js';
import type { Holders } from './holders.js';
import type { Locks } from './locks.js';
import type { Records } from './records.js';

export interface Attached {
  readonly holder: string;
  readonly tag: string;
  readonly exclusive: boolean;
}

/** What is described of a queue. */
export interface QueueFile {
  readonly name: string;
  /** Undefined: nobody declared it through us. */
  readonly options?: QueueOptions | undefined;
  /** In the order in which they came. */
  readonly consumers: readonly Attached[];
}

/** What goes with a queue: its messages and bindings. For who has the lock. */
export type Clear = (queue: string) => Promise<void>;

/**
 * Queues as they were declared, and who consumes from them. The time of a queue's file is when it was last used, where that matters (`expires`).
 * A queue that nobody declared exists as well: Python's have no trace but their messages and bindings.
 */
export class Queues {
  readonly #records: Records<QueueFile>;
  readonly #holders: Holders;
  readonly #locks: Locks;
  readonly #clear: Clear;

  constructor(records: Records<QueueFile>, holders: Holders, locks: Locks, clear: Clear) {
    this.#records = records;
    this.#holders = holders;
    this.#locks = locks;
    this.#clear = clear;
  }

  /** What is described of it. `over`: its time has run out, and it will be deleted. */
  get(name: string): QueueFile | 'over' | undefined {
    const queue = this.#records.glance(name);
    return queue !== undefined && this.#isOver(queue) ? 'over' : queue;
  }

  names(): readonly string[] {
    return this.#records.all().flatMap((queue) => (this.#isOver(queue) ? [] : queue.name));
  }

  async declare(queues: readonly { readonly name: string; readonly options: QueueOptions }[]): Promise<void> {
    await this.#locks.alone(async () => {
      for (const { name, options } of queues) {
        let queue = this.#records.read(name);
        if (queue !== undefined && this.#isOver(queue)) {
          await this.delete(queue);
          queue = undefined;
        }
        if (queue?.options === undefined) {
          await this.#records.write({ name, options, consumers: queue?.consumers ?? [] });
        } else this.used(queue);
      }
    });
  }

  /** Its time begins anew. */
  used({ name, options }: QueueFile): void {
    if (options?.expires !== undefined) touched(this.#records.path(name));
  }

  /** For who has the lock. */
  async delete({ name }: QueueFile): Promise<void> {
    this.#records.remove(name);
    await this.#clear(name);
  }

  /** @param exists Whether there is such a queue, though it was never declared through us. */
  attach(
    holder: string,
    consumers: readonly ConsumerRecord[],
    exists: (queue: string) => Promise<boolean>,
  ): Promise<readonly AttachResult[]> {
    return this.#locks.alone(async () => {
      const results: AttachResult[] = [];
      for (const consumer of consumers) results.push(await this.#attach(holder, consumer, exists));
      return results;
    });
  }

  /** For each: how many its queue still has. */
  detach(holder: string, consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    return this.#locks.alone(async () => {
      const results: number[] = [];
      for (const { queue: name, tag } of consumers) {
        const queue = this.#records.read(name);
        results.push(
          queue === undefined ? 0 : await this.#without(queue, (one) => isOf(one, holder) && one.tag === tag),
        );
      }
      return results;
    });
  }

  /** The holder is gone, and with it its consumers and what is exclusive to it. Gives the queues that went. */
  bury(holder: string): Promise<readonly string[]> {
    return this.#locks.alone(() => this.#bury(holder));
  }

  /** Buries those that gave no sign of life, and deletes queues that nobody used for so long. Gives the queues that went. */
  async sweep(limit: number): Promise<readonly string[]> {
    const dead = this.#holders.dead();
    const over = this.#over(limit);
    if (dead.length === 0 && over.length === 0) return [];
    return this.#locks.alone(async () => {
      const gone: string[] = [];
      // Somebody else may have done it while the lock was waited for.
      for (const holder of this.#holders.dead()) gone.push(...(await this.#bury(holder)));
      for (const queue of this.#over(limit)) {
        await this.delete(queue);
        gone.push(queue.name);
      }
      return gone;
    });
  }

  #over(limit: number): readonly QueueFile[] {
    return this.#records
      .all()
      .filter((queue) => this.#isOver(queue))
      .slice(0, limit);
  }

  async #bury(holder: string): Promise<readonly string[]> {
    const gone: string[] = [];
    for (const queue of this.#records.all()) {
      const isExclusive = queue.options?.exclusiveTo === holder;
      if (isExclusive) await this.delete(queue);
      else if (queue.consumers.some((one) => isOf(one, holder))) await this.#without(queue, (one) => isOf(one, holder));
      if (isExclusive) gone.push(queue.name);
    }
    this.#holders.die(holder);
    return gone;
  }

  async #attach(
    holder: string,
    { queue: name, tag, exclusive }: ConsumerRecord,
    exists: (queue: string) => Promise<boolean>,
  ): Promise<AttachResult> {
    let queue = this.#records.read(name);
    if (queue !== undefined && this.#isOver(queue)) return 'missing';
    if (queue === undefined && !(await exists(name))) return 'missing';
    queue ??= { name, consumers: [] };
    const { options, consumers } = queue;
    if (options?.exclusiveTo !== undefined && options.exclusiveTo !== holder) return 'locked';
    if (consumers.length > 0 && (exclusive || consumers.some((one) => one.exclusive))) return 'refused';
    await this.#records.write({ ...queue, consumers: [...consumers, { holder, tag, exclusive }] });
    return consumers.length + 1;
  }

  /** Takes consumers away. With the last one goes the queue, or its time begins. Gives how many are left. */
  async #without(queue: QueueFile, isGone: (consumer: Attached) => boolean): Promise<number> {
    const consumers = queue.consumers.filter((one) => !isGone(one));
    if (consumers.length === queue.consumers.length) return consumers.length;
    const { autoDelete } = queue.options ?? {};
    if (consumers.length === 0 && autoDelete === true) await this.delete(queue);
    else if (consumers.length === 0 && queue.options === undefined) this.#records.remove(queue.name);
    else await this.#records.write({ ...queue, consumers });
    return consumers.length;
  }

  /** Whether nobody used it for the time that it has. */
  #isOver({ name, options, consumers }: QueueFile): boolean {
    if (options?.expires === undefined || consumers.length > 0) return false;
    const found = statOf(this.#records.path(name));
    return found !== undefined && Date.now() - found.mtimeMs >= options.expires;
  }
}

function isOf(consumer: Attached, holder: string): boolean {
  return consumer.holder === holder;
}
