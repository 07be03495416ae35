import type { Context } from '../context.js';
import { toNumber } from '../dialect.js';
import { all, run, type Steps } from '../steps.js';
import type { Consumers } from './consumers.js';
import type { Lifecycle } from './lifecycle.js';
import type { QueueRow, Queues } from './queues.js';
import type { Settling } from './settling.js';
import type { Fate, Storing } from './storing.js';
import type { TakenRow, Taking } from './taking.js';

export interface Swept {
  readonly returned: number;
  /** Held by the sweeper now. */
  readonly expired: readonly TakenRow[];
  readonly overflowed: readonly TakenRow[];
  readonly deletedQueues: readonly string[];
}

/** What nobody's call does. */
export class Sweeping {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #storing: Storing;
  readonly #taking: Taking;
  readonly #settling: Settling;
  readonly #consumers: Consumers;
  readonly #lifecycle: Lifecycle;
  readonly #texts;

  constructor(
    context: Context,
    parts: {
      readonly queues: Queues;
      readonly storing: Storing;
      readonly taking: Taking;
      readonly settling: Settling;
      readonly consumers: Consumers;
      readonly lifecycle: Lifecycle;
    },
  ) {
    this.#context = context;
    this.#queues = parts.queues;
    this.#storing = parts.storing;
    this.#taking = parts.taking;
    this.#settling = parts.settling;
    this.#consumers = parts.consumers;
    this.#lifecycle = parts.lifecycle;
    const { dialect: d, names } = context;
    this.#texts = {
      // In the order of the index that has nothing else in it.
      expired: `SELECT DISTINCT queue_id FROM (SELECT t.queue_id FROM ${names.trait} t JOIN ${names.message} m ON m.id = t.message_id
        WHERE t.expires_at <= ${d.now} AND ${d.isReady('m')} ORDER BY t.expires_at LIMIT ?) batch`,
      delayed: `SELECT DISTINCT ${d.noIndex('queue_id')} AS queue_id FROM ${names.delayed} WHERE not_before <= ${d.now} LIMIT ?`,
      fated: `SELECT m.id, m.payload, m.queue_id, t.fate, t.returns
        FROM ${d.indexed(names.trait, 't', `ix_${names.prefix}_message_fate`)}
        ${d.thenJoin} ${d.indexed(names.message, 'm', 'PRIMARY')} ON m.id = t.message_id
        WHERE t.fate IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ${names.lease} l WHERE l.message_id = t.message_id)
        ORDER BY ${d.noIndex('t.message_id')} LIMIT ?${d.skipLocked}`,
      // Python deletes messages, or takes them for good, and knows nothing of our table.
      traits: `SELECT batch.message_id AS id,
        CASE WHEN m.id IS NULL OR (batch.fate IS NULL AND m.visible = ${d.false} AND l.message_id IS NULL) THEN 1 ELSE 0 END AS stale
        FROM (SELECT message_id, fate FROM ${names.trait} WHERE message_id > ? ORDER BY message_id LIMIT ?) batch
        LEFT JOIN ${names.message} m ON m.id = batch.message_id LEFT JOIN ${names.lease} l ON l.message_id = batch.message_id
        ORDER BY batch.message_id`,
      deleteTraits: d.deleteAmong(names.trait, 'message_id'),
      abandoned: `SELECT m.id FROM ${names.message} m WHERE ${d.noIndex('m.visible')} = ${d.false} AND m.timestamp < ?
        AND NOT EXISTS (SELECT 1 FROM ${names.lease} l WHERE l.message_id = m.id)
        AND NOT EXISTS (SELECT 1 FROM ${names.trait} t WHERE t.message_id = m.id AND t.fate IS NOT NULL)
        ORDER BY m.timestamp LIMIT ?`,
    };
  }

  /** @param requestId Under which what is found is held. */
  *sweep(limit: number, requestId: number): Steps<Swept> {
    const returned = yield* this.#settling.returnLapsed(limit);
    const buried = yield* this.#consumers.buryDead(limit);
    const deleted = yield* this.#lifecycle.deleteOver(limit);
    for (const queue of (yield* this.#queuesOf(this.#texts.delayed, limit)).values())
      yield* this.#storing.promote(queue);
    for (const queue of (yield* this.#queuesOf(this.#texts.expired, limit)).values())
      yield* this.#storing.expire(queue);
    const { expired, overflowed } = yield* this.#fated(limit, requestId);
    return { returned, expired, overflowed, deletedQueues: [...buried, ...deleted] };
  }

  /** Forgets what is known of messages that others deleted. A pass over the table in steps: gives where to go on, 0 at the end. */
  *tidy(from: number, limit: number): Steps<number> {
    const rows = (yield* all(this.#texts.traits, from, limit)).map(({ id, stale }) => [toNumber(id), toNumber(stale)]);
    const stale = rows.filter(([, isStale]) => isStale === 1).map(([id]) => id as number);
    if (stale.length > 0) yield* run(this.#texts.deleteTraits, this.#context.dialect.list(stale));
    return rows.length < limit ? 0 : (rows.at(-1)?.[0] ?? 0);
  }

  /** Deletes messages that Python took before that time, in its words. Gives the number. */
  *prune(before: string, limit: number): Steps<number> {
    const ids = (yield* all(this.#texts.abandoned, before, limit)).map(({ id }) => toNumber(id));
    if (ids.length > 0) yield* this.#storing.delete(ids);
    return ids.length;
  }

  *#queuesOf(text: string, limit: number): Steps<ReadonlyMap<number, QueueRow>> {
    return yield* this.#queues.byIds((yield* all(text, limit)).map(({ queue_id: id }) => toNumber(id)));
  }

  /** What waits for its dead-letter exchange and is seen to by nobody. */
  *#fated(limit: number, requestId: number): Steps<Record<Fate, TakenRow[]>> {
    const found: Record<Fate, TakenRow[]> = { expired: [], overflowed: [] };
    const rows = yield* all<{ id: unknown; payload: string; queue_id: unknown; fate: Fate; returns: unknown }>(
      this.#texts.fated,
      2 * limit,
    );
    const queues = yield* this.#queues.byIds(rows.map((row) => toNumber(row.queue_id)));
    const held: number[] = [];
    for (const row of rows) {
      const queue = queues.get(toNumber(row.queue_id));
      const list = found[row.fate];
      if (queue === undefined || list.length >= limit) continue;
      const id = toNumber(row.id);
      list.push({ id, queue: queue.name, payload: row.payload, returns: toNumber(row.returns), requestId });
      held.push(id);
    }
    if (held.length > 0) yield* this.#taking.hold(held, requestId);
    return found;
  }
}
