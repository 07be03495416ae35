import type { Outbound, SendResult } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { type Column, type NewMessage, toNumber, toOptional } from '../dialect.js';
import { all, first, run, type Steps } from '../steps.js';
import type { QueueRow, Queues } from './queues.js';

/** Why a message that is still stored is not in its queue any more. */
export type Fate = 'expired' | 'overflowed';

const TRAITS: readonly Column[] = [
  { name: 'message_id', type: 'integer' },
  { name: 'queue_id', type: 'integer' },
  { name: 'priority', type: 'integer' },
  { name: 'expires_at', type: 'integer' },
  { name: 'size', type: 'integer' },
  { name: 'returns', type: 'integer' },
  { name: 'fate', type: 'text' },
];

/** Delayed messages are brought to their queues, and messages looked through, so many at a time. */
const CHUNK = 500;

/** A message on its way into a queue. */
interface Arrival extends NewMessage {
  readonly queue: QueueRow;
  readonly priority: number;
  /** By the database's clock. */
  readonly expiresAt: number | undefined;
  readonly size: number;
}

interface Delayed extends Arrival {
  readonly notBefore: number;
}

/** A message with its payload as it is to be stored. */
export interface Encoded {
  readonly outbound: Outbound;
  readonly payload: string;
  /** `Date.now()` when it was handed over. */
  readonly at: number;
}

/** Messages into queues, and out of them by the queues' own rules. */
export class Storing {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #texts;
  readonly #delete;

  constructor(context: Context, queues: Queues) {
    this.#context = context;
    this.#queues = queues;
    const { dialect: d, names } = context;
    const ready = d.ready('m');
    const head = `SELECT m.id, COALESCE(t.size, length(m.payload) * 3 / 4) AS size
      FROM ${d.readyMessages(names)} LEFT JOIN ${names.trait} t ON t.message_id = m.id WHERE m.queue_id = ? AND ${ready}`;
    this.#texts = {
      due: `SELECT e.id, e.queue_id, e.expires_at, e.priority, e.size, e.payload
        FROM ${d.indexed(names.delayed, 'e', `ix_${names.prefix}_delayed_queue`)}
        WHERE e.queue_id = ? AND e.not_before <= ${d.now} ORDER BY e.not_before, e.id LIMIT ${CHUNK}${d.skipLocked}`,
      dropDelayed: d.deleteAmong(names.delayed, 'id'),
      delay: `INSERT INTO ${names.delayed} (queue_id, not_before, expires_at, priority, size, payload) VALUES (?, ?, ?, ?, ?, ?)`,
      count: `SELECT count(*) AS count FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready}`,
      // What Python stored has no size noted: base64 takes a third more.
      bytes: `SELECT count(*) AS count, COALESCE(sum(COALESCE(t.size, length(m.payload) * 3 / 4)), 0) AS bytes
        FROM ${d.readyMessages(names)} LEFT JOIN ${names.trait} t ON t.message_id = m.id WHERE m.queue_id = ? AND ${ready}`,
      head: `${head} ORDER BY m.id LIMIT ?`,
      urgentHead: `${head} ORDER BY COALESCE(t.priority, 0) DESC, m.id LIMIT ?`,
      expired: `SELECT t.message_id AS id FROM ${names.trait} t JOIN ${names.message} m ON m.id = t.message_id
        WHERE ${d.noIndex('t.queue_id')} = ? AND t.expires_at <= ${d.now} AND ${d.isReady('m')} ORDER BY ${d.noIndex('t.message_id')} LIMIT ${CHUNK}`,
      hide: d.updateAmong(names.message, 'id', `visible = ${d.false}, version = version % 32000 + 1`),
      fate: (fate: Fate) => d.updateAmong(names.trait, 'message_id', `fate = '${fate}'`),
      hasTrait: `SELECT message_id AS id FROM ${names.trait} WHERE ${d.inIds('message_id')}`,
    };
    this.#delete = d.deleteRows([
      { table: names.message, key: 'id' },
      { table: names.trait, key: 'message_id' },
    ]);
  }

  /** Stores messages. For each: what became of it. */
  *send(messages: readonly Encoded[]): Steps<readonly SendResult[]> {
    const queues = yield* this.#queues.named(messages.map(({ outbound }) => outbound.queue));
    const limited = [...queues.values()].filter(isLimited);
    // In one order, so that two senders never wait for each other.
    for (const queue of limited.sort((a, b) => a.id - b.id)) yield* this.#queues.lock(queue.id);
    const room = new Map<number, Room>();
    for (const queue of limited) if (refuses(queue)) room.set(queue.id, yield* this.#roomIn(queue));

    const arrivals: Arrival[] = [];
    const delayed: Delayed[] = [];
    const results = messages.map((message): SendResult => {
      const queue = queues.get(message.outbound.queue);
      if (queue === undefined) return 'missing';
      const arrival = toArrival(message, queue, this.#context.clock.offset);
      if (room.get(queue.id)?.take(arrival.size) === false) return 'full';
      if ('notBefore' in arrival) delayed.push(arrival);
      else arrivals.push(arrival);
      return 'stored';
    });
    yield* this.#arrive(arrivals);
    for (const { queue, notBefore, expiresAt, priority, size, payload } of delayed) {
      yield* run(this.#texts.delay, queue.id, notBefore, expiresAt ?? null, priority, size, payload);
      this.#context.effects.ready.add(queue.id);
    }
    return results;
  }

  /** Brings to the queue what was delayed and is due, in the order of the times. */
  *promote(queue: QueueRow): Steps<void> {
    const { dialect } = this.#context;
    for (;;) {
      const rows = yield* all<{ id: unknown; expires_at: unknown; priority: unknown; size: unknown; payload: string }>(
        this.#texts.due,
        queue.id,
      );
      if (rows.length === 0) return;
      yield* run(this.#texts.dropDelayed, dialect.list(rows.map(({ id }) => toNumber(id))));
      yield* this.#arrive(
        rows.map((row) => ({
          queue,
          queueId: queue.id,
          payload: row.payload,
          priority: toNumber(row.priority),
          expiresAt: toOptional(row.expires_at),
          size: toNumber(row.size),
        })),
      );
      if (rows.length < CHUNK) return;
    }
  }

  /** Pushes out what the queue's limits do not allow for. */
  *trim(queue: QueueRow): Steps<void> {
    if (!isLimited(queue) || refuses(queue)) return;
    yield* this.expire(queue);
    const room = yield* this.#roomIn(queue);
    const text = (queue.options?.maxPriority ?? 0) > 0 ? this.#texts.urgentHead : this.#texts.head;
    const out: number[] = [];
    while (room.isOver) {
      const limit = room.excess === 0 ? CHUNK : Math.min(CHUNK, room.excess);
      const head = yield* all<{ id: unknown; size: unknown }>(text, queue.id, limit);
      if (head.length === 0) break;
      for (const { id, size } of head) {
        if (!room.isOver) break;
        out.push(toNumber(id));
        room.leave(toNumber(size));
      }
      yield* this.discard(queue, out.splice(0), 'overflowed');
    }
  }

  /** Takes what has expired out of the queue, at most {@link CHUNK} of it. */
  *expire(queue: QueueRow): Steps<void> {
    if (!queue.hasTraits) return;
    const rows = yield* all<{ id: unknown }>(this.#texts.expired, queue.id);
    yield* this.discard(
      queue,
      rows.map(({ id }) => toNumber(id)),
      'expired',
    );
  }

  /** The messages leave their queue by its rules: where it has a dead-letter exchange, they wait for somebody to bring them there. */
  *discard(queue: QueueRow, ids: readonly number[], fate: Fate): Steps<void> {
    if (ids.length === 0) return;
    if (queue.options?.deadLetter !== true) return yield* this.delete(ids);
    const { dialect } = this.#context;
    yield* run(this.#texts.hide, dialect.list(ids));
    const known = new Set((yield* all(this.#texts.hasTrait, dialect.list(ids))).map(({ id }) => toNumber(id)));
    if (known.size > 0) yield* run(this.#texts.fate(fate), dialect.list([...known]));
    yield* this.#insertTraits(ids.filter((id) => !known.has(id)).map((id) => [id, queue.id, 0, null, null, 0, fate]));
    this.#context.effects.due = true;
  }

  /** They are gone for good. */
  *delete(ids: readonly number[]): Steps<void> {
    yield* this.#delete(ids);
  }

  *#insertTraits(rows: readonly (readonly unknown[])[]): Steps<void> {
    if (rows.length === 0) return;
    const { dialect, names } = this.#context;
    yield* dialect.insertRows(names.trait, 'message_id', TRAITS, rows);
  }

  *#arrive(arrivals: readonly Arrival[]): Steps<void> {
    if (arrivals.length === 0) return;
    const { dialect, names, effects } = this.#context;
    const ids = yield* dialect.insertMessages(names, arrivals);
    const traits: unknown[][] = [];
    const trimmed = new Set<QueueRow>();
    arrivals.forEach(({ queue, priority, expiresAt, size }, i) => {
      const sized = queue.options?.maxLengthBytes !== undefined;
      effects.ready.add(queue.id);
      if (isLimited(queue) && !refuses(queue)) trimmed.add(queue);
      if (priority === 0 && expiresAt === undefined && !sized) return;
      traits.push([ids[i], queue.id, priority, expiresAt ?? null, sized ? size : null, 0, null]);
    });
    yield* this.#insertTraits(traits);
    for (const queue of trimmed) yield* this.trim({ ...queue, hasTraits: queue.hasTraits || traits.length > 0 });
  }

  *#roomIn(queue: QueueRow): Steps<Room> {
    const { maxLength, maxLengthBytes } = queue.options ?? {};
    const row = yield* first(maxLengthBytes === undefined ? this.#texts.count : this.#texts.bytes, queue.id);
    return new Room(maxLength, maxLengthBytes, toNumber(row?.count ?? 0), toNumber(row?.bytes ?? 0));
  }
}

/** What a queue's limits leave. */
class Room {
  readonly #maxLength: number;
  readonly #maxBytes: number;
  #count: number;
  #bytes: number;

  constructor(maxLength: number | undefined, maxBytes: number | undefined, count: number, bytes: number) {
    this.#maxLength = maxLength ?? Number.POSITIVE_INFINITY;
    this.#maxBytes = maxBytes ?? Number.POSITIVE_INFINITY;
    this.#count = count;
    this.#bytes = bytes;
  }

  get isOver(): boolean {
    return this.#count > this.#maxLength || this.#bytes > this.#maxBytes;
  }

  /** How many messages there are too many. */
  get excess(): number {
    return Math.max(0, this.#count - this.#maxLength);
  }

  /** Counts another one, unless there is no room. */
  take(size: number): boolean {
    if (this.#count + 1 > this.#maxLength || this.#bytes + size > this.#maxBytes) return false;
    this.#count++;
    this.#bytes += size;
    return true;
  }

  leave(size: number): void {
    this.#count--;
    this.#bytes -= size;
  }
}

function isLimited({ options }: QueueRow): boolean {
  return options?.maxLength !== undefined || options?.maxLengthBytes !== undefined;
}

/** It is the newest that a full queue does without. */
function refuses({ options }: QueueRow): boolean {
  return options?.overflow !== undefined && options.overflow !== 'drop-head';
}

/** @param offset What the database's clock is ahead of ours. */
function toArrival({ outbound, payload, at }: Encoded, queue: QueueRow, offset: number): Arrival | Delayed {
  const { messageTtl, maxPriority = 0 } = queue.options ?? {};
  const { message, expiresAt, notBefore } = outbound;
  const readyAt = Math.max(at, notBefore ?? at) + offset;
  const ends = [
    ...(expiresAt === undefined ? [] : [expiresAt + offset]),
    ...(messageTtl === undefined ? [] : [readyAt + messageTtl]),
  ];
  const arrival: Arrival = {
    queue,
    queueId: queue.id,
    payload,
    priority: Math.min(message.properties.priority ?? 0, maxPriority),
    expiresAt: ends.length === 0 ? undefined : Math.ceil(Math.min(...ends)),
    size: message.body.length,
  };
  return readyAt > at + offset ? { ...arrival, notBefore: Math.ceil(readyAt) } : arrival;
}
