/**
 * Pools of connections, channels and producers (`kombu.pools`, `kombu.connection.ConnectionPool`).
 *
 * One connection serves any number of channels, producers and consumers, so most programs need no pool. They are for code that must
 * be kept apart (a transaction, a blocking peer) and for programs ported from Kombu.
 */
import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import { ChannelLimitExceeded, ConnectionLimitExceeded, LimitExceeded } from '../errors.js';
import { Producer } from '../messaging/producer.js';
import { type AcquireOptions, checkLimit, ResourcePool } from './resource-pool.js';

/** How large a pool may grow. */
export interface PoolOptions {
  /** Resources at a time. Default 10. */
  readonly limit?: number | undefined;
}

/** Lends connections made like one that serves as the pattern, and is never used itself. */
export class ConnectionPool extends ResourcePool<Connection> {
  constructor(pattern: Connection, options: PoolOptions = {}) {
    super({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => {
        const connection = pattern.clone();
        connection.setReleaser(() => this.release(connection));
        return connection;
      },
      usable: (connection) => connection.state !== 'closing' && connection.state !== 'closed',
      destroy: (connection) => connection.close(),
      exhausted: (limit) => new ConnectionLimitExceeded(`all ${limit} connections of the pool are lent`),
    });
  }
}

/** A channel that goes back to its pool when it is released or disposed of. */
export interface PooledChannel extends AsyncDisposable {
  readonly channel: Channel;
  release(): Promise<void>;
}

/** Lends channels of one connection. */
export class ChannelPool {
  readonly #pool: ResourcePool<Channel>;

  constructor(connection: Connection, options: PoolOptions = {}) {
    this.#pool = new ResourcePool<Channel>({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => connection.channel(),
      usable: (channel) => channel.state !== 'closed',
      destroy: (channel) => channel.close(),
      exhausted: (limit) => new ChannelLimitExceeded(`all ${limit} channels of the pool are lent`),
    });
  }

  get limit(): number {
    return this.#pool.limit;
  }

  /** Lends a channel. Rejects with POOL_LIMIT when none became free in time, or `signal.reason`. */
  async acquire(options: AcquireOptions = {}): Promise<PooledChannel> {
    const channel = await this.#pool.acquire(options);
    const release = () => this.#pool.release(channel);
    return { channel, release, [Symbol.asyncDispose]: release };
  }

  setLimit(limit: number): Promise<void> {
    return this.#pool.setLimit(limit);
  }

  /** Closes every channel, the lent ones too. */
  reset(): Promise<void> {
    return this.#pool.reset();
  }
}

/** A producer that goes back to its pool when it is released or disposed of. */
export class PooledProducer<T = unknown> extends Producer<T> {
  readonly #release: (producer: PooledProducer<T>) => Promise<void>;

  constructor(connection: Connection, release: (producer: PooledProducer<T>) => Promise<void>) {
    super(connection);
    this.#release = release;
  }

  /** Gives the producer back. Publishes under way go on. */
  override release(): Promise<void> {
    return this.#release(this);
  }

  override [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** Lends producers. All share one connection, made like the pattern when the first is lent, and closed by {@link ProducerPool.reset}. */
export class ProducerPool {
  readonly #pool: ResourcePool<PooledProducer>;
  #connection: Connection | undefined;

  constructor(pattern: Connection, options: PoolOptions = {}) {
    this.#pool = new ResourcePool<PooledProducer>({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => {
        this.#connection ??= pattern.clone();
        return new PooledProducer(this.#connection, (producer) => this.#pool.release(producer));
      },
      usable: (producer) => !producer.isClosed,
      destroy: (producer) => producer.close(),
      exhausted: (limit) => new LimitExceeded(`all ${limit} producers of the pool are lent`),
    });
  }

  get limit(): number {
    return this.#pool.limit;
  }

  /** Lends a producer. Rejects with POOL_LIMIT when none became free in time, or `signal.reason`. */
  acquire(options: AcquireOptions = {}): Promise<PooledProducer> {
    return this.#pool.acquire(options);
  }

  setLimit(limit: number): Promise<void> {
    return this.#pool.setLimit(limit);
  }

  /** Closes every producer and their connection. The pool can be used again. */
  async reset(): Promise<void> {
    await this.#pool.reset();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }
}

interface Pool {
  setLimit(limit: number): Promise<void>;
  reset(): Promise<void>;
}

/** Pools by what their connections have in common: target, credentials and options. */
export class PoolGroup<P extends Pool> {
  readonly #create: (pattern: Connection, limit: number) => P;
  readonly #pools = new Map<string, P>();
  #limit: number = DEFAULTS.poolLimit;

  constructor(create: (pattern: Connection, limit: number) => P) {
    this.#create = create;
  }

  /** The pool for connections like this one, made when first asked for. */
  of(connection: Connection): P {
    const key = connection.poolKey;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      // The pattern must outlive what the caller does to the connection.
      pool = this.#create(connection.clone(), this.#limit);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Limit of every pool of the group, present and future. */
  async setLimit(limit: number): Promise<void> {
    this.#limit = checkLimit(limit);
    await Promise.all([...this.#pools.values()].map((pool) => pool.setLimit(limit)));
  }

  /** Closes everything and forgets the pools. */
  async reset(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.reset()));
  }
}

/** Pools of connections, for the whole process. */
export const connections: PoolGroup<ConnectionPool> = new PoolGroup(
  (pattern, limit) => new ConnectionPool(pattern, { limit }),
);

/** Pools of producers, for the whole process. */
export const producers: PoolGroup<ProducerPool> = new PoolGroup(
  (pattern, limit) => new ProducerPool(pattern, { limit }),
);

/** Both groups at once. A program that used them ends with `await pools.reset()`: open connections keep a process alive. */
export const pools = {
  /** Default limit of every pool, present and future. */
  async setLimit(limit: number): Promise<void> {
    await Promise.all([connections.setLimit(limit), producers.setLimit(limit)]);
  },
  /** Closes every pooled connection and producer. */
  async reset(): Promise<void> {
    await Promise.all([producers.reset(), connections.reset()]);
  },
} as const;
