/**
 * Our tables, beside Kombu's two. None refers to Kombu's with a foreign key: Kombu deletes rows as it likes, and a row of ours without its message
 * means nothing and is swept away.
 *
 * ```
 *   kombu_queue ──< kombu_message            as Kombu makes them
 *        │                │ 1:1 or none
 *   wakame_queue     wakame_lease            who holds it
 *   wakame_consumer  wakame_message          priority, expiry, deliveries, why it waits for its dead-letter exchange
 *        │
 *   wakame_delayed                           becomes a kombu_message when its time comes
 *   wakame_holder    wakame_exchange ──< wakame_binding    wakame_meta
 * ```
 */
import { NotSupportedError } from '../../errors.js';
import type { Names } from './names.js';
import { first, run, type Steps } from './steps.js';

/** Raised when our tables change in a way that older releases cannot live with. */
const VERSION = 1;

/** The words for columns, which the databases spell differently. */
export interface ColumnTypes {
  /** A primary key that the database numbers. */
  readonly autoKey: string;
  /** 64 bits. */
  readonly integer: string;
  /** Text of up to so many characters, compared byte by byte. */
  text(length: number): string;
  readonly longText: string;
  /** What stands behind the columns of a table; undefined: nothing. */
  readonly keys?: ((table: string) => readonly string[]) | undefined;
  /** After the closing bracket of a table. */
  readonly suffix: string;
}

/** `CREATE TABLE`s of ours. `where`: whether an index may be of some rows only. */
export function ourTables(names: Names, types: ColumnTypes): string[] {
  const { autoKey, integer, longText, suffix } = types;
  const table = (name: string, columns: readonly string[]) =>
    `CREATE TABLE IF NOT EXISTS ${name} (${[...columns, ...(types.keys?.(name) ?? [])].join(', ')})${suffix}`;
  const uuid = types.text(36);
  const name = types.text(255);
  return [
    table(names.meta, [`name ${types.text(40)} NOT NULL PRIMARY KEY`, `value ${integer} NOT NULL`]),
    table(names.queueOptions, [
      `queue_id ${integer} NOT NULL PRIMARY KEY`,
      `options ${longText} NOT NULL`,
      `exclusive_to ${uuid}`,
      `expires ${integer}`,
      `used_at ${integer} NOT NULL`,
    ]),
    table(names.lease, [
      `message_id ${integer} NOT NULL PRIMARY KEY`,
      `queue_id ${integer} NOT NULL`,
      `holder ${uuid} NOT NULL`,
      `request_id ${integer} NOT NULL`,
      `until ${integer} NOT NULL`,
    ]),
    table(names.trait, [
      `message_id ${integer} NOT NULL PRIMARY KEY`,
      `queue_id ${integer} NOT NULL`,
      `priority ${integer} NOT NULL`,
      `expires_at ${integer}`,
      `size ${integer}`,
      `returns ${integer} NOT NULL`,
      `fate ${types.text(10)}`,
    ]),
    table(names.delayed, [
      `id ${autoKey}`,
      `queue_id ${integer} NOT NULL`,
      `not_before ${integer} NOT NULL`,
      `expires_at ${integer}`,
      `priority ${integer} NOT NULL`,
      `size ${integer} NOT NULL`,
      `payload ${longText} NOT NULL`,
    ]),
    table(names.exchange, [`name ${name} NOT NULL PRIMARY KEY`, `settings ${longText}`, `version ${integer} NOT NULL`]),
    table(names.binding, [
      `id ${autoKey}`,
      `hash ${types.text(64)} NOT NULL UNIQUE`,
      `source ${name} NOT NULL`,
      `destination_type ${types.text(8)} NOT NULL`,
      `destination ${name} NOT NULL`,
      `routing_key ${name} NOT NULL`,
      `arguments ${longText} NOT NULL`,
    ]),
    table(names.holder, [`id ${uuid} NOT NULL PRIMARY KEY`, `name ${name} NOT NULL`, `until ${integer} NOT NULL`]),
    table(names.consumer, [
      `id ${autoKey}`,
      `queue_id ${integer} NOT NULL`,
      `holder ${uuid} NOT NULL`,
      `tag ${name} NOT NULL`,
      `exclusive ${integer} NOT NULL`,
    ]),
  ];
}

/** An index; the condition is dropped where an index is always of all rows. */
export interface IndexWanted {
  readonly name: string;
  readonly table: string;
  readonly columns: string;
  readonly where?: string | undefined;
}

export function ourIndexes(names: Names): IndexWanted[] {
  const { prefix } = names;
  return [
    { name: `ix_${prefix}_lease_holder`, table: names.lease, columns: 'holder, request_id' },
    { name: `ix_${prefix}_lease_until`, table: names.lease, columns: 'until' },
    { name: `ix_${prefix}_message_order`, table: names.trait, columns: 'queue_id, priority, message_id' },
    {
      name: `ix_${prefix}_message_expiry`,
      table: names.trait,
      columns: 'expires_at',
      where: 'expires_at IS NOT NULL',
    },
    { name: `ix_${prefix}_message_fate`, table: names.trait, columns: 'fate', where: 'fate IS NOT NULL' },
    { name: `ix_${prefix}_delayed_queue`, table: names.delayed, columns: 'queue_id, not_before' },
    { name: `ix_${prefix}_delayed_time`, table: names.delayed, columns: 'not_before' },
    { name: `ix_${prefix}_binding_source`, table: names.binding, columns: 'source' },
    { name: `ix_${prefix}_binding_destination`, table: names.binding, columns: 'destination' },
    { name: `ix_${prefix}_consumer_queue`, table: names.consumer, columns: 'queue_id, id' },
    { name: `ix_${prefix}_consumer_holder`, table: names.consumer, columns: 'holder' },
  ];
}

/** The rows that our tables begin with, if they are not there. */
export function* fillMeta(names: Names): Steps<void> {
  for (const [name, value] of [
    ['routing', 0],
    ['schema', VERSION],
  ]) {
    const row = yield* first(`SELECT value FROM ${names.meta} WHERE name = ?`, name);
    if (row === undefined) yield* run(`INSERT INTO ${names.meta} (name, value) VALUES (?, ?)`, name, value);
  }
}

/** Rejects NOT_SUPPORTED when a later release made the tables; says whether they are complete. Throws the database's own error when they are absent. */
export function* checkVersion(names: Names): Steps<boolean> {
  const row = yield* first<{ value: number | string }>(`SELECT value FROM ${names.meta} WHERE name = 'schema'`);
  if (row === undefined) return false;
  if (Number(row.value) > VERSION) {
    const text = `the tables ${names.prefix}_* are of version ${row.value}, made by a later release; this one knows ${VERSION}`;
    throw new NotSupportedError(text);
  }
  return true;
}
