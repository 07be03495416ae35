import { InvalidArgumentError, type MessagingError } from '../errors.js';
import { onAbort } from '../util/abort.js';
import { checkDuration, show } from '../util/check.js';
import { deferred } from '../util/deferred.js';
import { after } from '../util/timer.js';

/** How a {@link ResourcePool} makes, checks and ends what it lends. */
export interface ResourcePoolOptions<T> {
  /** At most this many at a time, lent or idle; `Infinity`: no limit. */
  readonly limit: number;
  readonly create: () => T;
  /** Whether an idle or returned resource can be lent again. */
  readonly usable: (resource: T) => boolean;
  /** Never rejects. */
  readonly destroy: (resource: T) => Promise<void>;
  /** The error when none becomes free in time. */
  readonly exhausted: (limit: number) => MessagingError;
}

/** How long to wait for a resource. */
export interface AcquireOptions {
  /** Milliseconds to wait while all are lent; 0 fails at once. Default 30 s. Rejects POOL_LIMIT. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_ACQUIRE_TIMEOUT = 30_000;

/** Somebody who waits. Settling it takes it off the list. */
interface Waiter<T> {
  readonly take: (resource: T) => void;
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

  /** Throws INVALID_ARGUMENT for a limit that is none. */
  constructor(options: ResourcePoolOptions<T>) {
    this.#options = options;
    this.#limit = checkLimit(options.limit);
  }

  /** Resources at most. */
  get limit(): number {
    return this.#limit;
  }

  /** Resources that exist, lent or idle. */
  get size(): number {
    return this.#idle.length + this.#lent.size;
  }

  /** Lends a resource, making one if there is room. Rejects POOL_LIMIT when none became free in time, or `signal.reason`. */
  async acquire(options: AcquireOptions = {}): Promise<T> {
    const { signal } = options;
    const timeout = checkDuration('timeout', options.timeout ?? DEFAULT_ACQUIRE_TIMEOUT, { allowInfinity: true });
    signal?.throwIfAborted();
    const free = this.#next();
    if (free !== undefined) return free;
    if (timeout === 0) throw this.#options.exhausted(this.#limit);
    const { promise, resolve, reject } = deferred<T>();
    const leave = () => {
      this.#waiters.delete(waiter);
      offTimer();
      offAbort();
    };
    const waiter: Waiter<T> = {
      take: (resource) => {
        leave();
        resolve(resource);
      },
      fail: (error) => {
        leave();
        reject(error);
      },
    };
    this.#waiters.add(waiter);
    const offTimer = after(timeout, () => waiter.fail(this.#options.exhausted(this.#limit)));
    const offAbort = onAbort(signal, waiter.fail);
    return promise;
  }

  /** Takes a resource back; one that is not lent is left alone. What is no longer usable is destroyed, and its place is free. */
  async release(resource: T): Promise<void> {
    if (!this.#lent.delete(resource)) return;
    if (this.size < this.#limit && this.#options.usable(resource)) {
      this.#idle.push(resource);
      this.#serve();
    } else {
      this.#serve();
      await this.#options.destroy(resource);
    }
  }

  /** Changes the limit. Idle resources over it are destroyed now, lent ones when they come back. Rejects INVALID_ARGUMENT. */
  async setLimit(limit: number): Promise<void> {
    this.#limit = checkLimit(limit);
    const surplus = this.#idle.splice(0, Math.max(0, this.size - limit));
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

  /** Lends a resource if one can be had now. */
  #next(): T | undefined {
    let resource = this.#idle.pop();
    while (resource !== undefined && !this.#options.usable(resource)) resource = this.#idle.pop();
    if (resource === undefined) {
      if (this.size >= this.#limit) return undefined;
      resource = this.#options.create();
    }
    this.#lent.add(resource);
    return resource;
  }

  #serve(): void {
    for (const waiter of this.#waiters) {
      try {
        const resource = this.#next();
        if (resource === undefined) return;
        waiter.take(resource);
      } catch (error) {
        // It could not be made: the connection was closed, for example. Others who wait will fare no better.
        waiter.fail(error);
      }
    }
  }
}

/** Returns what is a limit. Throws INVALID_ARGUMENT. */
export function checkLimit(limit: number): number {
  if (limit === Number.POSITIVE_INFINITY || (Number.isSafeInteger(limit) && limit > 0)) return limit;
  throw new InvalidArgumentError(`limit must be a positive integer or Infinity, not ${show(limit)}`);
}
