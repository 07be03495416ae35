import { noop } from '../../../util/noop.js';
import { LONGEST_TIMER } from '../../../util/timer.js';
import type {
  ConsumerRecord,
  Driver,
  DriverFeatures,
  MaybePromise,
  OpenDriver,
  QueueStat,
  RemoveRequest,
  RemoveResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';
import { DriverWrapper } from './wrapper.js';

/**
 * Queue TTL for a store that knows none: the connection that declared a queue deletes it when it has no consumer, anybody's, and this
 * connection did not use it for so long. A connection that closes before leaves it behind.
 */
export class EmulatedQueueTtl extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #queues = new Map<string, { readonly expires: number; timer: NodeJS.Timeout }>();
  #problem: (error: unknown) => void = noop;

  constructor(inner: Driver) {
    super(inner);
    this.features = { ...inner.features, synchronous: false, queueTtl: true };
  }

  override open(options: OpenDriver): Promise<void> {
    this.#problem = options.problem;
    return this.inner.open({
      ...options,
      lost: (error) => {
        this.#forgetAll();
        options.lost(error);
      },
    });
  }

  override close(): Promise<void> {
    this.#forgetAll();
    return this.inner.close();
  }

  override async declare(queues: Parameters<Driver['declare']>[0]): Promise<readonly QueueStat[]> {
    const stats = await this.inner.declare(queues);
    for (const { name, options } of stats) if (options?.expires !== undefined) this.#start(name, options.expires);
    return stats;
  }

  override remove(requests: readonly RemoveRequest[]): MaybePromise<readonly RemoveResult[]> {
    for (const { queue } of requests) this.#used(queue);
    return this.inner.remove(requests);
  }

  override take(requests: readonly TakeRequest[], options: TakeOptions): MaybePromise<readonly Taken[]> {
    for (const { queue } of requests) this.#used(queue);
    return this.inner.take(requests, options);
  }

  override detach(consumers: readonly ConsumerRecord[]): MaybePromise<readonly number[]> {
    for (const { queue } of consumers) this.#used(queue);
    return this.inner.detach(consumers);
  }

  #used(queue: string): void {
    const known = this.#queues.get(queue);
    if (known !== undefined) this.#start(queue, known.expires);
  }

  #start(queue: string, expires: number): void {
    clearTimeout(this.#queues.get(queue)?.timer);
    const timer = setTimeout(() => void this.#end(queue, expires), Math.min(expires, LONGEST_TIMER));
    timer.unref();
    this.#queues.set(queue, { expires, timer });
  }

  async #end(queue: string, expires: number): Promise<void> {
    try {
      const [result] = await this.inner.remove([{ queue, ifUnused: true }]);
      if (result === 'used') this.#start(queue, expires);
      else this.#queues.delete(queue);
    } catch (error) {
      this.#problem(error);
    }
  }

  #forgetAll(): void {
    for (const { timer } of this.#queues.values()) clearTimeout(timer);
    this.#queues.clear();
  }
}
