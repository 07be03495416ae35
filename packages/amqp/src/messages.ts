import type { DecodedProperties } from './protocol/properties.js';

/** A message as it came from the broker. */
export interface ReceivedMessage {
  readonly exchange: string;
  readonly routingKey: string;
  /** Decoded on access. Handed to a publish as they are, they are sent on unchanged. */
  readonly properties: DecodedProperties;
  readonly body: Buffer;
}

/** A message for a consumer (basic.deliver). */
export interface Delivery extends ReceivedMessage {
  readonly consumerTag: string;
  /** What {@link Channel.basicAck} and its like take. Valid on the channel that it came by. */
  readonly deliveryTag: number;
  /** The broker delivered it before, to this or another consumer. */
  readonly redelivered: boolean;
}

/** A message fetched with basic.get. */
export interface FetchedMessage extends ReceivedMessage {
  readonly deliveryTag: number;
  readonly redelivered: boolean;
  /** Messages that were left in the queue. */
  readonly messageCount: number;
}

/** A mandatory message that no queue took (basic.return). */
export interface ReturnedDelivery extends ReceivedMessage {
  readonly replyCode: number;
  readonly replyText: string;
}
