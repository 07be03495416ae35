/** In what MariaDB and MySQL differ. */
import { NotSupportedError } from '../../../errors.js';
import { type KeyOf, type NewMessage, toNumber } from '../dialect.js';
import type { Names } from '../names.js';
import { all, first, run, type Steps } from '../steps.js';
import {
  byKey,
  common,
  deletingOfQueue,
  IDS,
  type MysqlDialect,
  portions,
  READY_COLUMNS,
  readyIndex,
  tables,
} from './dialect.js';

/** Not IGNORE, which would store another name where the table's characters lack one. */
const unlessThere = ({ queue }: Names) => `ON DUPLICATE KEY UPDATE ${queue}.name = ${queue}.name`;

/** The first release with all that is used: `SKIP LOCKED`. */
const OLDEST_MARIADB = [10, 6, 0];

const deleteJoined = (table: string, key: string) => `DELETE x FROM ${IDS} STRAIGHT_JOIN ${byKey(table, 'x', key)}`;

const mariadbDialect: MysqlDialect = {
  ...common,
  product: 'MariaDB',
  numbersRows: false,
  // No row is waited for: Kombu looks for the next message in whichever index the server chooses, and locks rows and gaps as it goes, so whoever waits with locks of its own is sooner or
  // later waited for in turn. The server would end Kombu's transaction then, which Kombu does not try again; and who never waits is in no such circle. A row that others have is tried
  // again a moment later, with nothing in hand. The other limit, in seconds, is for somebody who changes a table.
  settings: ['innodb_lock_wait_timeout = 0', 'lock_wait_timeout = 5'],
  // Where nothing is waited for, passing over a row fails: "Got error 1 during COMMIT" (10.11). It does not wait, whatever the limit.
  skipping: 'SET STATEMENT innodb_lock_wait_timeout = 1 FOR ',
  lock: ' FOR UPDATE',
  // There are no words for some of the tables only.
  lockOf: () => ' FOR UPDATE',
  updateAmong: (table, key, set) => `UPDATE ${IDS} STRAIGHT_JOIN ${byKey(table, 'x', key)} SET ${set}`,
  deleteAmong: deleteJoined,
  deleteOfQueue: deletingOfQueue(deleteJoined),

  deleteRows(tables: readonly KeyOf[]) {
    const joins = tables.map(({ table, key }, i) => ` LEFT JOIN ${byKey(table, `x${i}`, key)}`);
    const text = `DELETE ${tables.map((_, i) => `x${i}`).join(', ')} FROM ${IDS}${joins.join('')}`;
    return function* (ids: readonly number[]): Steps<void> {
      yield* run(text, ids);
    };
  },

  *insertMessages({ message }: Names, messages: readonly NewMessage[]): Steps<readonly number[]> {
    const ids: number[] = [];
    for (const some of portions(messages)) {
      // Kombu's ids come from a sequence that the column itself does not know.
      const row = '(nextval(message_id_sequence), 1, ?, 1, ?)';
      const text = `INSERT INTO ${message} (id, visible, payload, version, queue_id) VALUES ${some.map(() => row).join(', ')} RETURNING id`;
      const rows = yield* all(text, ...some.flatMap(({ payload, queueId }) => [payload, queueId]));
      ids.push(...rows.map(({ id }) => toNumber(id)));
    }
    return ids;
  },

  *insertQueue(names: Names, name: string): Steps<void> {
    const text = `INSERT INTO ${names.queue} (id, name) VALUES (nextval(queue_id_sequence), ?)`;
    yield* run(`${text} ${unlessThere(names)}`, name);
  },

  schema: (names) => [
    'CREATE SEQUENCE IF NOT EXISTS queue_id_sequence',
    'CREATE SEQUENCE IF NOT EXISTS message_id_sequence',
    ...tables(names, 'id INTEGER NOT NULL'),
  ],

  *makeReadyIndex(names) {
    const name = readyIndex(names);
    const changes = `DROP INDEX IF EXISTS ${name}, ADD INDEX ${name} (${READY_COLUMNS})`;
    yield* run(`ALTER TABLE ${names.message} NOWAIT ${changes}, ALGORITHM=INPLACE, LOCK=NONE`);
    return true;
  },
};

/** The first release with all that is used: `INDEX` as an optimizer's hint. */
const OLDEST_MYSQL = [8, 0, 20];

const byPrimary = (table: string) => `/*+ INDEX(${table} PRIMARY) */`;
const deleteAmong = (table: string, key: string) => `DELETE ${byPrimary(table)} FROM ${table} WHERE ${key} IN (?)`;

const mysqlDialect: MysqlDialect = {
  ...common,
  product: 'MySQL',
  numbersRows: true,
  // Seconds. Less cannot be had.
  settings: ['innodb_lock_wait_timeout = 1', 'lock_wait_timeout = 1'],
  skipping: '',
  lock: ' FOR UPDATE NOWAIT',
  lockOf: (alias) => ` FOR UPDATE OF ${alias} NOWAIT`,

  // Statements on one table change each row as they find it. Those on several lock all rows first, and a Kombu that comes by an index meanwhile has the entry there, waits for the row,
  // and is waited for.
  updateAmong: (table, key, set) => `UPDATE ${byPrimary(table)} ${table} SET ${set} WHERE ${key} IN (?)`,
  deleteAmong,
  deleteOfQueue: deletingOfQueue(deleteAmong),

  deleteRows(tables: readonly KeyOf[]) {
    const texts = tables.map(({ table, key }) => deleteAmong(table, key));
    return function* (ids: readonly number[]): Steps<void> {
      for (const text of texts) yield* run(text, ids);
    };
  },

  *insertMessages({ message }: Names, messages: readonly NewMessage[]): Steps<readonly number[]> {
    const ids: number[] = [];
    // The rows of one statement get their numbers together, at the steps that the server's cluster, if it is in one, has it count in.
    const one = messages.length < 2 ? undefined : yield* first('SELECT @@auto_increment_increment AS step');
    const step = toNumber(one?.step ?? 1);
    for (const some of portions(messages)) {
      const text = `INSERT INTO ${message} (visible, payload, version, queue_id) VALUES ${some.map(() => '(1, ?, 1, ?)').join(', ')}`;
      const { insertId } = yield* run(text, ...some.flatMap(({ payload, queueId }) => [payload, queueId]));
      ids.push(...some.map((_, i) => insertId + i * step));
    }
    return ids;
  },

  *insertQueue(names: Names, name: string): Steps<void> {
    yield* run(`INSERT INTO ${names.queue} (name) VALUES (?) ${unlessThere(names)}`, name);
  },

  schema: (names) => tables(names, 'id INTEGER NOT NULL AUTO_INCREMENT'),

  *makeReadyIndex(names, isThere) {
    const user = yield* first(
      `SELECT 1 AS found FROM performance_schema.metadata_locks
        WHERE object_schema = DATABASE() AND object_name = ? AND owner_thread_id <> PS_CURRENT_THREAD_ID() LIMIT 1`,
      names.message,
    );
    if (user !== undefined) return false;
    const name = readyIndex(names);
    const changes = `${isThere ? `DROP INDEX ${name}, ` : ''}ADD INDEX ${name} (${READY_COLUMNS})`;
    yield* run(`ALTER TABLE ${names.message} ${changes}, ALGORITHM=INPLACE, LOCK=NONE`);
    return true;
  },
};

/** What a server of this version understands. Throws NOT_SUPPORTED for one that is too old. */
export function dialectOf(version: string): MysqlDialect {
  const dialect = /mariadb/i.test(version) ? mariadbDialect : mysqlDialect;
  const oldest = dialect === mariadbDialect ? OLDEST_MARIADB : OLDEST_MYSQL;
  // MariaDB may begin with what replicas of old releases take for a version.
  const [, ...found] = /^(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?/.exec(version) ?? [];
  const first = oldest.findIndex((part, i) => Number(found[i] ?? 0) !== part);
  if (first === -1 || Number(found[first] ?? 0) > (oldest[first] as number)) return dialect;
  const text = `${dialect.product} ${oldest.join('.')} or later is needed, and this server is ${version}`;
  throw new NotSupportedError(`mysql: ${text}`);
}

/** What is understood before the server has said which it is. */
export const anyServer: MysqlDialect = mariadbDialect;
