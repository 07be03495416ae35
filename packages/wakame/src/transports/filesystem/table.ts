import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { canonical } from '../../util/canonical.js';
import { noop } from '../../util/noop.js';
import type { BindingRecord, ExchangeRecord, ExchangeSettings, RoutingTable, TableChange } from '../virtual/driver.js';
import { bindingPattern } from '../virtual/wire/index.js';
import { namesIn } from './files.js';
import { changeBindings, type KombuBinding, readBindings } from './kombu-bindings.js';
import type { Layout } from './layout.js';
import type { Locks } from './locks.js';
import { bindingsFile } from './names.js';
import type { Records } from './records.js';

/** What is ours of an exchange. */
export interface ExchangeFile {
  readonly name: string;
  /** Undefined: something is bound to the name, and nobody declared it. */
  readonly settings?: Omit<ExchangeSettings, 'name'> | undefined;
  /** Those that Kombu has no place for. */
  readonly bindings: readonly Omit<BindingRecord, 'source'>[];
}

/** The types whose bindings Kombu knows. */
const KOMBU_TYPES: ReadonlySet<string> = new Set(['direct', 'topic', 'fanout']);

/**
 * Exchanges and bindings. A binding that Kombu could have made stands in Kombu's file, and only there: whoever of the two made it, either may use it and
 * take it away. Everything else stands in ours.
 */
export class FileTable implements RoutingTable {
  readonly coherent = false;
  readonly #layout: Layout;
  readonly #locks: Locks;
  readonly #records: Records<ExchangeFile>;
  readonly #flush: boolean;

  constructor(layout: Layout, locks: Locks, records: Records<ExchangeFile>, flush: boolean) {
    this.#flush = flush;
    this.#layout = layout;
    this.#locks = locks;
    this.#records = records;
  }

  async exchange(name: string, known?: string): Promise<ExchangeRecord | 'unchanged' | undefined> {
    const [own, theirs] = [this.#records.glance(name), await this.#kombu(name)];
    if (own === undefined && theirs.length === 0) return undefined;
    const version = createHash('sha1')
      .update(canonical([own, theirs]))
      .digest('base64');
    if (version === known) return 'unchanged';
    const bindings = bindingsOf(name, own, theirs);
    if (own?.settings !== undefined) return { name, ...own.settings, bindings, version };
    const type = theirs.some(({ pattern }) => pattern !== '') ? 'topic' : 'direct';
    const guess = { type, durable: true, autoDelete: false, internal: false, arguments: {}, guessed: true };
    return { name, ...guess, bindings, version };
  }

  async bindingsTo(type: 'queue' | 'exchange', destination: string): Promise<readonly BindingRecord[]> {
    const found: BindingRecord[] = [];
    for (const name of this.#names()) {
      const [own, theirs] = [this.#records.glance(name), await this.#kombu(name)];
      found.push(...bindingsOf(name, own, theirs).filter((binding) => endsIn(binding, type, destination)));
    }
    return found;
  }

  async exchanges(): Promise<readonly string[]> {
    const names: string[] = [];
    for (const name of this.#names()) {
      const own = this.#records.glance(name);
      if (own?.settings !== undefined || (await this.#kombu(name)).length > 0) names.push(name);
    }
    return names;
  }

  apply(changes: readonly TableChange[]): Promise<readonly boolean[]> {
    return this.#locks.alone(async () => {
      const results: boolean[] = [];
      for (const change of changes) results.push(await this.#apply(change));
      return results;
    });
  }

  // Whoever routes by what it read looks again after a second.
  watch(): () => void {
    return noop;
  }

  /** Queues that Kombu's files name. They exist, though nothing of ours says so. */
  async queuesOfKombu(): Promise<ReadonlySet<string>> {
    const queues = new Set<string>();
    for (const file of namesIn(this.#layout.control)) {
      if (!file.endsWith('.exchange')) continue;
      for (const { queue } of await this.#kombu(file.slice(0, -'.exchange'.length))) queues.add(queue);
    }
    return queues;
  }

  /** For who has the lock: takes away every binding that ends there, and the exchanges that go with it. */
  async unbindAll(type: 'queue' | 'exchange', destination: string): Promise<void> {
    for (const binding of await this.bindingsTo(type, destination)) await this.#unbind(binding);
  }

  async #apply(change: TableChange): Promise<boolean> {
    switch (change.kind) {
      case 'put-exchange': {
        const { name, ...settings } = change.exchange;
        const own = this.#records.read(name);
        if (own?.settings === undefined) await this.#records.write({ name, settings, bindings: own?.bindings ?? [] });
        return true;
      }
      case 'delete-exchange':
        return this.#delete(change.name, change.ifUnused === true);
      case 'bind':
        await this.#bind(change.binding);
        return true;
      case 'unbind':
        await this.#unbind(change.binding);
        return true;
    }
  }

  async #delete(name: string, ifUnused: boolean): Promise<boolean> {
    const own = this.#records.read(name);
    const theirs = await this.#kombu(name);
    if (ifUnused && bindingsOf(name, own, theirs).length > 0) return false;
    this.#records.remove(name);
    // An empty list stays: a Python process may have the file open at this moment.
    if (theirs.length > 0) await this.#changeKombu(name, () => []);
    await this.unbindAll('exchange', name);
    return true;
  }

  async #bind(binding: BindingRecord): Promise<void> {
    const { source, destination, routingKey } = binding;
    const own = this.#records.read(source);
    const type = own?.settings?.type ?? predeclaredType(source);
    if (isKombus(binding, type)) {
      const added = { routingKey, pattern: type === 'topic' ? bindingPattern(routingKey) : '', queue: destination };
      await this.#changeKombu(source, (bindings) =>
        bindings.some((one) => isSame(one, added)) ? bindings : [added, ...bindings],
      );
      return;
    }
    const bindings = own?.bindings ?? [];
    if (bindings.some((one) => keyOf(one) === keyOf(binding))) return;
    const { source: _, ...added } = binding;
    await this.#records.write({ name: source, settings: own?.settings, bindings: [...bindings, added] });
  }

  async #unbind(binding: BindingRecord): Promise<void> {
    const { source, destination: queue, routingKey } = binding;
    const own = this.#records.read(source);
    const kept = own?.bindings.filter((one) => keyOf(one) !== keyOf(binding)) ?? [];
    const hadOwn = own !== undefined && kept.length < own.bindings.length;
    if (hadOwn) await this.#records.write({ ...own, bindings: kept });
    if (binding.destinationType === 'queue' && !hasArguments(binding)) {
      const gone = { routingKey, queue };
      // Whatever expression was written for it, by whichever Kombu.
      const isGone = (one: KombuBinding) => isSame(one, gone);
      if ((await this.#kombu(source)).some(isGone)) {
        await this.#changeKombu(source, (bindings) => bindings.filter((one) => !isGone(one)));
      }
    }
    if (kept.length > 0 || (await this.#kombu(source)).length > 0) return;
    if (own?.settings?.autoDelete === true) await this.#delete(source, false);
    else if (own !== undefined && own.settings === undefined) this.#records.remove(source);
  }

  /** Of everything that has a file, ours or Kombu's. */
  #names(): ReadonlySet<string> {
    const names = new Set(this.#records.all().map(({ name }) => name));
    for (const file of namesIn(this.#layout.control)) {
      if (file.endsWith('.exchange')) names.add(file.slice(0, -'.exchange'.length));
    }
    return names;
  }

  async #kombu(exchange: string): Promise<readonly KombuBinding[]> {
    const file = bindingsFile(exchange);
    return file === undefined ? [] : readBindings(join(this.#layout.control, file), this.#locks);
  }

  async #changeKombu(
    exchange: string,
    change: (bindings: readonly KombuBinding[]) => readonly KombuBinding[],
  ): Promise<void> {
    const file = bindingsFile(exchange);
    if (file !== undefined) await changeBindings(join(this.#layout.control, file), this.#locks, this.#flush, change);
  }
}

/** Kombu's oldest first: it has the newest first. */
function bindingsOf(
  source: string,
  own: ExchangeFile | undefined,
  theirs: readonly KombuBinding[],
): readonly BindingRecord[] {
  // Two releases of Kombu may have written two expressions for the same.
  const kombus = theirs
    .filter((one, i) => theirs.findIndex((other) => isSame(one, other)) === i)
    .map(({ routingKey, queue: destination }) => ({
      ...{ source, destinationType: 'queue' as const, destination, routingKey, arguments: {} },
    }));
  return [...(own?.bindings.map((binding) => ({ source, ...binding })) ?? []), ...kombus.reverse()];
}

function endsIn(binding: BindingRecord, type: 'queue' | 'exchange', destination: string): boolean {
  return binding.destinationType === type && binding.destination === destination;
}

/** Whether Kombu has a place for it. Of an exchange whose type nobody said it takes it for a direct one. */
function isKombus(binding: BindingRecord, type = 'direct'): boolean {
  if (binding.destinationType !== 'queue' || hasArguments(binding)) return false;
  return KOMBU_TYPES.has(type) && bindingsFile(binding.source) !== undefined;
}

function hasArguments({ arguments: args }: Pick<BindingRecord, 'arguments'>): boolean {
  return Object.values(args).some((value) => value !== undefined);
}

/** `amq.topic` is a topic exchange though nobody declared it. */
function predeclaredType(exchange: string): string | undefined {
  return exchange.startsWith('amq.') ? exchange.slice('amq.'.length) : undefined;
}

function isSame(a: Pick<KombuBinding, 'routingKey' | 'queue'>, b: Pick<KombuBinding, 'routingKey' | 'queue'>): boolean {
  return a.routingKey === b.routingKey && a.queue === b.queue;
}

function keyOf({ destinationType, destination, routingKey, arguments: args }: Omit<BindingRecord, 'source'>): string {
  return canonical([destinationType, destination, routingKey, args]);
}
