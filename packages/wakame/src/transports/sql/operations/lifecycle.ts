import { StoreError } from '../../../errors.js';
import type { QueueOptions, QueueStat, RemoveRequest, RemoveResult } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { toNumber } from '../dialect.js';
import { writeOptions } from '../queue-options.js';
import { all, first, run, type Steps } from '../steps.js';
import { isOver, type QueueRow, type Queues } from './queues.js';
import type { Routing } from './routing.js';
import type { Storing } from './storing.js';

/** Queues as a whole: made, looked at, emptied, deleted. */
export class Lifecycle {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #storing: Storing;
  readonly #routing: Routing;
  readonly #texts;
  readonly #deleteDelayed;
  /** All that lies in the queue or belongs to it. */
  readonly #deleteContent;

  constructor(context: Context, queues: Queues, storing: Storing, routing: Routing) {
    this.#context = context;
    this.#queues = queues;
    this.#storing = storing;
    this.#routing = routing;
    const { dialect: d, names } = context;
    const ready = d.ready('m');
    this.#texts = {
      setOptions: `INSERT INTO ${names.queueOptions} (queue_id, options, exclusive_to, expires, used_at)
        VALUES (?, ?, ?, ?, ${d.now}) ${d.onConflict('queue_id', ['options', 'exclusive_to', 'expires', 'used_at'])}`,
      touch: `UPDATE ${names.queueOptions} SET used_at = ${d.now} WHERE queue_id = ?`,
      list: `SELECT q.id, q.name FROM ${names.queue} q`,
      lapsed: `SELECT w.queue_id FROM ${names.queueOptions} w
        WHERE w.expires IS NOT NULL AND w.used_at + w.expires <= ${d.now} LIMIT ?`,
      consumers: `SELECT count(*) AS count FROM ${names.consumer} WHERE queue_id = ?`,
      ready: `SELECT count(*) AS count FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready}`,
      due: `SELECT count(*) AS count FROM ${names.delayed} WHERE queue_id = ? AND not_before <= ${d.now}
        AND (expires_at IS NULL OR expires_at > ${d.now})`,
      expired: `SELECT count(*) AS count FROM ${names.trait} t JOIN ${names.message} m ON m.id = t.message_id
        WHERE ${d.noIndex('t.queue_id')} = ? AND t.expires_at <= ${d.now} AND ${d.isReady('m')}`,
      lastReady: `SELECT max(m.id) AS id FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready}`,
      someReady: `SELECT m.id FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready} AND m.id <= ?
        ORDER BY m.id LIMIT ?`,
      some: `SELECT id FROM ${names.message} WHERE queue_id = ? LIMIT ?`,
      deleteQueue: `DELETE FROM ${names.queue} WHERE id = ?`,
    };
    this.#deleteDelayed = d.deleteOfQueue({ table: names.delayed, key: 'id' });
    this.#deleteContent = [
      d.deleteOfQueue({ table: names.lease, key: 'message_id' }),
      d.deleteOfQueue({ table: names.trait, key: 'message_id' }),
      d.deleteOfQueue({ table: names.consumer, key: 'id' }),
      d.deleteOfQueue({ table: names.queueOptions, key: 'queue_id' }),
      this.#deleteDelayed,
      d.deleteOfQueue({ table: names.message, key: 'id' }),
    ];
  }

  *declare(wanted: readonly { readonly name: string; readonly options: QueueOptions }[]): Steps<readonly QueueStat[]> {
    const stats: QueueStat[] = [];
    for (const { name, options } of wanted) {
      const queue = yield* this.#declare(name, options);
      stats.push(yield* this.#statOf(queue));
    }
    return stats;
  }

  *stat(names: readonly string[]): Steps<readonly (QueueStat | undefined)[]> {
    const queues = yield* this.#queues.named(names);
    const stats: (QueueStat | undefined)[] = [];
    for (const name of names) {
      const queue = queues.get(name);
      stats.push(queue === undefined ? undefined : yield* this.#statOf(queue));
    }
    return stats;
  }

  *list(): Steps<readonly string[]> {
    const rows = yield* all(this.#texts.list);
    const names = rows.map(({ name }) => String(name));
    const over = (yield* all(this.#texts.lapsed, rows.length + 1)).map(({ queue_id: id }) => toNumber(id));
    const gone = new Set([...(yield* this.#queues.byIds(over)).values()].filter(isOver).map(({ name }) => name));
    return names.filter((name) => !gone.has(name));
  }

  *remove({ queue: name, ifUnused, ifEmpty }: RemoveRequest): Steps<RemoveResult> {
    const queue = (yield* this.#queues.named([name])).get(name);
    if (queue === undefined || !(yield* this.#queues.lock(queue.id))) return 'missing';
    const { consumerCount, messageCount } = yield* this.#statOf(queue);
    if (ifUnused === true && consumerCount > 0) return 'used';
    if (ifEmpty === true && messageCount > 0) return 'not-empty';
    yield* this.delete(queue);
    return messageCount;
  }

  /** The id of the last message that a purge of now is to remove; undefined: there is no such queue. */
  *purgeUntil(name: string): Steps<number | undefined> {
    const queue = (yield* this.#queues.named([name])).get(name);
    if (queue === undefined) return undefined;
    return toNumber((yield* first(this.#texts.lastReady, queue.id))?.id ?? 0);
  }

  /** Removes ready messages up to that id, at most `limit`. Gives the number. */
  *purgeSome(name: string, until: number, limit: number): Steps<number> {
    const queue = (yield* this.#queues.stored([name])).get(name);
    if (queue === undefined) return 0;
    const ids = (yield* all(this.#texts.someReady, queue.id, until, limit)).map(({ id }) => toNumber(id));
    if (ids.length > 0) yield* this.#storing.delete(ids);
    return ids.length;
  }

  /** Removes messages of a queue about to be deleted, whatever their state, at most `limit`. Gives the number. */
  *clearSome(name: string, limit: number): Steps<number> {
    const queue = (yield* this.#queues.stored([name])).get(name);
    if (queue === undefined) return 0;
    const ids = (yield* all(this.#texts.some, queue.id, limit)).map(({ id }) => toNumber(id));
    if (ids.length > 0) yield* this.#storing.delete(ids);
    return ids.length;
  }

  *purgeDelayed(name: string): Steps<number> {
    const queue = (yield* this.#queues.named([name])).get(name);
    return queue === undefined ? 0 : yield* this.#deleteDelayed(queue.id);
  }

  /** The queue with everything in it and about it. */
  *delete(queue: QueueRow): Steps<void> {
    yield* this.#routing.unbindAll('queue', queue.name);
    for (const deleteSome of this.#deleteContent) yield* deleteSome(queue.id);
    yield* run(this.#texts.deleteQueue, queue.id);
    this.#context.effects.changed = true;
  }

  *touch(queue: QueueRow): Steps<void> {
    yield* run(this.#texts.touch, queue.id);
  }

  /** Deletes queues that nobody used for longer than their `expires`. Gives their names. */
  *deleteOver(limit: number): Steps<readonly string[]> {
    const ids = (yield* all(this.#texts.lapsed, limit)).map(({ queue_id: id }) => toNumber(id));
    const gone: string[] = [];
    for (const queue of (yield* this.#queues.byIds(ids)).values()) {
      if (!isOver(queue)) continue;
      yield* this.delete(queue);
      gone.push(queue.name);
    }
    return gone;
  }

  *#declare(name: string, options: QueueOptions): Steps<QueueRow> {
    const { dialect, names } = this.#context;
    let queue = (yield* this.#queues.stored([name])).get(name);
    if (queue !== undefined && isOver(queue)) {
      yield* this.delete(queue);
      queue = undefined;
    }
    if (queue === undefined) {
      yield* dialect.insertQueue(names, name);
      queue = (yield* this.#queues.stored([name])).get(name);
    }
    if (queue === undefined) {
      throw new StoreError(`queue '${name}': the database holds another name, equal but for case, to be the same`);
    }
    if (queue.options === undefined) {
      const { exclusiveTo, expires } = options;
      yield* run(this.#texts.setOptions, queue.id, writeOptions(options), exclusiveTo ?? null, expires ?? null);
      this.#context.effects.changed = true;
      return { ...queue, options };
    }
    if (queue.options.expires !== undefined) yield* this.touch(queue);
    return queue;
  }

  *#statOf(queue: QueueRow): Steps<QueueStat> {
    const count = function* (text: string): Steps<number> {
      return toNumber((yield* first(text, queue.id))?.count ?? 0);
    };
    let messageCount = yield* count(this.#texts.ready);
    if (queue.hasDue) messageCount += yield* count(this.#texts.due);
    if (queue.hasTraits) messageCount -= yield* count(this.#texts.expired);
    const consumerCount = queue.hasConsumers ? yield* count(this.#texts.consumers) : 0;
    return { name: queue.name, messageCount, consumerCount, options: queue.options };
  }
}
