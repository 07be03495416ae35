/** Checks of what is handed to `publish`, before anything is sent. */
import {
  ContentTooLarge,
  EncodeError,
  InvalidArgumentError,
  type MessagingError,
  NotSupportedError,
} from '../../errors.js';
import type { BasicProperties, OutgoingMessage } from '../../transport/contract.js';
import { show } from '../../util/check.js';
import type { DriverFeatures } from './driver.js';

/** Names and keys are short strings on AMQP (0-9-1 section 4.2.5.3): they have to fit there too. */
const MOST_NAME_BYTES = 255;

/** Whether a text takes at most 255 bytes. One of 85 characters always does. */
export function isShort(text: unknown): text is string {
  if (typeof text !== 'string') return false;
  return text.length <= 85 || (text.length <= MOST_NAME_BYTES && Buffer.byteLength(text) <= MOST_NAME_BYTES);
}

/** Throws INVALID_ARGUMENT for what cannot be the name of an entity, or a routing key. */
export function checkName(what: string, name: unknown): string {
  if (isShort(name)) return name;
  throw new InvalidArgumentError(`${what} must be a string of at most ${MOST_NAME_BYTES} bytes, not ${show(name)}`);
}

/** Why the message cannot be sent; undefined: it can. */
export function checkOutgoing(message: OutgoingMessage, features: DriverFeatures): MessagingError | undefined {
  const { exchange, routingKey, body, notBefore, transaction } = message;
  if (!isShort(exchange)) return invalid('exchange', 'a string of at most 255 bytes', exchange);
  if (!isShort(routingKey)) return invalid('routing key', 'a string of at most 255 bytes', routingKey);
  if (!(body instanceof Uint8Array)) return invalid('body', 'a Uint8Array', body);
  if (features.maxMessageBytes !== undefined && body.length > features.maxMessageBytes) {
    const text = `body of ${body.length} bytes is larger than ${features.maxMessageBytes}`;
    return new ContentTooLarge(text, { outcome: 'not-sent' });
  }
  if (notBefore !== undefined && !Number.isFinite(notBefore)) return invalid('notBefore', 'a clock time', notBefore);
  if (transaction !== undefined && !features.transactions) {
    return new NotSupportedError('this transport has no transactions to publish in', { outcome: 'not-sent' });
  }
  return checkProperties(message.properties);
}

function checkProperties(properties: BasicProperties): MessagingError | undefined {
  const { priority, expiration, deliveryMode, headers } = properties;
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= 255)) {
    return invalid('priority', 'an integer from 0 to 255', priority);
  }
  if (expiration !== undefined && !/^\d{1,15}$/.test(expiration)) {
    return invalid('expiration', 'milliseconds as decimal digits', expiration);
  }
  if (deliveryMode !== undefined && deliveryMode !== 1 && deliveryMode !== 2) {
    return invalid('deliveryMode', '1 or 2', deliveryMode);
  }
  // Written out: a loop over the names would look each of them up anew.
  const { contentType, contentEncoding, correlationId, replyTo, messageId, type, userId, appId, clusterId } =
    properties;
  const problemOfTexts =
    checkText('contentType', contentType) ??
    checkText('contentEncoding', contentEncoding) ??
    checkText('correlationId', correlationId) ??
    checkText('replyTo', replyTo) ??
    checkText('messageId', messageId) ??
    checkText('type', type) ??
    checkText('userId', userId) ??
    checkText('appId', appId) ??
    checkText('clusterId', clusterId);
  if (problemOfTexts !== undefined) return problemOfTexts;
  if (headers === undefined) return undefined;
  const problem = problemOf(headers, 0);
  return problem === undefined ? undefined : new EncodeError(`headers${problem}`, { outcome: 'not-sent' });
}

function checkText(name: string, text: unknown): MessagingError | undefined {
  return text === undefined || isShort(text) ? undefined : invalid(name, 'a string of at most 255 bytes', text);
}

/** Tables in headers may be nested this deep: as on AMQP. */
const MOST_DEPTH = 128;

/** What no broker can carry of a header value, with the path to it; undefined: nothing. */
function problemOf(value: unknown, depth: number): string | undefined {
  if (typeof value === 'function' || typeof value === 'symbol') return `: ${show(value)} cannot be sent`;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return undefined;
  if (depth > MOST_DEPTH) return ': nested too deeply, or in a circle';
  if (value instanceof Map || value instanceof Set || value instanceof Promise)
    return `: ${show(value)} cannot be sent`;
  for (const key in value) {
    if (!isShort(key)) return `: the name ${show(key)} has more than ${MOST_NAME_BYTES} bytes`;
    const problem = problemOf((value as Record<string, unknown>)[key], depth + 1);
    if (problem !== undefined) return `.${key}${problem}`;
  }
  return undefined;
}

/** Clock time at which a message expires by itself: its `expiration` counts from when it may be taken. */
export function expiryOf(properties: BasicProperties, notBefore: number | undefined): number | undefined {
  const { expiration } = properties;
  if (expiration === undefined) return undefined;
  const now = Date.now();
  return (notBefore !== undefined && notBefore > now ? notBefore : now) + Number(expiration);
}

function invalid(what: string, wanted: string, value: unknown): MessagingError {
  return new InvalidArgumentError(`${what} must be ${wanted}, not ${show(value)}`, { outcome: 'not-sent' });
}
