/**
 * One incarnation of a channel over AMQP.
 */
import type { Channel as ClientChannel, OutgoingMessage as ClientMessage, FieldTable } from '@wakame/amqp';
import { InvalidArgumentError, type MessagingError, NotSupportedError, UnroutableError } from '../../errors.js';
import type {
  Arguments,
  ChannelEvents,
  ConsumeOptions,
  Delivery,
  DeliverySink,
  DeliveryTag,
  ExchangeBinding,
  ExchangeDeclareOptions,
  OutgoingMessage,
  PublishMode,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
  Receipt,
  TransportChannel,
} from '../../transport/contract.js';
import { noop } from '../../util/noop.js';
import type { AmqpConnection } from './connection.js';

export class AmqpChannel implements TransportChannel {
  readonly connection: AmqpConnection;
  readonly #channel: ClientChannel;
  readonly #events: ChannelEvents;
  #flow = true;

  constructor(connection: AmqpConnection, channel: ClientChannel, events: ChannelEvents) {
    this.connection = connection;
    this.#channel = channel;
    this.#events = events;
    channel.on('close', (error) => setImmediate(() => events.onClose(error)));
    // Each return is told with the confirm of its message, see #settlement.
    channel.on('return', noop);
    channel.on('handlerError', (error) => connection.problem(error));
  }

  get id(): number {
    return this.#channel.id;
  }

  get state(): 'open' | 'closing' | 'closed' {
    const { state } = this.#channel;
    return state === 'opening' ? 'open' : state;
  }

  get bufferedBytes(): number {
    return this.#channel.bufferedBytes;
  }

  // ── declarations ───────────────────────────────────────────────────────────────────────────────────────────────

  async exchangeDeclare(exchange: string, type: string, options: ExchangeDeclareOptions = {}): Promise<void> {
    const given = { ...options, arguments: table(options.arguments) };
    await this.#request('exchange.declare', (channel) => channel.exchangeDeclare(exchange, type, given));
  }

  async exchangeDelete(exchange: string, options: { readonly ifUnused?: boolean | undefined } = {}): Promise<void> {
    await this.#request('exchange.delete', (channel) => channel.exchangeDelete(exchange, options));
  }

  async exchangeBind(binding: ExchangeBinding): Promise<void> {
    const { destination, source, routingKey } = binding;
    const given = { destination, source, routingKey, arguments: table(binding.arguments) };
    await this.#request('exchange.bind', (channel) => channel.exchangeBind(given));
  }

  async exchangeUnbind(binding: ExchangeBinding): Promise<void> {
    const { destination, source, routingKey } = binding;
    const given = { destination, source, routingKey, arguments: table(binding.arguments) };
    await this.#request('exchange.unbind', (channel) => channel.exchangeUnbind(given));
  }

  async queueDeclare(queue: string, options: QueueDeclareOptions = {}): Promise<QueueDeclareOk> {
    const { passive, durable, exclusive, autoDelete } = options;
    const given = { passive, durable, exclusive, autoDelete, arguments: table(options.arguments) };
    return this.#request('queue.declare', (channel) => channel.queueDeclare(queue, { ...given, nowait: false }));
  }

  async queueBind(binding: QueueBinding): Promise<void> {
    const { queue, exchange, routingKey } = binding;
    const given = { queue, exchange, routingKey, arguments: table(binding.arguments) };
    await this.#request('queue.bind', (channel) => channel.queueBind(given));
  }

  async queueUnbind(binding: QueueBinding): Promise<void> {
    const { queue, exchange, routingKey } = binding;
    const given = { queue, exchange, routingKey, arguments: table(binding.arguments) };
    await this.#request('queue.unbind', (channel) => channel.queueUnbind(given));
  }

  async queuePurge(queue: string): Promise<number> {
    return (await this.#request('queue.purge', (channel) => channel.queuePurge(queue))).messageCount;
  }

  async queueDelete(
    queue: string,
    options: { readonly ifUnused?: boolean | undefined; readonly ifEmpty?: boolean | undefined } = {},
  ): Promise<number> {
    const { ifUnused, ifEmpty } = options;
    const given = { ifUnused, ifEmpty, nowait: false } as const;
    return (await this.#request('queue.delete', (channel) => channel.queueDelete(queue, given))).messageCount;
  }

  /** A request with an answer. What another one brought upon the channel is told apart from what this one did. */
  #request<T>(method: string, send: (channel: ClientChannel) => Promise<T>): Promise<T> {
    return this.connection.requests.run(this.#channel, method, () => send(this.#channel));
  }

  // ── publishing ─────────────────────────────────────────────────────────────────────────────────────────────────

  publish(message: OutgoingMessage, mode: PublishMode): Promise<void> {
    if (mode === 'written') return this.#write(message);
    return new Promise((confirmed, failed) => this.send(message, { confirmed, failed }));
  }

  send(message: OutgoingMessage, receipt: Receipt): void {
    const delayed = this.#delayed(message);
    if (delayed === undefined) this.#sendNow(message, receipt);
    else delayed.then((sent) => this.#sendNow(sent, receipt)).catch((error: MessagingError) => receipt.failed(error));
  }

  /** What is sent in its stead when it must not go as it is: undefined when it may. */
  #delayed(message: OutgoingMessage): Promise<OutgoingMessage> | undefined {
    const { notBefore, transaction } = message;
    if (transaction !== undefined) {
      const error = new NotSupportedError('a message broker has no transaction to join', { outcome: 'not-sent' });
      return Promise.reject(error);
    }
    if (notBefore === undefined || notBefore <= Date.now()) return undefined;
    // Native delayed delivery: the message goes round by queues that let it pass when its time has come.
    return this.connection.delays.delayed(message, notBefore);
  }

  #sendNow(message: OutgoingMessage, receipt: Receipt): void {
    const channel = this.#channel;
    if (!channel.confirming) this.#confirm();
    channel.publishRaw(
      clientMessage(message),
      message.unroutable === 'report' ? this.#reporting(message, receipt) : receipt,
    );
  }

  async #write(message: OutgoingMessage): Promise<void> {
    const sent = (await this.#delayed(message)) ?? message;
    const channel = this.#channel;
    // Only the confirm that follows a return tells whose it is.
    if (sent.unroutable !== 'ignore' && !channel.confirming) this.#confirm();
    if (channel.confirming) return this.#publishWritten(sent);
    const { exchange, routingKey, body, properties } = sent;
    return channel.basicPublish(exchange, routingKey, body, properties as ClientMessage['properties']);
  }

  /** From this call on the broker confirms. Its answer is of no interest: a refusal closes the channel. */
  #confirm(): void {
    this.#channel.confirmSelect().catch(noop);
  }

  /** A return is reported rather than an error. */
  #reporting(message: OutgoingMessage, receipt: Receipt): Receipt {
    return {
      confirmed: () => receipt.confirmed(),
      failed: (error) => {
        if (!(error instanceof UnroutableError)) return receipt.failed(error);
        this.#returned(message, error);
        receipt.confirmed();
      },
    };
  }

  /** Written on a channel where others are confirmed: what becomes of it is nobody's concern, but for a return. */
  #publishWritten(message: OutgoingMessage): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.publishRaw(clientMessage(message), {
        confirmed: noop,
        failed: (error) => {
          if (error instanceof UnroutableError) this.#returned(message, error);
          else if (error instanceof InvalidArgumentError || error.outcome === 'not-sent') reject(error);
        },
      });
      this.#channel.ready().then(resolve, reject);
    });
  }

  #returned({ body, properties }: OutgoingMessage, { returned }: UnroutableError): void {
    setImmediate(() => this.#events.onReturned({ ...returned, body, properties }));
  }

  // ── consuming ──────────────────────────────────────────────────────────────────────────────────────────────────

  consume(queue: string, options: ConsumeOptions, sink: DeliverySink): Promise<string> {
    const { consumerTag, noAck, exclusive, noLocal } = options;
    const given = {
      ...{ consumerTag, noAck, exclusive, noLocal, arguments: table(options.arguments) },
      onCancel: (error: MessagingError) => {
        setImmediate(() => sink.onCancel(error));
      },
    };
    return this.#request('basic.consume', (channel) =>
      channel.basicConsume(queue, given, (delivery) => sink.onDelivery(delivery)),
    );
  }

  async cancel(consumerTag: string): Promise<void> {
    await this.#request('basic.cancel', (channel) => channel.basicCancel(consumerTag));
  }

  get(queue: string, options: { readonly noAck?: boolean | undefined } = {}): Promise<Delivery | undefined> {
    return this.#request('basic.get', (channel) => channel.basicGet(queue, options));
  }

  ack(tag: DeliveryTag, options?: { readonly multiple?: boolean | undefined }): boolean {
    return this.#settle(() => this.#channel.basicAck(tag as number, options));
  }

  reject(
    tag: DeliveryTag,
    { requeue, multiple }: { readonly requeue: boolean; readonly multiple?: boolean | undefined },
  ): boolean {
    return this.#settle(() => {
      if (multiple === true) this.#channel.basicNack(tag as number, { multiple, requeue });
      else this.#channel.basicReject(tag as number, { requeue });
    });
  }

  /** Deliveries die with their channel: false when it is over, or its end was announced to the broker. */
  #settle(send: () => void): boolean {
    try {
      send();
      return true;
    } catch (error) {
      if (this.#channel.state === 'open') throw error;
      return false;
    }
  }

  async release(tags: readonly DeliveryTag[]): Promise<void> {
    // RabbitMQ puts each back to where it came from, whatever the order.
    let sent = false;
    for (const tag of tags) if (this.reject(tag, { requeue: true })) sent = true;
    // A reject has no answer; the one to a request behind it tells that the channel has passed it on. To leave the flow as it is
    // changes nothing. When the channel ends instead, everything has gone back as well.
    if (sent) await this.flow(this.#flow).catch(noop);
  }

  async recover(): Promise<void> {
    await this.#request('basic.recover', (channel) => channel.basicRecover());
  }

  async qos({ prefetch, scope }: { readonly prefetch: number; readonly scope: 'consumer' | 'channel' }): Promise<void> {
    const given = { prefetchCount: prefetch, global: scope === 'channel' };
    await this.#request('basic.qos', (channel) => channel.basicQos(given));
  }

  async flow(active: boolean): Promise<void> {
    await this.#request('channel.flow', (channel) => channel.flow(active));
    this.#flow = active;
  }

  pause(): void {
    this.#channel.connection.pause();
  }

  resume(): void {
    this.#channel.connection.resume();
  }

  async close(): Promise<void> {
    await this.#channel.close().catch(noop);
  }
}

function clientMessage(message: OutgoingMessage): ClientMessage {
  const { exchange, routingKey, body, properties, unroutable } = message;
  const mandatory = unroutable !== 'ignore';
  return { exchange, routingKey, body, mandatory, properties: properties as ClientMessage['properties'] };
}

/** The client checks each value when it writes it. */
function table(args: Arguments | undefined): FieldTable | undefined {
  return args as FieldTable | undefined;
}
