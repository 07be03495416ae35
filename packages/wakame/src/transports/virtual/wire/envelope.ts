/**
 * The envelope in which Kombu's virtual transports store a message (`kombu.transport.virtual.base`): one JSON object, with
 * the body first, as base64.
 *
 * ```
 * {"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {},
 *  "properties": {"correlation_id": "…", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "q"},
 *                 "priority": 0, "body_encoding": "base64", "delivery_tag": "<uuid>"},
 *  "redelivered": true}                                     only after it was given back
 * ```
 */

import { DecodeError, EncodeError } from '../../../errors.js';
import type { BasicProperties } from '../../../transport/message.js';
import { show } from '../../../util/check.js';
import { asBuffer, decodeUtf8 } from '../../../util/utf8.js';
import { type JsonLimits, parseJson } from './json/parse.js';
import { escapeNonAscii } from './json/write.js';
import {
  isObject,
  optionalObject,
  optionalText,
  quote,
  readProperties,
  remember,
  writeNumber,
  writeProperties,
  writeValue,
} from './properties.js';

/** A message as Kombu's virtual transports store it. */
export interface Envelope {
  /** The body as published: serialized and perhaps compressed. */
  readonly body: Uint8Array;
  /** AMQP's properties. On reading, `headers` is always there. */
  readonly properties: BasicProperties;
  readonly exchange: string;
  readonly routingKey: string;
  /** A UUID of this copy of the message; empty when a foreign envelope has none. */
  readonly deliveryTag: string;
  /** Whether somebody had the message before. */
  readonly redelivered: boolean;
  /** Properties that AMQP does not have, under their names on the wire (`DelaySeconds`). */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
  /** Members of `delivery_info` that have no place above. */
  readonly extraDeliveryInfo?: Readonly<Record<string, unknown>> | undefined;
}

/** How to write an envelope. */
export interface EnvelopeOptions {
  /** `base64` (default), or `utf-8` to leave a body that is text as it is (the transport option `body_encoding`). */
  readonly bodyEncoding?: 'base64' | 'utf-8' | undefined;
}

/** What a stored envelope may ask for at most; see {@link JsonLimits}. Here `maxLength` is 180 Mi: a body of 128 MiB in base64. */
export type EnvelopeLimits = JsonLimits;

const MAX_LENGTH = 180 * 1024 * 1024;

/**
 * Writes an envelope: JSON in ASCII, with Kombu's members in Kombu's order. Values in headers that JSON lacks (dates, bytes)
 * are in Kombu's typed form. Throws ENCODE_FAILED.
 */
export function encodeEnvelope(envelope: Envelope, options: EnvelopeOptions = {}): string {
  const end = envelope.redelivered ? '},"redelivered":true}' : AFTER_TAG;
  return `${encodeUpToTag(envelope, options)}${quote(envelope.deliveryTag)}${end}`;
}

/** What stands after a delivery tag that comes last. */
export const AFTER_TAG = '}}';

/**
 * The beginning of an envelope: its delivery tag, as JSON, and {@link AFTER_TAG} make it whole. For copies of one message, each of which has a tag of
 * its own; of a message that nobody had before.
 */
export function encodeUpToTag(envelope: Omit<Envelope, 'deliveryTag'>, options: EnvelopeOptions = {}): string {
  const { properties, redelivered, extraDeliveryInfo } = envelope;
  const { headers } = properties;
  const encoding = options.bodyEncoding ?? 'base64';
  const body = writeBody(envelope.body, encoding);
  const content = writeContent(properties.contentEncoding, properties.contentType);
  const more = writeProperties(properties, envelope.extra);
  const route = writeRoute(envelope.exchange, envelope.routingKey);
  const info = `${redelivered ? ',"redelivered":true' : ''}${writeExtraDeliveryInfo(extraDeliveryInfo)}`;
  const priority = properties.priority === undefined ? '0' : writeNumber(properties.priority);
  return `{"body":${body}${content}${hasMembers(headers) ? writeValue(headers) : '{}'},"properties":{${more}${route}${
    info
  }},"priority":${priority},"body_encoding":"${encoding}","delivery_tag":`;
}

/** Successive messages mostly have the same content type and the same destination: the last text is kept. */
const writeContent = remember((contentEncoding: string | undefined, contentType: string | undefined) => {
  const encoding = contentEncoding === undefined ? 'null' : quote(contentEncoding);
  return `,"content-encoding":${encoding},"content-type":${contentType === undefined ? 'null' : quote(contentType)},"headers":`;
});

const writeRoute = remember((exchange: string, routingKey: string) => {
  return `"delivery_info":{"exchange":${quote(exchange)},"routing_key":${quote(routingKey)}`;
});

function writeBody(body: Uint8Array, encoding: 'base64' | 'utf-8'): string {
  const buffer = asBuffer(body);
  if (encoding === 'base64') return `"${buffer.toString('base64')}"`;
  const text = decodeUtf8(body);
  return text === undefined ? writeValue(body) : escapeNonAscii(JSON.stringify(text));
}

const DELIVERY_INFO: ReadonlySet<string> = new Set(['exchange', 'routing_key', 'redelivered']);

function writeExtraDeliveryInfo(extra: Readonly<Record<string, unknown>> | undefined): string {
  if (extra === undefined) return '';
  let text = '';
  for (const [name, value] of Object.entries(extra)) {
    if (value === undefined) continue;
    if (DELIVERY_INFO.has(name)) throw new EncodeError(`'${name}' is not an extra member of delivery_info`);
    text += `,${quote(name)}:${writeValue(value)}`;
  }
  return text;
}

/**
 * Reads an envelope that any Kombu wrote, and what foreign producers leave out: every member but the outer object may be
 * absent. Throws DECODE_FAILED for anything else.
 */
export function decodeEnvelope(stored: string | Uint8Array, limits: EnvelopeLimits = {}): Envelope {
  const text = typeof stored === 'string' ? stored : decodeUtf8(stored);
  if (text === undefined) throw new DecodeError('envelope: not UTF-8');
  const maxLength = limits.maxLength ?? MAX_LENGTH;
  if (text.length > maxLength) {
    throw new DecodeError(`envelope of ${text.length} characters exceeds ${maxLength}`, { code: 'MESSAGE_TOO_LARGE' });
  }
  return decodeSpliced(text, limits) ?? decodeWhole(text, limits);
}

/**
 * The way of nearly all: the body comes first, is base64, and is cut out before the rest is parsed. Whatever does not
 * fit is `undefined`, and parsed as a whole.
 */
function decodeSpliced(text: string, limits: EnvelopeLimits): Envelope | undefined {
  const start = text.startsWith('{"body":"') ? 9 : text.startsWith('{"body": "') ? 10 : 0;
  const end = start === 0 ? -1 : text.indexOf('"', start);
  if (end < 0 || text[end + 1] !== ',') return undefined;
  const body = strictBase64(text.slice(start, end));
  if (body === undefined) return undefined;
  const rest = text.slice(end + 2);
  const same = likeTheLast(body, rest);
  if (same !== undefined) return same;
  const members = parseJson(`{${rest}`, limits);
  if (!isObject(members) || 'body' in members) return undefined;
  const properties = optionalObject(members, 'properties');
  if (properties?.body_encoding !== 'base64') return undefined;
  const envelope = assemble(body, members, properties);
  rememberAsLast(envelope, rest);
  return envelope;
}

const TAG_END = `"${AFTER_TAG}`;

/** Successive messages of a queue often differ in nothing but body and delivery tag: then the last one's text is compared, not parsed. */
let last: { readonly beforeTag: string; readonly envelope: Envelope } | undefined;

function likeTheLast(body: Uint8Array, rest: string): Envelope | undefined {
  // Comparing slices is ten times as fast as startsWith().
  if (last === undefined || rest.slice(0, last.beforeTag.length) !== last.beforeTag) return undefined;
  const deliveryTag = rest.slice(last.beforeTag.length, -TAG_END.length);
  if (!rest.endsWith(TAG_END) || !/^[\w-]+$/.test(deliveryTag)) return undefined;
  const { envelope } = last;
  return { ...envelope, body, deliveryTag, properties: { ...envelope.properties, headers: {} } };
}

function rememberAsLast(envelope: Envelope, rest: string): void {
  const { deliveryTag, properties } = envelope;
  const isPlain =
    envelope.extra === undefined && envelope.extraDeliveryInfo === undefined && !hasMembers(properties.headers);
  if (!isPlain || deliveryTag === '' || !rest.endsWith(deliveryTag + TAG_END)) return;
  const beforeTag = rest.slice(0, -(deliveryTag.length + TAG_END.length));
  // A copy of its own: a slice would keep the whole text, body and all.
  if (/"delivery_tag": ?"$/.test(beforeTag)) {
    last = { beforeTag: Buffer.from(beforeTag).toString(), envelope: { ...envelope, body: new Uint8Array(0) } };
  }
}

function hasMembers(object: object | undefined): boolean {
  for (const _ in object) return true;
  return false;
}

function decodeWhole(text: string, limits: EnvelopeLimits): Envelope {
  const envelope = parseJson(text, limits);
  if (!isObject(envelope)) throw new DecodeError(`envelope: an object is wanted, not ${show(envelope)}`);
  const properties = optionalObject(envelope, 'properties') ?? {};
  return assemble(readBody(envelope.body, optionalText(properties, 'body_encoding')), envelope, properties);
}

function readBody(body: unknown, encoding: string | undefined): Uint8Array {
  if (body === undefined || body === null) return new Uint8Array(0);
  // Bytes in Kombu's typed form, where the option body_encoding was not base64.
  if (body instanceof Uint8Array) return body;
  if (typeof body !== 'string') throw new DecodeError(`envelope: 'body' must be text, not ${show(body)}`);
  switch (encoding?.toLowerCase()) {
    case undefined:
    case 'utf-8':
      if (!body.isWellFormed()) throw new DecodeError("envelope: 'body' holds half a surrogate pair");
      return Buffer.from(body, 'utf8');
    case 'base64': {
      const bytes = strictBase64(body.replace(/\s+/g, ''));
      if (bytes === undefined) throw new DecodeError("envelope: 'body' is not base64");
      return bytes;
    }
    default:
      throw new DecodeError(`envelope: unknown body_encoding ${show(encoding)}`);
  }
}

/** Node passes over what is not base64; then the length is not what it should be. */
function strictBase64(text: string): Buffer | undefined {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = Buffer.from(text, 'base64');
  return text.length % 4 === 0 && bytes.length === (text.length / 4) * 3 - padding ? bytes : undefined;
}

function assemble(
  body: Uint8Array,
  envelope: Readonly<Record<string, unknown>>,
  wire: Readonly<Record<string, unknown>>,
): Envelope {
  const info = optionalObject(wire, 'delivery_info') ?? {};
  const { properties, extra } = readProperties(envelope, wire);
  // Kombu 3 kept the priority in delivery_info.
  const old = properties.priority === undefined && typeof info.priority === 'number';
  const tag = wire.delivery_tag;
  return {
    body,
    properties: old ? { ...properties, priority: info.priority as number } : properties,
    exchange: optionalText(info, 'exchange') ?? '',
    routingKey: optionalText(info, 'routing_key') ?? '',
    deliveryTag: typeof tag === 'string' || typeof tag === 'number' || typeof tag === 'bigint' ? String(tag) : '',
    // Kombu's base class marks the envelope, its Redis transport delivery_info and the headers.
    redelivered: envelope.redelivered === true || info.redelivered === true || properties.headers?.redelivered === true,
    extra,
    extraDeliveryInfo: extraMembers(info),
  };
}

function extraMembers(info: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  let extra: Record<string, unknown> | undefined;
  for (const name in info) {
    if (DELIVERY_INFO.has(name)) continue;
    extra ??= {};
    Object.defineProperty(extra, name, { value: info[name], configurable: true, enumerable: true, writable: true });
  }
  return extra;
}
