import { createHash } from 'node:crypto';
import { canonical } from '../../../util/canonical.js';
import type { BindingRecord, ExchangeRecord, ExchangeSettings, TableChange } from '../../virtual/driver.js';
import { parseJson, writeJson } from '../../virtual/wire/index.js';
import type { Context } from '../context.js';
import { toNumber } from '../dialect.js';
import { all, first, type Row, run, type Steps } from '../steps.js';

/** An exchange that AMQP predeclares: bindings may name it though nobody put it. */
const UNDECLARED = { type: 'direct', durable: true, autoDelete: false, internal: false, arguments: {}, guessed: true };

/** Exchanges and bindings. Every change counts up one number, from which an exchange's version is: so changes come one after the other. */
export class Routing {
  readonly #texts;

  constructor(context: Context) {
    const { dialect: d, names } = context;
    const bindings = `SELECT source, destination_type, destination, routing_key, arguments FROM ${names.binding}`;
    this.#texts = {
      exchange: `SELECT name, settings, version FROM ${names.exchange} WHERE name = ?`,
      exchanges: `SELECT name FROM ${names.exchange} WHERE settings IS NOT NULL`,
      from: `${bindings} WHERE source = ? ORDER BY id`,
      to: `${bindings} WHERE destination = ? AND destination_type = ? ORDER BY id`,
      count: `UPDATE ${names.meta} SET value = value + 1 WHERE name = 'routing'`,
      counted: `SELECT value FROM ${names.meta} WHERE name = 'routing'`,
      put: `INSERT INTO ${names.exchange} (name, settings, version) VALUES (?, ?, ?)
        ${d.onConflict('name', ['settings', 'version'])}`,
      touch: `INSERT INTO ${names.exchange} (name, settings, version) VALUES (?, NULL, ?)
        ${d.onConflict('name', ['version'])}`,
      delete: `DELETE FROM ${names.exchange} WHERE name = ?`,
      unbindFrom: `DELETE FROM ${names.binding} WHERE source = ?`,
      bound: `SELECT 1 AS found FROM ${names.binding} WHERE hash = ?`,
      bind: `INSERT INTO ${names.binding} (hash, source, destination_type, destination, routing_key, arguments)
        VALUES (?, ?, ?, ?, ?, ?)`,
      unbind: `DELETE FROM ${names.binding} WHERE hash = ?`,
      anyFrom: `SELECT 1 AS found FROM ${names.binding} WHERE source = ? LIMIT 1`,
    };
  }

  /** @param known The version that the caller has. */
  *exchange(name: string, known: string | undefined): Steps<ExchangeRecord | 'unchanged' | undefined> {
    const row = yield* this.#find(name);
    if (row === undefined) return undefined;
    const version = String(row.version);
    if (known === version) return 'unchanged';
    const bindings = (yield* all(this.#texts.from, name)).map(toBinding);
    return { ...(row.settings ?? { name, ...UNDECLARED }), bindings, version };
  }

  *bindingsTo(type: 'queue' | 'exchange', destination: string): Steps<readonly BindingRecord[]> {
    return (yield* all(this.#texts.to, destination, type)).map(toBinding);
  }

  *exchanges(): Steps<readonly string[]> {
    return (yield* all(this.#texts.exchanges)).map(({ name }) => String(name));
  }

  *apply(changes: readonly TableChange[]): Steps<readonly boolean[]> {
    const version = yield* this.#nextVersion();
    const results: boolean[] = [];
    for (const change of changes) results.push(yield* this.#apply(change, version));
    return results;
  }

  /** Takes away every binding that ends there. */
  *unbindAll(type: 'queue' | 'exchange', destination: string): Steps<void> {
    const bindings = yield* this.bindingsTo(type, destination);
    if (bindings.length === 0) return;
    const version = yield* this.#nextVersion();
    for (const binding of bindings) yield* this.#unbind(binding, version);
  }

  *#apply(change: TableChange, version: number): Steps<boolean> {
    switch (change.kind) {
      case 'put-exchange':
        yield* this.#put(change.exchange, version);
        return true;
      case 'delete-exchange':
        return yield* this.#delete(change.name, change.ifUnused === true, version);
      case 'bind':
        yield* this.#bind(change.binding, version);
        return true;
      case 'unbind':
        yield* this.#unbind(change.binding, version);
        return true;
    }
  }

  *#nextVersion(): Steps<number> {
    yield* run(this.#texts.count);
    return toNumber((yield* first(this.#texts.counted))?.value);
  }

  *#find(
    name: string,
  ): Steps<{ readonly settings: ExchangeSettings | undefined; readonly version: number } | undefined> {
    const row = yield* first(this.#texts.exchange, name);
    if (row === undefined) return undefined;
    const settings = typeof row.settings === 'string' ? (parseJson(row.settings) as ExchangeSettings) : undefined;
    return { settings, version: toNumber(row.version) };
  }

  *#put(exchange: ExchangeSettings, version: number): Steps<void> {
    const { name, type, durable, autoDelete, internal } = exchange;
    if ((yield* this.#find(name))?.settings !== undefined) return;
    const settings = { name, type, durable, autoDelete, internal, arguments: exchange.arguments };
    yield* run(this.#texts.put, name, writeJson(settings, { typed: true }), version);
  }

  *#delete(name: string, ifUnused: boolean, version: number): Steps<boolean> {
    if ((yield* this.#find(name)) === undefined) return true;
    if (ifUnused && (yield* first(this.#texts.anyFrom, name)) !== undefined) return false;
    yield* run(this.#texts.delete, name);
    yield* run(this.#texts.unbindFrom, name);
    for (const binding of yield* this.bindingsTo('exchange', name)) yield* this.#unbind(binding, version);
    return true;
  }

  *#bind(binding: BindingRecord, version: number): Steps<void> {
    const { source, destinationType, destination, routingKey } = binding;
    const hash = hashOf(binding);
    if ((yield* first(this.#texts.bound, hash)) !== undefined) return;
    const args = writeJson(binding.arguments, { typed: true });
    yield* run(this.#texts.bind, hash, source, destinationType, destination, routingKey, args);
    yield* run(this.#texts.touch, source, version);
  }

  *#unbind(binding: BindingRecord, version: number): Steps<void> {
    const { source } = binding;
    const { changes } = yield* run(this.#texts.unbind, hashOf(binding));
    if (changes === 0) return;
    yield* run(this.#texts.touch, source, version);
    if ((yield* first(this.#texts.anyFrom, source)) !== undefined) return;
    const settings = (yield* this.#find(source))?.settings;
    if (settings === undefined) yield* run(this.#texts.delete, source);
    else if (settings.autoDelete) yield* this.#delete(source, false, version);
  }
}

/** Bindings are the same when all five members are. */
function hashOf({ source, destinationType, destination, routingKey, arguments: args }: BindingRecord): string {
  const members = JSON.stringify([source, destinationType, destination, routingKey, canonical(args)]);
  return createHash('sha256').update(members).digest('hex');
}

function toBinding(row: Row): BindingRecord {
  return {
    source: String(row.source),
    destinationType: row.destination_type === 'queue' ? 'queue' : 'exchange',
    destination: String(row.destination),
    routingKey: String(row.routing_key),
    arguments: parseJson(String(row.arguments)) as BindingRecord['arguments'],
  };
}
