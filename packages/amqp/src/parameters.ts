import type { LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { InvalidArgumentError } from './errors.js';
import { didYouMean } from './nearest.js';
import { FRAME_MIN_SIZE } from './protocol/spec.js';
import type { FieldTable } from './protocol/tables.js';
import { resolveMechanisms, type SaslMechanism } from './sasl.js';

/**
 * What to verify the server with and what to show it. Every option of Node's `tls.connect` is taken (`ca`, `cert`,
 * `key`, `passphrase`, `servername`, `rejectUnauthorized`, `checkServerIdentity`, `minVersion`, …), and files by name,
 * which are read anew at each try to connect, so that a renewed certificate is used.
 *
 * The server's certificate is verified unless `rejectUnauthorized` is `false`.
 */
export interface TlsOptions extends ConnectionOptions {
  /** File with the certificates (PEM) of the authorities to trust, instead of those that Node knows. */
  caFile?: string | undefined;
  /** File with the client's certificate chain (PEM). */
  certFile?: string | undefined;
  /** File with the client's private key (PEM). */
  keyFile?: string | undefined;
}

/** How to reach a broker. Whatever is left out has the default that is told. */
export interface ConnectionParameters {
  /** Host name or address; IPv6 with or without brackets. Default `localhost`. */
  hostname?: string | undefined;
  /**
   * Where `hostname` leads, to be used instead of looking it up; the name is still what TLS verifies. The next is tried when one
   * cannot be reached.
   */
  addresses?: readonly LookupAddress[] | undefined;
  /** Default 5672, with `tls` 5671. */
  port?: number | undefined;
  /** Default `guest`. */
  username?: string | undefined;
  /** Default `guest`. A function is called at each try to connect, for tokens that expire. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** Virtual host. Default `/`. */
  vhost?: string | undefined;
  /** `true` or options: connect over TLS. Default: no TLS. */
  tls?: boolean | TlsOptions | undefined;
  /**
   * SASL mechanism or mechanisms, most wanted first: `PLAIN`, `AMQPLAIN`, `EXTERNAL` or an object of your own. The first
   * one that the server offers is used. Default: `PLAIN`, then `AMQPLAIN`; and before them `EXTERNAL` when there is a
   * client certificate and neither `username` nor `password`.
   */
  mechanism?: string | SaslMechanism | readonly (string | SaslMechanism)[] | undefined;
  /** Longest frame in bytes, 4096 or more; 0: no limit. The server may lower it. Default 131072. */
  frameMax?: number | undefined;
  /** Highest channel number, up to 65535; 0: no limit. The server may lower it. Default 2047. */
  channelMax?: number | undefined;
  /** Milliseconds, rounded up to seconds; 0: no heartbeats. The server may lower it. Default 60000. */
  heartbeat?: number | undefined;
  /** Deadline in milliseconds for one try: name lookup, TCP, TLS, login and all. 0: none. Default 5000. */
  connectTimeout?: number | undefined;
  /** Deadline in milliseconds for the answer to a method. 0: none. Default 10000. */
  rpcTimeout?: number | undefined;
  /** Deadline in milliseconds for an orderly close. 0: do not wait. Default 10000. */
  closeTimeout?: number | undefined;
  /**
   * Milliseconds that the broker may keep the connection blocked before it is dropped with `BLOCKED_TIMEOUT`. 0: for
   * ever. Default 0.
   */
  blockedTimeout?: number | undefined;
  /** Longest body in bytes, received or sent. Default 128 MiB. */
  maxBodyBytes?: number | undefined;
  /** TCP keep-alive: milliseconds of silence before the first probe; `false`: off. Default (and `true`) 60000. */
  keepAlive?: boolean | number | undefined;
  /** Default `en_US`. */
  locale?: string | undefined;
  /** Sent to the server at login. Fields given here replace those of ours that have the same name. */
  clientProperties?: FieldTable | undefined;
  /** Shown by the broker's management: the client property `connection_name`. */
  connectionName?: string | undefined;
  /** How often the list of targets is tried. Default 1. */
  connectionAttempts?: number | undefined;
  /** Milliseconds between two tries of the list. Default 2000. */
  retryDelay?: number | undefined;
}

/** Parameters with every default filled in and every value checked. */
export interface ResolvedParameters {
  readonly hostname: string;
  readonly addresses: readonly LookupAddress[] | undefined;
  readonly port: number;
  readonly username: string;
  readonly password: string | (() => string | Promise<string>);
  readonly vhost: string;
  readonly tls: TlsOptions | undefined;
  readonly mechanisms: readonly SaslMechanism[];
  readonly frameMax: number;
  readonly channelMax: number;
  readonly heartbeat: number;
  readonly connectTimeout: number;
  readonly rpcTimeout: number;
  readonly closeTimeout: number;
  readonly blockedTimeout: number;
  readonly maxBodyBytes: number;
  readonly keepAlive: number | false;
  readonly locale: string;
  readonly clientProperties: FieldTable;
  readonly connectionName: string | undefined;
  readonly connectionAttempts: number;
  readonly retryDelay: number;
}

/** The longest delay that a Node timer can have, in milliseconds. */
export const MAX_DELAY = 2_147_483_647;
const MAX_BODY_BYTES = 134_217_728;
const MAX_HEARTBEAT = 65_535_000;

const KNOWN_PARAMETERS: ReadonlySet<string> = new Set<keyof ConnectionParameters>([
  'hostname',
  'addresses',
  'port',
  'username',
  'password',
  'vhost',
  'tls',
  'mechanism',
  'frameMax',
  'channelMax',
  'heartbeat',
  'connectTimeout',
  'rpcTimeout',
  'closeTimeout',
  'blockedTimeout',
  'maxBodyBytes',
  'keepAlive',
  'locale',
  'clientProperties',
  'connectionName',
  'connectionAttempts',
  'retryDelay',
]);

/** Throws `INVALID_ARGUMENT` for a key that is not in `known`. */
export function refuseUnknownKeys(what: string, given: object, known: ReadonlySet<string>): void {
  for (const key of Object.keys(given)) {
    if (!known.has(key)) throw new InvalidArgumentError(`unknown ${what} '${key}'${didYouMean(key, known)}`);
  }
}

function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`${name} must be an integer from ${min} to ${max}: ${describe(value)}`);
}

/** Checks a duration in milliseconds that a timer can keep. */
export function duration(name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= MAX_DELAY) return value;
  throw new InvalidArgumentError(`${name} must be milliseconds from 0 to ${MAX_DELAY}: ${describe(value)}`);
}

function text(name: string, value: unknown, maxBytes: number): string {
  if (typeof value !== 'string') throw new InvalidArgumentError(`${name} must be a string: ${describe(value)}`);
  if (Buffer.byteLength(value) > maxBytes) throw new InvalidArgumentError(`${name} is longer than ${maxBytes} bytes`);
  return value;
}

function describe(value: unknown): string {
  return typeof value === 'object' || typeof value === 'function' ? typeof value : String(value);
}

function resolveAddresses(given: ConnectionParameters['addresses']): ResolvedParameters['addresses'] {
  if (given === undefined) return undefined;
  const isAddress = (each: unknown) => {
    const { address, family } = (each ?? {}) as Partial<LookupAddress>;
    return typeof address === 'string' && isIP(address) !== 0 && isIP(address) === family;
  };
  if (Array.isArray(given) && given.length > 0 && given.every(isAddress)) return given;
  throw new InvalidArgumentError('addresses must be a list of { address, family } with at least one');
}

function resolveHeartbeat(value: number): number {
  if (value > 0 && value < 1000) {
    throw new InvalidArgumentError(
      `heartbeat is in milliseconds and at least 1000: ${value} was given, ${value * 1000} is probably meant`,
    );
  }
  const checked = duration('heartbeat', value);
  if (checked > MAX_HEARTBEAT) throw new InvalidArgumentError(`heartbeat is at most ${MAX_HEARTBEAT} ms: ${value}`);
  return Math.ceil(checked / 1000) * 1000;
}

function resolveFrameMax(value: number): number {
  if (value === 0) return 0;
  return integer('frameMax', value, FRAME_MIN_SIZE, 0xffff_ffff);
}

function resolveKeepAlive(value: boolean | number): number | false {
  if (value === false) return false;
  return value === true ? 60_000 : duration('keepAlive', value);
}

function resolvePassword(value: unknown): ResolvedParameters['password'] {
  if (typeof value === 'string') return value;
  if (typeof value === 'function') return value as () => string | Promise<string>;
  throw new InvalidArgumentError(`password must be a string or a function, not ${typeof value}`);
}

function resolveTls(value: unknown): TlsOptions | undefined {
  if (value === false || value === undefined) return undefined;
  if (value === true) return {};
  if (typeof value === 'object' && value !== null) return value as TlsOptions;
  throw new InvalidArgumentError(`tls must be a boolean or options: ${describe(value)}`);
}

function hasClientCertificate(tls: TlsOptions | undefined): boolean {
  return tls !== undefined && (tls.cert ?? tls.certFile ?? tls.pfx ?? tls.secureContext) !== undefined;
}

/**
 * Checks parameters and fills in the defaults.
 *
 * @throws InvalidArgumentError `INVALID_ARGUMENT` that names the parameter and, unless it is secret, its value
 */
export function resolveParameters(given: ConnectionParameters): ResolvedParameters {
  refuseUnknownKeys('connection parameter', given, KNOWN_PARAMETERS);
  const tls = resolveTls(given.tls);
  const byCertificate = hasClientCertificate(tls) && given.username === undefined && given.password === undefined;
  const hostname = text('hostname', given.hostname ?? 'localhost', 255).replace(/^\[(.*)\]$/, '$1');
  if (hostname === '' || /[\s/?#@;,]/.test(hostname)) {
    throw new InvalidArgumentError('hostname must be one host name or address');
  }
  return {
    hostname,
    addresses: resolveAddresses(given.addresses),
    port: integer('port', given.port ?? (tls === undefined ? 5672 : 5671), 1, 65_535),
    username: text('username', given.username ?? 'guest', MAX_BODY_BYTES),
    password: resolvePassword(given.password ?? 'guest'),
    vhost: text('vhost', given.vhost ?? '/', 255),
    tls,
    mechanisms: resolveMechanisms(
      given.mechanism ?? (byCertificate ? ['EXTERNAL', 'PLAIN', 'AMQPLAIN'] : ['PLAIN', 'AMQPLAIN']),
    ),
    frameMax: resolveFrameMax(given.frameMax ?? 131_072),
    channelMax: integer('channelMax', given.channelMax ?? 2047, 0, 65_535),
    heartbeat: resolveHeartbeat(given.heartbeat ?? 60_000),
    connectTimeout: duration('connectTimeout', given.connectTimeout ?? 5000),
    rpcTimeout: duration('rpcTimeout', given.rpcTimeout ?? 10_000),
    closeTimeout: duration('closeTimeout', given.closeTimeout ?? 10_000),
    blockedTimeout: duration('blockedTimeout', given.blockedTimeout ?? 0),
    maxBodyBytes: integer('maxBodyBytes', given.maxBodyBytes ?? MAX_BODY_BYTES, 0, Number.MAX_SAFE_INTEGER),
    keepAlive: resolveKeepAlive(given.keepAlive ?? true),
    locale: text('locale', given.locale ?? 'en_US', 255),
    clientProperties: given.clientProperties ?? {},
    connectionName: given.connectionName === undefined ? undefined : text('connectionName', given.connectionName, 4096),
    connectionAttempts: integer('connectionAttempts', given.connectionAttempts ?? 1, 1, Number.MAX_SAFE_INTEGER),
    retryDelay: duration('retryDelay', given.retryDelay ?? 2000),
  };
}

/** `first`, and what it lacks from `second`; of TLS options each for itself. */
export function mergeParameters(first: ConnectionParameters, second: ConnectionParameters): ConnectionParameters {
  const merged: Record<string, unknown> = { ...second };
  for (const [key, value] of Object.entries(first)) {
    if (value !== undefined) merged[key] = value;
  }
  if (first.tls && typeof second.tls === 'object') {
    merged.tls = first.tls === true ? second.tls : { ...second.tls, ...first.tls };
  }
  return merged as ConnectionParameters;
}
