/**
 * The public channel: the AMQP model's operations on something that survives recovery.
 */
import { ChannelError, InvalidArgumentError, MessagingError, type PublishOutcome } from '../errors.js';
import type {
  BasicProperties,
  ConsumeOptions,
  Delivery,
  DeliveryTag,
  ExchangeBinding,
  ExchangeDeclareOptions,
  OutgoingMessage,
  PublishMode,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
  Returned,
  TransportChannel,
} from '../transport/contract.js';
import { checkFunction, checkInteger, show } from '../util/check.js';
import { Deadline, withDeadline } from '../util/deadline.js';
import { TypedEmitter } from '../util/emitter.js';
import type { Connection } from './connection.js';
import { ConsumerChannel } from './consumer-channel.js';
import { DEFAULTS } from './defaults.js';
import { ManagedChannel, type ManagedChannelState } from './managed-channel.js';
import type { WaitOptions } from './waiters.js';

/** Events of a {@link Channel}. */
export interface ChannelEventMap {
  /** A message published with `unroutable: 'report'` reached no queue. */
  return: [returned: Returned];
  /** A consumer is over: the broker ended it and its queue cannot be made again. */
  cancel: [consumerTag: string, error: MessagingError];
  /** `close()` is done. */
  close: [];
}

export interface ChannelConsumeOptions extends Omit<ConsumeOptions, 'consumerTag'>, WaitOptions {
  /** Unique on the channel. Default: one of our choice. */
  readonly consumerTag?: string | undefined;
  /** Called with each message. What it throws is a `problem` of the connection; the message stays unsettled. */
  readonly onDelivery: (delivery: Delivery) => void;
  /** Called when the consumer is over, as the event `cancel`. */
  readonly onCancel?: ((error: MessagingError) => void) | undefined;
}

/** A delivery tag that knows its incarnation: the same number means another message on the next one. */
class Tag {
  readonly inner: TransportChannel;
  readonly tag: DeliveryTag;

  constructor(inner: TransportChannel, tag: DeliveryTag) {
    this.inner = inner;
    this.tag = tag;
  }
}

/**
 * A channel of a Connection: opened at first use, opened again after a loss with its prefetch and consumers. Deliveries belong
 * to one incarnation; settling an old one gives false.
 *
 * Declarations go through the connection's topology: they are restored after a loss, and what is refused leaves the channel
 * unharmed. Methods that wait reject with the broker's answer, TIMEOUT (30 s in all unless told), CONNECTION_CLOSED, or the reason of
 * `signal`.
 */
export class Channel extends TypedEmitter<ChannelEventMap> {
  readonly connection: Connection;
  /** Counts the channels of a connection, from 1. Not the number on the wire. */
  readonly id: number;
  /** What entities bound to this channel consume on. */
  readonly consumers: ConsumerChannel;
  readonly #publisher: ManagedChannel;
  #tags = 0;

  /** Use `connection.channel()`. */
  constructor(connection: Connection, id: number) {
    super();
    this.connection = connection;
    this.id = id;
    this.consumers = new ConsumerChannel(connection);
    this.#publisher = new ManagedChannel(connection, 'publish', {
      returned: (returned) => {
        if (!this.emit('return', returned)) this.connection.unroutable(returned);
        this.connection.eventHandled();
      },
    });
  }

  /** Where the channel is; `open` when it works. */
  get state(): ManagedChannelState {
    return this.consumers.managed.state;
  }

  /** Opens it now rather than at first use. */
  async open(wait: WaitOptions = {}): Promise<this> {
    await this.consumers.managed.open(wait);
    return this;
  }

  /** Declares an exchange. Rejects PRECONDITION_FAILED when it stands with other settings. */
  async exchangeDeclare(
    exchange: string,
    type = 'direct',
    options: ExchangeDeclareOptions & WaitOptions = {},
  ): Promise<void> {
    await this.connection.topology.declareExchange({ ...options, name: exchange, type });
  }

  /** Deletes an exchange with its bindings. One that is absent counts as deleted. */
  async exchangeDelete(
    exchange: string,
    options: { readonly ifUnused?: boolean | undefined } & WaitOptions = {},
  ): Promise<void> {
    await this.connection.topology.deleteExchange(exchange, options);
  }

  /** Binds an exchange to another one. */
  async exchangeBind(binding: ExchangeBinding, wait: WaitOptions = {}): Promise<void> {
    await this.connection.topology.bindExchange(binding, wait);
  }

  /** Undoes `exchangeBind`. */
  async exchangeUnbind(binding: ExchangeBinding, wait: WaitOptions = {}): Promise<void> {
    await this.connection.topology.unbindExchange(binding, wait);
  }

  /** Without a name the broker chooses one; after a loss it chooses anew, and both mean the same queue here. */
  async queueDeclare(queue = '', options: QueueDeclareOptions & WaitOptions = {}): Promise<QueueDeclareOk> {
    const answer = await this.connection.topology.declareQueue({ ...options, name: queue, fresh: true });
    return { queue: answer.queue, messageCount: answer.messageCount, consumerCount: answer.consumerCount };
  }

  /** Binds a queue to an exchange. */
  async queueBind(binding: QueueBinding, wait: WaitOptions = {}): Promise<void> {
    await this.connection.topology.bindQueue(binding, wait);
  }

  /** Undoes `queueBind`. */
  async queueUnbind(binding: QueueBinding, wait: WaitOptions = {}): Promise<void> {
    await this.connection.topology.unbindQueue(binding, wait);
  }

  /** Resolves with the number of messages removed. */
  async queuePurge(queue: string, wait: WaitOptions = {}): Promise<number> {
    return this.connection.topology.purgeQueue(queue, wait);
  }

  /** Resolves with the number of messages that went with it. */
  async queueDelete(
    queue: string,
    options: { readonly ifUnused?: boolean | undefined; readonly ifEmpty?: boolean | undefined } & WaitOptions = {},
  ): Promise<number> {
    return this.connection.topology.deleteQueue(queue, options);
  }

  /**
   * Publishes a message once, as it is: no encoding, no second try. A Producer does both. Resolves when the broker has it (`mode`
   * `confirmed`, the default), or when it is written. Rejects with an error that has `outcome`.
   */
  async publish(
    message: OutgoingMessage,
    options: { readonly mode?: PublishMode | undefined } & WaitOptions = {},
  ): Promise<void> {
    const { mode = 'confirmed', signal } = options;
    const deadline = new Deadline(options.timeout ?? DEFAULTS.publishTimeout);
    const publisher = this.#publisher.open({ timeout: deadline.remaining, signal });
    const inner = await publisher.catch((error: unknown) => fail(error, 'not-sent'));
    const outcome = inner.publish(message, mode);
    await withDeadline(outcome, 'publish', { timeout: deadline.remaining, signal }).catch((error: unknown) =>
      fail(error, 'unknown'),
    );
  }

  /** Starts a consumer, which lives until `cancel` or `close`. Resolves with its tag. */
  async consume(queue: string, options: ChannelConsumeOptions): Promise<string> {
    const { onDelivery, onCancel, consumerTag = this.#nextTag(), timeout, signal, ...rest } = options;
    checkFunction('onDelivery', onDelivery);
    if (onCancel !== undefined) checkFunction('onCancel', onCancel);
    const sink = {
      onDelivery: (delivery: Delivery, inner: TransportChannel) => {
        this.#guard(() => onDelivery(new ChannelDelivery(delivery, inner)));
        this.connection.eventHandled();
      },
      onCancel: (error: MessagingError) => {
        this.#guard(() => onCancel?.(error));
        this.emit('cancel', consumerTag, error);
        this.connection.eventHandled();
      },
    };
    return this.consumers.subscribe(queue, { ...rest, consumerTag }, sink, { timeout, signal });
  }

  /** Ends a consumer. After it resolves no message comes for it; those not settled stay so. */
  async cancel(consumerTag: string, wait: WaitOptions = {}): Promise<void> {
    await this.consumers.unsubscribe(consumerTag, wait);
  }

  /** The next message of a queue; undefined when it is empty. */
  async get(
    queue: string,
    options: { readonly noAck?: boolean | undefined } & WaitOptions = {},
  ): Promise<Delivery | undefined> {
    const { noAck, ...wait } = options;
    const fetched = await this.consumers.get(queue, { noAck }, wait);
    return fetched === undefined ? undefined : new ChannelDelivery(fetched.delivery, fetched.inner);
  }

  /** Settles a delivery of this channel. True when done, false when it is stale. */
  ack(tag: DeliveryTag, options: { readonly multiple?: boolean | undefined } = {}): boolean | Promise<boolean> {
    const { inner, tag: own } = checkTag(tag);
    return inner.ack(own, options);
  }

  /** Refuses a delivery of this channel: back to its queue, or, by default, to the dead-letter exchange or away. */
  reject(
    tag: DeliveryTag,
    options: { readonly requeue?: boolean | undefined; readonly multiple?: boolean | undefined } = {},
  ): boolean | Promise<boolean> {
    const { inner, tag: own } = checkTag(tag);
    return inner.reject(own, { requeue: options.requeue ?? false, multiple: options.multiple });
  }

  /** Every unsettled delivery of the channel goes back to its queue. */
  async recover(wait: WaitOptions = {}): Promise<void> {
    const { managed, incarnations } = this.consumers;
    await managed.run((inner) => inner.recover(), { ...wait, idempotent: true });
    await Promise.all(incarnations.filter((inner) => inner !== managed.current).map((inner) => inner.recover()));
  }

  /** Bounds unsettled deliveries: of each consumer started from now on (`scope` `consumer`, the default), or of the channel. */
  async qos(
    options: { readonly prefetch: number; readonly scope?: 'consumer' | 'channel' | undefined },
    wait: WaitOptions = {},
  ): Promise<void> {
    const prefetch = checkInteger('prefetch', options.prefetch, { max: 65_535 });
    await this.consumers.qos({ prefetch, scope: options.scope ?? 'consumer' }, wait);
  }

  /** Stops or resumes deliveries. NOT_SUPPORTED where the broker cannot. */
  async flow(active: boolean, wait: WaitOptions = {}): Promise<void> {
    await this.consumers.managed.run((inner) => inner.flow(active), { ...wait, idempotent: true });
  }

  /** Ends its consumers and closes it. Unsettled deliveries go back to their queues. Never rejects. */
  async close(): Promise<void> {
    if (this.state === 'closed') return;
    await Promise.all([this.consumers.close(), this.#publisher.close()]);
    this.emit('close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #nextTag(): string {
    this.#tags++;
    return `ctag${this.id}.${this.#tags}`;
  }

  /** Runs a function of the application's, which may be async. What it throws is a problem, and nobody else's. */
  #guard(fn: () => unknown): void {
    const failed = (cause: unknown) => {
      const message = `a consumer's function failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      this.connection.problem(new ChannelError(message, { cause }));
    };
    try {
      const result = fn();
      if (result instanceof Promise) result.catch(failed);
    } catch (cause) {
      failed(cause);
    }
  }
}

/** A delivery whose tag knows its incarnation. Properties stay undecoded until asked for. */
class ChannelDelivery implements Delivery {
  readonly deliveryTag: Tag;
  readonly #delivery: Delivery;

  constructor(delivery: Delivery, inner: TransportChannel) {
    this.#delivery = delivery;
    this.deliveryTag = new Tag(inner, delivery.deliveryTag);
  }

  get body(): Uint8Array {
    return this.#delivery.body;
  }

  get properties(): BasicProperties {
    return this.#delivery.properties;
  }

  get exchange(): string {
    return this.#delivery.exchange;
  }

  get routingKey(): string {
    return this.#delivery.routingKey;
  }

  get redelivered(): boolean {
    return this.#delivery.redelivered;
  }

  get consumerTag(): string | undefined {
    return this.#delivery.consumerTag;
  }

  get messageCount(): number | undefined {
    return this.#delivery.messageCount;
  }
}

/** Throws the error, with the outcome of a publish where it has none. */
function fail(error: unknown, outcome: PublishOutcome): never {
  if (error instanceof MessagingError) error.outcome ??= outcome;
  throw error;
}

function checkTag(tag: DeliveryTag): Tag {
  if (tag instanceof Tag) return tag;
  throw new InvalidArgumentError(`deliveryTag must be that of a delivery of a Channel, not ${show(tag)}`);
}
