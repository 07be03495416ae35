import type { AttachResult, ConsumerRecord } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { toNumber } from '../dialect.js';
import { all, first, run, type Steps } from '../steps.js';
import type { Lifecycle } from './lifecycle.js';
import type { Queues } from './queues.js';

/** Who consumes from what, and who is alive. */
export class Consumers {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #lifecycle: Lifecycle;
  readonly #texts;

  constructor(context: Context, queues: Queues, lifecycle: Lifecycle) {
    this.#context = context;
    this.#queues = queues;
    this.#lifecycle = lifecycle;
    const { dialect: d, names, lease } = context;
    this.#texts = {
      live: `INSERT INTO ${names.holder} (id, name, until) VALUES (?, ?, ${d.now} + ${lease})
        ${d.onConflict('id', ['name', 'until'])}`,
      renew: `UPDATE ${names.holder} SET until = ${d.now} + ${lease} WHERE id = ?`,
      die: `DELETE FROM ${names.holder} WHERE id = ?`,
      dead: `SELECT id FROM ${names.holder} WHERE until <= ${d.now} LIMIT ?${d.skipLocked}`,
      of: `SELECT c.id, c.holder, c.exclusive FROM ${names.consumer} c WHERE c.queue_id = ?`,
      add: `INSERT INTO ${names.consumer} (queue_id, holder, tag, exclusive) VALUES (?, ?, ?, ?)`,
      remove: `DELETE FROM ${names.consumer} WHERE queue_id = ? AND holder = ? AND tag = ?`,
      ofHolder: `SELECT DISTINCT queue_id FROM ${names.consumer} WHERE holder = ?`,
      removeAll: `DELETE FROM ${names.consumer} WHERE holder = ?`,
      exclusive: `SELECT queue_id FROM ${names.queueOptions} WHERE exclusive_to = ?`,
      anyOf: `SELECT 1 AS found FROM ${names.consumer} WHERE queue_id = ? LIMIT 1`,
    };
  }

  *attach(consumers: readonly ConsumerRecord[]): Steps<readonly AttachResult[]> {
    const results: AttachResult[] = [];
    for (const consumer of consumers) results.push(yield* this.#attach(consumer));
    return results;
  }

  /** For each: how many consumers its queue still has. */
  *detach(consumers: readonly ConsumerRecord[]): Steps<readonly number[]> {
    const { holder, effects } = this.#context;
    const results: number[] = [];
    for (const { queue: name, tag } of consumers) {
      const queue = (yield* this.#queues.stored([name])).get(name);
      if (queue === undefined) {
        results.push(0);
        continue;
      }
      yield* this.#queues.lock(queue.id);
      const { changes } = yield* run(this.#texts.remove, queue.id, holder, tag);
      const left = (yield* all(this.#texts.of, queue.id)).length;
      if (changes > 0) yield* this.#left(queue.id);
      // Somebody else may be the single active one now.
      effects.ready.add(queue.id);
      results.push(left);
    }
    return results;
  }

  /** The holder lives, as it does from now on for the time of a lease. */
  *open(name: string): Steps<void> {
    yield* this.detachAll(this.#context.holder);
    yield* run(this.#texts.live, this.#context.holder, name);
  }

  *renew(name: string): Steps<void> {
    const { changes } = yield* run(this.#texts.renew, this.#context.holder);
    if (changes === 0) yield* run(this.#texts.live, this.#context.holder, name);
  }

  /** It consumes from nothing any more. */
  *detachAll(holder: string): Steps<void> {
    const queues = (yield* all(this.#texts.ofHolder, holder)).map(({ queue_id: id }) => toNumber(id));
    if (queues.length === 0) return;
    yield* run(this.#texts.removeAll, holder);
    for (const id of queues) {
      yield* this.#left(id);
      this.#context.effects.ready.add(id);
    }
  }

  /** What is exclusive to it goes too. Gives the names of the queues that went. */
  *bury(holder: string): Steps<readonly string[]> {
    yield* this.detachAll(holder);
    const ids = (yield* all(this.#texts.exclusive, holder)).map(({ queue_id: id }) => toNumber(id));
    const queues = yield* this.#queues.byIds(ids);
    for (const queue of queues.values()) yield* this.#lifecycle.delete(queue);
    yield* run(this.#texts.die, holder);
    return [...queues.values()].map(({ name }) => name);
  }

  /** Whether something would go with the holder. */
  *hasExclusive(holder: string): Steps<boolean> {
    return (yield* first(this.#texts.exclusive, holder)) !== undefined;
  }

  /** Buries holders that gave no sign of life. Gives the names of the queues that went with them. */
  *buryDead(limit: number): Steps<readonly string[]> {
    const gone: string[] = [];
    for (const { id } of yield* all<{ id: string }>(this.#texts.dead, limit)) gone.push(...(yield* this.bury(id)));
    return gone;
  }

  *#attach({ queue: name, tag, exclusive }: ConsumerRecord): Steps<AttachResult> {
    const { holder } = this.#context;
    const queue = (yield* this.#queues.named([name])).get(name);
    // Two that come at the same time must see each other.
    if (queue === undefined || !(yield* this.#queues.lock(queue.id))) return 'missing';
    const { options } = queue;
    if (options?.exclusiveTo !== undefined && options.exclusiveTo !== holder) return 'locked';
    const others = yield* all(this.#texts.of, queue.id);
    const alone = exclusive || others.some((other) => toNumber(other.exclusive) === 1);
    if (alone && others.length > 0) return 'refused';
    yield* run(this.#texts.add, queue.id, holder, tag, exclusive ? 1 : 0);
    return others.length + 1;
  }

  /** A consumer of the queue is gone: with the last one goes the queue, or its time begins. */
  *#left(id: number): Steps<void> {
    if ((yield* first(this.#texts.anyOf, id)) !== undefined) return;
    const queue = (yield* this.#queues.byIds([id])).get(id);
    if (queue?.options?.autoDelete === true) yield* this.#lifecycle.delete(queue);
    else if (queue?.options?.expires !== undefined) yield* this.#lifecycle.touch(queue);
  }
}
