import { randomUUID } from 'node:crypto';
import { DecodeError } from '../../errors.js';
import type { StoredMessage } from '../virtual/driver.js';
import { clampPriority, decodeEnvelope, type Envelope, encodeEnvelope } from '../virtual/wire/index.js';

/** Our own notes in an envelope: the last member of its properties. Written and read by the scripts, too. */
export const NOTE = 'x-wakame';

/** Where the tag of a copy stands, from the end: 36 characters and `"}}`. */
const AFTER_TAG = '"}}';
const NIL = '00000000-0000-0000-0000-000000000000';

/** A message as it is stored, as often as wanted: each copy has a delivery tag of its own. */
export class EnvelopeWriter {
  readonly #bodyEncoding: 'base64' | 'utf-8';
  #last: { readonly message: StoredMessage; readonly text: string } | undefined;

  constructor(bodyEncoding: 'base64' | 'utf-8') {
    this.#bodyEncoding = bodyEncoding;
  }

  /** Throws ENCODE_FAILED. */
  write(message: StoredMessage): string {
    // A message for several queues comes as several in a row.
    if (this.#last?.message !== message) {
      const { extra: given, ...rest } = message;
      const { [NOTE]: _, ...extra } = given ?? {};
      const envelope = {
        ...rest,
        extra: given === undefined ? undefined : extra,
        deliveryTag: NIL,
        redelivered: false,
      };
      const text = encodeEnvelope(envelope, { bodyEncoding: this.#bodyEncoding });
      this.#last = { message, text: text.slice(0, -(NIL.length + AFTER_TAG.length)) };
    }
    return this.#last.text + randomUUID() + AFTER_TAG;
  }

  /** The message may change from now on. */
  forget(): void {
    this.#last = undefined;
  }
}

export interface ReadMessage {
  readonly message: StoredMessage;
  readonly redelivered: boolean;
  /** How often it came back. */
  readonly returns: number;
  readonly deliveryTag: string;
  /** Why the text is no envelope. */
  readonly error?: unknown;
}

/** What a list holds. Text that is no envelope becomes the body of a message without properties: its consumer decides. */
export function readMessage(text: string, queue: string): ReadMessage {
  let envelope: Envelope;
  try {
    envelope = decodeEnvelope(text);
  } catch (error) {
    const message = { body: Buffer.from(text), properties: { headers: {} }, exchange: '', routingKey: queue };
    const problem = new DecodeError(`queue '${queue}' holds what is no message of Kombu's`, { cause: error });
    return { message, redelivered: false, returns: 0, deliveryTag: '', error: problem };
  }
  const { body, exchange, routingKey, deliveryTag, redelivered } = envelope;
  const note = envelope.extra?.[NOTE];
  const extra = note === undefined ? envelope.extra : without(envelope.extra, NOTE);
  const { headers } = envelope.properties;
  // Kombu's mark is no header of the application's, and must not travel on with a message sent again.
  const marked = redelivered && headers?.['redelivered'] === true;
  const properties = marked
    ? { ...envelope.properties, headers: without(headers, 'redelivered') ?? {} }
    : envelope.properties;
  const returns = typeof note === 'string' ? Number(/r(\d+)/.exec(note)?.[1] ?? 0) : 0;
  return { message: { body, properties, exchange, routingKey, extra }, redelivered, returns, deliveryTag };
}

function without(
  table: Readonly<Record<string, unknown>> | undefined,
  name: string,
): Record<string, unknown> | undefined {
  const { [name]: _, ...rest } = table ?? {};
  return Object.keys(rest).length === 0 ? undefined : rest;
}

/** The step of a priority: the largest that is not above it (below the first, Kombu takes the last). */
export function stepOf(priority: number | undefined, steps: readonly number[]): number {
  const wanted = clampPriority(priority);
  return steps.findLast((step) => step <= wanted) ?? (steps.at(-1) as number);
}
