import type { LookupAddress } from 'node:dns';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import tls from 'node:tls';
import { type ConnectPhase, MessagingError, RecoverableConnectionError, TlsError } from './errors.js';
import type { ResolvedParameters, TlsOptions } from './parameters.js';

/** How far a try to connect has come, for its errors. */
export interface Progress {
  phase: ConnectPhase;
  /** `host:port` */
  readonly host: string;
}

/** `host:port`, an IPv6 address in brackets. */
export function hostLabel(hostname: string, port: number): string {
  return hostname.includes(':') ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** The error of a try that failed for a reason that may pass. */
export function connectFailed(progress: Progress, problem: string, cause?: unknown): RecoverableConnectionError {
  return new RecoverableConnectionError(`cannot connect to ${progress.host} (${progress.phase}): ${problem}`, {
    code: 'CONNECT_FAILED',
    phase: progress.phase,
    host: progress.host,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Failures of the transport that a TLS handshake may meet and that have nothing to do with TLS. */
const TRANSPORT_ERRORS: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
]);

function describe(error: NodeJS.ErrnoException): string {
  // An AggregateError of Happy Eyeballs has no message of its own.
  if (error instanceof AggregateError) return error.errors.map((each) => (each as Error).message).join('; ');
  return error.message;
}

/**
 * The error for what a socket emitted while connecting. TLS errors can come after the handshake too: with TLS 1.3 the
 * server judges the client's certificate later.
 */
export function socketFailed(progress: Progress, error: NodeJS.ErrnoException): MessagingError {
  if (error instanceof MessagingError) return error;
  const code = error.code ?? '';
  if (error.syscall === 'getaddrinfo') progress.phase = 'dns';
  const concernsTls = code.startsWith('ERR_SSL_') || (progress.phase === 'tls' && !TRANSPORT_ERRORS.has(code));
  if (!concernsTls) return connectFailed(progress, describe(error), error);
  return new TlsError(`TLS with ${progress.host} failed: ${tlsReason(error)}`, {
    cause: error,
    phase: 'tls',
    host: progress.host,
  });
}

/** OpenSSL's message has numbers, source files and a line break in it; beside it Node gives the reason alone. */
function tlsReason(error: NodeJS.ErrnoException & { readonly reason?: unknown }): string {
  if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'the other side does not speak TLS at this port';
  return typeof error.reason === 'string' ? error.reason : error.message;
}

async function loadFiles(options: TlsOptions, host: string): Promise<tls.ConnectionOptions> {
  const { caFile, certFile, keyFile, ...rest } = options;
  const read = async (name: string, path: string | undefined) => {
    if (path === undefined) return {};
    try {
      return { [name]: await readFile(path) };
    } catch (error) {
      throw new TlsError(`cannot read the file for tls.${name}`, { cause: error, phase: 'tls', host });
    }
  };
  return {
    ...rest,
    ...(await read('ca', caFile)),
    ...(await read('cert', certFile)),
    ...(await read('key', keyFile)),
  };
}

/** Resolves at `event`; rejects with what the socket emits as error, or at its end, or with the signal's reason. */
function until(socket: net.Socket, event: string, progress: Progress, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onEvent = () => settle(resolve);
    const onError = (error: Error) => settle(() => reject(socketFailed(progress, error)));
    const onClose = () => settle(() => reject(connectFailed(progress, 'the peer closed the connection')));
    const onAbort = () => settle(() => reject(signal.reason));
    socket.on(event, onEvent).on('error', onError).on('close', onClose);
    signal.addEventListener('abort', onAbort);
  });
}

/** For `net.connect`: a lookup whose answer is known. */
function known(addresses: readonly LookupAddress[]): net.LookupFunction {
  return (_hostname, { all }, done) => {
    const [first] = addresses;
    if (all === true) done(null, [...addresses]);
    else done(null, first?.address ?? '', first?.family);
  };
}

/** What a socket still emits is not our concern, but an `error` without listener would end the process. */
function ignoreErrors(socket: net.Socket): void {
  socket.on('error', () => undefined);
}

function discard(socket: net.Socket): void {
  ignoreErrors(socket);
  socket.destroy();
}

/**
 * Opens TCP, and TLS over it where wanted, with TCP_NODELAY and keep-alive. The socket has no listeners when handed over.
 *
 * @param progress told which of `dns`, `tcp`, `tls` is under way
 * @param signal ends the try: the socket is destroyed and the reason thrown
 */
export async function openSocket(
  parameters: ResolvedParameters,
  progress: Progress,
  signal: AbortSignal,
): Promise<net.Socket> {
  const { hostname, port, addresses, keepAlive } = parameters;
  const tlsOptions = parameters.tls === undefined ? undefined : await loadFiles(parameters.tls, progress.host);
  signal.throwIfAborted();

  progress.phase = net.isIP(hostname) === 0 && addresses === undefined ? 'dns' : 'tcp';
  const plain = net.connect({
    host: hostname,
    port,
    ...(addresses === undefined ? {} : { lookup: known(addresses) }),
    noDelay: true,
    keepAlive: keepAlive !== false,
    ...(keepAlive === false ? {} : { keepAliveInitialDelay: keepAlive }),
  });
  plain.once('lookup', (error) => {
    if (!error) progress.phase = 'tcp';
  });
  let socket: net.Socket = plain;
  try {
    await until(plain, 'connect', progress, signal);
    if (tlsOptions === undefined) return plain;

    progress.phase = 'tls';
    const servername = tlsOptions.servername ?? (net.isIP(hostname) === 0 ? hostname : '');
    socket = tls.connect({ ...tlsOptions, host: hostname, servername, socket: plain });
    // The plain socket's errors are emitted by the TLS socket again.
    ignoreErrors(plain);
    await until(socket, 'secureConnect', progress, signal);
    return socket;
  } catch (error) {
    discard(socket);
    if (socket !== plain) discard(plain);
    // tls.connect itself throws for keys and certificates that cannot be parsed.
    throw error instanceof MessagingError || signal.aborted ? error : socketFailed(progress, error as Error);
  }
}
