import type { SecureVersion } from 'node:tls';
import { invalidUrl } from './invalid-url.js';
import { didYouMean } from './nearest.js';
import type { ConnectionParameters, TlsOptions } from './parameters.js';
import type { Literal } from './python-literal.js';
import { warnOnce } from './warnings.js';

/** What a key sets, given its value. */
type Setter = (value: string, key: string) => TlsOptions;

function flag(value: string, key: string): boolean {
  const word = value.toLowerCase();
  if (['1', 'true', 'yes', 'on'].includes(word)) return true;
  if (['0', 'false', 'no', 'off'].includes(word)) return false;
  throw invalidUrl(`'${key}' is neither true nor false: '${value}'`);
}

/** Names and numbers of Python's `ssl.VerifyMode`; Kombu's short names; Erlang's. */
const VERIFY: ReadonlyMap<string, boolean> = new Map([
  ['cert_none', false],
  ['none', false],
  ['0', false],
  ['cert_optional', true],
  ['optional', true],
  ['1', true],
  ['cert_required', true],
  ['required', true],
  ['2', true],
  ['verify_peer', true],
  ['verify_none', false],
]);

const setVerify: Setter = (value, key) => {
  const verify = VERIFY.get(value.toLowerCase());
  if (verify === undefined) {
    throw invalidUrl(`'${key}' is none of ${[...VERIFY.keys()].filter((k) => k.length > 1).join(', ')}: '${value}'`);
  }
  return { rejectUnauthorized: verify };
};

/** Names and numbers of Python's `ssl` protocol constants and `TLSVersion`; those that pin nothing are `undefined`. */
const VERSIONS: ReadonlyMap<string, SecureVersion | undefined> = new Map<string, SecureVersion | undefined>([
  ['protocol_tls', undefined],
  ['2', undefined],
  ['protocol_tls_client', undefined],
  ['16', undefined],
  ['minimum_supported', undefined],
  ['-2', undefined],
  ['maximum_supported', undefined],
  ['-1', undefined],
  ['protocol_tlsv1', 'TLSv1'],
  ['3', 'TLSv1'],
  ['tlsv1', 'TLSv1'],
  ['769', 'TLSv1'],
  ['protocol_tlsv1_1', 'TLSv1.1'],
  ['4', 'TLSv1.1'],
  ['tlsv1_1', 'TLSv1.1'],
  ['770', 'TLSv1.1'],
  ['protocol_tlsv1_2', 'TLSv1.2'],
  ['5', 'TLSv1.2'],
  ['tlsv1_2', 'TLSv1.2'],
  ['771', 'TLSv1.2'],
  ['tlsv1_3', 'TLSv1.3'],
  ['772', 'TLSv1.3'],
]);

function version(value: string, key: string): SecureVersion | undefined {
  const name = value.toLowerCase().replace(/^(ssl\.|tlsversion\.)/, '');
  if (!VERSIONS.has(name)) throw invalidUrl(`'${key}' is no TLS version of Python's ssl module: '${value}'`);
  return VERSIONS.get(name);
}

const setVersion: Setter = (value, key) => {
  const pinned = version(value, key);
  return { minVersion: pinned, maxVersion: pinned };
};

/** `disable` is Erlang's word for: do not send the extension. */
const setServerName: Setter = (value) => ({ servername: value === 'disable' ? '' : value });

const setCheckHostname: Setter = (value, key) => (flag(value, key) ? {} : { checkServerIdentity: () => undefined });

const ignored =
  (reason: string): Setter =>
  (_value, key) => {
    warnOnce(`url ${key}`, `'${key}' in an AMQP URL has no effect: ${reason}`);
    return {};
  };

/** Keys of py-amqp's ssl dictionary; in a URL with `ssl_` before them (Kombu). Keys of pika's `ssl_options` as they are. */
const PYTHON: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ['ca_certs', (value) => ({ caFile: value })],
  ['cafile', (value) => ({ caFile: value })],
  ['certfile', (value) => ({ certFile: value })],
  ['keyfile', (value) => ({ keyFile: value })],
  ['password', (value) => ({ passphrase: value })],
  ['cert_reqs', setVerify],
  ['check_hostname', setCheckHostname],
  ['server_hostname', setServerName],
  ['ciphers', (value) => ({ ciphers: value })],
  ['ssl_version', setVersion],
  ['tls_minimum_version', (value, key) => ({ minVersion: version(value, key) })],
  ['tls_maximum_version', (value, key) => ({ maxVersion: version(value, key) })],
]);

const PIKA: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ...PYTHON,
  ['ca_data', (value) => ({ ca: value })],
  ['cadata', (value) => ({ ca: value })],
  ['protocol', setVersion],
  ['verify_mode', setVerify],
  ['server_side', ignored('this is a client')],
  ['do_handshake_on_connect', ignored('the handshake is always done on connecting')],
  ['suppress_ragged_eofs', ignored('an unexpected end is always an error')],
]);

/** RabbitMQ's URI query parameters for TLS. */
const RABBITMQ: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ['cacertfile', (value) => ({ caFile: value })],
  ['certfile', (value) => ({ certFile: value })],
  ['keyfile', (value) => ({ keyFile: value })],
  ['password', (value) => ({ passphrase: value })],
  ['verify', setVerify],
  ['server_name_indication', setServerName],
  ['depth', ignored('Node does not bound the length of a certificate chain')],
  ['fail_if_no_peer_cert', ignored('it concerns servers')],
  ['customize_hostname_check', ignored('wildcards are matched as in HTTPS anyway')],
]);

/** Kombu's keys, whose mere presence turns TLS on. `ssl_version` already begins so. */
const KOMBU: ReadonlyMap<string, Setter> = new Map<string, Setter>(
  [...PYTHON].map(([key, set]) => [key.startsWith('ssl_') ? key : `ssl_${key}`, set]),
);

/** Every query key of a URL that concerns TLS, but for pika's `ssl_options`. */
export const TLS_KEYS: ReadonlySet<string> = new Set(['ssl', ...RABBITMQ.keys(), ...KOMBU.keys()]);

function enable(parameters: ConnectionParameters, key: string): TlsOptions {
  if (parameters.tls === false) throw invalidUrl(`'${key}' contradicts a key that turns TLS off`);
  if (typeof parameters.tls !== 'object') parameters.tls = {};
  return parameters.tls;
}

function disable(parameters: ConnectionParameters, key: string): void {
  if (parameters.tls) throw invalidUrl(`'${key}' turns TLS off, which contradicts the scheme or another key`);
  parameters.tls = false;
}

/** Applies one key of {@link TLS_KEYS}. */
export function applyTlsKey(parameters: ConnectionParameters, key: string, value: string): void {
  if (key === 'ssl') {
    if (flag(value, key)) enable(parameters, key);
    else disable(parameters, key);
    return;
  }
  const kombu = KOMBU.get(key);
  if (kombu !== undefined) {
    Object.assign(enable(parameters, key), kombu(value, key));
    return;
  }
  if (!parameters.tls) throw invalidUrl(`'${key}' needs TLS: write amqps://`);
  Object.assign(enable(parameters, key), RABBITMQ.get(key)?.(value, key));
}

/** Applies pika's `ssl_options`: a dictionary turns TLS on, `None` says that there is none. */
export function applyTlsDictionary(
  parameters: ConnectionParameters,
  options: Map<string, Literal> | undefined,
  key: string,
): ConnectionParameters {
  if (options === undefined) {
    disable(parameters, key);
    return {};
  }
  const tls = enable(parameters, key);
  for (const [name, value] of options) {
    const set = PIKA.get(name);
    if (set === undefined) throw invalidUrl(`'${key}' has an unknown key '${name}'${didYouMean(name, PIKA.keys())}`);
    if (value === null) continue;
    if (typeof value === 'object') throw invalidUrl(`'${key}' must give one value for '${name}'`);
    Object.assign(tls, set(String(value), name));
  }
  return { tls };
}
