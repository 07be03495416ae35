import { compression } from '../compression/index.js';
import { DEFAULTS } from '../connection/defaults.js';
import { DecodeError, MessagingError } from '../errors.js';
import { type AcceptList, serialization } from '../serialization/index.js';
import { type ReceiveContext, tracing } from '../tracing.js';
import { show } from '../util/check.js';
import { deliveryOf, type Message, setDecodeError, setPayload, tracedDelivery } from './message.js';
import { checkReceived, type StandardSchemaV1 } from './schema.js';

/** How bodies are read. */
export interface Decoding<T = unknown> {
  /** Content types that may be read, prepared by `serialization.prepareAccept`; undefined: the default. */
  readonly accept: AcceptList | undefined;
  readonly schema: StandardSchemaV1<unknown, T> | undefined;
}

/** What decoding failed with, or undefined; a promise of it when the schema has to wait. */
export type DecodeFailure = MessagingError | undefined;

/**
 * Decodes a message in place: decompresses (header `compression`), checks that its content type is accepted, decodes, and
 * gives the schema the result. Afterwards `payload` returns it, or throws the error returned here: DECODE_FAILED,
 * CONTENT_DISALLOWED, MESSAGE_TOO_LARGE. Never throws or rejects.
 */
export function decodeMessage(
  message: Message,
  decoding: Decoding,
  recipient: ReceiveContext['recipient'] = 'caller',
): DecodeFailure | Promise<DecodeFailure> {
  if (!tracing.receive.hasSubscribers) return decode(message, decoding);
  const context: ReceiveContext = { ...tracedDelivery(message), recipient };
  return tracing.receive.traceSync(() => {
    const failure = decode(message, decoding);
    if (failure instanceof MessagingError) context.error = failure;
    return failure;
  }, context);
}

function decode(message: Message, { accept, schema }: Decoding): DecodeFailure | Promise<DecodeFailure> {
  try {
    const { body, properties } = deliveryOf(message);
    const codec = properties.hasHeader?.('compression') === false ? undefined : properties.headers?.['compression'];
    const plain = codec === undefined || codec === null ? body : decompress(body, codec);
    const value = serialization.loads(plain, properties.contentType, properties.contentEncoding, accept);
    if (schema === undefined) {
      setPayload(message, plain, value);
      return undefined;
    }
    const checked = checkReceived(schema, value);
    if (!(checked instanceof Promise)) {
      setPayload(message, plain, checked);
      return undefined;
    }
    return checked.then(
      (output) => {
        setPayload(message, plain, output);
        return undefined;
      },
      (error: unknown) => failed(message, error),
    );
  } catch (error) {
    return failed(message, error);
  }
}

function decompress(body: Uint8Array, codec: unknown): Uint8Array {
  if (typeof codec !== 'string') throw new DecodeError(`header 'compression' must be a string, not ${show(codec)}`);
  // An empty body is sent as it is by some producers, whatever the header says.
  return body.length === 0 ? body : compression.decompress(body, codec, { maxBytes: DEFAULTS.maxBodyBytes });
}

function failed(message: Message, error: unknown): MessagingError {
  const failure =
    error instanceof MessagingError
      ? error
      : new DecodeError(`the body cannot be decoded: ${error instanceof Error ? error.message : show(error)}`, {
          cause: error,
        });
  setDecodeError(message, failure);
  return failure;
}
