import { canonical } from '../../util/canonical.js';
import type { BindingRecord, ExchangeRecord, ExchangeSettings, RoutingTable, TableChange } from '../virtual/driver.js';
import { copyTable } from '../virtual/wire/copy.js';

/** What is bound to a name, and the exchange of that name if it was declared. */
interface Source {
  settings: ExchangeSettings | undefined;
  readonly bindings: Map<string, BindingRecord>;
  version: number;
  /** The record as last given out. */
  record: ExchangeRecord | undefined;
}

const keyOf = (binding: BindingRecord) =>
  `${binding.destinationType}\0${binding.destination}\0${binding.routingKey}\0${canonical(binding.arguments)}`;

const destinationKey = (type: 'queue' | 'exchange', name: string) => `${type}\0${name}`;

/** An exchange that AMQP predeclares: bindings may name it though nobody put it. */
const UNDECLARED = { type: 'direct', durable: true, autoDelete: false, internal: false, arguments: {}, guessed: true };

/** Its list of bindings is made when it is looked at: whoever makes thousands of them asks for the exchange before each. */
function recordOf(settings: ExchangeSettings, { bindings, version }: Source): ExchangeRecord {
  let list: readonly BindingRecord[] | undefined;
  return {
    ...settings,
    get bindings() {
      list ??= [...bindings.values()];
      return list;
    },
    version: `${version}`,
  };
}

/** Exchanges and bindings, shared by all connections to a broker. */
export class MemoryTable implements RoutingTable {
  readonly coherent = true;
  readonly #sources = new Map<string, Source>();
  /** The same bindings by where they end. */
  readonly #destinations = new Map<string, Set<BindingRecord>>();
  readonly #listeners = new Set<(exchange: string) => void>();
  /** Counts over all exchanges, so that one deleted and declared anew has not the version of the former. */
  #version = 0;

  exchange(name: string, known?: string): ExchangeRecord | 'unchanged' | undefined {
    const source = this.#sources.get(name);
    if (source === undefined) return undefined;
    if (known !== undefined && known === `${source.version}`) return 'unchanged';
    source.record ??= recordOf(source.settings ?? { name, ...UNDECLARED }, source);
    return source.record;
  }

  bindingsTo(destinationType: 'queue' | 'exchange', destination: string): readonly BindingRecord[] {
    return [...(this.#destinations.get(destinationKey(destinationType, destination)) ?? [])];
  }

  exchanges(): readonly string[] {
    return [...this.#sources].filter(([, source]) => source.settings !== undefined).map(([name]) => name);
  }

  apply(changes: readonly TableChange[]): readonly boolean[] {
    return changes.map((change) => this.#applyOne(change));
  }

  watch(changed: (exchange: string) => void): () => void {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  /** Takes away every binding that ends there. */
  unbindAll(destinationType: 'queue' | 'exchange', destination: string): void {
    for (const binding of this.bindingsTo(destinationType, destination)) this.#unbind(binding);
  }

  clear(): void {
    const names = [...this.#sources.keys()];
    this.#sources.clear();
    this.#destinations.clear();
    for (const name of names) this.#tell(name);
  }

  get isEmpty(): boolean {
    return this.#sources.size === 0;
  }

  #applyOne(change: TableChange): boolean {
    switch (change.kind) {
      case 'put-exchange':
        this.#put(change.exchange);
        return true;
      case 'delete-exchange':
        return this.#delete(change.name, change.ifUnused === true);
      case 'bind':
        this.#bind(change.binding);
        return true;
      case 'unbind':
        this.#unbind(change.binding);
        return true;
    }
  }

  #put(exchange: ExchangeSettings): void {
    const source = this.#source(exchange.name);
    if (source.settings !== undefined) return;
    const { name, type, durable, autoDelete, internal } = exchange;
    source.settings = { name, type, durable, autoDelete, internal, arguments: copyTable(exchange.arguments) };
    this.#touch(exchange.name, source);
  }

  #delete(name: string, ifUnused: boolean): boolean {
    const source = this.#sources.get(name);
    if (source === undefined) return true;
    if (ifUnused && source.bindings.size > 0) return false;
    this.#sources.delete(name);
    for (const binding of source.bindings.values()) this.#forgetDestination(binding);
    this.unbindAll('exchange', name);
    this.#tell(name);
    return true;
  }

  #bind(binding: BindingRecord): void {
    const source = this.#source(binding.source);
    const key = keyOf(binding);
    if (source.bindings.has(key)) return;
    const stored = { ...binding, arguments: copyTable(binding.arguments) };
    source.bindings.set(key, stored);
    const at = destinationKey(binding.destinationType, binding.destination);
    const ends = this.#destinations.get(at);
    if (ends === undefined) this.#destinations.set(at, new Set([stored]));
    else ends.add(stored);
    this.#touch(binding.source, source);
  }

  #unbind(binding: BindingRecord): void {
    const source = this.#sources.get(binding.source);
    const key = keyOf(binding);
    const stored = source?.bindings.get(key);
    if (source === undefined || stored === undefined) return;
    source.bindings.delete(key);
    this.#forgetDestination(stored);
    this.#touch(binding.source, source);
    if (source.bindings.size > 0) return;
    if (source.settings === undefined) this.#sources.delete(binding.source);
    else if (source.settings.autoDelete) this.#delete(binding.source, false);
  }

  #forgetDestination(binding: BindingRecord): void {
    const at = destinationKey(binding.destinationType, binding.destination);
    const ends = this.#destinations.get(at);
    ends?.delete(binding);
    if (ends?.size === 0) this.#destinations.delete(at);
  }

  #source(name: string): Source {
    let source = this.#sources.get(name);
    if (source === undefined) {
      source = { settings: undefined, bindings: new Map(), version: 0, record: undefined };
      this.#sources.set(name, source);
    }
    return source;
  }

  #touch(name: string, source: Source): void {
    source.version = ++this.#version;
    source.record = undefined;
    this.#tell(name);
  }

  #tell(name: string): void {
    for (const listener of this.#listeners) listener(name);
  }
}
