import type { Context } from '../context.js';
import { exists, toNumber, toOptional } from '../dialect.js';
import { all, type Steps } from '../steps.js';

/** What is to be known about queues that somebody watches. */
export interface Look {
  /** Those that have something to take. */
  readonly ready: ReadonlySet<string>;
  /** Those that exist, by name, with their ids. */
  readonly existing: ReadonlyMap<string, number>;
  /** Something waits for a sweep. */
  readonly due: boolean;
  /** Milliseconds until the next message becomes ready or expires by its time; undefined: there is none. */
  readonly next: number | undefined;
}

/** Looking whether there is something to do. */
export class Hints {
  readonly #context: Context;
  readonly #texts;

  constructor(context: Context) {
    this.#context = context;
    const { dialect: d, names } = context;
    this.#texts = {
      // One question: the times are there whichever queues are.
      look: `SELECT times.*, q.id, q.name,
        ${exists(`SELECT 1 FROM ${d.readyMessages(names)} WHERE m.queue_id = q.id AND ${d.ready('m')}`, d.readyOrder)}
          OR ${exists(`SELECT 1 FROM ${names.delayed} e WHERE e.queue_id = q.id AND e.not_before <= ${d.now}`, 'e.not_before')} AS ready
        FROM (SELECT
            (SELECT min(not_before) FROM ${names.delayed} WHERE not_before > ${d.now}) - ${d.now} AS delay,
            (SELECT min(expires_at) FROM ${names.trait} WHERE expires_at > ${d.now}) - ${d.now} AS expiry,
            EXISTS (SELECT 1 FROM ${names.trait} t JOIN ${names.message} m ON m.id = t.message_id
              WHERE t.expires_at <= ${d.now} AND ${d.isReady('m')}) AS expired,
            EXISTS (SELECT 1 FROM ${names.trait} t WHERE t.fate IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM ${names.lease} l WHERE l.message_id = t.message_id)) AS fated
        ) times LEFT JOIN ${names.queue} q ON ${d.inNames('q.name')}`,
    };
  }

  *look(watched: readonly string[]): Steps<Look> {
    const ready = new Set<string>();
    const existing = new Map<string, number>();
    const rows = yield* all(this.#texts.look, this.#context.dialect.list(watched));
    for (const row of rows) {
      if (row.id === null) continue; // None of them exists.
      const name = String(row.name);
      existing.set(name, toNumber(row.id));
      if (row.ready) ready.add(name);
    }
    const [times] = rows;
    const next = [times?.delay, times?.expiry].map(toOptional).filter((ms) => ms !== undefined);
    return {
      ready,
      existing,
      due: Boolean(times?.expired) || Boolean(times?.fated),
      next: next.length === 0 ? undefined : Math.max(0, Math.min(...next)),
    };
  }
}
