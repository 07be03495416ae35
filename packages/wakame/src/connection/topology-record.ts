/**
 * What a connection has declared: the record of what must exist, and what the present incarnation is known to have. Data
 * only; `Topology` talks to the broker.
 */
import type {
  Arguments,
  ExchangeBinding,
  ExchangeDeclareOptions,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
} from '../transport/contract.js';
import { canonical } from '../util/canonical.js';

interface Recorded {
  /** Type, flags and arguments, comparable. */
  readonly fingerprint: string;
  /** Declared on the present incarnation, and nothing since said otherwise. */
  known: boolean;
}

export interface ExchangeRecord extends Recorded {
  readonly kind: 'exchange';
  readonly name: string;
  readonly type: string;
  readonly options: ExchangeDeclareOptions;
}

export interface QueueRecord extends Recorded {
  readonly kind: 'queue';
  /** The name at the first declaration: the key of the record, and what users hold. */
  readonly name: string;
  /** The name now; differs when the broker chose it and chose again. */
  current: string;
  readonly serverNamed: boolean;
  readonly options: QueueDeclareOptions;
  /** Counts at the last declaration. */
  answer: QueueDeclareOk;
  readonly renamed: Set<(name: string, previous: string) => void>;
  /** When it was last declared or left by its last consumer, for queues that expire. */
  touchedAt: number;
}

/** A binding, its ends under the names in the record. */
export interface BindingRecord extends Recorded {
  readonly kind: 'queue-binding' | 'exchange-binding';
  readonly source: string;
  readonly destination: string;
  readonly routingKey: string;
  readonly arguments: Arguments | undefined;
}

export type AnyRecord = ExchangeRecord | QueueRecord | BindingRecord;

/** Expired queues are looked for when the record has grown to twice of what was left the last time. */
const FIRST_PRUNE_AT = 64;

export function exchangeFingerprint(type: string, options: ExchangeDeclareOptions): string {
  const { durable = false, autoDelete = false, internal = false } = options;
  return canonical([type, durable, autoDelete, internal, options.arguments ?? {}]);
}

export function queueFingerprint(options: QueueDeclareOptions): string {
  const { durable = false, exclusive = false, autoDelete = false } = options;
  return canonical([durable, exclusive, autoDelete, options.arguments ?? {}]);
}

/** An entity that may vanish by itself is declared each time it is asked for. */
export function mayVanish(options: QueueDeclareOptions | ExchangeDeclareOptions): boolean {
  const exclusive = 'exclusive' in options && options.exclusive === true;
  return options.autoDelete === true || exclusive || expiry(options) !== undefined;
}

function expiry(options: { readonly arguments?: Arguments | undefined }): number | undefined {
  const value = options.arguments?.['x-expires'];
  return value === undefined ? undefined : Number(value);
}

export class TopologyRecord {
  readonly #exchanges = new Map<string, ExchangeRecord>();
  /** Consumers of this connection, by the queue's name in the record. */
  readonly #consumers = new Map<string, number>();
  /** Queues that were deleted here while consumers of this connection were there. */
  readonly #deleted = new Set<string>();
  /** By every name that the queue ever had. */
  readonly #queues = new Map<string, QueueRecord>();
  readonly #bindings = new Map<string, BindingRecord>();
  #pruneAt = FIRST_PRUNE_AT;

  exchange(name: string): ExchangeRecord | undefined {
    return this.#exchanges.get(name);
  }

  queue(name: string): QueueRecord | undefined {
    return this.#queues.get(name);
  }

  binding(kind: BindingRecord['kind'], binding: ExchangeBinding): BindingRecord | undefined {
    return this.#bindings.get(this.#keyOf(kind, binding));
  }

  get exchanges(): ExchangeRecord[] {
    return [...this.#exchanges.values()];
  }

  get queues(): QueueRecord[] {
    return [...new Set(this.#queues.values())];
  }

  bindings(kind: BindingRecord['kind']): BindingRecord[] {
    return [...this.#bindings.values()].filter((binding) => binding.kind === kind);
  }

  /** The bindings that end in this queue or exchange. */
  bindingsTo(kind: BindingRecord['kind'], destination: string): BindingRecord[] {
    return this.bindings(kind).filter((binding) => binding.destination === destination);
  }

  addExchange(name: string, type: string, options: ExchangeDeclareOptions): void {
    const fingerprint = exchangeFingerprint(type, options);
    this.#exchanges.set(name, { kind: 'exchange', name, type, options, fingerprint, known: true });
  }

  /** `asked` is the name in the declaration, empty when the broker was to choose. */
  addQueue(
    asked: string,
    answer: QueueDeclareOk,
    options: QueueDeclareOptions,
    renamed?: (name: string, previous: string) => void,
  ): QueueRecord {
    const former = this.#queues.get(answer.queue);
    const record: QueueRecord = {
      kind: 'queue',
      name: former?.name ?? answer.queue,
      current: answer.queue,
      serverNamed: former?.serverNamed ?? asked === '',
      options,
      fingerprint: queueFingerprint(options),
      known: true,
      answer,
      renamed: former?.renamed ?? new Set(),
      touchedAt: Date.now(),
    };
    this.#deleted.delete(record.name);
    if (renamed !== undefined) record.renamed.add(renamed);
    if (former === undefined) this.#queues.set(answer.queue, record);
    else this.#replace(former, record);
    this.#pruneIfGrown();
    return record;
  }

  addBinding(kind: BindingRecord['kind'], binding: ExchangeBinding): void {
    const key = this.#keyOf(kind, binding);
    const destination = kind === 'queue-binding' ? this.nameOf(binding.destination) : binding.destination;
    const { source, routingKey } = binding;
    this.#bindings.set(key, {
      ...{ kind, source, destination, routingKey, arguments: binding.arguments },
      fingerprint: key,
      known: true,
    });
  }

  /** The broker chose another name for a queue of its naming. */
  rename(record: QueueRecord, answer: QueueDeclareOk): void {
    const previous = record.current;
    record.answer = answer;
    record.known = true;
    record.touchedAt = Date.now();
    if (answer.queue === previous) return;
    record.current = answer.queue;
    this.#queues.set(answer.queue, record);
    // Users hold the first name, or follow `renamed`: those in between are nobody's.
    for (const [name, entry] of this.#queues) {
      const held = name === record.name || name === previous || name === record.current;
      if (entry === record && !held) this.#queues.delete(name);
    }
    for (const tell of record.renamed) tell(answer.queue, previous);
  }

  /** The name under which a queue is recorded. */
  nameOf(queue: string): string {
    return this.#queues.get(queue)?.name ?? queue;
  }

  removeExchange(name: string): void {
    this.#exchanges.delete(name);
    for (const [key, binding] of this.#bindings) {
      const isEnd = binding.kind === 'exchange-binding' && binding.destination === name;
      if (binding.source === name || isEnd) this.#bindings.delete(key);
    }
  }

  removeQueue(name: string): void {
    const record = this.#queues.get(name);
    if (record === undefined) return;
    for (const [known, entry] of this.#queues) if (entry === record) this.#queues.delete(known);
    for (const binding of this.bindingsTo('queue-binding', record.name)) this.#removeBinding(binding);
  }

  removeBinding(kind: BindingRecord['kind'], binding: ExchangeBinding): void {
    const record = this.#bindings.get(this.#keyOf(kind, binding));
    if (record !== undefined) this.#removeBinding(record);
  }

  remove(record: AnyRecord): void {
    if (record.kind === 'exchange') this.removeExchange(record.name);
    else if (record.kind === 'queue') this.removeQueue(record.name);
    else this.#removeBinding(record);
  }

  /** What was declared must be declared again when it is next asked for; it stays recorded. */
  forget(kind: 'exchange' | 'queue', name: string): void {
    const entity = kind === 'exchange' ? this.#exchanges.get(name) : this.#queues.get(name);
    if (entity !== undefined) entity.known = false;
    const recorded = kind === 'queue' ? this.nameOf(name) : name;
    for (const binding of this.#bindings.values()) {
      const isSource = kind === 'exchange' && binding.source === name;
      if (isSource || (binding.destination === recorded && binding.kind === `${kind}-binding`)) binding.known = false;
    }
  }

  forgetAll(): void {
    for (const record of [...this.#exchanges.values(), ...this.#queues.values(), ...this.#bindings.values()]) {
      record.known = false;
    }
  }

  /** A consumer of this connection started. Returns what to call when it is over. */
  consumerStarted(queue: string): () => void {
    const name = this.nameOf(queue);
    this.#consumers.set(name, this.#consumersOf(name) + 1);
    return () => this.#consumerEnded(name);
  }

  /** The broker deletes an auto-delete queue with its last consumer; so must the record. */
  #consumerEnded(name: string): void {
    const left = this.#consumersOf(name) - 1;
    if (left > 0) {
      this.#consumers.set(name, left);
      return;
    }
    this.#consumers.delete(name);
    this.#deleted.delete(name);
    const record = this.#queues.get(name);
    if (record === undefined) return;
    record.touchedAt = Date.now();
    if (record.options.autoDelete === true) this.removeQueue(name);
  }

  #consumersOf(name: string): number {
    return this.#consumers.get(name) ?? 0;
  }

  /** Deleted by this program: its consumers need not wait for it to come back. */
  queueDeleted(queue: string): void {
    const name = this.nameOf(queue);
    this.removeQueue(queue);
    if (this.#consumersOf(name) > 0) this.#deleted.add(name);
  }

  wasDeleted(queue: string): boolean {
    return this.#deleted.has(this.nameOf(queue));
  }

  /** Drops queues that nobody here uses and that the broker has deleted by now. */
  prune(): void {
    const now = Date.now();
    for (const record of this.queues) {
      const lifetime = expiry(record.options);
      const idle = lifetime !== undefined && this.#consumersOf(record.name) === 0 && now - record.touchedAt > lifetime;
      if (idle) this.removeQueue(record.name);
    }
    this.#pruneAt = Math.max(FIRST_PRUNE_AT, this.#queues.size * 2);
  }

  #pruneIfGrown(): void {
    if (this.#queues.size >= this.#pruneAt) this.prune();
  }

  #replace(former: QueueRecord, record: QueueRecord): void {
    for (const [name, entry] of this.#queues) if (entry === former) this.#queues.set(name, record);
  }

  /** An auto-delete exchange goes with the last binding that it is the source of. */
  #removeBinding(record: BindingRecord): void {
    if (!this.#bindings.delete(record.fingerprint)) return;
    const exchange = this.#exchanges.get(record.source);
    if (exchange?.options.autoDelete !== true) return;
    for (const binding of this.#bindings.values()) if (binding.source === record.source) return;
    this.removeExchange(record.source);
  }

  #keyOf(kind: BindingRecord['kind'], binding: ExchangeBinding): string {
    const destination = kind === 'queue-binding' ? this.nameOf(binding.destination) : binding.destination;
    return canonical([kind, binding.source, destination, binding.routingKey, binding.arguments ?? {}]);
  }
}

/** A binding of a queue in the form that both kinds share. */
export function asExchangeBinding(binding: QueueBinding): ExchangeBinding {
  const { queue, exchange, routingKey } = binding;
  return { destination: queue, source: exchange, routingKey, arguments: binding.arguments };
}
