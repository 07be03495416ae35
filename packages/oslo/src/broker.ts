/** From an oslo.messaging URL and its options to a Connection of Wakame. */
import { Connection, type ConnectionOptions } from 'wakame';
import { InvalidTransportUrl } from './errors.js';
import type { OsloSettings } from './options.js';
import { parseTransportUrl, type TransportHost, type TransportUrl } from './transport-url.js';

/** Where a transport connects: what oslo.messaging understands, or any URL of Wakame's. */
export interface Place {
  /** Set for the drivers of oslo.messaging: the query then holds options of the driver. */
  readonly driver: TransportUrl | undefined;
  /** URLs for the Connection; more than one for several hosts. */
  readonly urls: (settings: OsloSettings) => readonly string[];
}

const DEFAULT_PORT = 5672;

/** Throws INVALID_URL. */
export function placeOf(url: string): Place {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined)
    throw new InvalidTransportUrl('a transport URL must begin with a driver, such as rabbit://');
  // Mitaka's way to any transport of Kombu.
  if (scheme.startsWith('kombu+')) {
    const inner = url.slice('kombu+'.length);
    return scheme === 'kombu+rabbit' ? rabbit(parseTransportUrl(inner)) : { driver: undefined, urls: () => [inner] };
  }
  if (scheme === 'rabbit') return rabbit(parseTransportUrl(url));
  if (scheme !== 'fake') return { driver: undefined, urls: () => [url] };
  const driver = parseTransportUrl(url);
  // Each name is a broker of its own within the process.
  return { driver, urls: () => [`memory://${driver.virtualHost ?? 'fake'}`] };
}

function rabbit(driver: TransportUrl): Place {
  const { hosts, virtualHost } = driver;
  const all = hosts.length === 0 ? [LOCALHOST] : shuffled(hosts);
  return {
    driver,
    urls: ({ ssl }) => all.map((host) => urlOf(ssl ? 'amqps' : 'amqp', host, virtualHost ?? '/')),
  };
}

const LOCALHOST: TransportHost = { hostname: 'localhost', port: undefined, username: undefined, password: undefined };

/** Every client of a cluster takes another host first, so that they spread over it. */
function shuffled<T>(items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

function urlOf(scheme: string, host: TransportHost, virtualHost: string): string {
  const { hostname, port = DEFAULT_PORT, username, password } = host;
  const name = hostname.includes(':') ? `[${hostname}]` : hostname;
  const user = `${encodeURIComponent(username ?? 'guest')}:${encodeURIComponent(password ?? (username === undefined ? 'guest' : ''))}@`;
  return `${scheme}://${user}${name}:${port}/${encodeURIComponent(virtualHost)}`;
}

/** A connection to that place. Throws INVALID_URL, UNKNOWN_TRANSPORT, INVALID_ARGUMENT. */
export function connect(place: Place, settings: OsloSettings, options: ConnectionOptions): Connection {
  const urls = place.urls(settings);
  if (place.driver?.transport !== 'rabbit') return new Connection(urls, options);
  return new Connection(urls, {
    ssl: settings.ssl ? tlsOf(settings) : false,
    heartbeat: settings.heartbeat_timeout_threshold * 1000,
    failoverStrategy: settings.kombu_failover_strategy as 'round-robin' | 'shuffle',
    loginMethod: settings.rabbit_login_method,
    // What is sent waits for the broker, as long as its sender does.
    connectDeadline: Number.POSITIVE_INFINITY,
    ...options,
    transportOptions: {
      interval_start: settings.rabbit_retry_interval,
      interval_step: settings.rabbit_retry_backoff,
      interval_max: settings.rabbit_interval_max,
      ...options.transportOptions,
    },
  });
}

function tlsOf(settings: OsloSettings): Readonly<Record<string, unknown>> {
  const given = {
    keyfile: settings.ssl_key_file,
    certfile: settings.ssl_cert_file,
    ca_certs: settings.ssl_ca_file,
    ssl_version: settings.ssl_version,
  };
  return {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== '')),
    check_hostname: settings.ssl_enforce_hostname_verification,
  };
}
