/** The AMQP model's messages, as every transport carries them. Types only. */

/** A field table: queue arguments, headers. Values are what AMQP field tables can hold. */
export type Arguments = Readonly<Record<string, unknown>>;

/**
 * The properties of a message (AMQP 0-9-1, class basic). An absent member is not sent; `priority: 0` and `headers: {}` are.
 */
export interface BasicProperties {
  readonly contentType?: string | undefined;
  readonly contentEncoding?: string | undefined;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** 1 transient, 2 persistent. */
  readonly deliveryMode?: number | undefined;
  /** 0 to 255; higher is served first. */
  readonly priority?: number | undefined;
  readonly correlationId?: string | undefined;
  readonly replyTo?: string | undefined;
  /** Time to live in milliseconds, as decimal digits. */
  readonly expiration?: string | undefined;
  readonly messageId?: string | undefined;
  /** Seconds since the epoch. */
  readonly timestamp?: number | bigint | Date | undefined;
  readonly type?: string | undefined;
  readonly userId?: string | undefined;
  readonly appId?: string | undefined;
  readonly clusterId?: string | undefined;
}

/** Properties of a message that came. */
export interface DeliveredProperties extends BasicProperties {
  /** Whether there is a header of that name, told without decoding the headers where that costs. Absent: {@link headers} are at hand. */
  hasHeader?(name: string): boolean;
}

/** What becomes of a message that no queue takes: an error, a `returned` event, or silence. */
export type UnroutablePolicy = 'reject' | 'report' | 'ignore';

/** A message on its way to the broker. */
export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  /** Not to be changed until the publish is answered; nor are the properties. */
  readonly body: Uint8Array;
  readonly properties: BasicProperties;
  readonly unroutable: UnroutablePolicy;
  /** Clock time (ms since the epoch) before which nobody shall get it: native delayed delivery, or the store's own. */
  readonly notBefore?: number | undefined;
  /** The user's own transaction on the same store. NOT_SUPPORTED where the broker has none. */
  readonly transaction?: unknown;
}

/** Identifies a delivery on its channel. Opaque: a number on AMQP, something else on a store. */
export type DeliveryTag = unknown;

/** A message from the broker. Properties may be decoded on first access. */
export interface Delivery {
  readonly body: Uint8Array;
  readonly properties: DeliveredProperties;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  /** How often it was delivered before and came back, where the broker counts: a failed attempt each. */
  readonly deliveryCount?: number | undefined;
  readonly deliveryTag: DeliveryTag;
  /** Present when a consumer got it. */
  readonly consumerTag?: string | undefined;
  /** Present when `get` fetched it: how many messages the queue still holds. */
  readonly messageCount?: number | undefined;
}

/** A message that came back: no queue took it (AMQP's basic.return). */
export interface Returned {
  readonly replyCode: number;
  readonly replyText: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Uint8Array;
  readonly properties: DeliveredProperties;
}
