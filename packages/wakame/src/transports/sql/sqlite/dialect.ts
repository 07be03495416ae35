import { type Column, type Dialect, type KeyOf, type NewMessage, plainStatements } from '../dialect.js';
import type { Names } from '../names.js';
import { ourIndexes, ourTables } from '../schema.js';
import { run, type Steps } from '../steps.js';

/** SQLite's SQL. The database is in this process, so rows are inserted one by one. */
export const sqliteDialect: Dialect = {
  now: "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
  true: '1',
  false: '0',
  integer: '?',
  // Nobody gathers statistics here, without which Kombu's index of what is visible looks as good as ours of what is ready in a queue: it is not,
  // with a million messages in another one.
  readyMessages: ({ message, prefix }) => `${message} m INDEXED BY ix_${prefix}_ready`,
  readyOrder: 'm.id',
  ready: (alias) => `${alias}.visible = 1`,
  isReady: (alias) => `+${alias}.visible = 1`,
  indexed: (table, alias) => `${table} ${alias}`,
  thenJoin: 'JOIN',
  noIndex: (column) => `+${column}`,
  // There is one writer at a time.
  skipLocked: '',
  lock: '',
  lockOf: () => '',
  isAmong: (column, query) => `${column} IN (${query})`,
  // Nobody else writes within a transaction.
  updatesInQueries: false,
  ...plainStatements((column) => `${column} IN (SELECT value FROM json_each(?))`),
  inNames: (column) => `${column} IN (SELECT value FROM json_each(?))`,
  list: (values) => JSON.stringify(values),
  onConflict: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
  onConflictCount: (key, table, column) => `ON CONFLICT (${key}) DO UPDATE SET ${column} = ${table}.${column} + 1`,

  *insertMessages({ message }: Names, messages: readonly NewMessage[]): Steps<readonly number[]> {
    const text = `INSERT INTO ${message} (visible, payload, version, queue_id) VALUES (1, ?, 1, ?)`;
    const ids: number[] = [];
    for (const { payload, queueId } of messages) ids.push((yield* run(text, payload, queueId)).insertId);
    return ids;
  },

  *insertRows(table: string, _key: string, columns: readonly Column[], rows): Steps<void> {
    const names = columns.map(({ name }) => name).join(', ');
    const text = `INSERT OR REPLACE INTO ${table} (${names}) VALUES (${columns.map(() => '?').join(', ')})`;
    for (const row of rows) yield* run(text, ...row);
  },

  deleteRows(tables: readonly KeyOf[]) {
    const texts = tables.map(({ table, key }) => sqliteDialect.deleteAmong(table, key));
    return function* (ids: readonly number[]): Steps<void> {
      const list = sqliteDialect.list(ids);
      for (const text of texts) yield* run(text, list);
    };
  },

  *insertQueue({ queue }: Names, name: string): Steps<void> {
    yield* run(`INSERT OR IGNORE INTO ${queue} (name) VALUES (?)`, name);
  },

  notify: undefined,

  schema(names) {
    const { queue, message, prefix } = names;
    const types = {
      autoKey: 'INTEGER PRIMARY KEY AUTOINCREMENT',
      integer: 'INTEGER',
      text: (length: number) => `VARCHAR(${length})`,
      longText: 'TEXT',
      suffix: '',
    };
    return [
      `CREATE TABLE IF NOT EXISTS ${queue} (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(200), 
	UNIQUE (name)
)`,
      `CREATE TABLE IF NOT EXISTS ${message} (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	visible BOOLEAN, 
	timestamp DATETIME, 
	payload TEXT NOT NULL, 
	version SMALLINT NOT NULL, 
	queue_id INTEGER, 
	CONSTRAINT "FK_kombu_message_queue" FOREIGN KEY(queue_id) REFERENCES ${queue} (id)
)`,
      `CREATE INDEX IF NOT EXISTS ix_${message}_visible ON ${message} (visible)`,
      `CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp_id ON ${message} (timestamp, id)`,
      `CREATE INDEX IF NOT EXISTS ix_${message}_timestamp ON ${message} (timestamp)`,
      `CREATE INDEX IF NOT EXISTS ix_${prefix}_ready ON ${message} (queue_id, id) WHERE visible = 1`,
      ...ourTables(names, types),
      ...ourIndexes(names).map(
        ({ name, table, columns, where }) =>
          `CREATE INDEX IF NOT EXISTS ${name} ON ${table} (${columns})${where === undefined ? '' : ` WHERE ${where}`}`,
      ),
    ];
  },
};
