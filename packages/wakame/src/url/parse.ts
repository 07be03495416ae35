/**
 * The URLs of brokers, as Kombu reads them (`kombu.utils.url`, `kombu.Connection`):
 *
 * ```
 *  amqp://user:password@host:5672/vhost?heartbeat=10      '//' vhost '/', '//foo' vhost '/foo', none: the default
 *  amqp://a;amqp://b;c                                    several, in order of preference
 *  host  ·  host:5673                                     no scheme
 *  redis+socket:///tmp/redis.sock?virtual_host=1          prefix+rest: the transport reads the rest
 *  sqlite:orders.db                                       a transport that reads its URL itself
 * ```
 */

import { isIPv6 } from 'node:net';
import { InvalidUrlError } from '../errors.js';
import { percentDecode } from './encoding.js';
import { sanitizeUrl } from './format.js';
import { parseQuery, type UrlSsl } from './query.js';

/** A URL, taken apart. What it does not say is `undefined`. */
export interface ParsedUrl {
  /** The scheme in lower case: `amqp`, `pyamqp`, `redis`. Of `prefix+rest`, the prefix. */
  readonly transport: string;
  /**
   * The host in lower case, an IPv6 address without brackets. Of `prefix+rest` the rest, and of a URL that its transport
   * reads itself the whole, to the letter.
   */
  readonly hostname: string | undefined;
  readonly port: number | undefined;
  readonly userid: string | undefined;
  readonly password: string | undefined;
  readonly virtualHost: string | undefined;
  /** From `ssl=1` and the `ssl_*` keys. A scheme that means TLS by itself (`amqps`) is its transport's to know. */
  readonly ssl: boolean | UrlSsl | undefined;
  /** The query that is left, under Kombu's names, as text in Kombu's units. */
  readonly options: Readonly<Record<string, string>>;
  /** Set for `prefix+rest`. */
  readonly uriPrefix: string | undefined;
}

/** What {@link parseUrl} cannot know by itself. */
export interface UrlRules {
  /** The transport of a bare host. Default `amqp`, as Kombu's. */
  readonly defaultTransport?: string | undefined;
  /** Schemes whose transports read their URLs themselves. Default: none. */
  readonly wholeUrl?: ((transport: string) => boolean) | undefined;
  /** Query keys that a transport knows, beside those of the Connection. Default: any is let through. */
  readonly knownKeys?: ((transport: string) => ReadonlySet<string>) | undefined;
  /** Query keys that are accepted and have no effect, with the reason; warned of once. */
  readonly ignoredKeys?: Readonly<Record<string, string>> | undefined;
}

const NOTHING = {
  hostname: undefined,
  port: undefined,
  userid: undefined,
  password: undefined,
  virtualHost: undefined,
  ssl: undefined,
  options: {},
  uriPrefix: undefined,
} as const;

/**
 * Reads one URL, or a bare `host` or `host:port`. Throws INVALID_URL; the message shows the URL without its password, and
 * for a query key that nobody knows the nearest one.
 */
export function parseUrl(url: string, rules: UrlRules = {}): ParsedUrl {
  const shown = `'${sanitizeUrl(url)}'`;
  if (url === '') throw new InvalidUrlError('the URL is empty');
  if (/[\p{Cc}]/u.test(url)) throw new InvalidUrlError(`control characters in ${shown}`);
  const [, scheme = ''] = /^([A-Za-z][\w.-]*):/.exec(url) ?? [];
  if (rules.wholeUrl?.(scheme.toLowerCase()) === true && !isHostAndPort(url)) {
    return { ...NOTHING, transport: scheme.toLowerCase(), hostname: url };
  }
  const [, prefix, rest] = /^([A-Za-z][\w.-]*)\+([^/?#]*:\/\/.*)$/.exec(url) ?? [];
  if (prefix !== undefined) return { ...NOTHING, transport: prefix.toLowerCase(), hostname: rest, uriPrefix: prefix };
  if (url.includes(';'))
    throw new InvalidUrlError(`one URL is wanted, and ';' joins several (%3B is the character), in ${shown}`);
  if (scheme !== '' && url.startsWith('://', scheme.length)) return parseParts(scheme, url, rules, shown);
  return { ...NOTHING, transport: rules.defaultTransport ?? 'amqp', ...parseBareHost(url, shown) };
}

/**
 * Reads several URLs: a list, or text in which `;` joins them. After the first, a bare host is another host of it: all but
 * host and port is the same. Throws INVALID_URL, for none at all too.
 */
export function parseUrls(target: string | readonly string[], rules: UrlRules = {}): ParsedUrl[] {
  const urls = (typeof target === 'string' ? [target] : target).flatMap((text) => text.split(';'));
  let first: ParsedUrl | undefined;
  const parsed = urls.map((url) => {
    const isBare = !/^[A-Za-z][\w.+-]*:(?!\d+$)/.test(url);
    const next = first !== undefined && isBare ? anotherHost(url, first) : parseUrl(url, rules);
    first ??= next;
    return next;
  });
  if (parsed.length === 0) throw new InvalidUrlError('no URL was given');
  return parsed;
}

function anotherHost(url: string, first: ParsedUrl): ParsedUrl {
  const shown = `'${sanitizeUrl(url)}'`;
  if (url === '') throw new InvalidUrlError("an empty URL before or after ';'");
  const isPlain = first.uriPrefix === undefined && first.hostname?.startsWith(`${first.transport}:`) !== true;
  if (!isPlain)
    throw new InvalidUrlError(`the first URL is no host that ${shown} could be another of: a scheme is wanted`);
  return { ...first, ...parseBareHost(url, shown) };
}

function isHostAndPort(text: string): boolean {
  return /^[^:]*:\d+$/.test(text);
}

function parseParts(scheme: string, url: string, rules: UrlRules, shown: string): ParsedUrl {
  const transport = scheme.toLowerCase();
  if (url.includes('#')) throw new InvalidUrlError(`'#' has no meaning here; %23 is the character, in ${shown}`);
  const [, authority = '', path = '', query = ''] = /^([^/?]*)([^?]*)\??(.*)$/.exec(url.slice(scheme.length + 3)) ?? [];
  const at = authority.lastIndexOf('@');
  const login = at < 0 ? '' : authority.slice(0, at);
  const colon = login.indexOf(':');
  const userid = colon < 0 ? login : login.slice(0, colon);
  const queryRules = { knownKeys: rules.knownKeys?.(transport), ignoredKeys: rules.ignoredKeys ?? {} };
  return {
    transport,
    ...parseHost(authority.slice(at + 1), shown),
    userid: decoded(userid, shown),
    password: decoded(colon < 0 ? '' : login.slice(colon + 1), shown),
    virtualHost: decoded(path.slice(1), shown),
    ...parseQuery(query, queryRules, shown),
    uriPrefix: undefined,
  };
}

/** An empty part is as good as none. */
function decoded(text: string, shown: string): string | undefined {
  return text === '' ? undefined : percentDecode(text, shown);
}

function parseBareHost(text: string, shown: string): Pick<ParsedUrl, 'hostname' | 'port'> {
  if (isIPv6(text)) return { hostname: text.toLowerCase(), port: undefined };
  if (/[/?#@\s]/.test(text)) throw new InvalidUrlError(`a URL such as amqp://host/vhost is wanted, not ${shown}`);
  return parseHost(text, shown);
}

/** `host`, `host:port`, `[::1]:port`, `:port`. What may be a piece of a password stays out of the errors. */
function parseHost(text: string, shown: string): Pick<ParsedUrl, 'hostname' | 'port'> {
  const address = /^\[([^\]]*)\](?::(\d*))?$/.exec(text);
  if (address !== null) {
    const hostname = percentDecode(address[1] ?? '', shown).toLowerCase();
    if (!isIPv6(hostname)) throw new InvalidUrlError(`no IPv6 address between the brackets in ${shown}`);
    return { hostname, port: parsePort(address[2] ?? '', shown) };
  }
  const [host = '', port = '', ...more] = text.split(':');
  if (more.length > 0)
    throw new InvalidUrlError(`more than one ':' after the host (an IPv6 address needs brackets) in ${shown}`);
  if (/[[\]]/.test(host)) throw new InvalidUrlError(`brackets that hold no IPv6 address in ${shown}`);
  return { hostname: decoded(host.toLowerCase(), shown), port: parsePort(port, shown) };
}

function parsePort(text: string, shown: string): number | undefined {
  if (text === '') return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new InvalidUrlError(`the port is not a number from 1 to 65535 in ${shown}`);
  return port;
}
