import { randomUUID } from 'node:crypto';
import { DecodeError } from '../../errors.js';
import type { StoredMessage } from '../virtual/driver.js';
import { AFTER_TAG, encodeUpToTag } from '../virtual/wire/envelope.js';
import { clampPriority, decodeEnvelope, type Envelope, type EnvelopeOptions } from '../virtual/wire/index.js';

/** Our own notes in an envelope: the last member of its properties. Written and read by the scripts, too. */
export const NOTE = 'x-wakame';

/** The last two bytes of a delivery tag, in hexadecimal, are two of these. */
const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

let tagBeginning = '';
let tagCount = 0;

/** A UUID that nobody else has. Most of it stays for a while: random numbers, and their digits, would take longer than all else in an envelope. */
function newTag(): string {
  const count = tagCount;
  if (count === 0) tagBeginning = randomUUID().slice(0, 32);
  tagCount = (count + 1) & 0xffff;
  return `${tagBeginning}${BYTES[count >> 8]}${BYTES[count & 0xff]}`;
}

/** A message as it is stored, as often as wanted: each copy has a delivery tag of its own. */
export class EnvelopeWriter {
  readonly #options: EnvelopeOptions;
  #message: StoredMessage | undefined;
  /** Of that one. */
  #upToTag = '';

  constructor(bodyEncoding: 'base64' | 'utf-8') {
    this.#options = { bodyEncoding };
  }

  /** Throws ENCODE_FAILED. */
  write(message: StoredMessage): string {
    // A message for several queues comes as several in a row, which differ in their tags.
    if (this.#message !== message) {
      this.#upToTag = this.#encode(message);
      this.#message = message;
    }
    return `${this.#upToTag}"${newTag()}"${AFTER_TAG}`;
  }

  #encode({ body, properties, exchange, routingKey, extra: given }: StoredMessage): string {
    const extra = given !== undefined && NOTE in given ? without(given, NOTE) : given;
    return encodeUpToTag({ body, properties, exchange, routingKey, extra, redelivered: false }, this.#options);
  }

  /** The message may change from now on. */
  forget(): void {
    this.#message = undefined;
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

/** The fields of the leases that one run of a take gave, by the number of the message: see `lua/common.ts`. */
export function fieldsOf(
  holder: string,
  request: number,
  step: number,
  incarnation: number,
): (number: number) => string {
  const beginning = `wakame:${holder}:${String(request).padStart(13, '0')}:`;
  const ending = `:${step}:${incarnation === 0 ? '' : incarnation}`;
  return (number) => `${beginning}${String(number).padStart(4, '0')}${ending}`;
}
