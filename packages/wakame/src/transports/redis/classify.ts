import {
  AccessRefused,
  AuthenticationError,
  type ConnectPhase,
  MessagingError,
  RecoverableConnectionError,
  StoreError,
  TlsError,
  VhostNotFoundError,
} from '../../errors.js';

/** The first word of an error of the server's, which is what it means. */
function replyCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  return /^[A-Z]+/.exec(error.message)?.[0];
}

/** States that pass: a server that reads its files, follows another one, is full, is being replaced. */
const PASSING: ReadonlySet<string> = new Set([
  ...[
    'LOADING',
    'READONLY',
    'MASTERDOWN',
    'CLUSTERDOWN',
    'TRYAGAIN',
    'OOM',
    'MISCONF',
    'NOREPLICAS',
    'BUSY',
    'UNKILLABLE',
  ],
]);

/** Those after which the server we are connected with is not the right one. */
const WRONG_SERVER: ReadonlySet<string> = new Set(['READONLY', 'MASTERDOWN', 'LOADING']);

/** Whether another connection is needed, for no command will succeed on this one. */
export function isLossOf(error: unknown): boolean {
  const code = replyCodeOf(error);
  return code !== undefined && (WRONG_SERVER.has(code) || code === 'NOAUTH');
}

/** The typed error for one of the server's or of the socket's. Never holds credentials: the server does not repeat them. */
export function classify(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = replyCodeOf(error);
  if (code === undefined) return socketError(error, text);
  const details = { cause: withoutArguments(error), replyText: text };
  if (code === 'WRONGPASS' || code === 'NOAUTH') return new AuthenticationError(text, details);
  if (code === 'ERR' && /\bAUTH\b|invalid password/i.test(text)) return new AuthenticationError(text, details);
  if (code === 'NOPERM') return new AccessRefused(text, details);
  if (code === 'ERR' && /DB index is out of range|invalid DB index/i.test(text)) {
    return new VhostNotFoundError(text, details);
  }
  if (WRONG_SERVER.has(code)) return new RecoverableConnectionError(text, { ...details, code: 'CONNECTION_LOST' });
  // A script wraps what its commands met.
  const wrapped = /\b(OOM|MISCONF|NOREPLICAS|NOPERM|READONLY)\b/.exec(text)?.[1];
  if (wrapped === 'NOPERM') return new AccessRefused(text, details);
  return new StoreError(text, {
    ...details,
    recoverable: PASSING.has(code) || (wrapped !== undefined && PASSING.has(wrapped)),
  });
}

/** The same for what failed while connecting, with the step. */
export function connectError(error: unknown, phase: ConnectPhase, host: string): MessagingError {
  if (error instanceof MessagingError) return error;
  const typed = classify(error);
  const details = { cause: error, phase, host };
  if (isTls(error)) return new TlsError(typed.message, { ...details, phase: 'tls' });
  const failed = replyCodeOf(error) === undefined || typed.code === 'CONNECTION_LOST' || typed.code === 'STORE_ERROR';
  if (!failed) return typed;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const step = code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'dns' : phase;
  return new RecoverableConnectionError(`${host}: ${typed.message}`, {
    ...details,
    code: 'CONNECT_FAILED',
    phase: step,
  });
}

function isTls(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return (
    typeof code === 'string' &&
    /^(?:ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA)/.test(code)
  );
}

function socketError(error: unknown, text: string): MessagingError {
  if (isTls(error)) return new TlsError(text, { cause: error });
  return new RecoverableConnectionError(text, { cause: error, code: 'CONNECTION_LOST' });
}

/** The library adds to an error the command with its arguments: the password, if it was AUTH, or whole messages. */
function withoutArguments(error: unknown): Error {
  const { name, message, stack } = error as Error;
  return Object.assign(new Error(message), { name, stack });
}
