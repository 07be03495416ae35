import type { Outcome } from '../../virtual/driver.js';
import type { Context } from '../context.js';
import { toNumber, toOptional } from '../dialect.js';
import { all, run, type Steps } from '../steps.js';
import type { Queues } from './queues.js';
import type { Storing } from './storing.js';

/** A driver's lease: one taking of one message. */
export interface LeaseKey {
  readonly id: number;
  readonly requestId: number;
}

/** A message that is given back. */
interface Back {
  readonly id: number;
  readonly queueId: number;
  /** It waits for its dead-letter exchange, and goes on waiting. */
  readonly fated: boolean;
}

/** What becomes of messages held. */
export class Settling {
  readonly #context: Context;
  readonly #queues: Queues;
  readonly #storing: Storing;
  readonly #texts;
  readonly #deleteHeld;

  constructor(context: Context, queues: Queues, storing: Storing) {
    this.#context = context;
    this.#queues = queues;
    this.#storing = storing;
    const { dialect: d, names, lease } = context;
    const heldAmong = (
      from: string,
    ) => `SELECT l.message_id AS id, l.holder, l.request_id, l.queue_id, m.id AS present, t.fate FROM ${from}
      LEFT JOIN ${d.indexed(names.message, 'm', 'PRIMARY')} ON m.id = l.message_id
      LEFT JOIN ${d.indexed(names.trait, 't', 'PRIMARY')} ON t.message_id = l.message_id`;
    const leases = d.among(names.lease, 'l', 'message_id');
    const messages = d.among(names.message, 'm', 'id');
    const held = `${heldAmong(leases.from)} WHERE ${leases.where}`;
    this.#texts = {
      // Nobody must find them lapsed meanwhile.
      held: `${held}${d.lockOf('l')}`,
      allOf: `${heldAmong(`${names.lease} l`)} WHERE l.holder = ? ORDER BY l.message_id LIMIT ?`,
      // With a column that is not in the index, MySQL looks at nothing that has not lapsed.
      lockLapsed: `SELECT l.message_id AS id, l.queue_id FROM ${d.indexed(names.lease, 'l', `ix_${names.prefix}_lease_until`)}
        WHERE l.until <= ${d.now} ORDER BY l.until LIMIT ?${d.skipLocked}`,
      lapsed: held,
      lock: `SELECT m.id FROM ${messages.from} WHERE ${messages.where} ORDER BY m.id${d.lockOf('m')}`,
      release: d.deleteAmong(names.lease, 'message_id'),
      show: d.updateAmong(names.message, 'id', `visible = ${d.true}, version = version % 32000 + 1`),
      count: `INSERT INTO ${names.trait} (message_id, queue_id, priority, returns)
        SELECT m.id, m.queue_id, 0, 1 FROM ${names.message} m WHERE ${d.inIds('m.id')}
        ${d.onConflictCount('message_id', names.trait, 'returns')}`,
      renew: d.updateAmong(names.lease, 'message_id', `until = ${d.now} + ${lease}`),
    };
    this.#deleteHeld = d.deleteRows([
      { table: names.lease, key: 'message_id' },
      { table: names.message, key: 'id' },
      { table: names.trait, key: 'message_id' },
    ]);
  }

  /** For each: whether the lease was still ours. */
  *settle(settlements: readonly { readonly lease: LeaseKey; readonly outcome: Outcome }[]): Steps<readonly boolean[]> {
    const { dialect } = this.#context;
    const held = yield* this.#held(settlements.map(({ lease }) => lease));
    const gone: number[] = [];
    const released: Back[] = [];
    const abandoned: Back[] = [];
    const absent: number[] = [];
    const results = settlements.map(({ lease, outcome }) => {
      const row = held.get(lease.id);
      if (row === undefined || row.requestId !== lease.requestId) return false;
      // The same lease a second time in the batch.
      held.delete(lease.id);
      if (!row.present) {
        absent.push(lease.id);
        return false;
      }
      if (outcome === 'ack' || outcome === 'reject') gone.push(lease.id);
      else (outcome === 'release' ? released : abandoned).push(row);
      return true;
    });
    const back = [...released, ...abandoned].map(({ id }) => id);
    // In Kombu's order, as whatever locks several: neither side ever holds what the other has waited past.
    const several = [gone, released, abandoned].filter((some) => some.length > 0).length > 1;
    if (several && dialect.lockOf('m') !== '') yield* all(this.#texts.lock, dialect.list([...gone, ...back]));
    if (gone.length + absent.length > 0) yield* this.#deleteHeld([...gone, ...absent]);
    if (back.length > 0) yield* run(this.#texts.release, dialect.list(back));
    yield* this.#giveBack(abandoned, true);
    yield* this.#giveBack(released, false);
    return results;
  }

  /** Renews leases, which nobody else can take meanwhile. For each: whether it was still ours. */
  *extend(leases: readonly LeaseKey[]): Steps<readonly boolean[]> {
    if (leases.length === 0) return [];
    const held = yield* this.#held(leases);
    const ours = leases.map(({ id, requestId }) => {
      const row = held.get(id);
      return row?.present === true && row.requestId === requestId;
    });
    const ids = leases.filter((_, i) => ours[i]).map(({ id }) => id);
    if (ids.length > 0) yield* run(this.#texts.renew, this.#context.dialect.list(ids));
    return ours;
  }

  /** Gives back what was not renewed in time. Gives the number. */
  *returnLapsed(limit: number): Steps<number> {
    const { dialect } = this.#context;
    const ids = (yield* all(this.#texts.lockLapsed, limit)).map(({ id }) => toNumber(id));
    if (ids.length === 0) return 0;
    return yield* this.#return(yield* all(this.#texts.lapsed, dialect.list(ids)));
  }

  /** Gives back what this holder holds. */
  *returnAll(): Steps<void> {
    for (;;) {
      const rows = yield* all(this.#texts.allOf, this.#context.holder, 1000);
      if (rows.length === 0) return;
      yield* this.#return(rows);
    }
  }

  *#return(rows: readonly Record<string, unknown>[]): Steps<number> {
    const back = rows.map(toHeld);
    yield* run(this.#texts.release, this.#context.dialect.list(back.map(({ id }) => id)));
    const present = back.filter((row) => row.present);
    const absent = back.filter((row) => !row.present).map(({ id }) => id);
    if (absent.length > 0) yield* this.#storing.delete(absent);
    yield* this.#giveBack(present, true);
    return present.length;
  }

  *#held(leases: readonly LeaseKey[]): Steps<Map<number, ReturnType<typeof toHeld>>> {
    const { dialect, holder } = this.#context;
    const rows = yield* all(this.#texts.held, dialect.list([...new Set(leases.map(({ id }) => id))]));
    const ours = rows.filter((row) => row.holder === holder);
    return new Map(ours.map(toHeld).map((row) => [row.id, row]));
  }

  /** Back to their places. */
  *#giveBack(messages: readonly Back[], counted: boolean): Steps<void> {
    const { dialect, effects } = this.#context;
    const back = messages.filter(({ fated }) => !fated);
    if (back.length < messages.length) effects.due = true;
    if (back.length === 0) return;
    const ids = dialect.list(back.map(({ id }) => id));
    yield* run(this.#texts.show, ids);
    if (counted) yield* run(this.#texts.count, ids);
    const queues = new Set(back.map(({ queueId }) => queueId));
    for (const queue of (yield* this.#queues.byIds(queues)).values()) {
      effects.ready.add(queue.id);
      yield* this.#storing.trim(queue);
      // What expired while it was held is out of its queue at once.
      if (queue.hasTraits) yield* this.#storing.expire(queue);
    }
  }
}

function toHeld(
  row: Readonly<Record<string, unknown>>,
): Back & { readonly requestId: number; readonly present: boolean } {
  return {
    id: toNumber(row.id),
    requestId: toNumber(row.request_id),
    queueId: toNumber(row.queue_id),
    present: toOptional(row.present) !== undefined,
    fated: row.fate !== null && row.fate !== undefined,
  };
}
