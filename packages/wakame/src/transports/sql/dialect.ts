import type { MessagingError } from '../../errors.js';
import type { Names } from './names.js';
import { type Row, run, type Steps } from './steps.js';

/** A message to be inserted into Kombu's table. */
export interface NewMessage {
  readonly queueId: number;
  readonly payload: string;
}

/** In what the databases differ. */
export interface Dialect {
  /** The database's clock: milliseconds since the epoch. */
  readonly now: string;
  /** How the booleans of Kombu's table are written. */
  readonly true: string;
  readonly false: string;
  /** A `?` for an integer, where the database cannot tell its type. */
  readonly integer: string;
  /** Messages, as `m`, looked for in the index of those that are ready: with {@link ready} among the conditions. */
  readyMessages(names: Names): string;
  /** The order that this index has for the messages of one queue, in which whatever comes first of them is found at once: of `m`. */
  readonly readyOrder: string;
  /** That a message is ready, in the words that the index of ready messages was made with. */
  ready(alias: string): string;
  /** The same, of messages found by their ids: a planner must not look for all that are ready instead. */
  isReady(alias: string): string;
  /**
   * What a query that locks rows selects from: a table, by this index of ours, or by its key (`PRIMARY`), and in no other way; joined to others by {@link thenJoin}. Rows that are read on the
   * way are locked, if only for a moment, and who passes over them at that moment finds nothing.
   */
  indexed(table: string, alias: string, index: string): string;
  /** An inner join whose tables are read in this order. */
  readonly thenJoin: string;
  /** A column by which rows are not to be looked for, as there is a narrower condition. */
  noIndex(column: string): string;
  /** Ends a query whose rows are about to be changed: rows that others are changing are passed over. */
  readonly skipLocked: string;
  /** The same, but waits for them. */
  readonly lock: string;
  /** The same, of a join: at the least the rows of this table. */
  lockOf(alias: string): string;
  /** A condition: that the id is among those that a query gives, in an UPDATE that returns rows; undefined: none does. */
  readonly isAmong: ((column: string, query: string) => string) | undefined;
  /** Such an UPDATE may be part of a query, in which others' changes are seen as of one moment: between two statements they may have changed more. */
  readonly updatesInQueries: boolean;
  /** A condition with one `?`: that the column is among the values of {@link list}. */
  inIds(column: string): string;
  inNames(column: string): string;
  /** Rows found by their keys: what to select from, and a condition. One of them has the `?` for {@link list}, and no other rows are locked. */
  among(table: string, alias: string, key: string): { readonly from: string; readonly where: string };
  /** An UPDATE of such rows; `set` has no `?`. */
  updateAmong(table: string, key: string, set: string): string;
  deleteAmong(table: string, key: string): string;
  /** Deletes the rows of a queue, none but which are locked. Gives the number. */
  deleteOfQueue(table: KeyOf): (queueId: number) => Steps<number>;
  /** The value for such a `?`. Never for none. */
  list(values: readonly number[] | readonly string[]): unknown;
  /** The end of an insert into a table with this key: a row that stands gets the new values of these columns. */
  onConflict(key: string, columns: readonly string[]): string;
  /** The same, but a row that stands has this column of it raised by one. */
  onConflictCount(key: string, table: string, column: string): string;
  /** Ids are not reused, and rise in the order of the messages given, which is the order of what is returned. */
  insertMessages(names: Names, messages: readonly NewMessage[]): Steps<readonly number[]>;
  /** Inserts rows into a table of ours, replacing those with the same key; the columns' types are the database's to know. */
  insertRows(
    table: string,
    key: string,
    columns: readonly Column[],
    rows: readonly (readonly unknown[])[],
  ): Steps<void>;
  /** Deletes the rows that have these ids as their keys from several tables. Never for no ids. */
  deleteRows(tables: readonly KeyOf[]): (ids: readonly number[]) => Steps<void>;
  /** Inserts a row into Kombu's table of queues unless it is there. */
  insertQueue(names: Names, queue: string): Steps<void>;
  /**
   * Tells the other processes that queues may have messages, once this is committed; undefined where nobody can be told.
   *
   * @param queueIds Undefined: anything may have changed.
   */
  readonly notify: ((names: Names, queueIds: readonly number[] | undefined) => Steps<void>) | undefined;
  /** The statements that make what is absent, in order, Kombu's tables first; each of them does nothing when it is done already. */
  schema(names: Names): readonly string[];
}

/** A column of a table of ours, for {@link Dialect.insertRows}. */
export interface Column {
  readonly name: string;
  readonly type: 'integer' | 'text';
}

/** A table and the column that has its keys. */
export interface KeyOf {
  readonly table: string;
  readonly key: string;
}

/** The parts of a dialect that follow from {@link Dialect.inIds}, where a statement locks the rows that it changes and no others. */
export function plainStatements(
  inIds: Dialect['inIds'],
): Pick<Dialect, 'inIds' | 'among' | 'updateAmong' | 'deleteAmong' | 'deleteOfQueue'> {
  return {
    inIds,
    among: (table, alias, key) => ({ from: `${table} ${alias}`, where: inIds(`${alias}.${key}`) }),
    updateAmong: (table, key, set) => `UPDATE ${table} SET ${set} WHERE ${inIds(key)}`,
    deleteAmong: (table, key) => `DELETE FROM ${table} WHERE ${inIds(key)}`,
    deleteOfQueue: ({ table }) =>
      function* (queueId) {
        return (yield* run(`DELETE FROM ${table} WHERE queue_id = ?`, queueId)).changes;
      },
  };
}

/** What a failed statement means for whoever ran it. */
export type Failure =
  /** Somebody else was in the way; the transaction was or will be rolled back, and the same may succeed in a moment. */
  | 'busy'
  /** The connection is of no more use. */
  | 'lost'
  /** The statement cannot succeed. */
  | 'failed';

export interface ErrorReader {
  failureOf(error: unknown): Failure;
  classify(error: unknown): MessagingError;
}

/**
 * That a query gives a row. Not by EXISTS: where a planner believes that most of a table will do, it looks through the table, and finds nothing in a million
 * rows if it is wrong. An order that only the right index has leaves it no choice.
 */
export function exists(query: string, order: string): string {
  return `(${query} ORDER BY ${order} LIMIT 1) IS NOT NULL`;
}

/** A number in a row: drivers give 64-bit integers as text. */
export function toNumber(value: Row[string]): number {
  return Number(value);
}

/** A number in a row, or NULL. */
export function toOptional(value: Row[string]): number | undefined {
  return value === null || value === undefined ? undefined : Number(value);
}
