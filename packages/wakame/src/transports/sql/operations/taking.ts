import type { TakeOptions, TakeRequest } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { exists, toNumber, toOptional } from '../dialect.js';
import { all, first, type Row, run, type Steps } from '../steps.js';
import type { QueueRow, Queues } from './queues.js';
import type { Fate, Storing } from './storing.js';

/** A message taken, as it is stored. */
export interface TakenRow {
  readonly id: number;
  readonly queue: string;
  readonly payload: string;
  /** How often it came back. */
  readonly returns: number;
  /** Undefined: it was taken for good. */
  readonly requestId: number | undefined;
}

/** One queue's part of a take. */
interface Share {
  readonly queue: QueueRow;
  readonly noAck: boolean;
  left: number;
  /** It gave less than it was asked for. */
  empty: boolean;
}

interface Trait {
  readonly returns: number;
  readonly expired: boolean;
}

/** What a query for messages gives. */
interface Found {
  readonly id: number;
  readonly payload: string;
  /** Undefined: it did not ask. */
  readonly trait: Trait | undefined;
}

const NO_TRAIT: Trait = { returns: 0, expired: false };

/**
 * Taking. A message taken is hidden from Kombu (`visible`), and its version raised, so that a Kombu which saw it a moment ago fails to take it too; and there is
 * a lease for it, by which it differs from those that Python took: both in one transaction.
 */
export class Taking {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #storing: Storing;
  readonly #texts;

  constructor(context: Context, queues: Queues, storing: Storing) {
    this.#context = context;
    this.#queues = queues;
    this.#storing = storing;
    const { dialect: d, names, lease } = context;
    const ready = d.ready('m');
    const leaseColumns = ['queue_id', 'holder', 'request_id', 'until'];
    const hidden = `visible = ${d.false}, version = version % 32000 + 1`;
    const next = `FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready} ORDER BY m.id LIMIT ?${d.skipLocked}`;
    const claim =
      d.isAmong &&
      `UPDATE ${names.message} SET ${hidden} WHERE ${d.isAmong('id', `SELECT m.id ${next}`)} RETURNING id, payload`;
    const traits = `COALESCE(t.returns, 0) AS returns, CASE WHEN t.expires_at <= ${d.now} THEN 1 ELSE 0 END AS expired`;
    this.#texts = {
      any: `SELECT 1 AS found FROM ${names.queue} q LEFT JOIN ${names.queueOptions} w ON w.queue_id = q.id
        WHERE ${d.inNames('q.name')} AND (w.expires IS NOT NULL
          OR ${exists(`SELECT 1 FROM ${d.readyMessages(names)} WHERE m.queue_id = q.id AND ${ready}`, d.readyOrder)}
          OR ${exists(`SELECT 1 FROM ${names.delayed} e WHERE e.queue_id = q.id AND e.not_before <= ${d.now}`, 'e.not_before')}) LIMIT 1`,
      // With what is noted of them: when the rows are ours, nobody else changes that either.
      next: `SELECT m.id, m.payload, ${traits} FROM ${d.readyMessages(names)} 
        LEFT JOIN ${d.indexed(names.trait, 't', 'PRIMARY')} ON t.message_id = m.id
        WHERE m.queue_id = ? AND ${ready} ORDER BY m.id LIMIT ?${d.skipLocked}`,
      // The same with hiding them, in one statement, and with what is noted of them where that can be part of it.
      claim:
        claim && d.updatesInQueries
          ? `WITH c AS (${claim}) SELECT c.id, c.payload, ${traits} FROM c LEFT JOIN ${names.trait} t ON t.message_id = c.id`
          : claim,
      urgent: `SELECT m.id, m.payload
        FROM ${d.indexed(names.trait, 't', `ix_${names.prefix}_message_order`)}
        ${d.thenJoin} ${d.indexed(names.message, 'm', 'PRIMARY')} ON m.id = t.message_id
        WHERE t.queue_id = ? AND t.priority > 0 AND ${d.isReady('m')} ORDER BY t.priority DESC, t.message_id LIMIT ?${d.skipLocked}`,
      traits: `SELECT t.message_id AS id, ${traits} FROM ${names.trait} t WHERE ${d.inIds('t.message_id')}`,
      hide: d.updateAmong(names.message, 'id', hidden),
      hold: `INSERT INTO ${names.lease} (message_id, queue_id, holder, request_id, until)
        SELECT m.id, m.queue_id, ?, ${d.integer}, ${d.now} + ${lease} FROM ${names.message} m WHERE ${d.inIds('m.id')}
        ${d.onConflict('message_id', leaseColumns)}`,
      active: `SELECT c.holder FROM ${names.consumer} c WHERE c.queue_id = ? ORDER BY c.id LIMIT 1`,
      before: `SELECT m.id, m.payload, q.name AS queue, t.returns FROM ${names.lease} l
        JOIN ${names.message} m ON m.id = l.message_id JOIN ${names.queue} q ON q.id = m.queue_id
        LEFT JOIN ${names.trait} t ON t.message_id = l.message_id
        WHERE l.holder = ? AND l.request_id = ? ORDER BY m.id`,
      peek: `SELECT m.id, m.payload FROM ${d.readyMessages(names)} WHERE m.queue_id = ? AND ${ready} ORDER BY m.id LIMIT ?`,
    };
  }

  /** Whether a take from these queues would find anything to do: asked where taking in vain would keep others from writing. */
  *any(queues: readonly string[]): Steps<boolean> {
    return (yield* first(this.#texts.any, this.#context.dialect.list([...new Set(queues)]))) !== undefined;
  }

  *take(requests: readonly TakeRequest[], { requestId, limit, order }: TakeOptions): Steps<readonly TakenRow[]> {
    const queues = yield* this.#queues.named(requests.map(({ queue }) => queue));
    const shares: Share[] = [];
    for (const { queue: name, credit, noAck } of requests) {
      const queue = queues.get(name);
      if (queue === undefined || !(yield* this.#mayTake(queue))) continue;
      yield* this.#queues.used(queue);
      if (queue.hasDue) yield* this.#storing.promote(queue);
      shares.push({ queue, noAck, left: credit, empty: false });
    }
    const taken: TakenRow[] = [];
    const held: number[] = [];
    const gone: number[] = [];
    const from = function* (this: Taking, share: Share, most: number): Steps<void> {
      const wanted = Math.min(share.left, most);
      if (wanted <= 0) return;
      const rows = yield* this.#claim(share.queue, wanted);
      share.left -= rows.length;
      share.empty = rows.length < wanted;
      for (const row of rows) {
        (share.noAck ? gone : held).push(row.id);
        taken.push({ ...row, queue: share.queue.name, requestId: share.noAck ? undefined : requestId });
      }
    }.bind(this);

    if (order === 'strict') {
      for (const share of shares) yield* from(share, limit - taken.length);
    } else {
      let open = shares;
      while (open.length > 0 && taken.length < limit) {
        const equal = Math.max(1, Math.floor((limit - taken.length) / open.length));
        for (const share of open) yield* from(share, Math.min(equal, limit - taken.length));
        open = open.filter(({ left, empty }) => left > 0 && !empty);
      }
    }
    if (held.length > 0) yield* this.hold(held, requestId);
    if (gone.length > 0) yield* this.#storing.delete(gone);
    return taken;
  }

  /** What an earlier take of this number took and was not settled since. */
  *before(requestId: number): Steps<readonly TakenRow[]> {
    const rows = yield* all(this.#texts.before, this.#context.holder, requestId);
    return rows.map((row) => ({
      id: toNumber(row.id),
      queue: String(row.queue),
      payload: String(row.payload),
      returns: toOptional(row.returns) ?? 0,
      requestId,
    }));
  }

  /** Gives leases on messages that are hidden already. */
  *hold(ids: readonly number[], requestId: number): Steps<void> {
    const { dialect, holder } = this.#context;
    yield* run(this.#texts.hold, holder, requestId, dialect.list(ids));
  }

  *peek(name: string, limit: number): Steps<readonly string[]> {
    const queue = (yield* this.#queues.named([name])).get(name);
    if (queue === undefined) return [];
    const rows = yield* all<{ payload: string }>(this.#texts.peek, queue.id, limit);
    return rows.map(({ payload }) => payload);
  }

  *#mayTake({ id, options }: QueueRow): Steps<boolean> {
    const { holder } = this.#context;
    if (options?.exclusiveTo !== undefined && options.exclusiveTo !== holder) return false;
    if (options?.singleActiveConsumer !== true) return true;
    const active = yield* first<{ holder: string }>(this.#texts.active, id);
    return active === undefined || active.holder === holder;
  }

  /** Takes the next messages out of a queue; less than wanted only when there are no more. */
  *#claim(queue: QueueRow, wanted: number): Steps<Omit<TakenRow, 'queue' | 'requestId'>[]> {
    const { maxPriority = 0 } = queue.options ?? {};
    const claimed: Omit<TakenRow, 'queue' | 'requestId'>[] = [];
    let urgent = queue.hasTraits && maxPriority > 0;
    while (claimed.length < wanted) {
      const most = wanted - claimed.length;
      const found = yield* urgent ? this.#hide(this.#texts.urgent, queue.id, most) : this.#hideNext(queue.id, most);
      if (found.length > 0) yield* this.#sort(queue, found, claimed);
      if (found.length < most && !urgent) break;
      if (found.length < most) urgent = false;
    }
    return claimed;
  }

  *#hideNext(queueId: number, most: number): Steps<Found[]> {
    const { claim, next } = this.#texts;
    if (claim === undefined) return yield* this.#hide(next, queueId, most);
    const found = (yield* all(claim, queueId, most)).map(toFound);
    // An update returns its rows in whatever order it changed them.
    return found.sort((a, b) => a.id - b.id);
  }

  *#hide(query: string, queueId: number, most: number): Steps<Found[]> {
    const found = (yield* all(query, queueId, most)).map(toFound);
    if (found.length > 0) yield* run(this.#texts.hide, this.#context.dialect.list(found.map(({ id }) => id)));
    return found;
  }

  /** Keeps what has not expired. */
  *#sort(queue: QueueRow, found: readonly Found[], claimed: Omit<TakenRow, 'queue' | 'requestId'>[]): Steps<void> {
    const unknown = queue.hasTraits ? found.filter(({ trait }) => trait === undefined) : [];
    const traits = unknown.length > 0 ? yield* this.#traitsOf(unknown.map(({ id }) => id)) : undefined;
    const expired: number[] = [];
    for (const { id, payload, trait = traits?.get(id) ?? NO_TRAIT } of found) {
      if (trait.expired) expired.push(id);
      else claimed.push({ id, payload, returns: trait.returns });
    }
    yield* this.#storing.discard(queue, expired, 'expired' satisfies Fate);
  }

  *#traitsOf(ids: readonly number[]): Steps<ReadonlyMap<number, Trait>> {
    const rows = yield* all(this.#texts.traits, this.#context.dialect.list(ids));
    return new Map(rows.map((row) => [toNumber(row.id), toTrait(row)]));
  }
}

function toFound(row: Row): Found {
  const { id, payload, returns } = row;
  return { id: toNumber(id), payload: String(payload), trait: returns === undefined ? undefined : toTrait(row) };
}

function toTrait({ returns, expired }: Row): Trait {
  return { returns: toNumber(returns), expired: toNumber(expired) === 1 };
}
