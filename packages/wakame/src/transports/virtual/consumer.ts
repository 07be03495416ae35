import type { DeliverySink } from '../../transport/contract.js';
import type { ConsumerRecord, QueueStat, StoredMessage, Taken } from './driver.js';
import { type DeadLetterPolicy, deadLetterPolicy, deliveryLimit } from './queue-arguments.js';
import { type Credited, Unsettled, type UnsettledList } from './unsettled.js';
import { copyMessage } from './wire/copy.js';

/** What deliveries from a queue need to know of it. */
export interface QueueRules {
  readonly policy: DeadLetterPolicy | undefined;
  readonly deliveryLimit: number | undefined;
  /** Only the first consumer gets anything. */
  readonly singleActive: boolean;
}

export function rulesOf(stat: QueueStat | undefined): QueueRules {
  const options = stat?.options;
  return {
    policy: deadLetterPolicy(options),
    deliveryLimit: deliveryLimit(options),
    singleActive: options?.singleActiveConsumer === true,
  };
}

/** A delivery that nobody settled yet, made of what was taken. Counted nowhere yet. */
export function toUnsettled(
  taken: Taken,
  owner: UnsettledList,
  consumer: Credited | undefined,
  rules: QueueRules,
  takenAt: number,
): Unsettled {
  // The application gets the message itself, and may change it; a dead letter must be what was stored.
  const { policy } = rules;
  const will = policy === undefined ? undefined : { policy, message: copyMessage(taken.message) };
  return new Unsettled(owner, consumer, taken.queue, taken.lease, will, takenAt);
}

/** What a consumer needs of its channel. */
export interface ConsumingChannel {
  readonly unsettled: UnsettledList;
  /** Whether deliveries flow. */
  readonly flowing: boolean;
  /** Unsettled deliveries allowed on the whole channel; 0: no limit. */
  readonly prefetch: number;
  /** Part of that limit spoken for while a take is put together. */
  reserved: number;
  /** Somebody may get more. */
  credited(consumer: LocalConsumer): void;
  /** The broker ended these of its consumers. */
  cancelled(consumers: readonly LocalConsumer[]): void;
}

/**
 * `ending`: it gets nothing new, but what was taken for it without acknowledgement, since that exists nowhere else.
 */
export type LocalConsumerState = 'active' | 'ending' | 'ended';

/** A consumer on a channel of this connection. */
export class LocalConsumer implements Credited {
  readonly tag: string;
  readonly queue: string;
  readonly channel: ConsumingChannel;
  readonly sink: DeliverySink;
  readonly noAck: boolean;
  /** Unsettled deliveries allowed; 0: no limit. */
  readonly prefetch: number;
  /** `x-priority`: among the consumers of this connection, the higher is served first while it has credit. */
  readonly priority: number;
  readonly record: ConsumerRecord;
  state: LocalConsumerState = 'active';
  unsettled = 0;

  constructor(options: {
    readonly tag: string;
    readonly record: ConsumerRecord;
    readonly channel: ConsumingChannel;
    readonly sink: DeliverySink;
    readonly noAck: boolean;
    readonly prefetch: number;
    readonly priority: number;
  }) {
    this.tag = options.tag;
    this.queue = options.record.queue;
    this.record = options.record;
    this.channel = options.channel;
    this.sink = options.sink;
    this.noAck = options.noAck;
    this.prefetch = options.prefetch;
    this.priority = options.priority;
  }

  /** How many more deliveries it may get now; may be infinite. */
  get room(): number {
    if (this.state !== 'active' || !this.channel.flowing) return 0;
    if (this.noAck) return Number.POSITIVE_INFINITY;
    const own = this.prefetch === 0 ? Number.POSITIVE_INFINITY : this.prefetch - this.unsettled;
    const { prefetch, unsettled, reserved } = this.channel;
    return prefetch === 0 ? own : Math.min(own, prefetch - unsettled.size - reserved);
  }

  settled(): void {
    this.unsettled--;
    this.channel.credited(this);
  }

  /** Hands a message over. `item` is undefined when it is settled by being handed over. */
  deliver(message: StoredMessage, taken: Taken, item: Unsettled | undefined): void {
    if (item !== undefined) {
      this.unsettled++;
      this.channel.unsettled.add(item);
    }
    this.sink.onDelivery({
      body: message.body,
      properties: message.properties,
      exchange: message.exchange,
      routingKey: message.routingKey,
      redelivered: taken.redelivered,
      deliveryCount: taken.deliveryCount,
      deliveryTag: item ?? ++this.channel.unsettled.lastNumber,
      consumerTag: this.tag,
    });
  }
}
