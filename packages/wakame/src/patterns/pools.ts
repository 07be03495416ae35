/**
 * Pools of connections, channels and producers (`kombu.pools`, `kombu.connection.ConnectionPool`).
 *
 * One connection serves any number of channels, producers and consumers, so most programs need no pool. They are for code that must
 * be kept apart (a transaction, a blocking peer) and for programs ported from Kombu.
 */
import type { Channel } from '../connection/channel.js';
import type { CloseOptions } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import { ChannelLimitExceeded, ConnectionLimitExceeded, LimitExceeded } from '../errors.js';
import { Producer } from '../messaging/producer.js';
import { type AcquireOptions, checkLimit, ResourcePool } from './resource-pool.js';

/** How large a pool may grow. */
export interface PoolOptions {
  /** Resources at a time; `Infinity`: no limit. Default 10. */
  readonly limit?: number | undefined;
}

function isUsable(connection: Connection): boolean {
  return connection.state !== 'closing' && connection.state !== 'closed';
}

/**
 * Lends connections made like one that serves as the pattern and is never used itself. `release()` gives one back, and so does the end of an
 * `await using` block; from then on it is somebody else's. One that was closed is replaced.
 */
export class ConnectionPool extends ResourcePool<Connection> {
  constructor(pattern: Connection, options: PoolOptions = {}) {
    super({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => {
        const connection = pattern.clone();
        const release = () => this.release(connection);
        connection.setReleaser(release);
        connection.once('closed', () => void release());
        return connection;
      },
      usable: isUsable,
      destroy: (connection) => connection.close(),
      exhausted: (limit) => new ConnectionLimitExceeded(`all ${limit} connections of the pool are lent`),
    });
  }
}

/** A channel that goes back to its pool when it is released or disposed of. */
export interface PooledChannel extends AsyncDisposable {
  readonly channel: Channel;
  /** Gives it back; what it consumes goes on. Again, it does nothing. */
  release(): Promise<void>;
}

/** Lends channels of one connection. One that was closed is replaced. */
export class ChannelPool {
  readonly #pool: ResourcePool<Channel>;

  constructor(connection: Connection, options: PoolOptions = {}) {
    this.#pool = new ResourcePool<Channel>({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => {
        const channel = connection.channel();
        channel.once('close', () => void this.#pool.release(channel));
        return channel;
      },
      usable: (channel) => channel.state !== 'closed',
      destroy: (channel) => channel.close(),
      exhausted: (limit) => new ChannelLimitExceeded(`all ${limit} channels of the pool are lent`),
    });
  }

  /** Resources at most. */
  get limit(): number {
    return this.#pool.limit;
  }

  /** Channels that exist, lent or idle. */
  get size(): number {
    return this.#pool.size;
  }

  /** Lends a channel. Rejects POOL_LIMIT when none became free in time, CONNECTION_CLOSED, or `signal.reason`. */
  async acquire(options: AcquireOptions = {}): Promise<PooledChannel> {
    const channel = await this.#pool.acquire(options);
    let isLent = true;
    const release = async () => {
      if (!isLent) return;
      isLent = false;
      await this.#pool.release(channel);
    };
    return { channel, release, [Symbol.asyncDispose]: release };
  }

  /** Changes the limit. Idle channels over it are closed now, lent ones when they come back. Rejects INVALID_ARGUMENT. */
  setLimit(limit: number): Promise<void> {
    return this.#pool.setLimit(limit);
  }

  /** Closes every channel, the lent ones too. The pool can be used again. */
  reset(): Promise<void> {
    return this.#pool.reset();
  }
}

/** A producer that goes back to its pool when it is released or disposed of. From then on it is somebody else's. */
export class PooledProducer<T = unknown> extends Producer<T> {
  readonly #giveBack: (producer: PooledProducer<T>) => Promise<void>;

  /** Made by a {@link ProducerPool}. */
  constructor(connection: Connection, giveBack: (producer: PooledProducer<T>) => Promise<void>) {
    super(connection);
    this.#giveBack = giveBack;
  }

  /** Gives the producer back, without its listeners. Publishes under way go on. */
  override release(): Promise<void> {
    this.removeAllListeners();
    return this.#giveBack(this);
  }

  /** Closes it for good; the pool makes another in its place. */
  override close(options: CloseOptions = {}): Promise<void> {
    const closed = super.close(options);
    void this.#giveBack(this);
    return closed;
  }

  override [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** Lends producers. All share one connection, made like the pattern when the first is lent, and closed by {@link ProducerPool.reset}. */
export class ProducerPool {
  readonly #pool: ResourcePool<PooledProducer>;
  readonly #pattern: Connection;
  #connection: Connection | undefined;

  constructor(pattern: Connection, options: PoolOptions = {}) {
    this.#pattern = pattern;
    this.#pool = new ResourcePool<PooledProducer>({
      limit: options.limit ?? DEFAULTS.poolLimit,
      create: () => new PooledProducer(this.#open(), (producer) => this.#pool.release(producer)),
      usable: (producer) => !producer.isClosed && isUsable(producer.connection),
      destroy: (producer) => producer.close(),
      exhausted: (limit) => new LimitExceeded(`all ${limit} producers of the pool are lent`),
    });
  }

  /** Resources at most. */
  get limit(): number {
    return this.#pool.limit;
  }

  /** Producers that exist, lent or idle. */
  get size(): number {
    return this.#pool.size;
  }

  /** Lends a producer. Rejects POOL_LIMIT when none became free in time, or `signal.reason`. */
  acquire(options: AcquireOptions = {}): Promise<PooledProducer> {
    return this.#pool.acquire(options);
  }

  /** Changes the limit. Idle producers over it are closed now, lent ones when they come back. Rejects INVALID_ARGUMENT. */
  setLimit(limit: number): Promise<void> {
    return this.#pool.setLimit(limit);
  }

  /** Waits for publishes under way, then closes every producer, the lent ones too, and their connection. The pool can be used again. */
  async reset(): Promise<void> {
    const connection = this.#connection;
    // Whoever waits gets a producer on a new one.
    this.#connection = undefined;
    await this.#pool.reset();
    await connection?.close();
  }

  #open(): Connection {
    if (this.#connection === undefined || !isUsable(this.#connection)) this.#connection = this.#pattern.clone();
    return this.#connection;
  }
}

/** What a {@link PoolGroup} needs of its pools. */
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

  /** Limit of every pool of the group. */
  /** Resources at most. */
  get limit(): number {
    return this.#limit;
  }

  /** The pool for connections like this one, made when first asked for. The connection itself is not used. */
  of(connection: Connection): P {
    const key = connection.poolKey;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      // A pattern of its own: the caller may switch the connection to other hosts.
      pool = this.#create(connection.clone(), this.#limit);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Limit of every pool of the group, present and future. Rejects INVALID_ARGUMENT. */
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
  /** Limit of every pool, present and future. Rejects INVALID_ARGUMENT. */
  async setLimit(limit: number): Promise<void> {
    await Promise.all([connections.setLimit(limit), producers.setLimit(limit)]);
  },
  /** Closes every pooled connection and producer. */
  async reset(): Promise<void> {
    await Promise.all([producers.reset(), connections.reset()]);
  },
} as const;
