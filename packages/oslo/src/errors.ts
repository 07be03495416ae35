/**
 * The errors of oslo.messaging (`oslo_messaging.exceptions`), as part of Wakame's tree:
 *
 * ```
 * MessagingError (of wakame)
 * ├─ InvalidUrlError ── InvalidTransportUrl      INVALID_URL
 * ├─ InvalidArgumentError ── InvalidTarget       INVALID_ARGUMENT
 * ├─ TimeoutError ── MessagingTimeout            TIMEOUT
 * ├─ PublishError
 * │  ├─ MessageDeliveryFailure                   the code of its cause
 * │  └─ MessageUndeliverable                     UNROUTABLE
 * ├─ RpcVersionCapError                          UNSUPPORTED_VERSION
 * ├─ NoSuchMethod                                NO_SUCH_METHOD
 * ├─ UnsupportedVersion                          UNSUPPORTED_VERSION
 * ├─ RemoteError                                 REMOTE_ERROR
 * └─ PythonError                                 REMOTE_ERROR
 * ```
 */
import {
  type ErrorCode,
  type ErrorDetails,
  InvalidArgumentError,
  InvalidUrlError,
  MessagingError,
  PublishError,
  TimeoutError,
} from 'wakame';

/** A transport URL cannot be used. The message shows it without its password. */
export class InvalidTransportUrl extends InvalidUrlError {}

/** A target cannot be used for what was asked: without a topic, or a call to a fanout. Nothing was sent. */
export class InvalidTarget extends InvalidArgumentError {}

/** No answer came in time. Nobody knows whether the method was carried out. */
export class MessagingTimeout extends TimeoutError {}

/** A message could not be sent, as often as it was tried. Its `cause` says why. */
export class MessageDeliveryFailure extends PublishError {
  static override readonly defaultCode: ErrorCode = 'CONNECTION_LOST';
  static override readonly defaultRecoverable: boolean = true;

  /** Made of the error that sending ended with. */
  static from(cause: MessagingError): MessageDeliveryFailure {
    const { code, recoverable, outcome } = cause;
    return new MessageDeliveryFailure(`the message could not be sent: ${cause.message}`, {
      ...{ cause, code, recoverable, outcome },
    });
  }
}

/** A message that must reach a queue reached none (`at_least_once`). */
export class MessageUndeliverable extends PublishError {
  static override readonly defaultCode: ErrorCode = 'UNROUTABLE';
  readonly exchange: string;
  readonly routingKey: string;

  constructor(exchange: string, routingKey: string, details: ErrorDetails = {}) {
    super(`nobody listens to '${routingKey}' on exchange '${exchange}'`, { outcome: 'refused', ...details });
    this.exchange = exchange;
    this.routingKey = routingKey;
  }
}

/** A version is not one that the client's `versionCap` allows. Nothing was sent. */
export class RpcVersionCapError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'UNSUPPORTED_VERSION';
  readonly version: string;
  readonly versionCap: string;

  constructor(version: string, versionCap: string) {
    super(`version ${version} of the interface is asked for, and the cap is ${versionCap}`);
    this.version = version;
    this.versionCap = versionCap;
  }
}

/** An endpoint of the right namespace and version has no such method. */
export class NoSuchMethod extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'NO_SUCH_METHOD';
}

/** No endpoint has this namespace in a version that would do. */
export class UnsupportedVersion extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'UNSUPPORTED_VERSION';
}

/** An exception as it travels: what its class is called, where that is defined, and what it said. */
export interface RemoteFailure {
  /** The name of its class: `ValueError`. */
  readonly className: string;
  /** The Python module of that class (`builtins`, `nova.exception`); `node` for an error of JavaScript. */
  readonly module: string;
  readonly message: string;
  /** The traceback, line by line. */
  readonly traceback: readonly string[];
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** The other side failed. What is known of it are `className`, `module` and its own words, `value`. */
export class RemoteError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'REMOTE_ERROR';
  readonly failure: RemoteFailure;

  constructor(failure: RemoteFailure) {
    super(`${failure.className}: ${failure.message}`);
    this.failure = failure;
  }

  /** The name of the exception's class there: `ValueError`. */
  get className(): string {
    return this.failure.className;
  }

  /** Where that class is defined: `builtins`, `nova.exception`; `node` for an error of JavaScript. */
  get module(): string {
    return this.failure.module;
  }

  /** What the exception said. */
  get value(): string {
    return this.failure.message;
  }
}

/** How a {@link PythonError} is built there. */
export interface PythonErrorOptions {
  /** The module that defines the class. Default `builtins`. Others have to be among the caller's `allowed_remote_exmods`. */
  readonly module?: string | undefined;
  /** What the class is called with. Default: the message alone. */
  readonly args?: readonly unknown[] | undefined;
  /** Keyword arguments of the exception. Default: none. */
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Thrown by a method, it raises a certain exception in a Python caller.
 *
 * ```ts
 * throw new PythonError('ValueError', 'must be positive');
 * ```
 */
export class PythonError extends MessagingError {
  static override readonly defaultCode: ErrorCode = 'REMOTE_ERROR';
  readonly className: string;
  readonly module: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;

  /** Throws INVALID_ARGUMENT for what is no name of a class. */
  constructor(className: string, message: string, options: PythonErrorOptions = {}) {
    if (!/^[\p{L}_][\p{L}\p{N}_]*$/u.test(className)) {
      throw new InvalidArgumentError(`className must be the name of a Python class, not '${className}'`);
    }
    super(message);
    this.className = className;
    this.module = options.module ?? 'builtins';
    this.args = options.args ?? [message];
    this.kwargs = options.kwargs ?? {};
  }
}
