import type { ExchangeRecord, MaybePromise, RoutingTable, StoredMessage, TableChange } from '../driver.js';
import { andThen, isPromise } from '../maybe-promise.js';
import { CompiledExchange, PREDECLARED } from './exchange.js';

/** Where a message goes. */
export interface Route {
  readonly queues: readonly string[];
  /** Fanout exchanges that the store broadcasts, to our queues or beside them. */
  readonly broadcasts: readonly string[];
  /** Applications may not publish to the exchange. */
  readonly internal: boolean;
}

/** How long what was read from a shared table is believed, in milliseconds. */
const BELIEVED = 1000;
/** Past this many, all cached of a kind is dropped: names come from peers and have no end. */
const MOST_EXCHANGES = 10_000;
const MOST_ROUTES = 10_000;

/** Version of a predeclared exchange that the table has nothing about. */
const UNBOUND = '';

const NOWHERE: readonly string[] = [];

/**
 * How messages of fanout exchanges reach their queues: as from any other exchange; so, with a word to other clients; or by the store's own
 * broadcast alone.
 */
export type FanoutWay = 'stored' | 'announced' | 'broadcast';

interface Cached {
  /** Undefined: there is no such exchange. */
  readonly exchange: CompiledExchange | undefined;
  /** Time on the monotonic clock until which it is believed. */
  readonly until: number;
}

interface CachedRoute {
  readonly route: Route;
  readonly until: number;
}

/**
 * Finds the queues for a message by AMQP's rules: exchanges, bindings between exchanges (each exchange is visited once, so cycles are
 * harmless), alternate exchanges. Reads the shared table and keeps what it read: as long as it holds where the table tells of changes, else for
 * a second. All changes go through here, so that one's own count at once.
 */
export class Router {
  readonly #table: RoutingTable;
  readonly #fanout: FanoutWay;
  readonly #unwatch: () => void;
  readonly #exchanges = new Map<string, Cached>();
  readonly #routes = new Map<string, Map<string, CachedRoute>>();
  #routeCount = 0;
  #direct: Route | undefined;
  /** Counts changes heard of, so that an answer that was on its way meanwhile is not kept. */
  #changes = 0;

  constructor(table: RoutingTable, fanout: FanoutWay = 'stored') {
    this.#table = table;
    this.#fanout = fanout;
    this.#unwatch = table.watch((name) => this.#changed(name));
  }

  close(): void {
    this.#unwatch();
  }

  /**
   * Where the message goes; undefined: its exchange does not exist.
   *
   * @param fresh Look at the table again, whatever is known.
   */
  route(message: StoredMessage, fresh = false): MaybePromise<Route | undefined> {
    if (message.exchange === '') return this.#toQueue(message.routingKey);
    if (!fresh) {
      const cached = this.#routes.get(message.exchange)?.get(message.routingKey);
      if (cached !== undefined && (this.#table.coherent || performance.now() < cached.until)) return cached.route;
    }
    return this.#find(message, fresh ? new Set() : undefined);
  }

  /** By the default exchange. Successive messages mostly go to the same queue: the last route is kept. */
  #toQueue(name: string): Route {
    if (this.#direct?.queues[0] !== name) this.#direct = { queues: [name], broadcasts: NOWHERE, internal: false };
    return this.#direct;
  }

  /** The exchange of that name, ready for routing; undefined: there is none. `''` has none. */
  exchange(name: string, fresh = false): MaybePromise<CompiledExchange | undefined> {
    const cached = this.#exchanges.get(name);
    if (!fresh && cached !== undefined && this.#isBelieved(cached)) return cached.exchange;
    const changes = this.#changes;
    const answer = this.#table.exchange(name, cached?.exchange?.record.version);
    return andThen(answer, (record) => this.#keep(name, record, cached?.exchange, changes));
  }

  /** Changes the table; what is routed after that goes by the change. For each: see `RoutingTable.apply`. */
  async apply(changes: readonly TableChange[]): Promise<readonly boolean[]> {
    const results = await this.#table.apply(changes);
    // A table need not tell of changes, not even of one's own; and deleting one exchange changes others.
    if (!this.#table.coherent) {
      this.#changes++;
      this.#exchanges.clear();
      this.#forgetRoutes();
    }
    return results;
  }

  /**
   * Walks with what is known. Where something must be read first, reads it and walks again.
   *
   * @param refreshed What has been looked at again already; undefined: nothing need be.
   */
  #find(message: StoredMessage, refreshed: Set<string> | undefined): MaybePromise<Route | undefined> {
    const reads: Promise<unknown>[] = [];
    const walk = new Walk(message, this.#fanout, (name) => {
      const fresh = refreshed !== undefined && !refreshed.has(name);
      refreshed?.add(name);
      const exchange = this.exchange(name, fresh);
      if (!isPromise(exchange)) return exchange;
      reads.push(exchange);
      return undefined;
    });
    if (reads.length > 0) return Promise.all(reads).then(() => this.#find(message, refreshed));
    if (walk.route !== undefined && walk.cacheable) this.#keepRoute(message, walk.route, walk.visited);
    return walk.route;
  }

  #keep(
    name: string,
    answer: ExchangeRecord | 'unchanged' | undefined,
    known: CompiledExchange | undefined,
    changes: number,
  ): CompiledExchange | undefined {
    const same = answer === 'unchanged' || (answer === undefined && known?.record.version === UNBOUND);
    const exchange = same ? known : compile(name, answer);
    if (exchange !== known) this.#forgetRoutes();
    if (changes === this.#changes) {
      if (this.#exchanges.size >= MOST_EXCHANGES) this.#exchanges.clear();
      this.#exchanges.set(name, { exchange, until: performance.now() + BELIEVED });
    }
    return exchange;
  }

  #keepRoute(message: StoredMessage, route: Route, visited: ReadonlySet<string>): void {
    let until = Number.POSITIVE_INFINITY;
    for (const name of visited) {
      const cached = this.#exchanges.get(name);
      if (cached === undefined) return;
      until = Math.min(until, cached.until);
    }
    if (this.#routeCount >= MOST_ROUTES) this.#forgetRoutes();
    let byKey = this.#routes.get(message.exchange);
    if (byKey === undefined) {
      byKey = new Map();
      this.#routes.set(message.exchange, byKey);
    }
    if (!byKey.has(message.routingKey)) this.#routeCount++;
    byKey.set(message.routingKey, { route, until });
  }

  #isBelieved(cached: Cached): boolean {
    return this.#table.coherent || performance.now() < cached.until;
  }

  #changed(name: string): void {
    this.#changes++;
    this.#exchanges.delete(name);
    this.#forgetRoutes();
  }

  #forgetRoutes(): void {
    this.#routes.clear();
    this.#routeCount = 0;
  }
}

function compile(name: string, record: ExchangeRecord | undefined): CompiledExchange | undefined {
  const type = PREDECLARED.get(name);
  if (type === undefined) return record === undefined ? undefined : new CompiledExchange(record);
  const settings = { name, type, durable: true, autoDelete: false, internal: false, arguments: {} };
  return new CompiledExchange({ ...settings, bindings: record?.bindings ?? [], version: record?.version ?? UNBOUND });
}

/** One walk from a message's exchange to its queues. */
class Walk {
  readonly visited = new Set<string>();
  readonly #queues = new Set<string>();
  readonly #broadcasts: string[] = [];
  /** Another message with this exchange and key goes the same way. */
  cacheable = true;
  /** Undefined: the exchange does not exist. */
  readonly route: Route | undefined = undefined;

  constructor(message: StoredMessage, fanout: FanoutWay, look: (name: string) => CompiledExchange | undefined) {
    const toVisit = [message.exchange];
    let start: CompiledExchange | undefined;
    for (const name of toVisit) {
      if (this.visited.has(name)) continue;
      // The default exchange, as somebody's alternate.
      if (name === '') {
        this.#queues.add(message.routingKey);
        continue;
      }
      this.visited.add(name);
      const exchange = look(name);
      if (exchange === undefined) continue;
      start ??= exchange;
      this.#visit(exchange, message, fanout, toVisit);
    }
    if (start?.name !== message.exchange) return;
    this.route = { queues: [...this.#queues], broadcasts: this.#broadcasts, internal: start.record.internal };
  }

  #visit(exchange: CompiledExchange, message: StoredMessage, fanout: FanoutWay, toVisit: string[]): void {
    const byStore = fanout !== 'stored' && exchange.type === 'fanout';
    let matched = false;
    if (!exchange.byKeyOnly) this.cacheable = false;
    exchange.match(message, (binding) => {
      matched = true;
      if (binding.destinationType === 'exchange') toVisit.push(binding.destination);
      else if (!byStore || fanout === 'announced') this.#queues.add(binding.destination);
    });
    if (byStore) this.#broadcasts.push(exchange.name);
    if (!matched && exchange.alternate !== undefined) toVisit.push(exchange.alternate);
  }
}
