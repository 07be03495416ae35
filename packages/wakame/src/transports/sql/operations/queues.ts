import type { QueueOptions } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { exists, toNumber, toOptional } from '../dialect.js';
import { readOptions } from '../queue-options.js';
import { all, first, type Row, run, type Steps } from '../steps.js';

/** A queue that exists. */
export interface QueueRow {
  readonly id: number;
  readonly name: string;
  /** Undefined: Python made it. */
  readonly options: QueueOptions | undefined;
  /** Milliseconds since it was last used. */
  readonly idle: number;
  readonly hasConsumers: boolean;
  /** Some of its messages have a priority, an expiry or a past. */
  readonly hasTraits: boolean;
  /** Delayed messages whose time has come. */
  readonly hasDue: boolean;
}

/** Finding queues. */
export class Queues {
  readonly #context: Context;
  readonly #find: string;
  readonly #touch: string;
  readonly #lockOne: string;

  constructor(context: Context) {
    this.#context = context;
    const { dialect, names } = context;
    const { now } = dialect;
    this.#find = `SELECT q.id, q.name, w.options, ${now} - w.used_at AS idle,
      ${exists(`SELECT 1 FROM ${names.consumer} c WHERE c.queue_id = q.id`, 'c.id')} AS has_consumers,
      ${exists(`SELECT 1 FROM ${names.trait} t WHERE t.queue_id = q.id`, 't.priority')} AS has_traits,
      ${exists(`SELECT 1 FROM ${names.delayed} d WHERE d.queue_id = q.id AND d.not_before <= ${now}`, 'd.not_before')} AS has_due
      FROM ${names.queue} q LEFT JOIN ${names.queueOptions} w ON w.queue_id = q.id WHERE `;
    this.#touch = `UPDATE ${names.queueOptions} SET used_at = ${now} WHERE queue_id = ?`;
    this.#lockOne = `SELECT id FROM ${names.queue} WHERE id = ?${dialect.lock}`;
  }

  /** Those of these names that exist. One whose time has run out does not; it waits to be swept. */
  *named(names: readonly string[]): Steps<ReadonlyMap<string, QueueRow>> {
    const found = yield* this.stored(names);
    return new Map([...found].filter(([, queue]) => !isOver(queue)));
  }

  /** The same with those whose time has run out. */
  *stored(names: readonly string[]): Steps<ReadonlyMap<string, QueueRow>> {
    if (names.length === 0) return new Map();
    const { dialect } = this.#context;
    const rows = yield* all(this.#find + dialect.inNames('q.name'), dialect.list([...new Set(names)]));
    // Compared here, since a database may hold names equal that differ in case.
    const wanted = new Set(names);
    return new Map(rows.map(toQueue).flatMap((queue) => (wanted.has(queue.name) ? [[queue.name, queue]] : [])));
  }

  *byIds(ids: Iterable<number>): Steps<ReadonlyMap<number, QueueRow>> {
    const list = [...new Set(ids)];
    if (list.length === 0) return new Map();
    const { dialect } = this.#context;
    const rows = yield* all(this.#find + dialect.inIds('q.id'), dialect.list(list));
    return new Map(rows.map(toQueue).map((queue) => [queue.id, queue]));
  }

  /** Until the end of the transaction nobody else changes what depends on the queue as a whole. */
  *lock(id: number): Steps<boolean> {
    return (yield* first(this.#lockOne, id)) !== undefined;
  }

  /** It is being used: its time begins anew. */
  *used(queue: QueueRow): Steps<void> {
    const expires = queue.options?.expires;
    // Not at every take: a tenth of its time is near enough.
    if (expires !== undefined && !queue.hasConsumers && queue.idle > expires / 10) yield* run(this.#touch, queue.id);
  }
}

/** Nobody used it for longer than its `expires`. */
export function isOver(queue: QueueRow): boolean {
  const expires = queue.options?.expires;
  return expires !== undefined && !queue.hasConsumers && queue.idle >= expires;
}

function toQueue(row: Row): QueueRow {
  const { id, name, options, idle, has_consumers: consumers, has_traits: traits, has_due: due } = row;
  return {
    id: toNumber(id),
    name: String(name),
    options: typeof options === 'string' ? readOptions(options) : undefined,
    idle: toOptional(idle) ?? 0,
    hasConsumers: Boolean(consumers),
    hasTraits: Boolean(traits),
    hasDue: Boolean(due),
  };
}
