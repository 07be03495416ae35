import type { Queue } from '../entities/queue.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions, PayloadOf, QueueInput, SchemaConsumerOptions } from '../messaging/consumer-options.js';
import { Producer } from '../messaging/producer.js';
import type { ProducerOptions } from '../messaging/publish-options.js';
import { ChannelPool, ConnectionPool, type PoolOptions } from '../patterns/pools.js';
import { SimpleBuffer, SimpleQueue, type SimpleQueueOptions } from '../patterns/simple.js';
import { ConnectionCore } from './core.js';
import type { ConnectionOptions } from './options.js';

/**
 * A connection to a broker (`kombu.Connection`): one for an application, from which channels, producers and consumers come. It connects
 * at first use, and owns all that must exist: after a loss it connects again, on the next host where there are several, and
 * rebuilds topology, channels, prefetch and consumers.
 *
 * ```ts
 * await using connection = new Connection('amqp://guest:guest@localhost:5672//');
 * const producer = connection.producer({ exchange: media });
 * ```
 *
 * Passwords appear neither in its errors nor in what `console.log` shows of it.
 */
export class Connection extends ConnectionCore {
  get connection(): this {
    return this;
  }

  /** A producer with a channel of its own; see {@link Producer}. */
  producer<T = unknown>(options: ProducerOptions<T> = {}): Producer<T> {
    return new Producer<T>(this, options);
  }

  /** A consumer of these queues with a channel of its own; see {@link Consumer}. It starts when it is iterated, or by `consume()`. */
  consumer<T>(queues: QueueInput, options: Omit<SchemaConsumerOptions<T>, 'queues'>): Consumer<T>;
  consumer<T = unknown>(queues?: QueueInput<T>, options?: Omit<ConsumerOptions<T>, 'queues'>): Consumer<T>;
  consumer<const Q extends QueueInput>(
    queues: Q,
    options?: Omit<ConsumerOptions<PayloadOf<Q>>, 'queues'>,
  ): Consumer<PayloadOf<Q>>;
  consumer<T>(
    queues: QueueInput<T> = [],
    options: Omit<ConsumerOptions<T>, 'queues'> | Omit<SchemaConsumerOptions<T>, 'queues'> = {},
  ): Consumer<T> {
    return new Consumer<T>(this, { ...options, queues } as ConsumerOptions<T>);
  }

  /** A queue as a data structure; see {@link SimpleQueue}. */
  simpleQueue<T = unknown>(queue: string | Queue<T>, options: SimpleQueueOptions<T> = {}): SimpleQueue<T> {
    return new SimpleQueue<T>(this, queue, options);
  }

  /** A queue as a data structure for what may be lost; see {@link SimpleBuffer}. */
  simpleBuffer<T = unknown>(queue: string | Queue<T>, options: SimpleQueueOptions<T> = {}): SimpleBuffer<T> {
    return new SimpleBuffer<T>(this, queue, options);
  }

  /** A pool of connections like this one. */
  pool(options: PoolOptions = {}): ConnectionPool {
    return new ConnectionPool(this, options);
  }

  /** A pool of channels of this connection. */
  channelPool(options: PoolOptions = {}): ChannelPool {
    return new ChannelPool(this, options);
  }

  /** A connection of its own to the same place with the same options, but for those given. */
  clone(changes: ConnectionOptions = {}): Connection {
    return new Connection(this.target, { ...this.options, ...changes });
  }
}
