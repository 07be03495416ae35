import { InvalidArgumentError, type MessagingError } from '../errors.js';

/** How a {@link ResourcePool} makes, checks and ends what it lends. */
export interface ResourcePoolOptions<T> {
  /** At most this many at a time, lent or idle. */
  readonly limit: number;
  readonly create: () => T | Promise<T>;
  /** Whether an idle or returned resource can be lent again. */
  readonly usable: (resource: T) => boolean;
  readonly destroy: (resource: T) => Promise<void>;
  /** The error when none becomes free in time. */
  readonly exhausted: (limit: number) => MessagingError;
}

/** How long to wait for a resource. */
export interface AcquireOptions {
  /** Milliseconds to wait while all are lent; 0 fails at once. Default 30,000. Rejects with POOL_LIMIT. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_ACQUIRE_TIMEOUT = 30_000;

interface Waiter<T> {
  readonly take: (resource: T | Promise<T>) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Lends at most `limit` resources. The one returned last is lent first, so that the others can grow old. Those who wait are
 * served in their order.
 */
export class ResourcePool<T extends object> {
  readonly #options: ResourcePoolOptions<T>;
  readonly #idle: T[] = [];
  readonly #lent = new Set<T>();
  readonly #waiters = new Set<Waiter<T>>();
  #limit: number;
  /** Being created now. */
  #coming = 0;

  constructor(options: ResourcePoolOptions<T>) {
    this.#options = options;
    this.#limit = checkLimit(options.limit);
  }

  get limit(): number {
    return this.#limit;
  }

  /** Resources that exist, lent or idle. */
  get size(): number {
    return this.#idle.length + this.#lent.size + this.#coming;
  }

  /** Lends a resource, making one if there is room. */
  acquire(options: AcquireOptions = {}): Promise<T> {
    const { timeout = DEFAULT_ACQUIRE_TIMEOUT, signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.#next();
    if (free !== undefined) return Promise.resolve(free);
    if (timeout === 0) return Promise.reject(this.#options.exhausted(this.#limit));
    return new Promise<T>((resolve, reject) => {
      const settled = () => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
      };
      const waiter: Waiter<T> = {
        take: (resource) => {
          settled();
          resolve(resource);
        },
        fail: (error) => {
          settled();
          reject(error);
        },
      };
      const aborted = () => waiter.fail(signal?.reason);
      const timer = Number.isFinite(timeout)
        ? setTimeout(() => waiter.fail(this.#options.exhausted(this.#limit)), timeout)
        : undefined;
      signal?.addEventListener('abort', aborted, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Takes a resource back. One that is no longer usable is destroyed, and its place is free. */
  async release(resource: T): Promise<void> {
    if (!this.#lent.delete(resource)) return;
    if (this.size < this.#limit && this.#options.usable(resource)) {
      this.#idle.push(resource);
      this.#serve();
      return;
    }
    this.#serve();
    await this.#options.destroy(resource);
  }

  /** Changes the limit. Idle resources over it are destroyed now, lent ones when they come back. */
  async setLimit(limit: number): Promise<void> {
    this.#limit = checkLimit(limit);
    const surplus: T[] = [];
    while (this.#idle.length > 0 && this.size > this.#limit) surplus.push(this.#idle.shift() as T);
    this.#serve();
    await Promise.all(surplus.map((resource) => this.#options.destroy(resource)));
  }

  /** Destroys every resource, the lent ones too. Whoever waits gets fresh ones. */
  async reset(): Promise<void> {
    const all = [...this.#idle.splice(0), ...this.#lent];
    this.#lent.clear();
    this.#serve();
    await Promise.all(all.map((resource) => this.#options.destroy(resource)));
  }

  /** A resource that can be lent now, or undefined. */
  #next(): T | Promise<T> | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (this.#options.usable(idle)) {
        this.#lent.add(idle);
        return idle;
      }
    }
    return this.size < this.#limit ? this.#create() : undefined;
  }

  async #create(): Promise<T> {
    this.#coming += 1;
    try {
      const resource = await this.#options.create();
      this.#lent.add(resource);
      return resource;
    } finally {
      this.#coming -= 1;
      // A failed creation frees a place that somebody may wait for.
      if (this.size < this.#limit) queueMicrotask(() => this.#serve());
    }
  }

  #serve(): void {
    for (const waiter of this.#waiters) {
      const free = this.#next();
      if (free === undefined) return;
      waiter.take(free);
    }
  }
}

/** Throws INVALID_ARGUMENT for what is no limit. */
export function checkLimit(limit: number): number {
  if (!(limit === Number.POSITIVE_INFINITY || (Number.isSafeInteger(limit) && limit > 0)))
    throw new InvalidArgumentError(`a pool's limit must be a positive integer, not ${String(limit)}`);
  return limit;
}
