import { type Column, type Dialect, type KeyOf, type NewMessage, plainStatements, toNumber } from '../dialect.js';
import type { Names } from '../names.js';
import { ourIndexes, ourTables } from '../schema.js';
import { all, run, type Steps } from '../steps.js';

/** Longer payloads of a notification are refused (8000 bytes): then any queue may have changed. */
const MOST_NOTIFIED = 7000;

/** PostgreSQL's SQL. Rows are inserted many at a time, from arrays. */
export const postgresqlDialect: Dialect = {
  // Not clock_timestamp(): no index is used for what may change while a statement runs.
  now: '(extract(epoch from statement_timestamp()) * 1000)::bigint',
  true: 'true',
  false: 'false',
  integer: '?::bigint',
  readyMessages: ({ message }) => `${message} m`,
  readyOrder: 'm.id',
  ready: (alias) => `${alias}.visible`,
  isReady: (alias) => `greatest(${alias}.visible, ${alias}.visible)`,
  indexed: (table, alias) => `${table} ${alias}`,
  thenJoin: 'JOIN',
  noIndex: (column) => `greatest(${column}, ${column})`,
  skipLocked: ' FOR UPDATE SKIP LOCKED',
  lock: ' FOR UPDATE',
  lockOf: (alias) => ` FOR UPDATE OF ${alias}`,
  // An array is made once, and its ids are looked up; what a planner makes of IN depends on what it believes of the tables.
  isAmong: (column, query) => `${column} = ANY(ARRAY(${query}))`,
  updatesInQueries: true,
  ...plainStatements((column) => `${column} = ANY(?::bigint[])`),
  inNames: (column) => `${column} = ANY(?::text[])`,
  list: (values) => values,
  onConflict: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
  onConflictCount: (key, table, column) => `ON CONFLICT (${key}) DO UPDATE SET ${column} = ${table}.${column} + 1`,

  *insertMessages({ message }: Names, messages: readonly NewMessage[]): Steps<readonly number[]> {
    const rows = yield* all(
      // Kombu's ids come from a sequence that the column itself does not know.
      `INSERT INTO ${message} (id, visible, payload, version, queue_id)
        SELECT nextval('message_id_sequence'), true, i.payload, 1, i.queue_id FROM (
          SELECT * FROM unnest(?::text[], ?::int[]) WITH ORDINALITY AS u (payload, queue_id, n) ORDER BY n
        ) i RETURNING id`,
      messages.map(({ payload }) => payload),
      messages.map(({ queueId }) => queueId),
    );
    return rows.map(({ id }) => toNumber(id)).sort((a, b) => a - b);
  },

  *insertRows(table: string, key: string, columns: readonly Column[], rows): Steps<void> {
    const names = columns.map(({ name }) => name);
    const arrays = columns.map(({ type }) => (type === 'integer' ? '?::bigint[]' : '?::text[]'));
    const others = names.filter((name) => name !== key);
    yield* run(
      `INSERT INTO ${table} (${names.join(', ')}) SELECT * FROM unnest(${arrays.join(', ')})
        ${postgresqlDialect.onConflict(key, others)}`,
      ...columns.map((_, i) => rows.map((row) => row[i])),
    );
  },

  deleteRows(tables: readonly KeyOf[]) {
    const texts = tables.map(({ table, key }) => postgresqlDialect.deleteAmong(table, key));
    // One question instead of one for each table.
    const [last, ...others] = texts.reverse();
    const parts = others.map((text, i) => `d${i} AS (${text})`);
    const text = parts.length === 0 ? `${last}` : `WITH ${parts.join(', ')} ${last}`;
    return function* (ids: readonly number[]): Steps<void> {
      yield* run(text, ...texts.map(() => ids));
    };
  },

  *insertQueue({ queue }: Names, name: string): Steps<void> {
    const text = `INSERT INTO ${queue} (id, name) VALUES (nextval('queue_id_sequence'), ?) ON CONFLICT (name) DO NOTHING`;
    yield* run(text, name);
  },

  *notify({ prefix }: Names, queueIds: readonly number[] | undefined): Steps<void> {
    const ids = queueIds?.join(',') ?? '*';
    yield* run('SELECT pg_notify(?, ?)', prefix, ids.length > MOST_NOTIFIED ? '*' : ids);
  },

  schema(names) {
    const { queue, message, prefix } = names;
    const types = {
      autoKey: 'BIGSERIAL PRIMARY KEY',
      integer: 'BIGINT',
      text: (length: number) => `VARCHAR(${length})`,
      longText: 'TEXT',
      suffix: '',
    };
    return [
      'CREATE SEQUENCE IF NOT EXISTS queue_id_sequence',
      `CREATE TABLE IF NOT EXISTS ${queue} (
	id INTEGER NOT NULL, 
	name VARCHAR(200), 
	PRIMARY KEY (id), 
	UNIQUE (name)
)`,
      'CREATE SEQUENCE IF NOT EXISTS message_id_sequence',
      `CREATE TABLE IF NOT EXISTS ${message} (
	id INTEGER NOT NULL, 
	visible BOOLEAN, 
	timestamp TIMESTAMP WITHOUT TIME ZONE, 
	payload TEXT NOT NULL, 
	version SMALLINT NOT NULL, 
	queue_id INTEGER, 
	PRIMARY KEY (id), 
	CONSTRAINT "FK_kombu_message_queue" FOREIGN KEY(queue_id) REFERENCES ${queue} (id)
)`,
      `CREATE INDEX IF NOT EXISTS ix_${message}_visible ON ${message} (visible)`,
      `CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp_id ON ${message} (timestamp, id)`,
      `CREATE INDEX IF NOT EXISTS ix_${message}_timestamp ON ${message} (timestamp)`,
      `CREATE INDEX IF NOT EXISTS ix_${prefix}_ready ON ${message} (queue_id, id) WHERE visible`,
      // What refers to a queue is found by its id, when the queue is deleted.
      `CREATE INDEX IF NOT EXISTS ix_${prefix}_of_queue ON ${message} (queue_id)`,
      ...ourTables(names, types),
      // Nothing is to be learnt of what changes at every moment. A planner that has seen a table full of one queue's messages expects to find that queue's, and
      // every other's, at the head of the table.
      ...[message, names.trait, names.delayed].map(
        (table) => `ALTER TABLE ${table} ALTER COLUMN queue_id SET STATISTICS 0`,
      ),
      `ALTER TABLE ${message} ALTER COLUMN visible SET STATISTICS 0`,
      ...ourIndexes(names).map(
        ({ name, table, columns, where }) =>
          `CREATE INDEX IF NOT EXISTS ${name} ON ${table} (${columns})${where === undefined ? '' : ` WHERE ${where}`}`,
      ),
    ];
  },
};
