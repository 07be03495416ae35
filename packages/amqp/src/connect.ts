import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.js';
import { ConnectionEngine } from './connection-engine.js';
import { blame, callSite } from './error-copies.js';
import { InvalidArgumentError, MessagingError, RecoverableConnectionError, TimeoutError } from './errors.js';
import {
  type ConnectionParameters,
  mergeParameters,
  type ResolvedParameters,
  resolveParameters,
} from './parameters.js';
import { connectFailed, hostLabel, openSocket, type Progress } from './socket.js';
import { parseUrl } from './url.js';

/** Where to connect to: a URL (see the README for its form) or parameters. */
export type ConnectTarget = string | ConnectionParameters;

export interface ConnectOptions extends ConnectionParameters {
  /** Ends the attempt: `connect` rejects with `signal.reason`, and no socket is left. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a broker. Several targets are tried in order, each with a deadline of its own (`connectTimeout`, 5 s); the
 * whole list up to `connectionAttempts` times, `retryDelay` apart.
 *
 * Rejects
 * - with `CONNECT_FAILED`, and `phase` (`dns`, `tcp`, `tls`, `sasl`, `tune`, `open`) and `host`; after several tries
 *   `cause` is an AggregateError of all of them,
 * - with AuthenticationError `AUTH_FAILED`, VhostNotFoundError `VHOST_NOT_FOUND` or TlsError `TLS_FAILED` when that is
 *   what one target answered and none could be connected to; such a target is not tried again,
 * - with `INVALID_URL` or `INVALID_ARGUMENT` before anything is tried,
 * - with `signal.reason`.
 *
 * @param target default `amqp://localhost`
 * @param options fill in what a target leaves open
 */
export async function connect(
  target: ConnectTarget | readonly ConnectTarget[] = {},
  options: ConnectOptions = {},
): Promise<Connection> {
  const site = callSite(connect);
  const { signal, ...defaults } = options;
  signal?.throwIfAborted();
  let candidates = (isList(target) ? target : [target]).map((each) =>
    resolveParameters(mergeParameters(typeof each === 'string' ? parseUrl(each) : each, defaults)),
  );
  if (candidates.length === 0) throw new InvalidArgumentError('connect needs at least one target');
  const attempts = Math.max(...candidates.map(({ connectionAttempts }) => connectionAttempts));
  const retryDelay = Math.max(...candidates.map((candidate) => candidate.retryDelay));

  const errors: MessagingError[] = [];
  for (let attempt = 1; ; attempt += 1) {
    const worthAnotherTry: ResolvedParameters[] = [];
    for (const candidate of candidates) {
      try {
        return await connectOnce(candidate, signal);
      } catch (error) {
        if (!(error instanceof MessagingError)) throw error;
        errors.push(error);
        if (error.recoverable) worthAnotherTry.push(candidate);
      }
    }
    candidates = worthAnotherTry;
    if (attempt >= attempts || candidates.length === 0) throw blame(summary(errors), site);
    await pause(retryDelay, signal);
  }
}

function isList(target: ConnectTarget | readonly ConnectTarget[]): target is readonly ConnectTarget[] {
  return Array.isArray(target);
}

async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** What cannot be mended by trying again says most. Else the last error, with all of them where there were several. */
function summary(errors: readonly MessagingError[]): MessagingError {
  const last = errors.at(-1) as MessagingError;
  const decisive = errors.find((error) => !error.recoverable);
  if (decisive !== undefined) return decisive;
  if (errors.length === 1) return last;
  return new RecoverableConnectionError(`${last.message} (the last of ${errors.length} tries)`, {
    code: 'CONNECT_FAILED',
    phase: last.phase,
    host: last.host,
    cause: new AggregateError(errors, 'every try to connect failed'),
  });
}

/** One try at one target, within its deadline. */
async function connectOnce(parameters: ResolvedParameters, signal: AbortSignal | undefined): Promise<Connection> {
  const { connectTimeout } = parameters;
  const progress: Progress = { phase: 'dns', host: hostLabel(parameters.hostname, parameters.port) };
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  const onDeadline = () => {
    const problem = `not done within ${connectTimeout} ms`;
    controller.abort(connectFailed(progress, problem, new TimeoutError(problem)));
  };
  const timer = connectTimeout === 0 ? undefined : setTimeout(onDeadline, connectTimeout);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const socket = await openSocket(parameters, progress, controller.signal);
    const engine = new ConnectionEngine(socket, parameters, progress.host);
    await engine.open(parameters, progress, controller.signal);
    return new Connection(engine);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
