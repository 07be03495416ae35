import { compression as compressors } from '../compression/index.js';
import { DEFAULTS } from '../connection/defaults.js';
import { checkName } from '../entities/checks.js';
import { EncodeError, InvalidArgumentError, PublishError } from '../errors.js';
import { type Serializer, serialization } from '../serialization/index.js';
import { checkString, show } from '../util/check.js';
import type { EncodedBody, PublishOptions } from './publish-options.js';

const NO_HEADERS: Readonly<Record<string, unknown>> = Object.freeze({});

/** Encodings that a string body may be sent in, by Python's and by Node's names. */
const CHARSETS: ReadonlyMap<string, 'utf-8' | 'latin1' | 'ascii' | 'utf16le'> = new Map([
  ...(['utf-8', 'utf8', 'utf_8'] as const).map((name) => [name, 'utf-8'] as const),
  ...(['latin1', 'latin-1', 'latin_1', 'iso-8859-1', 'iso8859-1'] as const).map((name) => [name, 'latin1'] as const),
  ...(['ascii', 'us-ascii'] as const).map((name) => [name, 'ascii'] as const),
  ...(['utf-16le', 'utf16le', 'utf_16_le'] as const).map((name) => [name, 'utf16le'] as const),
]);

/**
 * Makes bytes of a body (`kombu.Producer._prepare`): serialized, or taken as it is when `contentType` names what it is; then
 * compressed, told by the header `compression`. Throws ENCODE_FAILED, INVALID_ARGUMENT, MESSAGE_TOO_LARGE.
 *
 * @param defaults The producer's `serializer` and `compression`.
 */
export function encodeBody(
  body: unknown,
  options: PublishOptions,
  defaults: { readonly serializer?: string | Serializer | undefined; readonly compression?: string | undefined },
): EncodedBody {
  const encoded =
    options.contentType === undefined ? serialize(body, options, defaults.serializer) : asIs(body, options);
  const name = options.compression ?? defaults.compression;
  const done = name === undefined ? encoded : compress(encoded, name);
  const { length } = done.body;
  if (length <= DEFAULTS.maxBodyBytes) return done;
  throw new PublishError(`the body has ${length} bytes, and at most ${DEFAULTS.maxBodyBytes} are allowed`, {
    code: 'MESSAGE_TOO_LARGE',
  });
}

function serialize(body: unknown, options: PublishOptions, serializer: string | Serializer | undefined): EncodedBody {
  if (body === undefined) throw new EncodeError('undefined cannot be published; null can');
  const encoded = serialization.dumps(body, options.serializer ?? serializer);
  const { contentEncoding } = options;
  if (contentEncoding !== undefined && contentEncoding !== encoded.contentEncoding) {
    throw new InvalidArgumentError(
      `contentEncoding ${show(contentEncoding)} needs a contentType: the serializer writes ${encoded.contentEncoding}`,
    );
  }
  const { body: bytes, contentType } = encoded;
  return { body: bytes, contentType, contentEncoding: encoded.contentEncoding, headers: headersOf(options) };
}

function asIs(body: unknown, options: PublishOptions): EncodedBody {
  const contentType = checkName('contentType', options.contentType);
  if (options.serializer !== undefined) {
    throw new InvalidArgumentError(
      'contentType and serializer exclude each other: with contentType, the body is encoded already',
    );
  }
  const headers = headersOf(options);
  if (typeof body === 'string') {
    const contentEncoding = checkName('contentEncoding', options.contentEncoding ?? 'utf-8');
    return { body: encodeText(body, contentEncoding), contentType, contentEncoding, headers };
  }
  if (!(body instanceof Uint8Array)) {
    throw new InvalidArgumentError(`with contentType the body must be a string or bytes, not ${show(body)}`);
  }
  return {
    body,
    contentType,
    contentEncoding: checkName('contentEncoding', options.contentEncoding ?? 'binary'),
    headers,
  };
}

function encodeText(text: string, contentEncoding: string): Uint8Array {
  const charset = CHARSETS.get(contentEncoding.toLowerCase());
  if (charset === undefined) {
    throw new InvalidArgumentError(
      `contentEncoding ${show(contentEncoding)} is no encoding of strings: encode the body to bytes`,
    );
  }
  // Node writes other characters than these as their low bits.
  const last = charset === 'ascii' ? 0x7f : charset === 'latin1' ? 0xff : 0xffff;
  for (let i = 0; last < 0xffff && i < text.length; i++) {
    if (text.charCodeAt(i) <= last) continue;
    throw new EncodeError(`${show(text.charAt(i))} at position ${i} cannot be written in ${contentEncoding}`);
  }
  return Buffer.from(text, charset);
}

function compress(encoded: EncodedBody, name: string): EncodedBody {
  const { body, contentType } = compressors.compress(encoded.body, checkString('compression', name));
  return { ...encoded, body, headers: { ...encoded.headers, compression: contentType } };
}

function headersOf({ headers }: PublishOptions): Readonly<Record<string, unknown>> {
  if (headers === undefined) return NO_HEADERS;
  // A copy: the message may be sent later, and again.
  if (typeof headers === 'object' && headers !== null && !Array.isArray(headers)) return { ...headers };
  throw new InvalidArgumentError(`headers must be an object, not ${show(headers)}`);
}
