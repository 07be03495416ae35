/**
 * The hosts of a connection, and in which order they are tried (`kombu.connection.failover_strategies`).
 */
import { InvalidArgumentError } from '../errors.js';
import { show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';

/**
 * Gives the URLs to try, without end, from those of the connection. An order that ends starts again.
 */
export type FailoverFunction = (urls: readonly string[]) => Iterable<string> | Iterator<string>;

/**
 * - `round-robin`: in the order given, then from the first again.
 * - `shuffle`: each cycle in a new random order.
 * - a function of your own.
 */
export type FailoverStrategy = 'round-robin' | 'shuffle' | FailoverFunction;

/** One of the places that a connection may go to. */
export interface Host {
  /** With its credentials: never to be shown. */
  readonly url: string;
}

const NAMES = ['round-robin', 'shuffle'];

/** Throws INVALID_ARGUMENT for what is no strategy. */
export function checkStrategy(strategy: unknown): FailoverStrategy {
  if (strategy === 'round-robin' || strategy === 'shuffle') return strategy;
  if (typeof strategy === 'function') return strategy as FailoverFunction;
  const hint = typeof strategy === 'string' ? didYouMean(strategy, NAMES) : '';
  throw new InvalidArgumentError(
    `failoverStrategy must be 'round-robin', 'shuffle' or a function, not ${show(strategy)}${hint}`,
  );
}

/** The endless sequence of hosts to try. There is always a current one. */
export class HostCycle<H extends Host> {
  readonly #hosts: readonly H[];
  readonly #order: Iterator<H>;
  #current: H;

  /**
   * @param parse Makes a host of a URL that a function of the user's gave and that is not among `hosts`.
   * @param random A number from 0 up to 1, for tests.
   */
  constructor(
    hosts: readonly [H, ...H[]],
    strategy: FailoverStrategy,
    parse: (url: string) => H,
    random: () => number = Math.random,
  ) {
    this.#hosts = hosts;
    if (typeof strategy === 'function') this.#order = ownOrder(hosts, strategy, parse);
    else this.#order = strategy === 'shuffle' ? shuffled(hosts, random) : roundRobin(hosts);
    this.#current = this.#order.next().value;
  }

  get current(): H {
    return this.#current;
  }

  /** Tries that make a full cycle. */
  get size(): number {
    return this.#hosts.length;
  }

  /** Goes on to the next host, which is the same one when there is no other. */
  advance(): H {
    this.#current = this.#order.next().value;
    return this.#current;
  }
}

function* roundRobin<H>(hosts: readonly H[]): Generator<H, never> {
  for (;;) yield* hosts;
}

function* shuffled<H>(hosts: readonly H[], random: () => number): Generator<H, never> {
  let last: H | undefined;
  for (;;) {
    const order = [...hosts];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j] as H, order[i] as H];
    }
    // The host that has just failed does not come twice in a row.
    if (order.length > 1 && order[0] === last) order.push(order.shift() as H);
    last = order[order.length - 1];
    yield* order;
  }
}

function* ownOrder<H extends Host>(
  hosts: readonly H[],
  strategy: FailoverFunction,
  parse: (url: string) => H,
): Generator<H, never> {
  const byUrl = new Map(hosts.map((host) => [host.url, host]));
  const urls = hosts.map((host) => host.url);
  for (;;) {
    const order = strategy(urls);
    const iterator = Symbol.iterator in order ? order[Symbol.iterator]() : order;
    let given = 0;
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      given++;
      yield byUrl.get(next.value) ?? parse(next.value);
    }
    if (given === 0) throw new InvalidArgumentError('failoverStrategy gave no URL');
  }
}
