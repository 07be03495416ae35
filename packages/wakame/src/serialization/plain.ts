import { DecodeError, EncodeError } from '../errors.js';
import { show } from '../util/check.js';
import { decodeText, isBinary, isKnownCharset } from './charset.js';
import type { Serialized, Serializer } from './serializer.js';

/** Text as it is. Kombu publishes strings so when no serializer is named. */
export const textSerializer: Serializer = {
  name: 'text',
  contentType: 'text/plain',
  contentEncoding: 'utf-8',
  encode: encodeText,
  decode: decodePlain,
};

/** Bytes or text without any format (Kombu's `raw`). What they are is said by the content encoding alone. */
export const rawSerializer: Serializer = {
  name: 'raw',
  contentType: 'application/data',
  contentEncoding: 'binary',
  decode: decodePlain,
};

/** `raw` chooses the content encoding by the value. */
export function encodeRaw(value: unknown): Serialized {
  if (typeof value === 'string') {
    return { contentType: 'application/data', contentEncoding: 'utf-8', body: encodeText(value) };
  }
  return { contentType: 'application/data', contentEncoding: 'binary', body: asBytes(value) };
}

function encodeText(value: unknown): Buffer {
  if (typeof value !== 'string') throw new EncodeError(`text must be a string, not ${show(value)}`);
  if (!value.isWellFormed()) throw new EncodeError('text with half a surrogate pair has no UTF-8');
  return Buffer.from(value);
}

function asBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw new EncodeError(`a raw body must be a string or bytes, not ${show(value)}`);
}

/** Bytes when the content encoding says so, else text in that charset. */
function decodePlain(body: Uint8Array, contentEncoding: string): string | Uint8Array {
  if (isBinary(contentEncoding)) return body;
  const text = decodeText(body, contentEncoding);
  if (text !== undefined) return text;
  throw new DecodeError(
    isKnownCharset(contentEncoding)
      ? `a body that is not ${contentEncoding}`
      : `unknown charset ${show(contentEncoding)}`,
  );
}
