/** The shared table of exchanges and bindings, as simple as it can be: a list of each. */
import type { BindingRecord, ExchangeRecord, ExchangeSettings, RoutingTable, TableChange } from 'wakame/virtual';

export class ShelfTable implements RoutingTable {
  /** Every change is told before the call that made it returns. */
  readonly coherent = true;
  readonly #exchanges = new Map<string, ExchangeSettings>();
  #bindings: BindingRecord[] = [];
  readonly #listeners = new Set<(exchange: string) => void>();
  #version = 0;
  readonly #versions = new Map<string, string>();

  exchange(name: string, known?: string): ExchangeRecord | 'unchanged' | undefined {
    const bindings = this.#bindings.filter(({ source }) => source === name);
    const settings = this.#exchanges.get(name);
    if (settings === undefined && bindings.length === 0) return undefined;
    const version = this.#versions.get(name) ?? '0';
    if (known === version) return 'unchanged';
    // Bindings of the exchanges that AMQP predeclares may stand without one that was put.
    const assumed = {
      name,
      type: 'direct',
      durable: true,
      autoDelete: false,
      internal: false,
      arguments: {},
      guessed: true,
    };
    return { ...(settings ?? assumed), bindings, version };
  }

  bindingsTo(destinationType: 'queue' | 'exchange', destination: string): BindingRecord[] {
    return this.#bindings.filter((one) => one.destinationType === destinationType && one.destination === destination);
  }

  exchanges(): string[] {
    return [...this.#exchanges.keys()];
  }

  apply(changes: readonly TableChange[]): boolean[] {
    return changes.map((change) => this.#apply(change));
  }

  watch(changed: (exchange: string) => void): () => void {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  unbindAll(destinationType: 'queue' | 'exchange', destination: string): void {
    this.#unbind((one) => one.destinationType === destinationType && one.destination === destination);
  }

  #apply(change: TableChange): boolean {
    switch (change.kind) {
      case 'put-exchange':
        if (!this.#exchanges.has(change.exchange.name)) this.#exchanges.set(change.exchange.name, change.exchange);
        this.#changed(change.exchange.name);
        return true;
      case 'delete-exchange':
        return this.#delete(change.name, change.ifUnused === true);
      case 'bind':
        if (!this.#bindings.some((one) => isSame(one, change.binding))) this.#bindings.push(change.binding);
        this.#changed(change.binding.source);
        return true;
      case 'unbind':
        this.#unbind((one) => isSame(one, change.binding));
        return true;
    }
  }

  #delete(name: string, ifUnused: boolean): boolean {
    if (ifUnused && this.#bindings.some(({ source }) => source === name)) return false;
    this.#exchanges.delete(name);
    this.#bindings = this.#bindings.filter(({ source }) => source !== name);
    this.unbindAll('exchange', name);
    this.#changed(name);
    return true;
  }

  /** An auto-delete exchange goes with its last binding. */
  #unbind(isOne: (binding: BindingRecord) => boolean): void {
    const gone = this.#bindings.filter(isOne);
    this.#bindings = this.#bindings.filter((one) => !gone.includes(one));
    for (const name of new Set(gone.map(({ source }) => source))) {
      this.#changed(name);
      const isUnused = !this.#bindings.some(({ source }) => source === name);
      if (isUnused && this.#exchanges.get(name)?.autoDelete === true) this.#delete(name, false);
    }
  }

  #changed(name: string): void {
    this.#version += 1;
    this.#versions.set(name, `${this.#version}`);
    for (const listener of this.#listeners) listener(name);
  }
}

function isSame(a: BindingRecord, b: BindingRecord): boolean {
  return (
    JSON.stringify([a.source, a.destinationType, a.destination, a.routingKey, sorted(a.arguments)]) ===
    JSON.stringify([b.source, b.destinationType, b.destination, b.routingKey, sorted(b.arguments)])
  );
}

function sorted(table: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1));
}
