import type { ChannelEngine, ChannelListener, ChannelState } from './channel-engine.js';
import type {
  AccessOptions,
  CloseOptions,
  ConsumeOptions,
  ExchangeBinding,
  ExchangeDeclareOptions,
  ExchangeDeleteOptions,
  IterationOptions,
  NowaitOptions,
  PublishOptions,
  QosOptions,
  QueueBinding,
  QueueDeclareOptions,
  QueueDeleteOptions,
  QueueUnbinding,
} from './channel-options.js';
import type { Connection } from './connection.js';
import { iterate } from './consume.js';
import type { Consumer } from './consumers.js';
import { type ConsumerCancelled, InvalidArgumentError, type MessagingError, NotSupportedError } from './errors.js';
import { isThenable, SafeEmitter } from './events.js';
import type { Delivery, FetchedMessage, ReturnedDelivery } from './messages.js';
import { duration } from './parameters.js';
import { handled } from './promises.js';
import type { BasicProperties, MethodInput, SynchronousMethodName } from './protocol/types.js';
import type { OutgoingMessage, Settlement } from './publisher.js';
import type { CallOptions, Reply } from './rpc.js';
import { warnOnce } from './warnings.js';

/** Events of a {@link Channel} and what their listeners get. */
export interface ChannelEvents {
  /** The channel is over: with the reason, or without when this program closed it. */
  close: [error?: MessagingError];
  /** The broker returned a message. A publish that is confirmed rejects as well. */
  return: [message: ReturnedDelivery];
  /** The broker ended a consumer. */
  cancel: [consumerTag: string];
  /** The broker stopped (`false`) or let go on (`true`) the flow of publishes, which wait meanwhile. */
  flow: [active: boolean];
  /** Fewer than 16 MiB are unsent, after there were more. */
  drain: [];
  /** A handler of this program's failed; the delivery that it was given, if any, is not settled by that. */
  handlerError: [error: unknown, delivery?: Delivery];
}

/** What queue.declare tells. */
export interface QueueDeclared {
  /** The queue's name: the given one, or the broker's. */
  queue: string;
  messageCount: number;
  consumerCount: number;
}

/**
 * A channel: the AMQP methods by their names. Made by {@link Connection.channel}; usable until it is closed, which an error
 * reply of the broker does too.
 *
 * **Errors.** A call rejects with the broker's reply as a typed error (`NotFound`, `PreconditionFailed`, …), with
 * `TIMEOUT`, with `signal.reason`, with `INVALID_ARGUMENT` (and nothing was sent), with `CHANNEL_CLOSED` or with the
 * reason why the connection is over. What RabbitMQ would answer by closing the connection is refused before
 * sending with `NOT_SUPPORTED`.
 */
export class Channel extends SafeEmitter<ChannelEvents> {
  /** The connection that it belongs to. */
  readonly connection: Connection;
  readonly #engine: ChannelEngine;

  /** @internal Use {@link Connection.channel}. */
  constructor(connection: Connection, engine: ChannelEngine) {
    super();
    this.connection = connection;
    this.#engine = engine;
    engine.listener = this.#listener();
  }

  #listener(): ChannelListener {
    return {
      closed: (error) => (error === undefined ? this.raise('close') : this.raise('close', error)),
      returned: (message, matched) => this.#returned(message, matched),
      cancelled: (consumer, error) => this.#cancelled(consumer, error),
      flow: (active) => this.raise('flow', active),
      drain: () => this.raise('drain'),
      deliver: (consumer, delivery) => this.#deliver(consumer, delivery),
      failed: (error) => this.handlerFailed(error),
    };
  }

  /** The channel's number on its connection. */
  get id(): number {
    return this.#engine.id;
  }

  /** Where it is in its life. */
  get state(): ChannelState {
    return this.#engine.state;
  }

  /** Why the channel was closed by the broker or with its connection; undefined while it is open or when this program closed it. */
  get closeError(): MessagingError | undefined {
    return this.#engine.closeError;
  }

  /** {@link Channel.confirmSelect} was called. */
  get confirming(): boolean {
    return this.#engine.publisher.confirming;
  }

  /** Publishes that wait for their confirm, or for the broker to let the flow go on. */
  get unsettled(): number {
    return this.#engine.publisher.unsettled;
  }

  /** Bytes of the whole connection that are not sent yet. */
  get bufferedBytes(): number {
    return this.#engine.bufferedBytes;
  }

  // ── exchanges ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** exchange.declare. `type`: `direct`, `fanout`, `topic`, `headers` or a plug-in's. */
  async exchangeDeclare(exchange: string, type = 'direct', options: ExchangeDeclareOptions = {}): Promise<void> {
    const { passive, durable, autoDelete, internal, arguments: args } = options;
    await this.#call(
      'exchange.declare',
      { exchange, type, passive, durable, autoDelete, internal, arguments: args },
      options,
    );
  }

  /** exchange.delete */
  async exchangeDelete(exchange: string, options: ExchangeDeleteOptions = {}): Promise<void> {
    await this.#call('exchange.delete', { exchange, ifUnused: options.ifUnused }, options);
  }

  /** exchange.bind (RabbitMQ): messages of `source` also go through `destination`. */
  async exchangeBind(binding: ExchangeBinding): Promise<void> {
    const { destination, source, routingKey = '', arguments: args } = binding;
    await this.#call('exchange.bind', { destination, source, routingKey, arguments: args }, binding);
  }

  /** exchange.unbind (RabbitMQ) */
  async exchangeUnbind(binding: ExchangeBinding): Promise<void> {
    const { destination, source, routingKey = '', arguments: args } = binding;
    await this.#call('exchange.unbind', { destination, source, routingKey, arguments: args }, binding);
  }

  // ── queues ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * queue.declare. Without a name the broker makes one up, and tells it.
   *
   * @returns undefined with `nowait`
   */
  queueDeclare(queue: string, options: QueueDeclareOptions & { nowait: true }): Promise<undefined>;
  queueDeclare(queue?: string, options?: QueueDeclareOptions & { nowait?: false | undefined }): Promise<QueueDeclared>;
  queueDeclare(queue?: string, options?: QueueDeclareOptions): Promise<QueueDeclared | undefined>;
  async queueDeclare(queue = '', options: QueueDeclareOptions = {}): Promise<QueueDeclared | undefined> {
    const { passive, durable, exclusive, autoDelete, nowait, arguments: args } = options;
    if (nowait && queue === '') {
      throw new InvalidArgumentError(
        'queueDeclare with nowait needs a name: nobody would learn the one that is made up',
      );
    }
    return this.#call('queue.declare', { queue, passive, durable, exclusive, autoDelete, arguments: args }, options);
  }

  /** queue.bind */
  async queueBind(binding: QueueBinding): Promise<void> {
    const { queue, exchange, routingKey = '', arguments: args } = binding;
    await this.#call('queue.bind', { queue, exchange, routingKey, arguments: args }, binding);
  }

  /** queue.unbind */
  async queueUnbind(binding: QueueUnbinding): Promise<void> {
    const { queue, exchange, routingKey = '', arguments: args } = binding;
    await this.#engine.call('queue.unbind', { queue, exchange, routingKey, arguments: args }, binding);
  }

  /**
   * queue.purge: deletes the messages that are not delivered to a consumer.
   *
   * @returns how many, or undefined with `nowait`
   */
  queuePurge(queue: string, options: NowaitOptions & { nowait: true }): Promise<undefined>;
  queuePurge(
    queue: string,
    options?: NowaitOptions & { nowait?: false | undefined },
  ): Promise<{ messageCount: number }>;
  queuePurge(queue: string, options?: NowaitOptions): Promise<{ messageCount: number } | undefined>;
  queuePurge(queue: string, options: NowaitOptions = {}): Promise<{ messageCount: number } | undefined> {
    return this.#call('queue.purge', { queue }, options);
  }

  /**
   * queue.delete
   *
   * @returns how many messages went with it, or undefined with `nowait`
   */
  queueDelete(queue: string, options: QueueDeleteOptions & { nowait: true }): Promise<undefined>;
  queueDelete(
    queue: string,
    options?: QueueDeleteOptions & { nowait?: false | undefined },
  ): Promise<{ messageCount: number }>;
  queueDelete(queue: string, options?: QueueDeleteOptions): Promise<{ messageCount: number } | undefined>;
  queueDelete(queue: string, options: QueueDeleteOptions = {}): Promise<{ messageCount: number } | undefined> {
    return this.#call('queue.delete', { queue, ifUnused: options.ifUnused, ifEmpty: options.ifEmpty }, options);
  }

  // ── consuming ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** basic.qos: how much the broker may deliver ahead of what is settled. */
  async basicQos(options: QosOptions): Promise<void> {
    const { prefetchCount, prefetchSize = 0, global } = options;
    this.#refuseOnRabbitMQ(prefetchSize !== 0, 'a prefetchSize');
    await this.#engine.call('basic.qos', { prefetchSize, prefetchCount, global }, options);
  }

  /**
   * basic.consume: starts a consumer. `onDelivery` is called for each message, while frames are read: be short, or
   * return a promise. What it throws or rejects with is emitted as `handlerError`; it harms neither the channel nor the message.
   *
   * @returns the consumer tag. Deliveries may come before this promise resolves.
   */
  basicConsume(queue: string, options: ConsumeOptions, onDelivery: (delivery: Delivery) => unknown): Promise<string> {
    if (typeof onDelivery !== 'function') {
      return Promise.reject(new InvalidArgumentError('basicConsume needs a function to deliver to'));
    }
    return this.#consume(queue, options, { onDelivery, onCancel: options.onCancel });
  }

  async #consume(
    queue: string,
    options: ConsumeOptions,
    handlers: Pick<Consumer, 'onDelivery' | 'onCancel' | 'onChannelClose'>,
  ): Promise<string> {
    const { consumers } = this.#engine;
    const { noLocal, noAck = false, exclusive, arguments: args } = options;
    const tag = options.consumerTag || consumers.newTag();
    if (consumers.has(tag)) throw new InvalidArgumentError(`consumer tag '${tag}' is in use on channel ${this.id}`);
    // Known before the broker hears of it: a delivery may come before consume-ok.
    consumers.add({ tag, noAck, ...handlers });
    try {
      const input = { queue, consumerTag: tag, noLocal, noAck, exclusive, arguments: args };
      await this.#call('basic.consume', input, options);
      return tag;
    } catch (error) {
      consumers.removeEarly(tag);
      // The caller gave up, and the broker may yet start the consumer: it would take messages that nobody handles.
      if (!(error instanceof InvalidArgumentError) && this.state === 'open') {
        this.#engine.send('basic.cancel', { consumerTag: tag, nowait: true });
      }
      throw error;
    }
  }

  /** basic.cancel: ends a consumer. Messages may come until this resolves; those not settled stay this channel's. */
  async basicCancel(consumerTag: string, options: NowaitOptions = {}): Promise<void> {
    const { consumers } = this.#engine;
    const forget = () => void consumers.remove(consumerTag);
    await this.#call('basic.cancel', { consumerTag }, options, forget);
    if (options.nowait) consumers.removeEarly(consumerTag);
    else forget();
  }

  /**
   * Consumes as a loop: starts a consumer at the first turn and ends it when the loop is left. Messages are settled by the
   * caller with {@link basicAck} and its like. What was delivered ahead and not yielded goes back to the queue, in order.
   *
   * The loop ends when the channel is closed by this program and after `idleTimeout`. It throws `CONSUMER_CANCELLED` when
   * the broker ends the consumer, the reason when channel or connection are lost, and `signal.reason`.
   */
  consume(queue: string, options: IterationOptions = {}): AsyncGenerator<Delivery, void, undefined> {
    return iterate(this, (consume, handlers) => this.#consume(queue, consume, handlers), options);
  }

  /**
   * basic.get: fetches one message; undefined when the queue is empty. Slow: a round trip each.
   *
   * When the wait is given up, a message that comes later goes back to the queue, but with `noAck` it is lost.
   */
  basicGet(
    queue: string,
    options: CallOptions & { noAck?: boolean | undefined } = {},
  ): Promise<FetchedMessage | undefined> {
    return this.#engine.get(queue, options.noAck ?? false, options);
  }

  /** basic.ack. `multiple`: also everything delivered before; tag 0 then means all. Throws when the channel is closed. */
  basicAck(deliveryTag: number, options: { multiple?: boolean | undefined } = {}): void {
    this.#engine.settle('ack', deliveryTag, options.multiple ?? false, false);
  }

  /** basic.nack (RabbitMQ): as {@link basicReject}, and `multiple` as for {@link basicAck}. */
  basicNack(
    deliveryTag: number,
    options: { multiple?: boolean | undefined; requeue?: boolean | undefined } = {},
  ): void {
    this.#engine.settle('nack', deliveryTag, options.multiple ?? false, options.requeue ?? true);
  }

  /** basic.reject. `requeue` (default true): back to the queue; else dead-lettered or dropped. Throws when the channel is closed. */
  basicReject(deliveryTag: number, options: { requeue?: boolean | undefined } = {}): void {
    this.#engine.settle('reject', deliveryTag, false, options.requeue ?? true);
  }

  /** basic.recover: all unsettled deliveries of the channel go back to their queues. `requeue: false` is not known to RabbitMQ. */
  async basicRecover(options: CallOptions & { requeue?: boolean | undefined } = {}): Promise<void> {
    const requeue = options.requeue ?? true;
    this.#refuseOnRabbitMQ(!requeue, 'basic.recover without requeue');
    await this.#engine.call('basic.recover', { requeue }, options);
  }

  /** basic.recover-async: as {@link basicRecover}, without an answer. */
  basicRecoverAsync(options: { requeue?: boolean | undefined } = {}): void {
    const requeue = options.requeue ?? true;
    this.#refuseOnRabbitMQ(!requeue, 'basic.recover-async without requeue');
    this.#engine.send('basic.recover-async', { requeue });
  }

  // ── publishing ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * basic.publish. Messages leave in the order of the calls, many in one packet; there is no need to wait for one before the next.
   *
   * After {@link confirmSelect} the promise settles with the confirm of this very message: it resolves when the broker has taken
   * responsibility, and rejects with `NACKED`, with `UNROUTABLE` (`mandatory`, and no queue) or with the reason why the
   * channel ended before an answer came.
   *
   * Without confirms it resolves when the message is encoded and fewer than 16 MiB are unsent; await it in a loop, and
   * memory stays bounded. What happens to the message later, only the channel's `return` and `close` events tell. A
   * promise that nobody awaits is no unhandled rejection then, unless the message itself was faulty.
   *
   * The rejection's `outcome` tells whether the broker can have the message: `not-sent`, `refused` or `unknown`.
   *
   * @param body a string is sent as UTF-8. Bytes from 16 KiB on are not copied: they must not change until they are sent
   *   (with confirms: until the promise settles).
   */
  basicPublish(
    exchange: string,
    routingKey: string,
    body: Uint8Array | string,
    properties?: BasicProperties | undefined,
    options?: PublishOptions | undefined,
  ): Promise<void> {
    const { mandatory, immediate } = options ?? NO_OPTIONS;
    const message: OutgoingMessage = { exchange, routingKey, mandatory, immediate, properties, body };
    const engine = this.#engine;
    if (immediate && engine.isRabbitMQ) return Promise.reject(immediateRefused());
    if (engine.publisher.confirming) {
      return new Promise((confirmed, failed) => engine.publish(message, { confirmed, failed }));
    }
    let sent: Promise<void>;
    if (engine.publisher.flowing) {
      const failure = engine.publishUnconfirmed(message);
      if (failure === undefined) return engine.ready();
      sent = Promise.reject(failure);
      if (failure instanceof InvalidArgumentError) return sent;
    } else {
      sent = new Promise<void>((confirmed, failed) => engine.publish(message, { confirmed, failed }));
      sent = sent.then(() => engine.ready());
    }
    // Without confirms a loss is told by the 'close' event; a promise that nobody awaits must not end the process.
    return handled(sent);
  }

  /**
   * As {@link basicPublish}, for layers that keep books of their own: no promise, and `settlement` is told what becomes of the
   * message, while frames are read. Without confirms that is as soon as the message is encoded. Take care of {@link ready}.
   */
  publishRaw(message: OutgoingMessage, settlement: Settlement): void {
    if (message.immediate && this.#engine.isRabbitMQ) throw immediateRefused();
    this.#engine.publish(message, settlement);
  }

  /** Resolves while fewer than 16 MiB of the connection's bytes are unsent; rejects when the connection is over. */
  ready(): Promise<void> {
    return this.#engine.ready();
  }

  /** confirm.select (RabbitMQ): every publish after this call is confirmed, also those made before it resolves. */
  async confirmSelect(options: NowaitOptions = {}): Promise<void> {
    await this.#call('confirm.select', {}, options);
  }

  /** tx.select: publishes and acks take effect with {@link txCommit}. */
  async txSelect(options: CallOptions = {}): Promise<void> {
    await this.#engine.call('tx.select', {}, options);
  }

  /** tx.commit */
  async txCommit(options: CallOptions = {}): Promise<void> {
    await this.#engine.call('tx.commit', {}, options);
  }

  /** tx.rollback: publishes and acks since the last commit are undone; deliveries stay unsettled. */
  async txRollback(options: CallOptions = {}): Promise<void> {
    await this.#engine.call('tx.rollback', {}, options);
  }

  // ── the channel itself ─────────────────────────────────────────────────────────────────────────────────────────

  /** channel.flow: asks the broker to stop or go on delivering. RabbitMQ cannot stop: use {@link basicQos}. */
  async flow(active: boolean, options: CallOptions = {}): Promise<{ active: boolean }> {
    this.#refuseOnRabbitMQ(!active, 'channel.flow(false)');
    return this.#engine.call('channel.flow', { active }, options);
  }

  /** access.request: a relic of AMQP 0-8, which brokers still answer. */
  accessRequest(realm: string, options: AccessOptions = {}): Promise<{ ticket: number }> {
    const { exclusive, passive, active, write, read } = options;
    return this.#engine.call('access.request', { realm, exclusive, passive, active, write, read }, options);
  }

  /**
   * Closes the channel in order: waits for the calls and confirms under way, then for the broker's answer. What is not settled by
   * the deadline rejects. Unsettled deliveries go back to their queues. Closing twice is once.
   *
   * Rejects with `TIMEOUT` when the broker did not answer; the channel is closed all the same.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    await this.#engine.close(duration('timeout', options.timeout ?? this.#engine.closeTimeout));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ── within ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #call<N extends SynchronousMethodName & NowaitMethodName>(
    method: N,
    args: Omit<MethodInput<N>, 'nowait'>,
    options: NowaitOptions,
    late?: ((reply: unknown) => void) | undefined,
  ): Promise<Reply<N> | undefined> {
    const input = { ...args, nowait: options.nowait } as unknown as MethodInput<N>;
    if (!options.nowait) return this.#engine.call(method, input, options, late);
    try {
      options.signal?.throwIfAborted();
      this.#engine.send(method, input);
      return Promise.resolve(undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #refuseOnRabbitMQ(condition: boolean, what: string): void {
    if (condition && this.#engine.isRabbitMQ) throw refused(what);
  }

  #deliver(consumer: Consumer, delivery: Delivery): void {
    try {
      const result = consumer.onDelivery(delivery);
      if (isThenable(result)) result.then(undefined, (error: unknown) => this.handlerFailed(error, delivery));
    } catch (error) {
      this.handlerFailed(error, delivery);
    }
  }

  #returned(message: ReturnedDelivery, matched: boolean): void {
    if (this.listenerCount('return') > 0) this.raise('return', message);
    else if (!matched) {
      const { exchange, routingKey, replyCode, replyText } = message;
      warnOnce(
        `return ${exchange}`,
        `a message to exchange '${exchange}' with routing key '${routingKey}' was returned (${replyCode} ${replyText}) ` +
          `and nobody listens to 'return'`,
      );
    }
  }

  #cancelled(consumer: Consumer, error: ConsumerCancelled): void {
    if (consumer.onCancel === undefined && this.listenerCount('cancel') === 0) {
      warnOnce(`cancel ${consumer.tag}`, `${error.message} and nobody listens to 'cancel'`);
    }
    if (consumer.onCancel !== undefined) this.guard(consumer.onCancel, [error]);
    this.raise('cancel', consumer.tag);
  }
}

type NowaitMethodName = {
  [N in SynchronousMethodName]: 'nowait' extends keyof MethodInput<N> ? N : never;
}[SynchronousMethodName];

const NO_OPTIONS: PublishOptions = {};

function refused(what: string): NotSupportedError {
  return new NotSupportedError(`RabbitMQ does not know ${what} and would close the connection`);
}

function immediateRefused(): NotSupportedError {
  const error = refused("the flag 'immediate'");
  error.outcome = 'not-sent';
  return error;
}
