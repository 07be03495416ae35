import type {
  Driver,
  DriverFeatures,
  MaybePromise,
  Outbound,
  QueueStat,
  SendOptions,
  SendResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';
import { marked, markOf, unmarked } from './marks.js';
import { KnownOptions } from './queue-rules.js';
import { DriverWrapper } from './wrapper.js';

const MARK = 'x-wakame-expires-at';

/**
 * Message TTL for a store that knows none: each message carries the time of its end, and whoever takes it after that sees that it has expired. It counts as
 * ready until then.
 */
export class EmulatedMessageTtl extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #options: KnownOptions;

  constructor(inner: Driver) {
    super(inner);
    this.features = { ...inner.features, synchronous: false, messageTtl: true };
    this.#options = new KnownOptions(inner);
  }

  override declare(queues: Parameters<Driver['declare']>[0]): MaybePromise<readonly QueueStat[]> {
    this.#options.forget(queues.map(({ name }) => name));
    return this.inner.declare(queues);
  }

  override async send(messages: readonly Outbound[], options?: SendOptions): Promise<readonly SendResult[]> {
    const known = await this.#options.of(messages.map(({ queue }) => queue));
    const withEnds = messages.map((outbound) => {
      const { queue, message, expiresAt, notBefore } = outbound;
      const ttl = known.get(queue)?.messageTtl;
      const readyAt = Math.max(notBefore ?? 0, Date.now());
      const end = Math.min(
        expiresAt ?? Number.POSITIVE_INFINITY,
        ttl === undefined ? Number.POSITIVE_INFINITY : readyAt + ttl,
      );
      return end === Number.POSITIVE_INFINITY ? outbound : { queue, notBefore, message: marked(message, MARK, end) };
    });
    return this.inner.send(withEnds, options);
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const taken = await this.inner.take(requests, options);
    return taken.map((one) => {
      const end = markOf(one.message, MARK);
      if (end === undefined) return one;
      const message = unmarked(one.message, MARK);
      return { ...one, message, expired: one.expired === true || end <= Date.now() };
    });
  }
}
