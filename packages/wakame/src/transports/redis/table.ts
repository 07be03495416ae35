import { DecodeError } from '../../errors.js';
import type { BindingRecord, ExchangeRecord, ExchangeSettings, RoutingTable, TableChange } from '../virtual/driver.js';
import { bindingPattern, knownBindingPatterns, parseJson, writeJson } from '../virtual/wire/index.js';
import type { ScriptName } from './scripts.js';

export interface TableOptions {
  readonly run: (name: ScriptName, args: (string | number)[]) => Promise<unknown>;
  readonly separator: string;
  /** Bindings changed: those that end in these queues, or, without a list, any. */
  readonly bindingsChanged: (queues: readonly string[] | undefined) => Promise<void>;
}

/** How many exchanges are known by name whose bindings Python made. */
const MOST_FOREIGN = 10_000;

const PREDECLARED_FANOUT = 'amq.fanout';

/**
 * Exchanges and bindings. A binding of ours that Kombu could have made stands in Kombu's table too, where Python reads it; Python's stand
 * there alone.
 */
export class RedisTable implements RoutingTable {
  readonly coherent = false;
  readonly #options: TableOptions;
  readonly #listeners = new Set<(exchange: string) => void>();
  /** Queues that Python bound, as far as was read. They exist, though nothing of ours says so. */
  readonly #foreign = new Map<string, ReadonlySet<string>>();

  constructor(options: TableOptions) {
    this.#options = options;
  }

  /** Whether a queue was bound by a client that leaves no other trace of it. */
  isBoundByOthers(queue: string): boolean {
    for (const queues of this.#foreign.values()) if (queues.has(queue)) return true;
    return false;
  }

  async exchange(name: string, known = ''): Promise<ExchangeRecord | 'unchanged' | undefined> {
    const answer = await this.#options.run('EXCHANGE', [name, known]);
    if (answer === 'unchanged') return answer;
    if (!Array.isArray(answer)) {
      this.#foreign.delete(name);
      return undefined;
    }
    const [version, settings, ours, theirs] = answer as [string, string, string[], string[]];
    return this.#record(
      name,
      version,
      settings,
      ours.map((field) => toBinding(name, field)),
      theirs,
    );
  }

  #record(
    name: string,
    version: string,
    settings: string,
    ours: readonly BindingRecord[],
    members: readonly string[],
  ): ExchangeRecord {
    const theirs = members.map((member) => member.split(this.#options.separator)).filter((parts) => parts.length === 3);
    const known = new Set(
      ours.map((one) => (one.destinationType === 'queue' ? `${one.destination}\0${one.routingKey}` : '')),
    );
    const foreign = theirs.filter(([key, , queue]) => !known.has(`${queue}\0${key}`));
    this.#remember(name, foreign);
    const own: ExchangeSettings | undefined =
      settings === '' ? undefined : ({ name, ...(parseJson(settings) as object) } as ExchangeSettings);
    const type = own?.type ?? (theirs.some(([, pattern]) => pattern !== '') ? 'topic' : 'direct');
    const guess = { name, type, durable: true, autoDelete: false, internal: false, arguments: {}, guessed: true };
    // Queues of Python's get what is published to a fanout exchange from the broadcast.
    const isFanout = type === 'fanout' || name === PREDECLARED_FANOUT;
    const foreignBindings = (isFanout ? [] : foreign).map(([routingKey = '', , destination = '']) => ({
      source: name,
      destinationType: 'queue' as const,
      destination,
      routingKey,
      arguments: {},
    }));
    return { ...(own ?? guess), bindings: [...ours, ...foreignBindings], version };
  }

  #remember(name: string, foreign: readonly (readonly string[])[]): void {
    if (foreign.length === 0) {
      this.#foreign.delete(name);
      return;
    }
    if (this.#foreign.size >= MOST_FOREIGN) this.#foreign.clear();
    this.#foreign.set(name, new Set(foreign.map(([, , queue]) => queue as string)));
  }

  async bindingsTo(type: 'queue' | 'exchange', destination: string): Promise<readonly BindingRecord[]> {
    return (await this.bindingsWithTypes(type, destination)).map(({ binding }) => binding);
  }

  /** The bindings of ours that end there, with the types of their exchanges. */
  async bindingsWithTypes(
    type: 'queue' | 'exchange',
    destination: string,
  ): Promise<readonly { readonly binding: BindingRecord; readonly exchangeType: string }[]> {
    const answer = (await this.#options.run('BINDINGS_TO', [type, destination])) as string[];
    const found: { binding: BindingRecord; exchangeType: string }[] = [];
    for (let at = 0; at < answer.length; at += 3) {
      const binding = toBinding(answer[at] as string, answer[at + 1] as string);
      found.push({ binding, exchangeType: answer[at + 2] as string });
    }
    return found;
  }

  async exchanges(): Promise<readonly string[]> {
    return (await this.#options.run('EXCHANGES', [])) as string[];
  }

  async apply(changes: readonly TableChange[]): Promise<readonly boolean[]> {
    const answer = (await this.#options.run('APPLY', changes.flatMap(toArguments))) as number[];
    for (const change of changes) this.#tell(nameOf(change));
    const queues = changes.map((change) =>
      change.kind === 'bind' || change.kind === 'unbind' ? change.binding.destination : undefined,
    );
    const all = queues.includes(undefined);
    await this.#options.bindingsChanged(all ? undefined : (queues as string[]));
    return answer.map((done) => done === 1);
  }

  watch(changed: (exchange: string) => void): () => void {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  #tell(exchange: string): void {
    for (const listener of this.#listeners) listener(exchange);
  }
}

function nameOf(change: TableChange): string {
  if (change.kind === 'put-exchange') return change.exchange.name;
  return change.kind === 'delete-exchange' ? change.name : change.binding.source;
}

function toArguments(change: TableChange): (string | number)[] {
  switch (change.kind) {
    case 'put-exchange': {
      const { name, type, durable, autoDelete, internal, arguments: args } = change.exchange;
      const settings = writeJson({ type, durable, autoDelete, internal, arguments: args }, { typed: true });
      return [5, 'put', name, settings, type, autoDelete ? '1' : ''];
    }
    case 'delete-exchange':
      return [3, 'delete', change.name, change.ifUnused === true ? '1' : ''];
    case 'bind': {
      const { source, destinationType, destination, routingKey } = change.binding;
      const pattern = bindingPattern(routingKey);
      return [7, 'bind', source, destinationType, destination, routingKey, toField(change.binding), pattern];
    }
    case 'unbind': {
      const { source, destinationType, destination, routingKey } = change.binding;
      const patterns = knownBindingPatterns(routingKey);
      const rest = [source, destinationType, destination, routingKey, toField(change.binding), ...patterns];
      return [rest.length + 1, 'unbind', ...rest];
    }
  }
}

/** A binding as a field of its exchange's hash: the same text for the same binding. */
function toField({ destinationType, destination, routingKey, arguments: args }: BindingRecord): string {
  const text = Object.values(args).some((value) => value !== undefined) ? writeJson(sorted(args), { typed: true }) : '';
  return JSON.stringify([destinationType, destination, routingKey, text]);
}

function toBinding(source: string, field: string): BindingRecord {
  try {
    const [destinationType, destination, routingKey, text] = JSON.parse(field) as ['queue', string, string, string];
    const args = text === '' ? {} : (parseJson(text) as BindingRecord['arguments']);
    return { source, destinationType, destination, routingKey, arguments: args };
  } catch (cause) {
    throw new DecodeError(`Redis: exchange '${source}' has a binding that is none: ${field.slice(0, 200)}`, { cause });
  }
}

/** The same table with its members in order. Values that are no plain tables stay as they are. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, sorted(member)]));
}
