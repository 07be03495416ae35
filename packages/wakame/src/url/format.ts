import { isIPv6 } from 'node:net';
import { percentEncode } from './encoding.js';
import type { ParsedUrl } from './parse.js';

/** How {@link asUrl} shows secrets. */
export interface UrlFormat {
  /** Default `false`: the password, and query values that look like secrets, are shown as `mask`. */
  readonly includePassword?: boolean | undefined;
  /** Default `**`. */
  readonly mask?: string | undefined;
}

/** Parts of a URL: what `parseUrl` gives, of which only the transport must be there. */
export type UrlParts = Pick<ParsedUrl, 'transport'> & {
  readonly [Key in keyof ParsedUrl]?: ParsedUrl[Key] | undefined;
};

/** Query keys whose values are not for everybody's eyes. */
const SECRET_KEY = /pass|secret|token|credential|signature|(?:^|_)key$|^ssl_options$/i;

/**
 * The URL of these parts, which `parseUrl` reads again. Without `includePassword` it is fit for messages and logs.
 * Throws INVALID_URL for a part that no URL can hold.
 */
export function asUrl(parts: UrlParts, format: UrlFormat = {}): string {
  const { includePassword = false, mask = '**' } = format;
  const { transport, hostname = '', uriPrefix } = parts;
  // A URL that its transport reads itself is kept whole.
  const whole =
    uriPrefix !== undefined ? `${uriPrefix}+${hostname}` : hostname.startsWith(`${transport}:`) ? hostname : '';
  if (whole !== '') return includePassword ? whole : maybeSanitizeUrl(whole, mask);

  const hide = (value: string) => (includePassword ? percentEncode(value) : mask);
  const password = parts.password === undefined ? '' : `:${hide(parts.password)}`;
  const user = parts.userid === undefined ? '' : percentEncode(parts.userid);
  const login = user === '' && password === '' ? '' : `${user}${password}@`;
  const port = parts.port === undefined ? '' : `:${parts.port}`;
  const path = (parts.virtualHost ?? '').split('/').map(percentEncode).join('/');
  const query = queryOf(parts).map(([key, value]) => {
    return `${percentEncode(key)}=${SECRET_KEY.test(key) ? hide(value) : percentEncode(value)}`;
  });
  return `${transport}://${login}${hostOf(hostname)}${port}/${path}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}

function hostOf(hostname: string): string {
  return hostname.includes(':') ? `[${hostname.replace('%', '%25')}]` : percentEncode(hostname);
}

function queryOf({ ssl, options = {} }: UrlParts): [string, string][] {
  const query = Object.entries(options);
  if (typeof ssl === 'object')
    query.push(...Object.entries(ssl).map(([key, value]): [string, string] => [key, `${value}`]));
  else if (ssl !== undefined) query.push(['ssl', ssl ? '1' : '0']);
  return query;
}

/**
 * A copy of a URL, or of several joined by `;`, fit for messages and logs: passwords, and query values that look like secrets,
 * are masked. Never throws; of what is no proper URL, it masks whatever may be a password.
 */
export function sanitizeUrl(url: string, mask = '**'): string {
  return url
    .split(/;(?=[A-Za-z][\w+.-]*:\/\/)/)
    .map((one) => sanitizeOne(one, mask))
    .join(';');
}

function sanitizeOne(url: string, mask: string): string {
  const schemeEnd = url.indexOf('://');
  const start = schemeEnd < 0 ? 0 : schemeEnd + 3;
  const scheme = url.slice(0, start);
  const rest = maskQuery(url.slice(start), mask);
  // A password may hold a bare '/', '?', '#' or '@', so only the last '@' is certain to stand after it.
  const at = rest.lastIndexOf('@');
  const colon = rest.indexOf(':');
  if (at >= 0 && colon >= 0 && colon < at) return `${scheme}${rest.slice(0, colon)}:${mask}${rest.slice(at)}`;
  if (at >= 0) return schemeEnd < 0 ? `${mask}${rest.slice(at)}` : scheme + rest;
  // `user:password` whose '@' was forgotten: what follows the colon is no port.
  const isPort = colon < 0 || isIPv6(rest) || rest.startsWith('[') || /^[^/?#:]*:\d{0,5}(?:[/?#]|$)/.test(rest);
  return isPort || /[/?#]/.test(rest.slice(0, colon)) ? scheme + rest : `${scheme}${rest.slice(0, colon)}:${mask}`;
}

function maskQuery(rest: string, mask: string): string {
  return rest.replace(/([?&])([^=&?]+)=([^&]*)/g, (all, before: string, key: string) => {
    return SECRET_KEY.test(key) ? `${before}${key}=${mask}` : all;
  });
}

/** {@link sanitizeUrl} for what may be a URL; anything else as it is (`kombu.utils.url.maybe_sanitize_url`). */
export function maybeSanitizeUrl<T>(value: T, mask = '**'): T | string {
  return typeof value === 'string' && (value.includes('://') || value.includes('@')) ? sanitizeUrl(value, mask) : value;
}
