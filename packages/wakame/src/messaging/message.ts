import { type InspectOptions, inspect } from 'node:util';
import { ConnectionError, DecodeError, MessageStateError, type MessagingError, StoreError } from '../errors.js';
import { type BrokerAddress, debug, type SettleContext, tracing } from '../tracing.js';
import type { TransportChannel } from '../transport/contract.js';
import type { BasicProperties, Delivery, DeliveryTag } from '../transport/message.js';
import { show } from '../util/check.js';

/**
 * `RECEIVED` until it is settled; then what was decided: `ACK`, `REJECTED`, `REQUEUED`. `RELEASED`: given back because nobody
 * looked at it. A message consumed with `noAck` is `ACK` from the start. (Kombu's names, but for the last but one.)
 */
export type MessageState = 'RECEIVED' | 'ACK' | 'REJECTED' | 'REQUEUED' | 'RELEASED';

/** Where a message came from (Kombu's `delivery_info`). */
export interface DeliveryInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  readonly deliveryTag: DeliveryTag;
  /** When a consumer got it. */
  readonly consumerTag?: string | undefined;
  /** When it was fetched: how many messages the queue still held. */
  readonly messageCount?: number | undefined;
}

/** Who handed a message out: it hears of what becomes of it. */
export interface MessageOwner {
  /** What it came by. */
  readonly connection: { readonly broker: BrokerAddress };
  /** The queue's name. */
  readonly queue: string;
  /** The broker has forgotten the message when we get it. */
  readonly noAck: boolean;
  /** Once, after the decision. `live`: whether the broker still had the delivery for us. */
  settled(message: Message, live: boolean): void;
  /** The decision could not be carried out, for another reason than being stale. */
  problem(error: MessagingError): void;
}

/** The incarnation of a channel that a delivery came by, which alone can settle it. */
export type Settler = Pick<TransportChannel, 'ack' | 'reject'>;

const NO_HEADERS: Readonly<Record<string, unknown>> = Object.freeze({});
/** Answers known at once are always the same promise: settling allocates nothing. */
const SETTLED = Promise.resolve(true);
const STALE = Promise.resolve(false);

/** Friends of the class: what only this package may do with a message. */
let read: (message: Message, body: Uint8Array, payload: unknown) => void;
let fail: (message: Message, error: MessagingError) => void;
let release: (message: Message) => void;
let reveal: (message: Message) => Delivery;
let ownerFor: (message: Message) => MessageOwner;
let settlerFor: (message: Message) => Settler;

/**
 * A message from a queue, decoded (`kombu.Message`). `T` is what the queue, consumer or schema says of the payload.
 *
 * Whoever consumes without `noAck` settles each message once, by {@link ack}, {@link reject} or {@link requeue}. The message
 * belongs to the connection's incarnation that delivered it: when that is gone, settling it may come too late (the answer is
 * `false`), and the broker delivers it again.
 */
export class Message<T = unknown> {
  static {
    read = (message, body, payload) => {
      message.#body = body;
      message.#payload = payload;
      message.#failure = undefined;
    };
    fail = (message, error) => {
      message.#failure = error;
    };
    release = (message) => {
      message.#state = 'RELEASED';
    };
    reveal = (message) => message.#delivery;
    ownerFor = (message) => message.#owner;
    settlerFor = (message) => message.#settler;
  }

  readonly #delivery: Delivery;
  readonly #settler: Settler;
  readonly #owner: MessageOwner;
  #state: MessageState;
  #body: Uint8Array | undefined;
  #payload: unknown;
  #failure: MessagingError | undefined;

  /** Messages are made by consumers, `Queue.get` and the like. */
  constructor(delivery: Delivery, settler: Settler, owner: MessageOwner) {
    this.#delivery = delivery;
    this.#settler = settler;
    this.#owner = owner;
    this.#state = owner.noAck ? 'ACK' : 'RECEIVED';
    this.#failure = NOT_DECODED;
  }

  /** The decoded body. Never throws where a consumer or `get` handed the message out; in `onDecodeError`, throws the reason. */
  get payload(): T {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#payload as T;
  }

  /** The same as {@link payload}. (In Kombu decoding may still be due; here it is done before anybody sees the message.) */
  decode(): T {
    return this.payload;
  }

  /** The bytes of the body; decompressed, when that could be done. */
  get body(): Uint8Array {
    return this.#body ?? this.#delivery.body;
  }

  /** Empty when the message has none. */
  get headers(): Readonly<Record<string, unknown>> {
    return this.#delivery.properties.headers ?? NO_HEADERS;
  }

  /** All properties that the message has. */
  get properties(): BasicProperties {
    return this.#delivery.properties;
  }

  /** MIME type of the body, as the publisher said. */
  get contentType(): string | undefined {
    return this.#delivery.properties.contentType;
  }

  /** Charset of the body, as the publisher said; `binary` for bytes. */
  get contentEncoding(): string | undefined {
    return this.#delivery.properties.contentEncoding;
  }

  /** Identifies the delivery on its channel. What it is depends on the transport. */
  get deliveryTag(): DeliveryTag {
    return this.#delivery.deliveryTag;
  }

  /** How it came here: exchange, routing key, consumer. */
  get deliveryInfo(): DeliveryInfo {
    const { exchange, routingKey, redelivered, deliveryTag, consumerTag, messageCount } = this.#delivery;
    return { exchange, routingKey, redelivered, deliveryTag, consumerTag, messageCount };
  }

  /** It was delivered before, perhaps to somebody else, and not acknowledged. */
  get redelivered(): boolean {
    return this.#delivery.redelivered;
  }

  /** The name of the queue it came from. */
  get queue(): string {
    return this.#owner.queue;
  }

  /** What became of it. */
  get state(): MessageState {
    return this.#state;
  }

  /** Whether it was settled, in whichever way. */
  get acknowledged(): boolean {
    return this.#state !== 'RECEIVED';
  }

  /**
   * The message is done with. Resolves `true` when that is settled (AMQP: written to the channel; a store: its answer), `false`
   * when it came too late and the message will be delivered again. Rejects MESSAGE_STATE when it was settled before; else
   * never. With `noAck` there is nothing to do: `true`.
   */
  ack(): Promise<boolean> {
    return this.#owner.noAck ? SETTLED : this.#settle('ACK');
  }

  /**
   * The message is refused: it goes to the queue's dead-letter exchange, or is dropped; back to the queue with `requeue`.
   * Resolves and rejects as {@link ack}.
   */
  reject(options: { readonly requeue?: boolean | undefined } = {}): Promise<boolean> {
    if (options.requeue === true) return this.requeue();
    return this.#owner.noAck ? SETTLED : this.#settle('REJECTED');
  }

  /**
   * The message goes back to the queue and will be delivered again. Resolves and rejects as {@link ack}; with `noAck` rejects
   * MESSAGE_STATE, since the broker has it no more.
   */
  requeue(): Promise<boolean> {
    return this.#settle('REQUEUED');
  }

  /**
   * {@link ack} for cleaning up: tells `log` when the message could not be acknowledged (Kombu's `ack_log_error`).
   *
   * @param log Default: a problem of the connection.
   */
  ackLogError(log?: (error: MessagingError) => void): Promise<boolean> {
    return this.#logged('acknowledged', this.ack(), log);
  }

  /** {@link reject} for cleaning up: tells `log` when the message could not be rejected (Kombu's `reject_log_error`). */
  rejectLogError(
    log?: (error: MessagingError) => void,
    options: { readonly requeue?: boolean | undefined } = {},
  ): Promise<boolean> {
    return this.#logged('rejected', this.reject(options), log);
  }

  #settle(state: 'ACK' | 'REJECTED' | 'REQUEUED'): Promise<boolean> {
    if (this.#state !== 'RECEIVED') {
      const was = this.#owner.noAck ? 'consumed with noAck' : `settled before (${this.#state})`;
      return Promise.reject(new MessageStateError(`${this.#name} was ${was}`));
    }
    this.#state = state;
    if (debug.enabled) debug('%s %s', state, this.#name);
    if (tracing.settle.hasSubscribers) return this.#settleTraced(state);
    return this.#send(state);
  }

  #settleTraced(state: 'ACK' | 'REJECTED' | 'REQUEUED'): Promise<boolean> {
    const outcome: SettleContext['outcome'] = state === 'ACK' ? 'ack' : state === 'REJECTED' ? 'reject' : 'requeue';
    const context: SettleContext = { ...tracedDelivery(this), deliveryTag: this.deliveryTag, outcome };
    return tracing.settle.tracePromise(() => this.#send(state), context);
  }

  #send(state: 'ACK' | 'REJECTED' | 'REQUEUED'): Promise<boolean> {
    const tag = this.#delivery.deliveryTag;
    let answer: boolean | Promise<boolean>;
    try {
      answer = state === 'ACK' ? this.#settler.ack(tag) : this.#settler.reject(tag, { requeue: state === 'REQUEUED' });
    } catch (error) {
      return this.#failed(error);
    }
    if (typeof answer === 'boolean') return this.#settled(answer);
    return answer.then(
      (live) => this.#settled(live),
      (error: unknown) => this.#failed(error),
    );
  }

  #settled(live: boolean): Promise<boolean> {
    this.#owner.settled(this, live);
    return live ? SETTLED : STALE;
  }

  /** The message will be delivered again, as if we had not answered: the connection is gone, or the store could not do it. */
  #failed(error: unknown): Promise<boolean> {
    if (!(error instanceof ConnectionError)) {
      const why = error instanceof Error ? error.message : show(error);
      this.#owner.problem(new StoreError(`${this.#name} could not be settled: ${why}`, { cause: error }));
    }
    return this.#settled(false);
  }

  /** For people. What a tag is depends on the transport; only a number or a text is worth showing. */
  get #name(): string {
    const { deliveryTag, queue } = this;
    const tag = typeof deliveryTag === 'object' ? '' : `${String(deliveryTag)} `;
    return `message ${tag}of queue '${queue}'`;
  }

  async #logged(what: string, answer: Promise<boolean>, log = (error: MessagingError) => this.#owner.problem(error)) {
    const live = await answer;
    if (!live) {
      const text = `${this.#name} could not be ${what}: its delivery is stale`;
      log(new MessageStateError(text));
    }
    return live;
  }

  /** As Kombu prints it; the body only by its length. */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[Message]';
    const { state, queue, contentType, deliveryTag, properties, deliveryInfo } = this;
    const bodyLength = this.body.length;
    const shown = { state, queue, contentType, deliveryTag, bodyLength, properties, deliveryInfo };
    return `Message ${inspect(shown, { ...options, depth: 2 })}`;
  }
}

/** What `payload` throws in code of ours that forgot to decode. */
const NOT_DECODED = new DecodeError('the message has not been decoded');

/** Gives the message its decompressed body and its payload. */
export const setPayload = read;
/** The message cannot be decoded: `payload` throws this. */
export const setDecodeError = fail;
/** Marks a message that is being given back because nobody looked at it. */
export const setReleased = release;
/** What the transport delivered. */
export const deliveryOf = reveal;

/** What tracing channels tell of a delivery. */
export function tracedDelivery(message: Message): { broker: BrokerAddress; queue: string; delivery: Delivery } {
  return { broker: ownerFor(message).connection.broker, queue: message.queue, delivery: reveal(message) };
}
/** The incarnation that delivered the message. */
export const settlerOf = settlerFor;
/** Who handed the message out. */
export const ownerOf = ownerFor;
