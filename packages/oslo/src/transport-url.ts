/**
 * Transport URLs of oslo.messaging:
 *
 * ```
 *   rabbit://user:password@host1:5672,user:password@[fe80::1]:5672/vhost?rabbit_quorum_queue=true
 * ```
 *
 * Either all hosts have a user or none has. The query has options of the driver, and overrides them.
 */
import { isIPv6 } from 'node:net';
import { InvalidTransportUrl } from './errors.js';

/** One of the hosts that a URL names. */
export interface TransportHost {
  /** An IPv6 address has no brackets. */
  readonly hostname: string;
  readonly port: number | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** A transport URL, taken apart (`oslo_messaging.TransportURL`). */
export interface TransportUrl {
  /** The driver: `rabbit`, `fake`. */
  readonly transport: string;
  readonly hosts: readonly TransportHost[];
  readonly virtualHost: string | undefined;
  /** Options of the driver, as text. */
  readonly query: Readonly<Record<string, string>>;
}

/** Throws INVALID_URL, with a message that holds no password. */
export function parseTransportUrl(url: string): TransportUrl {
  const [, scheme, authority = '', path, query] =
    /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url) ?? [];
  if (scheme === undefined)
    throw new InvalidTransportUrl('a transport URL must be of the form driver://[user:pass@]host[:port][,…]/vhost');
  const hosts = authority === '' ? [] : authority.split(',').map(parseHost);
  const withUser = hosts.filter(({ username }) => username !== undefined).length;
  if (withUser > 0 && withUser < hosts.length) {
    throw new InvalidTransportUrl('either all hosts of a transport URL have a user, or none has');
  }
  return {
    transport: scheme.toLowerCase(),
    hosts,
    virtualHost: path === undefined || path === '' ? undefined : decode('virtual host', path),
    query: parseQuery(query),
  };
}

/** `host[:port]`, with a user before it or not. Throws INVALID_URL. */
export function parseHost(text: string): TransportHost {
  const at = text.lastIndexOf('@');
  const place = text.slice(at + 1);
  const user = at < 0 ? undefined : text.slice(0, at);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(place) ?? [];
  const hostname = bracketed ?? plain;
  if (hostname === undefined || hostname === '' || (bracketed !== undefined && !isIPv6(bracketed))) {
    throw new InvalidTransportUrl(`'${place}' in a transport URL is no host: an IPv6 address stands in brackets`);
  }
  const port = digits === undefined || digits === '' ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535)) {
    throw new InvalidTransportUrl(`the port of '${place}' must be from 1 to 65535`);
  }
  const [username, ...password] = user?.split(':') ?? [];
  return {
    hostname: decode('host', hostname).toLowerCase(),
    port,
    username: username === undefined ? undefined : decode('user', username),
    password: password.length === 0 ? undefined : decode('password', password.join(':')),
  };
}

function parseQuery(query: string | undefined): Readonly<Record<string, string>> {
  const options: Record<string, string> = Object.create(null);
  // As in Python's parse_qs, the last of several wins.
  for (const [key, value] of new URLSearchParams(query ?? '')) options[key] = value;
  return options;
}

/** The value stays out of the message: it may be a password. */
function decode(what: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new InvalidTransportUrl(`the ${what} of a transport URL is not well percent-encoded`, { cause });
  }
}
