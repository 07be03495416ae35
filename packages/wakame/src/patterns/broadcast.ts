import { Exchange } from '../entities/exchange.js';
import { Queue } from '../entities/queue.js';
import type { QueueOptions } from '../entities/queue-options.js';
import { InvalidArgumentError } from '../errors.js';
import { show } from '../util/check.js';
import { uuid } from '../util/uuid.js';

/** Options of {@link Broadcast}. */
export interface BroadcastOptions<T = unknown> extends Omit<QueueOptions<T>, 'exchange'> {
  /** Name of the fanout exchange. Needed unless `exchange` is given. */
  readonly name?: string | undefined;
  /** Default: a durable fanout exchange called `name`. */
  readonly exchange?: Exchange | undefined;
  /** Name of the queue. Default `bcast.<uuid>`. */
  readonly queue?: string | undefined;
  /** Adds a UUID to `queue`, so that each process has one of its own. Default false. */
  readonly unique?: boolean | undefined;
}

/**
 * A queue of one's own on a fanout exchange: everybody who consumes from a Broadcast of one name gets every message
 * (`kombu.common.Broadcast`). It deletes itself with its consumer, unless `autoDelete: false`.
 */
export class Broadcast<T = unknown> extends Queue<T> {
  constructor(options: BroadcastOptions<T>) {
    const { name, exchange, queue, unique = false, ...rest } = options;
    if (name === undefined && exchange === undefined)
      throw new InvalidArgumentError(`Broadcast needs a name or an exchange, not ${show(options)}`);
    super(queueName(queue, unique), {
      autoDelete: true,
      alias: name ?? exchange?.name,
      ...rest,
      exchange: exchange ?? new Exchange(name ?? '', { type: 'fanout' }),
    });
  }
}

function queueName(queue: string | undefined, unique: boolean): string {
  if (queue === undefined) return `bcast.${uuid()}`;
  return unique ? `${queue}.${uuid()}` : queue;
}
