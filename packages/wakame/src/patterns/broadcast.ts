import { nameOf } from '../entities/declare.js';
import { Exchange } from '../entities/exchange.js';
import { Queue } from '../entities/queue.js';
import type { QueueOptions } from '../entities/queue-options.js';
import { checkBoolean, checkString } from '../util/check.js';
import { uuid } from '../util/uuid.js';

/** Options of {@link Broadcast}. */
export interface BroadcastOptions<T = unknown> extends Omit<QueueOptions<T>, 'exchange' | 'bindings'> {
  /** Name of the queue. Default: `bcast.<uuid>`. */
  readonly queue?: string | undefined;
  /** Adds a UUID to `queue`, so that each process has one of its own. Default `false`. */
  readonly unique?: boolean | undefined;
}

/**
 * A queue of one's own on a fanout exchange: everybody who consumes from a Broadcast of one name gets every message
 * (`kombu.common.Broadcast`). It deletes itself with its last consumer, unless `autoDelete: false`.
 *
 * ```ts
 * for await (const message of connection.consumer(new Broadcast('news'), { settle: 'auto' })) { … }
 * ```
 */
export class Broadcast<T = unknown> extends Queue<T> {
  /**
   * @param exchange A name, for a durable fanout exchange, or an exchange.
   * @throws InvalidArgumentError (INVALID_ARGUMENT) as Queue and Exchange.
   */
  constructor(exchange: string | Exchange, options: BroadcastOptions<T> = {}) {
    const { queue = 'bcast', unique = false, autoDelete = true, alias = nameOf(exchange), ...rest } = options;
    const hasUuid = checkBoolean('unique', unique) || options.queue === undefined;
    super(hasUuid ? `${checkString('queue', queue)}.${uuid()}` : queue, {
      ...rest,
      ...{ autoDelete, alias },
      exchange: typeof exchange === 'string' ? new Exchange(exchange, { type: 'fanout' }) : exchange,
    });
  }
}
