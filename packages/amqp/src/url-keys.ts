import { invalidUrl } from './invalid-url.js';
import { didYouMean } from './nearest.js';
import { type ConnectionParameters, MAX_DELAY } from './parameters.js';
import type { FieldTable, FieldValue } from './protocol/tables.js';
import { type Literal, parseLiteral } from './python-literal.js';
import { applyTlsDictionary, applyTlsKey, TLS_KEYS } from './url-tls-keys.js';
import { warnOnce } from './warnings.js';

/** What a key sets, given its value and what was set so far. */
type Setter = (value: string, key: string, parameters: ConnectionParameters) => ConnectionParameters;

/** A number with optional fraction, in `unit` milliseconds. */
function toMilliseconds(value: string, key: string, unit: number): number {
  const milliseconds = Math.round(Number(value) * unit);
  if (!/^\d+(\.\d*)?$|^\.\d+$/.test(value) || milliseconds > MAX_DELAY) {
    throw invalidUrl(`'${key}' is not a duration in ${unit === 1 ? 'milliseconds' : 'seconds'}: '${value}'`);
  }
  return milliseconds;
}

const seconds = (value: string, key: string): number => toMilliseconds(value, key, 1000);

function integer(value: string, key: string): number {
  if (!/^\d{1,15}$/.test(value)) throw invalidUrl(`'${key}' is not a whole number: '${value}'`);
  return Number(value);
}

function dictionary(value: string, key: string): Map<string, Literal> {
  let literal: Literal;
  try {
    literal = parseLiteral(value);
  } catch (error) {
    throw invalidUrl(`'${key}' is ${error instanceof Error ? error.message : 'malformed'}`, error);
  }
  if (literal instanceof Map) return literal;
  throw invalidUrl(`'${key}' is not a dictionary`);
}

function toFieldValue(literal: Literal): FieldValue {
  if (literal instanceof Map) return toFieldTable(literal);
  return Array.isArray(literal) ? literal.map(toFieldValue) : literal;
}

function toFieldTable(map: Map<string, Literal>): FieldTable {
  return Object.fromEntries([...map].map(([key, value]) => [key, toFieldValue(value)]));
}

/** Options of pika's TCP socket that Node cannot set. */
const IGNORED_TCP_OPTIONS: ReadonlySet<string> = new Set(['TCP_KEEPINTVL', 'TCP_KEEPCNT', 'TCP_USER_TIMEOUT']);
const TCP_OPTIONS: ReadonlySet<string> = new Set(['TCP_KEEPIDLE', ...IGNORED_TCP_OPTIONS]);

const setTcpOptions: Setter = (value, key) => {
  const set: ConnectionParameters = {};
  for (const [name, option] of dictionary(value, key)) {
    if (!TCP_OPTIONS.has(name)) {
      throw invalidUrl(`'${key}' has an unknown key '${name}'${didYouMean(name, TCP_OPTIONS)}`);
    }
    if (typeof option !== 'number') throw invalidUrl(`'${key}' must give a number for '${name}'`);
    if (IGNORED_TCP_OPTIONS.has(name))
      warnOnce(`tcp_options ${name}`, `'${name}' in an AMQP URL has no effect in Node`);
    else set.keepAlive = seconds(String(option), name);
  }
  return set;
};

const addMechanism: Setter = (value, _key, parameters) => {
  const earlier = Array.isArray(parameters.mechanism) ? (parameters.mechanism as string[]) : [];
  // The Erlang client also takes a module's name in front.
  return { mechanism: [...earlier, value.replace(/^amqp_auth_mechanisms:/, '').toUpperCase()] };
};

/** One deadline covers a whole try: of pika's two the longer is that. */
const longerTimeout: Setter = (value, key, { connectTimeout = 0 }) => ({
  connectTimeout: Math.max(connectTimeout, seconds(value, key)),
});

const ignored =
  (reason: string): Setter =>
  (_value, key) => {
    warnOnce(`url ${key}`, `'${key}' in an AMQP URL has no effect: ${reason}`);
    return {};
  };

const SETTERS: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  // pika
  ['backpressure_detection', ignored('backpressure is always on')],
  ['blocked_connection_timeout', (v, k) => ({ blockedTimeout: seconds(v, k) })],
  ['channel_max', (v, k) => ({ channelMax: integer(v, k) })],
  ['client_properties', (v, k) => ({ clientProperties: toFieldTable(dictionary(v, k)) })],
  ['connection_attempts', (v, k) => ({ connectionAttempts: integer(v, k) })],
  ['frame_max', (v, k) => ({ frameMax: integer(v, k) })],
  ['heartbeat', (v, k) => ({ heartbeat: seconds(v, k) })],
  ['locale', (v) => ({ locale: v })],
  ['retry_delay', (v, k) => ({ retryDelay: seconds(v, k) })],
  ['tcp_options', setTcpOptions],
  ['ssl_options', (v, k, p) => applyTlsDictionary(p, parseTlsDictionary(v, k), k)],
  ['socket_timeout', longerTimeout],
  ['stack_timeout', longerTimeout],
  // RabbitMQ's URI query parameters
  ['auth_mechanism', addMechanism],
  ['connection_timeout', (v, k) => ({ connectTimeout: toMilliseconds(v, k, 1) })],
  // Kombu and py-amqp
  ['connect_timeout', (v, k) => ({ connectTimeout: seconds(v, k) })],
  ['login_method', addMechanism],
  ['insist', ignored('brokers have not redirected clients since AMQP 0-8')],
  // Shared by several clients
  ['connection_name', (v) => ({ connectionName: v })],
]);

/** `None` means: no TLS. */
function parseTlsDictionary(value: string, key: string): Map<string, Literal> | undefined {
  return /^\s*(None|null)\s*$/.test(value) ? undefined : dictionary(value, key);
}

const REPEATABLE: ReadonlySet<string> = new Set(['auth_mechanism', 'login_method']);

/**
 * Applies the keys of a URL's query. Durations are in seconds, as in the clients that the keys come from, but for
 * RabbitMQ's `connection_timeout`, which is in milliseconds. The comment of `parseUrl`
 * lists the keys.
 *
 * @throws InvalidArgumentError `INVALID_URL` for a key nobody knows (with the nearest known one), a key given twice and
 *   a value that cannot be used
 */
export function applyUrlKeys(parameters: ConnectionParameters, query: readonly (readonly [string, string])[]): void {
  const seen = new Set<string>();
  for (const [key, value] of query) {
    if (seen.has(key) && !REPEATABLE.has(key)) throw invalidUrl(`'${key}' is given twice`);
    seen.add(key);
    const set = SETTERS.get(key);
    if (set !== undefined) Object.assign(parameters, set(value, key, parameters));
    else if (!TLS_KEYS.has(key)) throw invalidUrl(unknownKey(key));
  }
  for (const [key, value] of query) {
    if (TLS_KEYS.has(key)) applyTlsKey(parameters, key, value);
  }
}

function unknownKey(key: string): string {
  return `unknown query key '${key}'${didYouMean(key, [...SETTERS.keys(), ...TLS_KEYS])}`;
}
