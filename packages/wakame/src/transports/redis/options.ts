import { InvalidArgumentError, InvalidUrlError } from '../../errors.js';
import { checkInteger, checkOneOf, checkString, show } from '../../util/check.js';
import { didYouMean } from '../../util/nearest.js';
import { secondsToMs } from '../../util/seconds.js';
import { warnOnce } from '../../util/warnings.js';
import type { OpenDriver } from '../virtual/driver.js';
import type { RedisClient } from './library.js';

export type Parameters = OpenDriver['parameters'];

/** Options of this transport, by Kombu's names where Kombu has them. See `docs/guides/redis.md`. */
export const TRANSPORT_OPTIONS: ReadonlySet<string> = new Set([
  'body_encoding',
  'client',
  'client_name',
  'fanout_patterns',
  'fanout_prefix',
  'global_keyprefix',
  'health_check_interval',
  'implicit_queues',
  'lease',
  'master_name',
  'min_other_sentinels',
  'polling_interval',
  'priority_order',
  'priority_polling',
  'priority_steps',
  'sentinel_kwargs',
  'sep',
  'socket_connect_timeout',
  'socket_keepalive',
  'socket_keepalive_options',
  'socket_timeout',
  'unacked_index_key',
  'unacked_key',
  'unacked_mutex_expire',
  'unacked_mutex_key',
  'unacked_restore_interval',
  'unacked_restore_limit',
  'visibility_timeout',
]);

export const DURATION_OPTIONS: ReadonlySet<string> = new Set([
  'health_check_interval',
  'lease',
  'socket_connect_timeout',
  'socket_timeout',
  'unacked_mutex_expire',
  'unacked_restore_interval',
  'visibility_timeout',
]);

/** Options of Kombu's that mean nothing here. */
export const IGNORED_OPTIONS: Readonly<Record<string, string>> = {
  ack_emulation: 'what is taken is always recorded; consume with noAck where that is not wanted',
  credential_provider: 'it is an object of Python; the option `credentials` of the Connection is a function',
  max_connections: 'a Connection has two sockets, however many channels it has',
  reauth_check_interval: 'credentials are asked for at each connect',
  retry_on_timeout: 'the Connection connects again by itself after a timeout',
  unacked_restore_throttle: 'a sweep is one command, so none is left out',
};

const NO_OPTIONS: Readonly<Record<string, unknown>> = {};

/** Where Redis is, and how this database is used. Durations in milliseconds. */
export interface RedisSettings {
  readonly host: string;
  readonly port: number;
  /** Of the Unix socket; instead of host and port. */
  readonly path: string | undefined;
  readonly db: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly ssl: boolean | Readonly<Record<string, unknown>>;
  readonly sentinel: SentinelSettings | undefined;
  readonly connectTimeout: number;
  /** An answer that takes longer is a loss. */
  readonly answerTimeout: number;
  readonly keepAlive: number | undefined;
  /** 0: none. */
  readonly healthCheckInterval: number;
  readonly clientName: string | undefined;
  /** A client of the application's: those that are used are made like it. */
  readonly template: RedisClient | undefined;

  readonly prefix: string;
  readonly separator: string;
  readonly unackedKey: string;
  readonly unackedIndexKey: string;
  readonly mutexKey: string;
  readonly mutexExpire: number;
  readonly visibilityTimeout: number;
  readonly restoreInterval: number;
  readonly restoreLimit: number;
  readonly lease: number;
  readonly steps: readonly number[];
  readonly highestFirst: boolean;
  /** Every priority is served its share. */
  readonly weighted: boolean;
  readonly pollInterval: number;
  /** Before the name of an exchange, in the name of its channel. */
  readonly fanoutPrefix: string;
  readonly fanoutPatterns: boolean;
  readonly bodyEncoding: 'base64' | 'utf-8';
  readonly implicitQueues: 'replies' | 'always' | 'never';
}

export interface SentinelSettings {
  readonly masterName: string;
  readonly minOtherSentinels: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly ssl: boolean | Readonly<Record<string, unknown>> | undefined;
}

/** The list of a queue's messages of one step. */
export function listOf(names: Pick<RedisSettings, 'prefix' | 'separator'>, queue: string, step: number): string {
  const { prefix, separator } = names;
  return step === 0 ? `${prefix}${queue}` : `${prefix}${queue}${separator}${step}`;
}

const POLLINGS = ['strict', 'weighted'] as const;
const DEFAULT_PORT = 6379;
const SENTINEL_PORT = 26_379;

/**
 * Reads URL and options.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT, InvalidUrlError INVALID_URL, naming the value.
 */
export function redisSettings(parameters: Parameters, defaultLease: number): RedisSettings {
  const { transport, transportOptions: given = NO_OPTIONS } = parameters;
  const socket = parameters.hostname?.startsWith('socket://') ? socketUrl(parameters.hostname) : undefined;
  const isSentinel = transport === 'sentinel';
  const db = database(socket?.virtualHost ?? parameters.virtualHost);
  const connectTimeout = seconds(given, 'socket_connect_timeout', parameters.connectTimeout);
  return {
    host: parameters.hostname ?? 'localhost',
    port: parameters.port ?? (isSentinel ? SENTINEL_PORT : DEFAULT_PORT),
    path: socket?.path,
    db,
    username: parameters.userid ?? socket?.userid,
    password: parameters.password ?? socket?.password,
    ssl: transport === 'rediss' && parameters.ssl === false ? true : parameters.ssl,
    sentinel: isSentinel ? sentinelSettings(given) : undefined,
    connectTimeout: Math.min(connectTimeout, parameters.connectTimeout),
    answerTimeout: positive('socket_timeout', seconds(given, 'socket_timeout', 10_000)),
    keepAlive: keepAlive(given),
    healthCheckInterval: seconds(given, 'health_check_interval', 25_000),
    clientName: optionalText(given, 'client_name'),
    template: given['client'] as RedisClient | undefined,
    prefix: text(given, 'global_keyprefix', ''),
    separator: nonEmpty('sep', text(given, 'sep', '\x06\x16')),
    unackedKey: nonEmpty('unacked_key', text(given, 'unacked_key', 'unacked')),
    unackedIndexKey: nonEmpty('unacked_index_key', text(given, 'unacked_index_key', 'unacked_index')),
    mutexKey: nonEmpty('unacked_mutex_key', text(given, 'unacked_mutex_key', 'unacked_mutex')),
    mutexExpire: positive('unacked_mutex_expire', seconds(given, 'unacked_mutex_expire', 300_000)),
    visibilityTimeout: positive('visibility_timeout', seconds(given, 'visibility_timeout', 3_600_000)),
    restoreInterval: positive('unacked_restore_interval', seconds(given, 'unacked_restore_interval', 10_000)),
    restoreLimit: integer(given, 'unacked_restore_limit', 100, 1, 1000),
    lease: positive('lease', seconds(given, 'lease', defaultLease)),
    steps: prioritySteps(given['priority_steps']),
    highestFirst: checkOneOf('priority_order', given['priority_order'] ?? 'kombu', ['kombu', 'amqp']) === 'amqp',
    weighted: checkOneOf('priority_polling', given['priority_polling'] ?? 'strict', POLLINGS) === 'weighted',
    pollInterval: positive('polling_interval', seconds(given, 'polling_interval', 1000)),
    fanoutPrefix: fanoutPrefix(given['fanout_prefix'], db),
    fanoutPatterns: flag(given, 'fanout_patterns', true),
    bodyEncoding: bodyEncoding(given['body_encoding']),
    implicitQueues: checkOneOf('implicit_queues', given['implicit_queues'] ?? 'replies', [
      'replies',
      'always',
      'never',
    ]),
  };
}

/** `socket:///path/to.sock?virtual_host=1`: what follows `redis+`. */
function socketUrl(url: string): {
  readonly path: string;
  readonly virtualHost: string | undefined;
  readonly userid: string | undefined;
  readonly password: string | undefined;
} {
  const [, login = '', path = '', query = ''] = /^socket:\/\/(?:([^@/]*)@)?([^?]*)\??(.*)$/.exec(url) ?? [];
  if (!path.startsWith('/')) throw new InvalidUrlError('redis+socket:// needs the absolute path of a socket');
  const [userid = '', ...password] = login.split(':');
  let virtualHost: string | undefined;
  for (const [key, value] of new URLSearchParams(query)) {
    if (key !== 'virtual_host' && key !== 'db') {
      throw new InvalidUrlError(
        `unknown query key '${key}'${didYouMean(key, ['virtual_host', 'db'])} of redis+socket://`,
      );
    }
    virtualHost = value;
  }
  const decoded = (part: string) => (part === '' ? undefined : decodeURIComponent(part));
  return {
    path: decodeURIComponent(path),
    virtualHost,
    userid: decoded(userid),
    password: decoded(password.join(':')),
  };
}

/** The number of the database: the path of the URL, which may be `/`, `//1` or `1`. */
function database(virtualHost: string | undefined): number {
  const text = (virtualHost ?? '').replace(/^\/+/, '');
  if (text === '') return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`a database of Redis is a number, 0 and above, not ${show(virtualHost)}`);
}

function sentinelSettings(given: Readonly<Record<string, unknown>>): SentinelSettings {
  const masterName = optionalText(given, 'master_name');
  if (masterName === undefined || masterName === '') {
    throw new InvalidArgumentError(`sentinel:// needs the transport option master_name, not ${show(masterName)}`);
  }
  const kwargs = given['sentinel_kwargs'] ?? {};
  if (typeof kwargs !== 'object' || kwargs === null) {
    throw new InvalidArgumentError(`sentinel_kwargs must be an object, not of type ${typeof kwargs}`);
  }
  const { username, password, ssl, ...rest } = kwargs as Record<string, unknown>;
  const own: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest)) {
    if (key.startsWith('ssl_')) own[key] = value;
    else if (key === 'socket_timeout' || key === 'socket_connect_timeout') {
      warnOnce(`sentinel_kwargs ${key}`, `sentinel_kwargs '${key}' has no effect: socket_connect_timeout bounds it`);
    } else throw new InvalidArgumentError(`sentinel_kwargs has no '${key}'${didYouMean(key, SENTINEL_KEYS)}`);
  }
  const hasOwn = Object.keys(own).length > 0;
  return {
    masterName,
    minOtherSentinels: integer(given, 'min_other_sentinels', 0, 0, 1000),
    username: username === undefined ? undefined : checkString('sentinel_kwargs.username', username),
    // The value stays out of the message.
    password: typeof password === 'string' ? password : undefined,
    ssl: hasOwn ? own : (ssl as SentinelSettings['ssl']),
  };
}

const SENTINEL_KEYS = ['username', 'password', 'ssl', 'ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile', 'ssl_cert_reqs'];

/** In ascending order, whatever order they were given in. A URL has them as `0,3,6,9`. */
function prioritySteps(value: unknown): readonly number[] {
  if (value === undefined || value === null) return [0, 3, 6, 9];
  const given = typeof value === 'string' ? value.split(',').map((step) => Number(step.trim() || Number.NaN)) : value;
  const valid =
    Array.isArray(given) && given.length > 0 && given.every((step) => Number.isInteger(step) && step >= 0 && step <= 9);
  if (!valid) throw new InvalidArgumentError(`priority_steps must be integers from 0 to 9, not ${show(value)}`);
  return [...new Set(given as number[])].sort((a, b) => a - b);
}

/** `true`: `/<db>.`; a text stands for itself, with `{db}` for the number; `false`: nothing. */
function fanoutPrefix(value: unknown, db: number): string {
  if (value === undefined || value === null) return `/${db}.`;
  if (typeof value === 'boolean' || /^(?:1|0|true|false|yes|no|on|off)$/i.test(String(value))) {
    return value === true || /^(?:1|true|yes|on)$/i.test(String(value)) ? `/${db}.` : '';
  }
  const prefix = checkString('fanout_prefix', value);
  if (/^\/.*\.$/s.test(prefix)) return prefix.replaceAll('{db}', String(db));
  throw new InvalidArgumentError(`fanout_prefix must begin with '/' and end with '.', not ${show(value)}`);
}

function bodyEncoding(value: unknown): 'base64' | 'utf-8' {
  // Kombu: None leaves a body as it is.
  if (value === null || value === 'None') return 'utf-8';
  return checkOneOf('body_encoding', value ?? 'base64', ['base64', 'utf-8']);
}

/** Milliseconds until the first probe. */
function keepAlive(given: Readonly<Record<string, unknown>>): number | undefined {
  const options = given['socket_keepalive_options'];
  let delay: number | undefined;
  if (typeof options === 'object' && options !== null) {
    for (const [key, value] of Object.entries(options)) {
      // By Python's name, or its number on Linux.
      if (key === 'TCP_KEEPIDLE' || key === '4') delay = secondsToMs(key, value);
      else warnOnce(`keepalive ${key}`, `socket_keepalive_options '${key}' has no effect: Node cannot set it`);
    }
  } else if (options !== undefined && options !== null) {
    throw new InvalidArgumentError(`socket_keepalive_options must be an object, not ${show(options)}`);
  }
  return flag(given, 'socket_keepalive', true) ? (delay ?? 25_000) : undefined;
}

function seconds(given: Readonly<Record<string, unknown>>, name: string, fallback: number): number {
  const value = given[name];
  return value === undefined || value === null ? fallback : secondsToMs(name, value);
}

function positive(name: string, ms: number): number {
  if (ms > 0) return ms;
  throw new InvalidArgumentError(`${name} must be more than 0 seconds`);
}

function text(given: Readonly<Record<string, unknown>>, name: string, fallback: string): string {
  return optionalText(given, name) ?? fallback;
}

function optionalText(given: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = given[name];
  return value === undefined || value === null ? undefined : checkString(name, value);
}

function nonEmpty(name: string, value: string): string {
  if (value !== '') return value;
  throw new InvalidArgumentError(`${name} must not be empty`);
}

function integer(
  given: Readonly<Record<string, unknown>>,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = given[name];
  if (value === undefined || value === null) return fallback;
  return checkInteger(name, typeof value === 'string' && value.trim() !== '' ? Number(value) : value, { min, max });
}

function flag(given: Readonly<Record<string, unknown>>, name: string, fallback: boolean): boolean {
  const value = given[name];
  if (value === undefined || value === null) return fallback;
  if (typeof value === 'boolean') return value;
  if (/^(?:1|true|yes|on)$/i.test(String(value))) return true;
  if (/^(?:0|false|no|off)$/i.test(String(value))) return false;
  throw new InvalidArgumentError(`${name} must be true or false, not ${show(value)}`);
}
