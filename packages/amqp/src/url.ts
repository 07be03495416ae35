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
 * `//` mean `/`, `/foo` means `foo`, `//foo` and `/%2Ffoo` mean `/foo` (as Kombu).
 *
 * Durations in the query are in seconds, as in the clients that the keys come from, but for RabbitMQ's `connection_timeout`, which is in
 * milliseconds.
 *
 * | key | meaning |
 * | --- | --- |
 * | `heartbeat`, `frame_max`, `channel_max`, `locale`, `connection_name` | as the parameters of that name |
 * | `connection_attempts`, `retry_delay` | how often the list of targets is tried, and the pause between |
 * | `socket_timeout`, `stack_timeout` (pika), `connect_timeout` (Kombu), `connection_timeout` (RabbitMQ) | deadline for one try; of pika's two the longer |
 * | `blocked_connection_timeout` | `blockedTimeout` |
 * | `auth_mechanism` (RabbitMQ, may be repeated), `login_method` (py-amqp) | `mechanism` |
 * | `client_properties` | dictionary (Python or JSON) for `clientProperties` |
 * | `tcp_options` | dictionary; `TCP_KEEPIDLE` sets `keepAlive` |
 * | `ssl_options` (pika) | dictionary; turns TLS on. Keys as Kombu's below without `ssl_` |
 * | `ssl`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_password`, `ssl_cert_reqs`, `ssl_check_hostname`, `ssl_server_hostname`, `ssl_ciphers`, `ssl_version`, `ssl_tls_minimum_version`, `ssl_tls_maximum_version` (Kombu, py-amqp) | TLS on, and its options |
 * | `cacertfile`, `certfile`, `keyfile`, `password` (of the key), `verify`, `server_name_indication` (RabbitMQ) | options of TLS, for `amqps` |
 *
 * Accepted without effect, with a warning once: `backpressure_detection` (it is always on), `insist` (gone since 0-8),
 * `TCP_KEEPINTVL`, `TCP_KEEPCNT` and `TCP_USER_TIMEOUT` in `tcp_options` (Node cannot set them), `depth` (Node does not
 * bound the length of a certificate chain), `fail_if_no_peer_cert` (concerns servers), `customize_hostname_check` (what
 * it asks for is the rule here), `server_side`, `do_handshake_on_connect` and `suppress_ragged_eofs` in `ssl_options`.
 *
 * @throws InvalidArgumentError `INVALID_URL`, also for a key nobody knows (with the nearest known one), a key given twice and a value that cannot
 *   be used; its message quotes neither the URL nor a secret
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
