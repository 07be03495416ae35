import { randomUUID } from 'node:crypto';
import { DecodeError } from '../../errors.js';
import type { StoredMessage } from '../virtual/driver.js';
import {
  clampPriority,
  decodeEnvelope,
  type Envelope,
  type EnvelopeOptions,
  encodeEnvelope,
} from '../virtual/wire/index.js';

/** Our own notes in an envelope: the last member of its properties. Written and read by the scripts, too. */
export const NOTE = 'x-wakame';

/** An envelope ends with its delivery tag, a UUID, and this. */
const AFTER_TAG = '"}}';
const UUID_LENGTH = 36;

/** A message as it is stored, as often as wanted: each copy has a delivery tag of its own. */
export class EnvelopeWriter {
  readonly #options: EnvelopeOptions;
  #last: { readonly message: StoredMessage; readonly text: string } | undefined;

  constructor(bodyEncoding: 'base64' | 'utf-8') {
    this.#options = { bodyEncoding };
  }

  /** Throws ENCODE_FAILED. */
  write(message: StoredMessage): string {
    // A message for several queues comes as several in a row, which differ in their tags.
    const text =
      this.#last?.message === message
        ? this.#last.text.slice(0, -(UUID_LENGTH + AFTER_TAG.length)) + randomUUID() + AFTER_TAG
        : this.#encode(message);
    this.#last = { message, text };
    return text;
  }

  #encode({ body, properties, exchange, routingKey, extra: given }: StoredMessage): string {
    const extra = given !== undefined && NOTE in given ? without(given, NOTE) : given;
    const deliveryTag = randomUUID();
    const envelope = { body, properties, exchange, routingKey, extra, deliveryTag, redelivered: false };
    return encodeEnvelope(envelope, this.#options);
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
