import { invalidUrl } from './invalid-url.js';
import { didYouMean } from './nearest.js';
import type { ConnectionParameters } from './parameters.js';
import { applyUrlKeys } from './url-keys.js';

const SCHEMES: readonly string[] = ['amqp', 'amqps'];

/** scheme://[userinfo@]host[:port][/vhost][?query]; the last `@` before the path ends the user information. */
const URL_PATTERN =
  /^(?<scheme>[A-Za-z][A-Za-z0-9+.-]*):\/\/(?:(?<user>[^/?#]*)@)?(?<host>\[[^\]/?#]*\]|[^:/?#[\]]*)(?::(?<port>[^/?#]*))?(?<path>\/[^?#]*)?(?:\?(?<query>[^#]*))?(?<fragment>#.*)?$/s;

function decode(part: string, what: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw invalidUrl(`malformed percent-encoding in the ${what}`, error);
  }
}

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw invalidUrl(`the port is not a number from 1 to 65535 (a ':' or '@' in a password is written %3A or %40)`);
  }
  return port;
}

/** Query pairs in order. `+` is a space, as in Python's parse_qs. */
function parseQuery(query: string): [key: string, value: string][] {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=');
      const key = decode(equals < 0 ? pair : pair.slice(0, equals), 'query');
      if (equals < 0) throw invalidUrl(`query key '${key}' has no value`);
      return [key, decode(pair.slice(equals + 1).replaceAll('+', ' '), `value of '${key}'`)];
    });
}

/**
 * Parses `amqp[s]://[username[:password]@][host][:port][/vhost][?key=value&…]`.
 *
 * User name, password, host and vhost are percent-decoded. The vhost is what follows the first slash: none, `/` and
 * `//` mean `/`, `/foo` means `foo`, `//foo` and `/%2Ffoo` mean `/foo` (as Kombu). For the keys see {@link applyUrlKeys}.
 *
 * @throws InvalidArgumentError `INVALID_URL`; its message quotes neither the URL nor a secret
 */
export function parseUrl(url: string): ConnectionParameters {
  const parts = URL_PATTERN.exec(url)?.groups;
  if (parts === undefined) throw invalidUrl('it must look like amqp://user:password@host:port/vhost?key=value');
  const scheme = (parts.scheme as string).toLowerCase();
  if (!SCHEMES.includes(scheme)) {
    throw invalidUrl(`unknown scheme '${scheme}'${didYouMean(scheme, SCHEMES)}; known are amqp and amqps`);
  }
  if (parts.fragment !== undefined) throw invalidUrl("'#' must be written %23");

  const parameters: ConnectionParameters = {};
  if (scheme === 'amqps') parameters.tls = true;
  const host = decode(parts.host ?? '', 'host').toLowerCase();
  if (host !== '') parameters.hostname = host;
  const port = parsePort(parts.port);
  if (port !== undefined) parameters.port = port;
  if (parts.user !== undefined && parts.user !== '') {
    const colon = parts.user.indexOf(':');
    parameters.username = decode(colon < 0 ? parts.user : parts.user.slice(0, colon), 'user name');
    if (colon >= 0) parameters.password = decode(parts.user.slice(colon + 1), 'password');
  }
  const vhost = decode((parts.path ?? '/').slice(1), 'vhost');
  parameters.vhost = vhost === '' ? '/' : vhost;
  applyUrlKeys(parameters, parseQuery(parts.query ?? ''));
  return parameters;
}
