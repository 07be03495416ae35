import { NotSupportedError } from '../../../errors.js';
import { deferred } from '../../../util/deferred.js';
import { noop } from '../../../util/noop.js';
import type {
  Driver,
  DriverFeatures,
  OpenDriver,
  Outbound,
  QueueOptions,
  QueueStat,
  SendOptions,
  SendResult,
  SweepResult,
  Taken,
} from '../driver.js';
import { KnownOptions } from './queue-rules.js';
import { ownRequestId } from './request-id.js';
import { DriverWrapper } from './wrapper.js';

/**
 * The maximum number of messages of a queue for a store that knows none: counted before and after each send. Several publishers at once may pass it for a
 * moment. A maximum of bytes cannot be had this way, and is refused.
 */
export class EmulatedMaxLength extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #options: KnownOptions;
  #overflowed: Taken[] = [];
  #due: () => void = noop;
  /** The last send that counts before or after, while one is under way: those made after it wait, so that none is overtaken. */
  #counting: Promise<void> | undefined;

  constructor(inner: Driver) {
    super(inner);
    this.features = { ...inner.features, synchronous: false, maxLength: true };
    this.#options = new KnownOptions(inner);
  }

  override open(options: OpenDriver): Promise<void> {
    this.#due = options.due;
    // Those of a former incarnation are held by us still; the store's sweep has them back when their lease ends.
    this.#overflowed = [];
    return this.inner.open(options);
  }

  override async declare(queues: Parameters<Driver['declare']>[0]): Promise<readonly QueueStat[]> {
    for (const { name, options } of queues) {
      if (options.maxLengthBytes === undefined) continue;
      throw new NotSupportedError(`queue '${name}': this store cannot hold x-max-length-bytes`);
    }
    this.#options.forget(queues.map(({ name }) => name));
    return this.inner.declare(queues);
  }

  override async send(messages: readonly Outbound[], options?: SendOptions): Promise<readonly SendResult[]> {
    const known = await this.#options.of(messages.map(({ queue }) => queue));
    const limited = [...known].filter(([, rules]) => rules?.maxLength !== undefined);
    const before = this.#counting;
    if (limited.length === 0 && before === undefined) return this.inner.send(messages, options);
    const done = deferred();
    this.#counting = done.promise;
    try {
      await before;
      return await this.#sendCounted(messages, limited, options);
    } finally {
      if (this.#counting === done.promise) this.#counting = undefined;
      done.resolve();
    }
  }

  override async sweep(limit: number): Promise<SweepResult> {
    const overflowed = this.#overflowed.splice(0, limit);
    const swept = await this.inner.sweep(limit);
    return { ...swept, overflowed: [...overflowed, ...swept.overflowed] };
  }

  async #sendCounted(
    messages: readonly Outbound[],
    limited: readonly (readonly [string, QueueOptions | undefined])[],
    options: SendOptions | undefined,
  ): Promise<readonly SendResult[]> {
    const room = await this.#room(limited.filter(([, rules]) => refuses(rules)));
    const results = new Array<SendResult>(messages.length).fill('full');
    const fitting: Outbound[] = [];
    const places: number[] = [];
    messages.forEach((outbound, i) => {
      const left = room.get(outbound.queue);
      if (left !== undefined && left <= 0) return;
      if (left !== undefined) room.set(outbound.queue, left - 1);
      fitting.push(outbound);
      places.push(i);
    });
    const sent = fitting.length === 0 ? [] : await this.inner.send(fitting, options);
    sent.forEach((result, i) => {
      results[places[i] as number] = result;
    });
    for (const [queue, rules] of limited) if (!refuses(rules)) await this.#dropHead(queue, rules);
    return results;
  }

  /** How many messages each may still get. */
  async #room(queues: readonly (readonly [string, QueueOptions | undefined])[]): Promise<Map<string, number>> {
    const stats = await this.inner.stat(queues.map(([queue]) => queue));
    return new Map(
      queues.map(([queue, rules], i) => [queue, (rules?.maxLength ?? 0) - (stats[i]?.messageCount ?? 0)] as const),
    );
  }

  async #dropHead(queue: string, rules: QueueOptions | undefined): Promise<void> {
    const [stat] = await this.inner.stat([queue]);
    const surplus = (stat?.messageCount ?? 0) - (rules?.maxLength ?? 0);
    if (surplus <= 0) return;
    const request = { queue, credit: surplus, noAck: rules?.deadLetter !== true };
    const taken = await this.inner.take([request], {
      requestId: ownRequestId(),
      limit: surplus,
      order: 'strict',
      waitMs: 0,
    });
    if (rules?.deadLetter !== true || taken.length === 0) return;
    this.#overflowed.push(...taken);
    this.#due();
  }
}

function refuses(rules: QueueOptions | undefined): boolean {
  return rules?.overflow !== undefined && rules.overflow !== 'drop-head';
}
