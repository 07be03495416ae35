import type { Column, Dialect, NewMessage } from '../dialect.js';
import type { Names } from '../names.js';
import { ourIndexes, ourTables } from '../schema.js';
import { all, first, run, type Steps } from '../steps.js';

/** What MariaDB and MySQL need besides, where they differ. */
export interface MysqlDialect extends Dialect {
  readonly product: 'MariaDB' | 'MySQL';
  /** The server numbers the rows of Kombu's tables, as SQLAlchemy has it where there are no sequences. */
  readonly numbersRows: boolean;
  /** Settings of the connection. */
  readonly settings: readonly string[];
  /** Goes before a statement that passes over rows. */
  readonly skipping: string;
  /**
   * Puts the index by which messages are taken in the place of what Kombu made under its name, if that is there. Gives false while anybody is in a transaction that
   * looked at the table: whoever waited for its end would make everybody else wait.
   */
  makeReadyIndex(names: Names, isThere: boolean): Steps<boolean>;
}

/** Bytes of payloads in one statement: a server refuses what is longer than its `max_allowed_packet`, 16 MiB by default. */
const MOST_TOGETHER = 2 ** 21;

/**
 * The index by which messages are taken: Kombu's of what is visible, which every table of messages has, under this name. Ours of what is visible in a queue, in order, takes its place.
 * Beside an index that begins with `queue_id` and `visible`, Kombu's own query for the next message would come to read and lock whole queues.
 */
export const readyIndex = ({ message }: Names) => `ix_${message}_visible`;
export const READY_COLUMNS = 'visible, queue_id, id';

/**
 * Ids to find rows by, one after the other. With `IN`, the planner takes it for quicker to read a table of a few hundred rows from end to end, and what is read in order to be
 * changed is locked: rows that others are about to change, and maybe for long.
 */
export const IDS = "JSON_TABLE(JSON_ARRAY(?), '$[*]' COLUMNS (id BIGINT PATH '$')) ids";

export function byKey(table: string, alias: string, key: string): string {
  return `${table} ${alias} FORCE INDEX (PRIMARY) ON ${alias}.${key} = ids.id`;
}

type Own =
  | ('lock' | 'lockOf' | 'updateAmong' | 'deleteAmong' | 'deleteOfQueue' | 'deleteRows')
  | ('insertMessages' | 'insertQueue' | 'schema');

/** What both servers understand. A list is written out by the client: `IN (1, 2, 3)`. */
export const common: Omit<Dialect, Own> = {
  // Whatever the time zone of the session, an application's maybe.
  now: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000",
  true: '1',
  false: '0',
  integer: '?',
  // What it knows of a table that empties and fills all the time says nothing.
  readyMessages: (names) => `${names.message} m FORCE INDEX (${readyIndex(names)})`,
  // Of a queue that is another's column, MySQL does not see that its messages are in the order of their ids.
  readyOrder: 'm.visible, m.queue_id, m.id',
  ready: (alias) => `${alias}.visible = 1`,
  isReady: (alias) => `COALESCE(${alias}.visible) = 1`,
  indexed: (table, alias, index) => `${table} ${alias} FORCE INDEX (${index})`,
  thenJoin: 'STRAIGHT_JOIN',
  noIndex: (column) => `COALESCE(${column})`,
  skipLocked: ' FOR UPDATE SKIP LOCKED',
  isAmong: undefined,
  updatesInQueries: false,
  inIds: (column) => `${column} IN (?)`,
  among: (table, alias, key) => ({ from: `${IDS} STRAIGHT_JOIN ${byKey(table, alias, key)}`, where: 'TRUE' }),
  inNames: (column) => `${column} IN (?)`,
  list: (values) => values,
  onConflict: (_key, columns) =>
    `ON DUPLICATE KEY UPDATE ${columns.map((column) => `${column} = VALUES(${column})`).join(', ')}`,
  onConflictCount: (_key, table, column) => `ON DUPLICATE KEY UPDATE ${column} = ${table}.${column} + 1`,

  *insertRows(table: string, key: string, columns: readonly Column[], rows): Steps<void> {
    const names = columns.map(({ name }) => name);
    const others = names.filter((name) => name !== key);
    yield* run(`INSERT INTO ${table} (${names.join(', ')}) VALUES ? ${common.onConflict(key, others)}`, rows);
  },

  notify: undefined,
};

/** Finds the rows without locking any, and deletes them by their keys. */
export function deletingOfQueue(deleteAmong: Dialect['deleteAmong']): Dialect['deleteOfQueue'] {
  return ({ table, key }) =>
    function* (queueId) {
      const ids = (yield* all(`SELECT ${key} AS id FROM ${table} WHERE queue_id = ?`, queueId)).map(({ id }) => id);
      return ids.length === 0 ? 0 : (yield* run(deleteAmong(table, key), ids)).changes;
    };
}

/** Whether the index by which messages are taken is ours; undefined: there is none of the name. */
export function* hasReadyIndex(names: Names): Steps<boolean | undefined> {
  const row = yield* first<{ columns: string | null }>(
    `SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') AS columns FROM information_schema.statistics
      WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?`,
    names.message,
    readyIndex(names),
  );
  return row?.columns === null || row === undefined ? undefined : row.columns === READY_COLUMNS;
}

const SUFFIX = ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/**
 * Kombu's tables as SQLAlchemy makes them, and ours. With their indexes, since nothing can be added to a table as long as a transaction that looked at it is open, be it idle.
 *
 * @param id The column of Kombu's keys.
 */
export function tables(names: Names, id: string): string[] {
  const { queue, message } = names;
  const types = {
    autoKey: 'BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY',
    integer: 'BIGINT',
    text: (length: number) => `VARCHAR(${length})`,
    longText: 'LONGTEXT',
    keys: (table: string) =>
      ourIndexes(names).flatMap((index) => (index.table === table ? [`KEY ${index.name} (${index.columns})`] : [])),
    suffix: SUFFIX,
  };
  return [
    `CREATE TABLE IF NOT EXISTS ${queue} (
	${id}, 
	name VARCHAR(200), 
	PRIMARY KEY (id), 
	UNIQUE (name)
)${SUFFIX}`,
    // Kombu's payload is TEXT, which holds 64 KiB. Its name for the constraint is always the same, which can be had once in a database.
    `CREATE TABLE IF NOT EXISTS ${message} (
	${id}, 
	visible BOOL, 
	timestamp DATETIME, 
	payload LONGTEXT NOT NULL, 
	version SMALLINT NOT NULL, 
	queue_id INTEGER, 
	PRIMARY KEY (id), 
	KEY ix_kombu_message_timestamp_id (timestamp, id), 
	KEY ${readyIndex(names)} (${READY_COLUMNS}), 
	KEY ix_${message}_timestamp (timestamp), 
	CONSTRAINT \`FK_${message}_queue\` FOREIGN KEY(queue_id) REFERENCES ${queue} (id)
)${SUFFIX}`,
    ...ourTables(names, types),
  ];
}

/** Messages in their order, as many together as a server takes. */
export function portions(messages: readonly NewMessage[]): NewMessage[][] {
  const all: NewMessage[][] = [];
  let room = 0;
  for (const message of messages) {
    const isFirst = room < message.payload.length;
    if (isFirst) room = MOST_TOGETHER;
    room -= message.payload.length;
    if (isFirst) all.push([message]);
    else all.at(-1)?.push(message);
  }
  return all;
}
