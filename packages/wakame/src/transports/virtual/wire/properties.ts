/**
 * The `properties` object of an envelope: AMQP's basic properties under Kombu's names, and whatever else was passed to
 * `publish` in Python.
 */

import { DecodeError, EncodeError } from '../../../errors.js';
import type { BasicProperties } from '../../../transport/message.js';
import { show } from '../../../util/check.js';
import { escapeNonAscii, writeJson } from './json/write.js';

type TextProperty =
  | 'correlationId'
  | 'replyTo'
  | 'messageId'
  | 'type'
  | 'appId'
  | 'userId'
  | 'clusterId'
  | 'expiration';

/** Names in `properties` that are not extra ones. */
const KNOWN: ReadonlySet<string> = new Set([
  ...['correlation_id', 'reply_to', 'message_id', 'type', 'app_id', 'user_id', 'cluster_id', 'expiration'],
  ...['timestamp', 'delivery_mode', 'priority', 'delivery_info', 'body_encoding', 'delivery_tag'],
]);

/** A string as JSON in ASCII. */
export function quote(text: string): string {
  if (/^[ !#-[\]-~]*$/.test(text)) return `"${text}"`;
  return escapeNonAscii(JSON.stringify(text));
}

/** The function with its last result kept, for values that successive messages mostly share. */
export function remember<A, B>(write: (a: A, b: B) => string): (a: A, b: B) => string {
  let last: { readonly a: A; readonly b: B; readonly text: string } | undefined;
  return (a, b) => {
    if (last === undefined || last.a !== a || last.b !== b) last = { a, b, text: write(a, b) };
    return last.text;
  };
}

/** Headers, or other values of any JSON type, as JSON in ASCII with Kombu's typed values. */
export function writeValue(value: unknown): string {
  return writeJson(value, { typed: true, ascii: true });
}

/** A number as JSON. */
export function writeNumber(value: number): string {
  return Number.isFinite(value) ? `${value}` : writeValue(value);
}

const writeAlike = remember((text: string, name: string) => `"${name}":${quote(text)},`);

/** The members of `properties` that come before `delivery_info`, each followed by a comma. */
export function writeProperties(
  properties: BasicProperties,
  extra: Readonly<Record<string, unknown>> | undefined,
): string {
  const { correlationId, replyTo, messageId, type, appId, userId, clusterId, expiration } = properties;
  let text = correlationId === undefined ? '' : `"correlation_id":${quote(correlationId)},`;
  if (replyTo !== undefined) text += writeAlike(replyTo, 'reply_to');
  if (messageId !== undefined) text += `"message_id":${quote(messageId)},`;
  if (type !== undefined) text += `"type":${quote(type)},`;
  if (appId !== undefined) text += `"app_id":${quote(appId)},`;
  if (userId !== undefined) text += `"user_id":${quote(userId)},`;
  if (clusterId !== undefined) text += `"cluster_id":${quote(clusterId)},`;
  if (expiration !== undefined) text += `"expiration":${quote(expiration)},`;
  if (properties.timestamp !== undefined) text += `"timestamp":${seconds(properties.timestamp)},`;
  if (extra !== undefined) text += writeExtra(extra);
  if (properties.deliveryMode !== undefined) text += `"delivery_mode":${writeNumber(properties.deliveryMode)},`;
  return text;
}

/** AMQP's timestamp is in seconds. */
function seconds(timestamp: number | bigint | Date): string {
  return timestamp instanceof Date ? String(Math.floor(timestamp.getTime() / 1000)) : writeValue(timestamp);
}

function writeExtra(extra: Readonly<Record<string, unknown>>): string {
  let text = '';
  for (const [name, value] of Object.entries(extra)) {
    if (value === undefined) continue;
    if (KNOWN.has(name)) throw new EncodeError(`'${name}' is a property of its own, not an extra one`);
    text += `${quote(name)}:${writeValue(value)},`;
  }
  return text;
}

/** What {@link readProperties} finds. */
export interface ReadProperties {
  readonly properties: BasicProperties;
  readonly extra: Record<string, unknown> | undefined;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * Reads `properties` and the members of the envelope that are AMQP properties. A number where text is due is taken as its
 * digits; a value of another type counts as an extra property.
 */
export function readProperties(
  envelope: Readonly<Record<string, unknown>>,
  wire: Readonly<Record<string, unknown>>,
): ReadProperties {
  const properties: Mutable<BasicProperties> = {};
  const contentType = optionalText(envelope, 'content-type');
  if (contentType !== undefined) properties.contentType = contentType;
  const contentEncoding = optionalText(envelope, 'content-encoding');
  if (contentEncoding !== undefined) properties.contentEncoding = contentEncoding;
  properties.headers = optionalObject(envelope, 'headers') ?? {};

  let extra: Record<string, unknown> | undefined;
  for (const name in wire) {
    const value = wire[name];
    if (readKnown(properties, name, value) || (value === null && KNOWN.has(name))) continue;
    extra ??= {};
    Object.defineProperty(extra, name, { value, configurable: true, enumerable: true, writable: true });
  }
  return { properties, extra };
}

/** Stores a property that AMQP has, or that belongs to the envelope. `false` for others. */
function readKnown(properties: Mutable<BasicProperties>, name: string, value: unknown): boolean {
  switch (name) {
    case 'correlation_id':
      return setText(properties, 'correlationId', value);
    case 'reply_to':
      return setText(properties, 'replyTo', value);
    case 'message_id':
      return setText(properties, 'messageId', value);
    case 'type':
      return setText(properties, 'type', value);
    case 'app_id':
      return setText(properties, 'appId', value);
    case 'user_id':
      return setText(properties, 'userId', value);
    case 'cluster_id':
      return setText(properties, 'clusterId', value);
    case 'expiration':
      return setText(properties, 'expiration', value);
    case 'timestamp':
      if (typeof value !== 'number' && typeof value !== 'bigint' && !(value instanceof Date)) return false;
      properties.timestamp = value;
      return true;
    case 'delivery_mode':
      if (typeof value !== 'number') return false;
      properties.deliveryMode = value;
      return true;
    case 'priority':
      if (typeof value !== 'number' && typeof value !== 'string') return false;
      properties.priority = clampPriority(Number(value), 255);
      return true;
    case 'delivery_info':
    case 'body_encoding':
    case 'delivery_tag':
      return true;
    default:
      return false;
  }
}

function setText(properties: Mutable<BasicProperties>, name: TextProperty, value: unknown): boolean {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') return false;
  properties[name] = String(value);
  return true;
}

/** A member that is text, or absent or null. Throws DECODE_FAILED. */
export function optionalText(object: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = object[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new DecodeError(`envelope: '${name}' must be text, not ${show(value)}`);
  return value;
}

/** A member that is an object, or absent or null. Throws DECODE_FAILED. */
export function optionalObject(
  object: Readonly<Record<string, unknown>>,
  name: string,
): Record<string, unknown> | undefined {
  const value = object[name];
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw new DecodeError(`envelope: '${name}' must be an object, not ${show(value)}`);
  return value;
}

/** Whether a value of JSON is an object with members, not an array or one of the typed values. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * The priority that Kombu's stores file a message under: 0 to 9 (`virtual.Channel._get_message_priority`). What is no
 * number counts as 0.
 */
export function clampPriority(priority: number | undefined, max = 9): number {
  return priority === undefined || Number.isNaN(priority) ? 0 : Math.trunc(Math.min(max, Math.max(0, priority)));
}
