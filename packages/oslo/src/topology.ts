/**
 * The exchanges and queues of oslo.messaging, with the flags and arguments that every party has to declare alike:
 *
 * ```
 *                     exchange                              queue                  key
 *   a topic           <exchange>, topic                     <topic>                <topic>
 *   one server        <exchange>, topic                     <topic>.<server>       <topic>.<server>
 *   all servers       <topic>_fanout, fanout, auto-delete   <topic>_fanout_<id>    <topic>, published with '';
 *                                                           as a stream, which all of them read: <topic>_fanout
 *   answers           the default exchange                  reply_<id>             its name
 *   notifications     <exchange>, topic                     <topic>.<priority>     <topic>.<priority>
 * ```
 */
import { Binding, Exchange, Queue } from 'wakame';
import type { OsloSettings } from './options.js';

/** Where a message is sent. */
export interface Address {
  /** None: the default exchange. */
  readonly exchange: Exchange | undefined;
  readonly routingKey: string;
  /** To be there before. */
  readonly declare?: readonly Queue[] | undefined;
}

export class Topology {
  readonly #settings: OsloSettings;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #fanouts = new Map<string, Exchange>();

  constructor(settings: OsloSettings) {
    this.#settings = settings;
  }

  /** Where requests and notifications go. The same object each time, so that it is declared once. */
  exchange(name = this.#settings.control_exchange): Exchange {
    return remembered(this.#exchanges, name, () => new Exchange(name, { type: 'topic', ...this.#lasting }));
  }

  /** Where what is for all servers of a topic goes. */
  fanout(topic: string): Exchange {
    const durable = this.#settings.rabbit_transient_quorum_queue;
    return remembered(
      this.#fanouts,
      topic,
      () => new Exchange(`${topic}_fanout`, { type: 'fanout', durable, autoDelete: true }),
    );
  }

  /** What is sent to a topic, or to one server of it. */
  topicQueue(exchange: string | undefined, key: string): Queue {
    return this.queue(key, [[exchange, key]]);
  }

  /** A queue that gets what is sent by several keys. */
  queue(name: string, sources: readonly (readonly [exchange: string | undefined, key: string])[]): Queue {
    return new Queue(name, {
      ...this.#lasting,
      bindings: sources.map(([exchange, routingKey]) => new Binding(this.exchange(exchange), { routingKey })),
      queueArguments: this.#arguments(this.#settings.rabbit_quorum_queue),
      consumerArguments: this.#consumerArguments,
    });
  }

  /** What is sent to all servers of a topic, for one of them. */
  fanoutQueue(topic: string, unique: string): Queue {
    const exchange = this.fanout(topic);
    const bindings = [new Binding(exchange, { routingKey: topic })];
    if (!this.#settings.rabbit_stream_fanout) {
      return new Queue(`${exchange.name}_${unique}`, { ...this.#transient, bindings });
    }
    const { rabbit_transient_queues_ttl: ttl } = this.#settings;
    return new Queue(exchange.name, {
      bindings,
      durable: true,
      queueArguments: { 'x-queue-type': 'stream', ...(ttl > 0 && { 'x-max-age': `${ttl}s` }) },
      consumerArguments: { 'x-stream-offset': 'last' },
    });
  }

  /** Answers for one transport. */
  replyQueue(unique: string): Queue {
    const name = `reply_${unique}`;
    // Servers before Newton answer to an exchange of the queue's name, which they expect to exist.
    const exchange = new Exchange(name, { type: 'direct', durable: false, autoDelete: true });
    return new Queue(name, { ...this.#transient, exchange, routingKey: name });
  }

  /** An answer to whoever has this queue. */
  direct(queue: string): Address {
    return { exchange: undefined, routingKey: queue };
  }

  /** One of those who listen to a topic, or one server of it. */
  topic(exchange: string | undefined, key: string): Address {
    return { exchange: this.exchange(exchange), routingKey: key };
  }

  /** All who listen to a topic. */
  all(topic: string): Address {
    return { exchange: this.fanout(topic), routingKey: '' };
  }

  /** The queue of notifications of a topic and priority, where they are kept for a listener that is yet to come. */
  notification(exchange: string | undefined, key: string): Address {
    return { ...this.topic(exchange, key), declare: [this.topicQueue(exchange, key)] };
  }

  /** Whether a fanout queue goes with its server: one that others read, or that its server will have again, does not. */
  get dropsFanoutQueues(): boolean {
    return !this.#settings.rabbit_stream_fanout && !this.#settings.use_queue_manager;
  }

  get #lasting(): { readonly durable: boolean; readonly autoDelete: boolean } {
    const { amqp_durable_queues: durable, amqp_auto_delete: autoDelete, rabbit_quorum_queue: quorum } = this.#settings;
    return { durable: durable || quorum, autoDelete };
  }

  /** Of queues that go when nobody has used them for a while. */
  get #transient() {
    const { rabbit_transient_queues_ttl: ttl, rabbit_transient_quorum_queue: quorum } = this.#settings;
    return {
      durable: quorum,
      expires: ttl === 0 ? undefined : ttl * 1000,
      queueArguments: this.#arguments(quorum),
      consumerArguments: this.#consumerArguments,
    };
  }

  #arguments(quorum: boolean): Readonly<Record<string, unknown>> | undefined {
    const settings = this.#settings;
    if (settings.rabbit_ha_queues) return { 'x-ha-policy': 'all' };
    if (!quorum) return undefined;
    const limits = {
      'x-delivery-limit': settings.rabbit_quorum_delivery_limit,
      'x-max-in-memory-length': settings.rabbit_quorum_max_memory_length,
      'x-max-in-memory-bytes': settings.rabbit_quorum_max_memory_bytes,
    };
    return { 'x-queue-type': 'quorum', ...Object.fromEntries(Object.entries(limits).filter(([, value]) => value > 0)) };
  }

  get #consumerArguments(): Readonly<Record<string, unknown>> | undefined {
    return this.#settings.enable_cancel_on_failover ? { 'x-cancel-on-ha-failover': true } : undefined;
  }
}

function remembered(known: Map<string, Exchange>, name: string, make: () => Exchange): Exchange {
  let exchange = known.get(name);
  if (exchange === undefined) {
    if (known.size >= MOST_EXCHANGES) known.clear();
    exchange = make();
    known.set(name, exchange);
  }
  return exchange;
}

const MOST_EXCHANGES = 1000;
