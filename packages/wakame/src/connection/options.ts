/**
 * Options of a Connection: what the caller may give, and the settings that follow from them and from the URLs.
 */
import { InvalidArgumentError } from '../errors.js';
import type { ConnectionParameters, TransportModule } from '../transport/contract.js';
import { readsWholeUrl, transportLoader } from '../transport/registry.js';
import { asUrl, CONNECTION_QUERY_KEYS, type ParsedUrl, parseUrl, parseUrls, type UrlRules } from '../url/index.js';
import { checkDuration, checkInteger, checkKeys, checkString, show } from '../util/check.js';
import type { CycleName } from '../util/cycles.js';
import { secondsToMs } from '../util/seconds.js';
import { warnOnce } from '../util/warnings.js';
import type { Credentials, CredentialsProvider } from './credentials.js';
import { DEFAULTS } from './defaults.js';
import { checkStrategy, type FailoverStrategy, type Host, HostCycle } from './hosts.js';
import type { RetryOptions } from './retry-options.js';
import { commonOptions, type TransportOptions } from './transport-options.js';

/**
 * Options of a Connection. Each fills what the URL lacks; what the URL says wins.
 */
export interface ConnectionOptions {
  /** Host name or address, or one or more URLs when no target is given. Default `localhost`. */
  readonly hostname?: string | undefined;
  /** Default: that of the URL, else the broker's usual one: `guest` with AMQP. */
  readonly userid?: string | undefined;
  /** The password or token. A function is asked at each connect, and wins over the URL. */
  readonly password?: string | (() => string | Promise<string>) | undefined;
  /** Default `/`. On Redis the number of the database. */
  readonly virtualHost?: string | undefined;
  /** Default: that of the scheme. */
  readonly port?: number | undefined;
  /** `true`: TLS that verifies. An object: TLS with Node's options or Kombu's `ssl_*` keys. Default `false`. */
  readonly ssl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** The scheme to use where the target has none (default `amqp`); or a transport's module, whatever the scheme. */
  readonly transport?: string | TransportModule | undefined;
  /** Milliseconds for one try to connect to one host. Default 5 s. */
  readonly connectTimeout?: number | undefined;
  /** Milliseconds for the first connect in all. Default 30 s. */
  readonly connectDeadline?: number | undefined;
  /** Kombu's `transport_options`: camelCase keys take milliseconds, snake_case keys Kombu's seconds. */
  readonly transportOptions?: TransportOptions | undefined;
  /** SASL mechanism, where the broker has several. */
  readonly loginMethod?: string | undefined;
  /** Milliseconds; 0 is off. Default 60 s. */
  readonly heartbeat?: number | undefined;
  /** Order of the hosts where there are several. Default `round-robin`. */
  readonly failoverStrategy?: FailoverStrategy | undefined;
  /** More URLs to fail over to. */
  readonly alternates?: readonly string[] | undefined;
  /** Asked for user name and password at each connect, and before they expire. Wins over both. */
  readonly credentials?: CredentialsProvider | undefined;
  /** Kombu's name for what has no effect. Accepted, and warned of once. */
  readonly insist?: boolean | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof ConnectionOptions>([
  'hostname',
  'userid',
  'password',
  'virtualHost',
  'port',
  'ssl',
  'transport',
  'connectTimeout',
  'connectDeadline',
  'transportOptions',
  'loginMethod',
  'heartbeat',
  'failoverStrategy',
  'alternates',
  'credentials',
  'insist',
]);

/** A host with what its URL says. */
export interface BrokerHost extends Host {
  readonly parsed: ParsedUrl;
  /** `host:port` as far as known, for people. No credentials. */
  readonly label: string;
}

/** What a Connection works with: options and URLs, checked and put together. */
export interface Settings {
  readonly options: ConnectionOptions;
  readonly hosts: readonly [BrokerHost, ...BrokerHost[]];
  readonly failoverStrategy: FailoverStrategy;
  /** Transport options of the caller, in snake_case or camelCase as given. */
  readonly transportOptions: TransportOptions;
  readonly connectDeadline: number;
  /** Bounds `ensureConnection`: the connect deadline where one was asked for. */
  readonly ensureDeadline: number;
  /** Milliseconds for the answer to one request. */
  readonly rpcTimeout: number;
  /** How waits for a connection go on by default: the retry keys of `transportOptions`. */
  readonly retry: RetryOptions;
  readonly confirmByDefault: boolean;
  readonly queueOrder: CycleName;
}

/**
 * Checks options and target and puts them together.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT, InvalidUrlError INVALID_URL, UnknownTransportError UNKNOWN_TRANSPORT.
 */
export function resolveSettings(target: string | readonly string[] | undefined, options: ConnectionOptions): Settings {
  checkOptions(options);
  const hosts = parseHosts(target ?? options.hostname ?? 'localhost', options);
  const first = hosts[0].parsed.options;
  const common = commonOptions(options.transportOptions ?? {}, first);
  const deadline =
    first['connect_deadline'] === undefined
      ? (options.connectDeadline ?? common.connectDeadline)
      : secondsToMs('connect_deadline', first['connect_deadline']);
  return {
    options,
    hosts,
    failoverStrategy: checkStrategy(first['failover_strategy'] ?? options.failoverStrategy ?? 'round-robin'),
    transportOptions: options.transportOptions ?? {},
    connectDeadline: deadline ?? DEFAULTS.connectDeadline,
    ensureDeadline: deadline ?? Number.POSITIVE_INFINITY,
    rpcTimeout: common.rpcTimeout ?? DEFAULTS.rpcTimeout,
    retry: common.retry,
    confirmByDefault: common.confirmPublish,
    queueOrder: common.queueOrder,
  };
}

/** The cycle over the hosts of these settings. */
export function hostCycle(settings: Settings): HostCycle<BrokerHost> {
  return new HostCycle(settings.hosts, settings.failoverStrategy, (url) => hostOf(parse(url, settings.options)));
}

/** Everything that a transport needs to connect to `host`. `transportOptions` are in Kombu's names and units. */
export function parametersFor(
  settings: Settings,
  host: BrokerHost,
  credentials: Credentials,
  transportOptions: Readonly<Record<string, unknown>>,
): ConnectionParameters {
  const { parsed } = host;
  const { options } = settings;
  const { heartbeat, connect_timeout: connectTimeout, login_method: loginMethod } = parsed.options;
  return {
    transport: parsed.transport,
    hostname: parsed.hostname ?? plainHostname(options),
    port: parsed.port ?? options.port,
    userid: credentials.userid ?? parsed.userid ?? options.userid,
    password: credentials.password ?? parsed.password ?? plainPassword(options),
    virtualHost: parsed.virtualHost ?? options.virtualHost,
    ssl: parsed.ssl ?? options.ssl ?? false,
    connectTimeout:
      connectTimeout === undefined
        ? (options.connectTimeout ?? DEFAULTS.connectTimeout)
        : secondsToMs('connect_timeout', connectTimeout),
    heartbeat:
      heartbeat === undefined
        ? (options.heartbeat ?? DEFAULTS.heartbeat)
        : checkHeartbeat(secondsToMs('heartbeat', heartbeat)),
    loginMethod: loginMethod ?? options.loginMethod,
    transportOptions,
  };
}

/** What is left of a URL's query once the Connection has taken its own: options of the transport, as text. */
export function urlTransportOptions(host: BrokerHost): Record<string, string> {
  const rest: Record<string, string> = {};
  for (const [key, value] of Object.entries(host.parsed.options)) {
    if (!CONNECTION_QUERY_KEYS.has(key)) rest[key] = value;
  }
  return rest;
}

/** Parses a URL to be tried later, for `switchTo`. */
export function parseHosts(
  target: string | readonly string[],
  options: ConnectionOptions,
): readonly [BrokerHost, ...BrokerHost[]] {
  const urls = typeof target === 'string' ? [target] : [...target];
  const parsed = parseUrls([...urls, ...(options.alternates ?? [])], urlRules(options));
  const [head, ...tail] = parsed.map((url) => hostOf(url));
  if (head === undefined) throw new InvalidArgumentError(`target must name at least one URL, not ${show(target)}`);
  for (const host of [head, ...tail]) checkHost(host, options);
  return [head, ...tail];
}

function parse(url: string, options: ConnectionOptions): ParsedUrl {
  return parseUrl(url, urlRules(options));
}

function urlRules({ transport }: ConnectionOptions): UrlRules {
  return { wholeUrl: readsWholeUrl, defaultTransport: typeof transport === 'string' ? transport : undefined };
}

function hostOf(parsed: ParsedUrl): BrokerHost {
  const { hostname, port } = parsed;
  const name = hostname === undefined ? parsed.transport : hostname.includes(':') ? `[${hostname}]` : hostname;
  return {
    url: asUrl(parsed, { includePassword: true }),
    parsed,
    label: port === undefined ? name : `${name}:${port}`,
  };
}

function checkHost(host: BrokerHost, options: ConnectionOptions): void {
  if (typeof options.transport !== 'object') transportLoader(host.parsed.transport);
}

function plainPassword(options: ConnectionOptions): string | undefined {
  return typeof options.password === 'string' ? options.password : undefined;
}

/** The option when it is a plain host name and not the target in disguise. */
function plainHostname(options: ConnectionOptions): string | undefined {
  const { hostname } = options;
  return hostname === undefined || /:\/\/|;/.test(hostname) ? undefined : hostname;
}

function checkOptions(options: ConnectionOptions): void {
  checkKeys('Connection', options, KEYS);
  if (options.connectTimeout !== undefined) checkDuration('connectTimeout', options.connectTimeout, { min: 1 });
  if (options.connectDeadline !== undefined) {
    checkDuration('connectDeadline', options.connectDeadline, { min: 1, allowInfinity: true });
  }
  if (options.heartbeat !== undefined) checkHeartbeat(options.heartbeat);
  if (options.port !== undefined) checkInteger('port', options.port, { min: 1, max: 65_535 });
  for (const name of ['hostname', 'userid', 'virtualHost', 'loginMethod'] as const) {
    if (options[name] !== undefined) checkString(name, options[name]);
  }
  // The value stays out of the message: it is or was meant for a password.
  if (!['undefined', 'string', 'function'].includes(typeof options.password)) {
    throw new InvalidArgumentError(`password must be a string or a function, not of type ${typeof options.password}`);
  }
  if (options.credentials !== undefined && typeof options.credentials !== 'function') {
    throw new InvalidArgumentError(`credentials must be a function, not of type ${typeof options.credentials}`);
  }
  if (options.insist !== undefined) {
    warnOnce('option insist', "Connection option 'insist' has no effect: no broker redirects clients any more");
  }
}

/** Durations are milliseconds here and seconds in Python: 60 is a mistake, and it names what was meant. */
function checkHeartbeat(value: unknown): number {
  const heartbeat = checkDuration('heartbeat', value);
  if (heartbeat > 0 && heartbeat < 1000) {
    throw new InvalidArgumentError(
      `heartbeat is in milliseconds: ${heartbeat} is too short; ${heartbeat} s would be ${heartbeat * 1000}`,
    );
  }
  return heartbeat;
}
