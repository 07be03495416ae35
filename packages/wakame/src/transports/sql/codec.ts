import { randomUUID } from 'node:crypto';
import { ContentTooLarge, InvalidArgumentError } from '../../errors.js';
import { show } from '../../util/check.js';
import type { Outbound, StoredMessage, Taken } from '../virtual/driver.js';
import { decodeEnvelope, encodeEnvelope } from '../virtual/wire/index.js';
import type { Encoded } from './operations/storing.js';
import type { TakenRow } from './operations/taking.js';

/** Kombu's column for the names of queues. */
export const MOST_NAME = 200;

/** Throws INVALID_ARGUMENT for a name that Kombu's table cannot hold. */
export function checkQueueName(name: string): void {
  // Databases count code points.
  if (name.length <= MOST_NAME || [...name].length <= MOST_NAME) return;
  throw new InvalidArgumentError(
    `queue names have at most ${MOST_NAME} characters in Kombu's tables, not ${show(name)}`,
  );
}

export interface EncodeOptions {
  readonly bodyEncoding: 'base64' | 'utf-8';
  /** In bytes. */
  readonly payloadLimit: number | undefined;
}

/** Messages as they are to be stored. Throws ENCODE_FAILED or MESSAGE_TOO_LARGE. */
export function encodeAll(messages: readonly Outbound[], { bodyEncoding, payloadLimit }: EncodeOptions): Encoded[] {
  const at = Date.now();
  return messages.map((outbound) => {
    const { message } = outbound;
    const envelope = { ...message, deliveryTag: randomUUID(), redelivered: false };
    const payload = encodeEnvelope(envelope, { bodyEncoding });
    // The envelope is ASCII: characters are bytes.
    if (payloadLimit !== undefined && payload.length > payloadLimit) {
      const text = `a message of ${payload.length} bytes with its envelope does not fit the table: ${payloadLimit} at most`;
      throw new ContentTooLarge(text, { outcome: 'not-sent' });
    }
    return { outbound, payload, at };
  });
}

/** One taking of one message. */
export class SqlLease {
  readonly id: number;
  readonly requestId: number;

  constructor(id: number, requestId: number) {
    this.id = id;
    this.requestId = requestId;
  }
}

/**
 * A message taken, as the virtual transport wants it.
 *
 * @param problem Told of a payload that is no envelope. It is delivered as a body without a type, for the consumer to decide about.
 */
export function toTaken(row: TakenRow, problem: (error: unknown) => void): Taken {
  const { id, queue, payload, returns, requestId } = row;
  const lease = requestId === undefined ? undefined : new SqlLease(id, requestId);
  try {
    const { deliveryTag: _, redelivered, extraDeliveryInfo: __, ...message } = decodeEnvelope(payload);
    return { queue, message, lease, redelivered: redelivered || returns > 0, deliveryCount: returns };
  } catch (error) {
    problem(error);
    return { queue, message: rawMessage(queue, payload), lease, redelivered: returns > 0, deliveryCount: returns };
  }
}

export function toStored(payload: string, queue: string): StoredMessage {
  try {
    const { deliveryTag: _, redelivered: __, extraDeliveryInfo: ___, ...message } = decodeEnvelope(payload);
    return message;
  } catch {
    return rawMessage(queue, payload);
  }
}

function rawMessage(queue: string, payload: string): StoredMessage {
  return { body: Buffer.from(payload), properties: { headers: {} }, exchange: '', routingKey: queue };
}
