import { DecodeError } from '../errors.js';
import { type JsonLimits, parseJson } from '../transports/virtual/wire/json/parse.js';
import { type JsonWriteOptions, writeJson } from '../transports/virtual/wire/json/write.js';
import { decodeUtf8 } from '../util/utf8.js';
import { decodeText, isKnownCharset } from './charset.js';
import type { Serializer } from './serializer.js';

/** How a JSON serializer writes and what it reads at most. */
export interface JsonOptions extends JsonWriteOptions, JsonLimits {}

/**
 * A serializer of Kombu's JSON. The registry's own writes untyped; for Kombu's typed values:
 *
 * ```ts
 * producer.publish({ at: new Date() }, { serializer: jsonSerializer({ typed: true }) });
 * ```
 */
export function jsonSerializer(options: JsonOptions = {}): Serializer {
  return {
    name: 'json',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    encode: (value) => Buffer.from(writeJson(value, options)),
    decode: (body, contentEncoding) => parseJson(jsonText(body, contentEncoding), options),
  };
}

/** JSON is UTF-8 (RFC 8259 section 8.1), but for a producer that names another charset. */
function jsonText(body: Uint8Array, contentEncoding: string): string {
  const other = contentEncoding !== 'utf-8' && isKnownCharset(contentEncoding);
  const text = other ? decodeText(body, contentEncoding) : decodeUtf8(body);
  if (text === undefined) throw new DecodeError(`JSON that is not ${other ? contentEncoding : 'utf-8'}`);
  return text;
}
