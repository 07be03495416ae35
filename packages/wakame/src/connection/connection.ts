import type { Queue } from '../entities/queue.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions, QueueInput, SchemaConsumerOptions } from '../messaging/consumer-options.js';
import { Producer } from '../messaging/producer.js';
import type { ProducerOptions } from '../messaging/publish-options.js';
import { ChannelPool, ConnectionPool, type PoolOptions } from '../patterns/pools.js';
import { SimpleBuffer, SimpleQueue, type SimpleQueueOptions } from '../patterns/simple.js';
import { ConnectionCore } from './core.js';
import type { ConnectionOptions } from './options.js';

/**
 * A connection to a broker, chosen by a URL (`kombu.Connection`). It opens at first use, and comes back by itself after a loss, with
 * all that was made on it: channels, declarations, consumers.
 *
 * ```ts
 * await using connection = new Connection('amqp://guest:guest@localhost:5672//');
 * await connection.producer().publish({ hello: 'world' }, { routingKey: 'greetings' });
 * ```
 *
 * Its events are those of {@link ConnectionEventMap}. A program ends once its connections are closed.
 */
export class Connection extends ConnectionCore {
  /** Itself, so that a Channel and a Connection can both be asked for their connection. */
  get connection(): this {
    return this;
  }

  /** A new connection to the same place with the same options, not opened yet. `overrides` replaces some of them. */
  clone(overrides: ConnectionOptions = {}): Connection {
    return new Connection(this.target, { ...this.options, ...overrides });
  }

  /** A producer on this connection, with a channel of its own. */
  producer<T = unknown>(options?: ProducerOptions<T>): Producer<T> {
    return new Producer<T>(this, options);
  }

  /** A consumer of one or more queues, with a channel of its own. Its payloads are typed by the queues, or by `schema`. */
  consumer<T>(queues: QueueInput, options: Omit<SchemaConsumerOptions<T>, 'queues'>): Consumer<T>;
  consumer<T = unknown>(queues: QueueInput<T>, options?: Omit<ConsumerOptions<T>, 'queues'>): Consumer<T>;
  consumer<T>(
    queues: QueueInput<T>,
    options?: Omit<ConsumerOptions<T>, 'queues'> | Omit<SchemaConsumerOptions<T>, 'queues'>,
  ): Consumer<T> {
    return new Consumer<T>(this, { ...options, queues } as ConsumerOptions<T>);
  }

  /** A queue with `put` and `get`. */
  simpleQueue<T = unknown>(nameOrQueue: string | Queue<T>, options?: SimpleQueueOptions<T>): SimpleQueue<T> {
    return new SimpleQueue<T>(this, nameOrQueue, options);
  }

  /** A {@link Connection.simpleQueue} for what may be lost. */
  simpleBuffer<T = unknown>(nameOrQueue: string | Queue<T>, options?: SimpleQueueOptions<T>): SimpleBuffer<T> {
    return new SimpleBuffer<T>(this, nameOrQueue, options);
  }

  /** A pool of connections like this one, of the caller's own. See also `connections.of(connection)`. */
  pool(options?: PoolOptions): ConnectionPool {
    return new ConnectionPool(this, options);
  }

  /** A pool of channels of this connection. */
  channelPool(options?: PoolOptions): ChannelPool {
    return new ChannelPool(this, options);
  }
}
