/** From an oslo.messaging URL and its options to a Connection of Wakame. */
import { randomUUID } from 'node:crypto';
import { Connection, type ConnectionOptions } from 'wakame';
import { InvalidTransportUrl } from './errors.js';
import type { OsloSettings } from './options.js';
import { parseHost, parseTransportUrl, type TransportHost, type TransportUrl } from './transport-url.js';

/** Where a transport connects: what oslo.messaging understands, or any URL of Wakame's. */
export interface Place {
  /** Options that the URL has: those of oslo.messaging. */
  readonly query: Readonly<Record<string, string>>;
  /** For the Connection; what is several brokers has several. */
  readonly addresses: (settings: OsloSettings) => Addresses;
}

interface Addresses {
  readonly urls: readonly string[];
  /** Whether it is RabbitMQ, which oslo's options of the connection are for. */
  readonly isRabbit: boolean;
}

const DEFAULT_PORT = 5672;
const KOMBU = 'kombu+';

/** Throws INVALID_URL. */
export function placeOf(url: string): Place {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined)
    throw new InvalidTransportUrl('a transport URL must begin with a driver, such as rabbit://');
  if (scheme === 'rabbit') return rabbit(parseTransportUrl(url));
  // Mitaka's way to any transport of Kombu.
  if (scheme.startsWith(KOMBU)) return kombu(parseTransportUrl(url));
  if (scheme !== 'fake') return { query: {}, addresses: () => ({ urls: [url], isRabbit: false }) };
  const { query, virtualHost } = parseTransportUrl(url);
  return { query, addresses: () => fake(virtualHost) };
}

/** Each name is a broker of its own within the process. */
function fake(name = 'fake'): Addresses {
  return { urls: [`memory://${name}`], isRabbit: false };
}

function rabbit({ hosts, virtualHost, query }: TransportUrl): Place {
  return {
    query,
    addresses: (settings) => {
      const { ssl, rabbit_virtual_host: otherwise, fake_rabbit: isFake } = settings;
      const vhost = virtualHost ?? otherwise;
      if (isFake) return fake(vhost === '/' ? undefined : vhost);
      const all = hosts.length === 0 ? configuredHosts(settings) : hosts;
      return { urls: shuffled(all).map((host) => urlOf(ssl ? 'amqps' : 'amqp', host, vhost)), isRabbit: true };
    },
  };
}

/** The hosts that options tell of, as in Mitaka. */
function configuredHosts(settings: OsloSettings): readonly TransportHost[] {
  const { rabbit_hosts: listed, rabbit_host: single, rabbit_port: port } = settings;
  const { rabbit_userid: username, rabbit_password: password } = settings;
  const all = listed === undefined || listed.length === 0 ? [bracketed(single)] : listed;
  return all.map((text) => {
    const host = parseHost(text);
    const user = host.username === undefined ? { username, password } : {};
    return { ...host, port: host.port ?? port, ...user };
  });
}

function kombu(url: TransportUrl): Place {
  const scheme = url.transport.slice(KOMBU.length);
  if (['rabbit', 'amqp', 'pyamqp', 'librabbitmq'].includes(scheme)) return rabbit(url);
  const { hosts, virtualHost = '', query } = url;
  if (scheme === 'memory') return { query, addresses: () => fake(hosts[0]?.hostname ?? virtualHost) };
  const urls =
    hosts.length === 0
      ? [`${scheme}:///${virtualHost}`]
      : shuffled(hosts).map((host) => urlOf(scheme, host, virtualHost));
  return { query, addresses: () => ({ urls, isRabbit: false }) };
}

/** Every client of a cluster takes another host first, so that they spread over it. */
function shuffled<T>(items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** Nobody in particular is `guest` to RabbitMQ. */
function urlOf(scheme: string, { hostname, port, username, password }: TransportHost, virtualHost: string): string {
  const isRabbit = scheme.startsWith('amqp');
  const name = username ?? (isRabbit ? 'guest' : undefined);
  const secret = password ?? (isRabbit && username === undefined ? 'guest' : '');
  const user = name === undefined ? '' : `${encodeURIComponent(name)}:${encodeURIComponent(secret)}@`;
  const place = port === undefined ? (isRabbit ? `:${DEFAULT_PORT}` : '') : `:${port}`;
  return `${scheme}://${user}${bracketed(hostname)}${place}/${encodeURIComponent(virtualHost)}`;
}

/** A host as it stands in a URL. */
function bracketed(hostname: string): string {
  return hostname.includes(':') ? `[${hostname}]` : hostname;
}

/** A connection to that place. Throws INVALID_URL, UNKNOWN_TRANSPORT, INVALID_ARGUMENT. */
export function connect(place: Place, settings: OsloSettings, options: ConnectionOptions): Connection {
  const { urls, isRabbit } = place.addresses(settings);
  if (!isRabbit) return new Connection(urls, options);
  // A fleet that lost its broker does not come back all at once.
  const delay = settings.kombu_reconnect_delay + Math.random() * settings.kombu_reconnect_splay;
  return new Connection(urls, {
    ssl: settings.ssl ? tlsOf(settings) : false,
    heartbeat: settings.heartbeat_timeout_threshold * 1000,
    failoverStrategy: settings.kombu_failover_strategy as 'round-robin' | 'shuffle',
    loginMethod: settings.rabbit_login_method,
    // What is sent waits for the broker, as long as its sender does.
    connectDeadline: Number.POSITIVE_INFINITY,
    ...options,
    transportOptions: {
      interval_start: settings.rabbit_retry_interval + delay,
      interval_step: settings.rabbit_retry_backoff,
      interval_max: settings.rabbit_interval_max + delay,
      connection_name: `${settings.processname}:${process.pid}:${randomUUID()}`,
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
