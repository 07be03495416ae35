/**
 * The transport options of AMQP (py-amqp's and pika's names, seconds), and what they mean to the client.
 */
import { type ConnectionParameters as ClientParameters, parseUrl } from '@wakame/amqp';
import { InvalidArgumentError } from '../../errors.js';
import type { ConnectionParameters } from '../../transport/contract.js';
import { checkFunction, checkOneOf, show } from '../../util/check.js';
import { secondsToMs } from '../../util/seconds.js';
import { warnOnce } from '../../util/warnings.js';
import { tlsOptions } from './tls.js';

/** Options whose text, as in a URL, the client reads itself. Values of other types are turned into that text. */
const CLIENT_KEYS = [
  'channel_max',
  'frame_max',
  'locale',
  'connection_name',
  'blocked_connection_timeout',
  'tcp_options',
  'ssl_options',
] as const;

/** Options of this transport, see `docs`. */
export const TRANSPORT_OPTIONS: ReadonlySet<string> = new Set([
  ...CLIENT_KEYS,
  'authentication',
  'client_properties',
  'delayed_delivery_queue_type',
  'login_method',
  'manager_hostname',
  'manager_password',
  'manager_port',
  'manager_userid',
  'on_blocked',
  'on_unblocked',
  'read_timeout',
  'socket_settings',
  'write_timeout',
]);

/** Those that are durations: seconds. */
export const DURATION_OPTIONS: ReadonlySet<string> = new Set([
  'blocked_connection_timeout',
  'read_timeout',
  'write_timeout',
]);

/** Options of py-amqp, pika and Kombu that mean nothing here. */
export const IGNORED_OPTIONS: Readonly<Record<string, string>> = {
  backpressure_detection: 'backpressure is always on',
  connection_attempts: 'the Connection tries again by itself (connectDeadline, max_retries)',
  retry_delay: 'the Connection paces its tries by itself (interval_start, interval_step, interval_max)',
  on_open: 'listen to the event `connected`',
  on_tune_ok: 'listen to the event `connected`',
  polling_interval: 'nothing is polled',
  socket_timeout: 'connect_timeout bounds a try to connect',
  stack_timeout: 'connect_timeout bounds a try to connect',
};

/** What the adapter itself obeys. */
export interface AmqpOptions {
  /** Drop the connection when the peer has read nothing for this long. Milliseconds. */
  readonly writeTimeout: number | undefined;
  readonly onBlocked: ((reason: string) => void) | undefined;
  readonly onUnblocked: (() => void) | undefined;
  readonly delayQueueType: 'quorum' | 'classic';
}

/** Throws INVALID_ARGUMENT for values of the wrong kind. */
export function amqpOptions({ transportOptions: options }: ConnectionParameters): AmqpOptions {
  const { write_timeout: writeTimeout, on_blocked: onBlocked, on_unblocked: onUnblocked } = options;
  return {
    writeTimeout: writeTimeout === undefined ? undefined : secondsToMs('write_timeout', writeTimeout),
    onBlocked: callback('on_blocked', onBlocked),
    onUnblocked: callback('on_unblocked', onUnblocked),
    delayQueueType: checkOneOf('delayed_delivery_queue_type', options['delayed_delivery_queue_type'] ?? 'quorum', [
      'quorum',
      'classic',
    ]),
  };
}

/** The client's parameters for one socket. Throws INVALID_ARGUMENT or INVALID_URL for values that cannot be used. */
export function clientParameters(parameters: ConnectionParameters): ClientParameters {
  const { transportOptions: options, loginMethod } = parameters;
  const { read_timeout: readTimeout, client_properties: properties, login_method: ownMethod } = options;
  const fromText = parseUrl(`amqp://localhost/?${query(options)}`);
  const { tls, keepAlive, clientProperties, ...known } = fromText;
  return {
    ...known,
    ...(keepAlive === undefined ? socketSettings(options['socket_settings']) : { keepAlive }),
    hostname: parameters.hostname ?? 'localhost',
    addresses: parameters.addresses,
    port: parameters.port,
    username: parameters.userid,
    password: parameters.password,
    vhost: parameters.virtualHost ?? '/',
    tls: tlsOptions(parameters) ?? tls,
    mechanism: mechanism(options['authentication'], ownMethod ?? loginMethod),
    heartbeat: parameters.heartbeat,
    connectTimeout: parameters.connectTimeout,
    rpcTimeout: readTimeout === undefined ? undefined : secondsToMs('read_timeout', readTimeout),
    clientProperties: clientProperties ?? clientTable(properties),
  };
}

/** The options that the client can read as text, as the query of a URL. */
function query(options: Readonly<Record<string, unknown>>): string {
  const parts = new URLSearchParams();
  for (const key of CLIENT_KEYS) {
    const value = options[key];
    if (value === undefined) continue;
    parts.set(key, typeof value === 'object' ? JSON.stringify(value) : String(value));
  }
  const { client_properties: properties } = options;
  if (typeof properties === 'string') parts.set('client_properties', properties);
  return parts.toString().replaceAll('+', '%20');
}

function clientTable(properties: unknown): ClientParameters['clientProperties'] {
  if (properties === undefined || typeof properties === 'string') return undefined;
  if (typeof properties === 'object' && properties !== null) return properties as ClientParameters['clientProperties'];
  throw new InvalidArgumentError(`client_properties must be an object, not ${show(properties)}`);
}

function mechanism(authentication: unknown, method: unknown): ClientParameters['mechanism'] {
  const wanted = authentication ?? method;
  if (wanted === undefined) return undefined;
  // py-amqp takes a list of mechanisms; the client checks each.
  if (typeof wanted === 'string' || typeof wanted === 'object') return wanted as ClientParameters['mechanism'];
  throw new InvalidArgumentError(`authentication must be SASL mechanisms, not ${show(wanted)}`);
}

/** Socket options by Python's names, and by the numbers that they have on Linux. */
const SOCKET_SETTINGS: Readonly<Record<string, string>> = {
  1: 'TCP_NODELAY',
  4: 'TCP_KEEPIDLE',
  5: 'TCP_KEEPINTVL',
  6: 'TCP_KEEPCNT',
  18: 'TCP_USER_TIMEOUT',
};

/** py-amqp's `socket_settings`. Node can set the time before the first keep-alive probe. */
function socketSettings(settings: unknown): Pick<ClientParameters, 'keepAlive'> {
  if (settings === undefined) return {};
  if (typeof settings !== 'object' || settings === null) {
    throw new InvalidArgumentError(`socket_settings must be an object, not ${show(settings)}`);
  }
  let keepAlive: ClientParameters['keepAlive'];
  for (const [key, value] of Object.entries(settings)) {
    const name = SOCKET_SETTINGS[key] ?? key;
    if (name === 'TCP_KEEPIDLE') keepAlive = secondsToMs(name, value);
    else if (name === 'SO_KEEPALIVE') keepAlive ??= Boolean(value);
    else warnOnce(`socket_settings ${name}`, `socket setting '${key}' has no effect: Node cannot set it`);
  }
  return { keepAlive };
}

function callback<F extends (...args: never[]) => unknown>(name: string, value: unknown): F | undefined {
  return value === undefined ? undefined : checkFunction(name, value as F);
}
