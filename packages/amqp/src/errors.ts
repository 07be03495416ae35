/**
 * The errors of the messaging model: one tree, each with a stable `code`.
 *
 * ```
 * MessagingError
 * ├─ InvalidArgumentError            bad input of the caller; nothing was sent
 * ├─ NotSupportedError               the broker or runtime cannot do it
 * ├─ TimeoutError                    a deadline of ours passed
 * ├─ BufferFullError                 more unsettled bytes than allowed
 * ├─ PublishError                    a message that the broker did not take
 * │  ├─ UnroutableError              mandatory, and no queue
 * │  └─ MessageNacked                the broker refused responsibility
 * ├─ ConnectionError
 * │  ├─ RecoverableConnectionError   connecting again may help
 * │  │  ├─ ConnectionForced (320) · ResourceError (506) · ConsumerCancelled
 * │  └─ IrrecoverableConnectionError
 * │     ├─ AuthenticationError · TlsError · VhostNotFoundError · ConnectionClosedError
 * │     └─ InvalidPath (402) · FrameError (501) · FrameSyntaxError (502) · InvalidCommand (503) · ChannelNotOpen (504)
 * │        UnexpectedFrame (505) · NotAllowed (530) · AMQPNotImplementedError (540) · InternalError (541)
 * └─ ChannelError
 *    ├─ RecoverableChannelError      ContentTooLarge (311) · NoConsumers (313) · ResourceLocked (405)
 *    └─ IrrecoverableChannelError    AccessRefused (403) · NotFound (404) · PreconditionFailed (406)
 * ```
 *
 * The names and the split into recoverable and irrecoverable are py-amqp's (`amqp.exceptions`), so that code ported from
 * Python finds them. This module imports nothing.
 */

/** What is known of a message whose publish failed. `unknown`: sent, and no answer came. */
export type PublishOutcome = 'not-sent' | 'refused' | 'unknown';

/** The step of connecting that failed. */
export type ConnectPhase = 'dns' | 'tcp' | 'tls' | 'sasl' | 'tune' | 'open';

/** Every `code` that a {@link MessagingError} can carry. Match on this rather than on messages. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_URL'
  | 'UNKNOWN_TRANSPORT'
  | 'MISSING_DEPENDENCY'
  | 'NOT_SUPPORTED'
  | 'CONNECT_FAILED'
  | 'AUTH_FAILED'
  | 'ACCESS_REFUSED'
  | 'VHOST_NOT_FOUND'
  | 'TLS_FAILED'
  | 'CONNECTION_LOST'
  | 'CONNECTION_CLOSED'
  | 'HEARTBEAT_TIMEOUT'
  | 'BLOCKED_TIMEOUT'
  | 'CHANNEL_CLOSED'
  | 'CHANNEL_LIMIT'
  | 'POOL_LIMIT'
  | 'NOT_FOUND'
  | 'PRECONDITION_FAILED'
  | 'RESOURCE_LOCKED'
  | 'PROTOCOL_ERROR'
  | 'TIMEOUT'
  | 'UNROUTABLE'
  | 'NACKED'
  | 'BUFFER_FULL'
  | 'MESSAGE_TOO_LARGE'
  | 'ENCODE_FAILED'
  | 'DECODE_FAILED'
  | 'CONTENT_DISALLOWED'
  | 'MESSAGE_STATE'
  | 'NOT_BOUND'
  | 'EMPTY'
  | 'CONSUMER_BUSY'
  | 'CONSUMER_CANCELLED'
  | 'LEASE_LOST'
  | 'STORE_ERROR'
  | 'REMOTE_ERROR'
  | 'NO_SUCH_METHOD'
  | 'UNSUPPORTED_VERSION';

/** Facts that an error may carry beside its message. */
export interface ErrorDetails {
  code?: ErrorCode | undefined;
  cause?: unknown;
  /** AMQP reply code (0-9-1 section 1.2), such as 404. */
  replyCode?: number | undefined;
  /** The peer's own words. */
  replyText?: string | undefined;
  /** The AMQP class and method that the peer blames, when it names one. */
  classId?: number | undefined;
  methodId?: number | undefined;
  /** The same as a name: `queue.declare`. */
  method?: string | undefined;
  /** The step of connecting that failed. */
  phase?: ConnectPhase | undefined;
  /** `host:port` of the peer. Never holds credentials. */
  host?: string | undefined;
  /** What became of a published message. */
  outcome?: PublishOutcome | undefined;
  /** Overrides the class's own answer. */
  recoverable?: boolean | undefined;
}

/** The root of every error that Wakame and its AMQP client raise. */
export class MessagingError extends Error {
  static readonly defaultCode: ErrorCode = 'PROTOCOL_ERROR';
  static readonly defaultRecoverable: boolean = false;

  /** Stable identifier of the kind of failure. */
  readonly code: ErrorCode;
  /** Whether trying again, perhaps on a new connection, may succeed. */
  readonly recoverable: boolean;
  readonly replyCode: number | undefined;
  readonly replyText: string | undefined;
  readonly classId: number | undefined;
  readonly methodId: number | undefined;
  readonly method: string | undefined;
  readonly phase: ConnectPhase | undefined;
  readonly host: string | undefined;
  /** Set on what {@link PublishOutcome a publish} rejects with. Assigned by whoever knows the message's fate. */
  outcome: PublishOutcome | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    const type = new.target as typeof MessagingError;
    this.name = type.name;
    this.code = details.code ?? type.defaultCode;
    this.recoverable = details.recoverable ?? type.defaultRecoverable;
    this.replyCode = details.replyCode;
    this.replyText = details.replyText;
    this.classId = details.classId;
    this.methodId = details.methodId;
    this.method = details.method;
    this.phase = details.phase;
    this.host = details.host;
    this.outcome = details.outcome;
  }
}

/** A value of the caller's cannot be used. The message names it; nothing was sent. */
export class InvalidArgumentError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'INVALID_ARGUMENT';
}

/** The broker, or this runtime, cannot do what was asked. */
export class NotSupportedError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'NOT_SUPPORTED';
}

/** A deadline passed before the answer came. */
export class TimeoutError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'TIMEOUT';
  static override readonly defaultRecoverable: boolean = true;
}

/** More bytes wait than `maxBufferedBytes` allows. The message was not sent. */
export class BufferFullError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'BUFFER_FULL';
  static override readonly defaultRecoverable: boolean = true;
}

/** The broker did not take a message. */
export class PublishError extends MessagingError {}

/** What the broker sent back with a message that it could not route. */
export interface ReturnedMessage {
  readonly replyCode: number;
  readonly replyText: string;
  readonly exchange: string;
  readonly routingKey: string;
}

/** A mandatory message reached no queue (basic.return, reply code 312). */
export class UnroutableError extends PublishError {
  static override readonly defaultCode: ErrorCode = 'UNROUTABLE';
  readonly returned: ReturnedMessage;

  constructor(returned: ReturnedMessage, details: ErrorDetails = {}) {
    super(
      `message to exchange '${returned.exchange}' with routing key '${returned.routingKey}' was returned: ` +
        `${returned.replyCode} ${returned.replyText}`,
      { replyCode: returned.replyCode, replyText: returned.replyText, outcome: 'refused', ...details },
    );
    this.returned = returned;
  }
}

/** The broker answered a publish with basic.nack: it takes no responsibility for the message. */
export class MessageNacked extends PublishError {
  static override readonly defaultCode: ErrorCode = 'NACKED';
}

/** Something that concerns a whole connection. */
export class ConnectionError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'CONNECTION_LOST';
}

/** A connection failed in a way that connecting again may mend. */
export class RecoverableConnectionError extends ConnectionError {
  static override readonly defaultRecoverable: boolean = true;
}

/** 320: an operator or the broker's shutdown closed the connection. */
export class ConnectionForced extends RecoverableConnectionError {}

/** 506: the broker ran out of something. */
export class ResourceError extends RecoverableConnectionError {}

/** The broker ended a consumer (basic.cancel): its queue was deleted, or its node left. */
export class ConsumerCancelled extends RecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'CONSUMER_CANCELLED';
}

/** A connection failed and connecting again would fail alike. */
export class IrrecoverableConnectionError extends ConnectionError {
  static override readonly defaultCode: ErrorCode = 'PROTOCOL_ERROR';
}

/** The operation needs a connection that this program has closed. */
export class ConnectionClosedError extends IrrecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'CONNECTION_CLOSED';
}

/** Wrong user name, password or token, or no SASL mechanism in common. */
export class AuthenticationError extends IrrecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'AUTH_FAILED';
}

/** The TLS handshake failed or the certificate was not accepted. */
export class TlsError extends IrrecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'TLS_FAILED';
}

/** The virtual host does not exist or is closed to this user. */
export class VhostNotFoundError extends IrrecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'VHOST_NOT_FOUND';
}

/** 402 */
export class InvalidPath extends VhostNotFoundError {}
/** 501 */
export class FrameError extends IrrecoverableConnectionError {}
/** 502 */
export class FrameSyntaxError extends IrrecoverableConnectionError {}
/** 503 */
export class InvalidCommand extends IrrecoverableConnectionError {}
/** 504 */
export class ChannelNotOpen extends IrrecoverableConnectionError {}
/** 505 */
export class UnexpectedFrame extends IrrecoverableConnectionError {}
/** 530 */
export class NotAllowed extends IrrecoverableConnectionError {}
/** 540 */
export class AMQPNotImplementedError extends IrrecoverableConnectionError {
  static override readonly defaultCode: ErrorCode = 'NOT_SUPPORTED';
}
/** 541 */
export class InternalError extends IrrecoverableConnectionError {}

/** Something that concerns one channel; the connection lives on. */
export class ChannelError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'CHANNEL_CLOSED';
}

/** A channel failed in a way that trying again may mend. */
export class RecoverableChannelError extends ChannelError {
  static override readonly defaultRecoverable: boolean = true;
}

/** 311 */
export class ContentTooLarge extends RecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'MESSAGE_TOO_LARGE';
}
/** 313 */
export class NoConsumers extends RecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'UNROUTABLE';
}
/** 405: an exclusive queue of another connection. */
export class ResourceLocked extends RecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'RESOURCE_LOCKED';
}

/** A channel failed and trying again would fail alike. */
export class IrrecoverableChannelError extends ChannelError {}

/** 403 */
export class AccessRefused extends IrrecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'ACCESS_REFUSED';
}
/** 404 */
export class NotFound extends IrrecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'NOT_FOUND';
}
/** 406 */
export class PreconditionFailed extends IrrecoverableChannelError {
  static override readonly defaultCode: ErrorCode = 'PRECONDITION_FAILED';
}

type ErrorClass = new (message: string, details?: ErrorDetails) => MessagingError;

const BY_REPLY_CODE: ReadonlyMap<number, ErrorClass> = new Map<number, ErrorClass>([
  [311, ContentTooLarge],
  [313, NoConsumers],
  [320, ConnectionForced],
  [402, InvalidPath],
  [403, AccessRefused],
  [404, NotFound],
  [405, ResourceLocked],
  [406, PreconditionFailed],
  [501, FrameError],
  [502, FrameSyntaxError],
  [503, InvalidCommand],
  [504, ChannelNotOpen],
  [505, UnexpectedFrame],
  [506, ResourceError],
  [530, NotAllowed],
  [540, AMQPNotImplementedError],
  [541, InternalError],
]);

const AWAY = /is down or inaccessible|process is stopped by supervisor/;

/**
 * The error for a reply code that a peer closed a channel or connection with (0-9-1 section 1.2, py-amqp's
 * `ERROR_MAP`). A code nobody knows becomes a plain {@link ChannelError} or {@link ConnectionError}.
 */
export function errorForReply(
  scope: 'connection' | 'channel',
  replyCode: number,
  replyText: string,
  details: Omit<ErrorDetails, 'replyCode' | 'replyText'> = {},
): MessagingError {
  const type = BY_REPLY_CODE.get(replyCode) ?? (scope === 'channel' ? ChannelError : ConnectionError);
  // Not gone: RabbitMQ says so of a queue on a node that is away, or that is being started again.
  const isAway = replyCode === 404 && AWAY.test(replyText);
  const blamed = details.method === undefined ? '' : ` (${details.method})`;
  return new type(`${replyCode} ${replyText}${blamed}`, {
    ...details,
    ...(isAway ? { recoverable: true } : {}),
    replyCode,
    replyText,
  });
}
