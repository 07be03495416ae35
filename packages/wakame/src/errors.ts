/**
 * Every error that Wakame raises. The tree of `@wakame/amqp` is re-exported and goes on with the names that Kombu
 * has beside py-amqp's (`kombu.exceptions`):
 *
 * ```
 * MessagingError (= KombuError)
 * ├─ … the tree of `@wakame/amqp/errors` …
 * ├─ InvalidUrlError                          INVALID_URL
 * ├─ UnknownTransportError                    UNKNOWN_TRANSPORT
 * ├─ MissingDependencyError                   MISSING_DEPENDENCY
 * ├─ OperationalError                         what escaped a retry; the code of its cause
 * ├─ SerializationError
 * │  ├─ EncodeError                           ENCODE_FAILED
 * │  └─ DecodeError                           DECODE_FAILED
 * ├─ SerializerNotInstalled                   INVALID_ARGUMENT
 * │  └─ ContentDisallowed                     CONTENT_DISALLOWED
 * ├─ NotBoundError                            NOT_BOUND
 * ├─ MessageStateError                        MESSAGE_STATE
 * ├─ LimitExceeded                            POOL_LIMIT
 * │  └─ ConnectionLimitExceeded · ChannelLimitExceeded
 * ├─ Empty                                    EMPTY
 * ├─ ConsumerBusyError                        CONSUMER_BUSY
 * ├─ LeaseLostError                           LEASE_LOST
 * ├─ StoreError                               STORE_ERROR
 * ├─ HttpError                                by HTTP status
 * └─ ConnectionError
 *    └─ InconsistencyError                    STORE_ERROR
 * ```
 */

import { ConnectionError, type ErrorCode, type ErrorDetails, MessagingError } from '@wakame/amqp/errors';

export * from '@wakame/amqp/errors';
/** Kombu's name of the root, so that `error instanceof KombuError` holds for every error of the library. */
export { MessagingError as KombuError } from '@wakame/amqp/errors';

/** A URL cannot be used. The message shows it without its password. */
export class InvalidUrlError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'INVALID_URL';
}

/** No transport is registered under a URL's scheme. The message names the nearest one. */
export class UnknownTransportError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'UNKNOWN_TRANSPORT';
}

/** A library that is not part of Wakame is needed and is not installed. */
export class MissingDependencyError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'MISSING_DEPENDENCY';
  /** The npm package to install. */
  readonly package: string;

  /**
   * @param feature What needs it, as the beginning of a sentence: `the redis transport`.
   * @param packageName The npm package to install.
   * @param hint Another way out, when there is one: `or Node.js 22.15`.
   */
  constructor(feature: string, packageName: string, hint = '', details: ErrorDetails = {}) {
    super(`${feature} needs the package '${packageName}': npm install ${packageName}${hint && ` (${hint})`}`, details);
    this.package = packageName;
  }
}

/**
 * A recoverable error that `ensure` or `autoretry` gave up on (Kombu's name). It keeps the code, the recoverability and,
 * as `cause`, the error itself.
 */
export class OperationalError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'CONNECTION_LOST';
  static override readonly defaultRecoverable: boolean = true;

  /** Wraps `error`, unless it is one already. */
  static from(error: unknown): OperationalError {
    if (error instanceof OperationalError) return error;
    const message = error instanceof Error ? error.message : String(error);
    if (!(error instanceof MessagingError)) return new OperationalError(message, { cause: error });
    const { code, replyCode, replyText, classId, methodId, method, phase, host, outcome, recoverable } = error;
    return new OperationalError(message, {
      cause: error,
      ...{ code, replyCode, replyText, classId, methodId, method, phase, host, outcome, recoverable },
    });
  }
}

/** A body could not be written or read. */
export class SerializationError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'DECODE_FAILED';
}

/** A value cannot be written in the chosen format. The message names the path to it. Nothing was sent. */
export class EncodeError extends SerializationError {
  static override readonly defaultCode: ErrorCode = 'ENCODE_FAILED';
}

/** Bytes are not what their content type, encoding or compression says, or exceed a bound. */
export class DecodeError extends SerializationError {
  static override readonly defaultCode: ErrorCode = 'DECODE_FAILED';
}

/** A serializer was asked for under a name that nobody registered. */
export class SerializerNotInstalled extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'INVALID_ARGUMENT';
}

/** The content type of a message is not among those accepted. Its body was not looked at. */
export class ContentDisallowed extends SerializerNotInstalled {
  static override readonly defaultCode: ErrorCode = 'CONTENT_DISALLOWED';
}

/** The operation needs an entity that was bound to a channel. */
export class NotBoundError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'NOT_BOUND';
}

/** A message was settled twice. */
export class MessageStateError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'MESSAGE_STATE';
}

/** A pool has given out all it may. */
export class LimitExceeded extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'POOL_LIMIT';
  static override readonly defaultRecoverable: boolean = true;
}

/** {@link LimitExceeded} of a pool of connections. */
export class ConnectionLimitExceeded extends LimitExceeded {}

/** {@link LimitExceeded} of a pool of channels. */
export class ChannelLimitExceeded extends LimitExceeded {}

/** The queue had no message within the time given (Python's `queue.Empty`). */
export class Empty extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'EMPTY';
  static override readonly defaultRecoverable: boolean = true;
}

/** A consumer is already being used in another way: by `consume()` or by iteration, not both. */
export class ConsumerBusyError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'CONSUMER_BUSY';
}

/** The store gave the message to somebody else, because its lease was not renewed in time. */
export class LeaseLostError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'LEASE_LOST';
}

/** The store beneath a virtual transport answered with an error of its own, which is the `cause`. */
export class StoreError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'STORE_ERROR';
}

/** Shared state of a broker contradicts itself: a mailbox without its binding, for example. */
export class InconsistencyError extends ConnectionError {
  static override readonly defaultCode: ErrorCode = 'STORE_ERROR';
}

/** An HTTP API (RabbitMQ's management) answered with an error status. */
export class HttpError extends MessagingError {
  /** The HTTP status. */
  readonly status: number;
  /** The answer's body, as far as it was read. */
  readonly response: string | undefined;

  constructor(status: number, message: string, response?: string, details: ErrorDetails = {}) {
    super(`HTTP ${status}: ${message}`, { code: codeOfStatus(status), recoverable: status >= 500, ...details });
    this.status = status;
    this.response = response;
  }
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'AUTH_FAILED';
  if (status === 403) return 'ACCESS_REFUSED';
  if (status === 404) return 'NOT_FOUND';
  if (status >= 400 && status < 500) return 'PRECONDITION_FAILED';
  return 'PROTOCOL_ERROR';
}

/** System errors of sockets after which another attempt may succeed. */
const RECOVERABLE_SYSTEM_ERRORS: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
]);

/**
 * Whether trying again, perhaps on a new connection, may succeed: what the error says of itself, or, for an error of a
 * socket, what its system code means. Anything else (a `TypeError`, an abort) is not.
 */
export function isRecoverable(error: unknown): boolean {
  if (error instanceof MessagingError) return error.recoverable;
  if (!(error instanceof Error) || !('code' in error)) return false;
  return typeof error.code === 'string' && RECOVERABLE_SYSTEM_ERRORS.has(error.code);
}
