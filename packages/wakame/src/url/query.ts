import { InvalidUrlError } from '../errors.js';
import { show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';
import { warnOnce } from '../util/warnings.js';
import { percentDecode } from './encoding.js';

/** Query keys that set options of the Connection, in Kombu's names; durations in Kombu's seconds. */
export const CONNECTION_QUERY_KEYS: ReadonlySet<string> = new Set([
  'heartbeat',
  'connect_timeout',
  'connect_deadline',
  'login_method',
  'failover_strategy',
]);

/** Query keys that Kombu takes on every transport and that mean nothing here, with the reason. Accepted, and warned of once. */
export const IGNORED_QUERY_KEYS: Readonly<Record<string, string>> = {
  insist: 'no broker redirects clients any more',
};

/** Keys of TLS, as Kombu collects them in `ssl`. */
const SSL_KEYS: ReadonlySet<string> = new Set([
  'ssl_cert_reqs',
  'ssl_check_hostname',
  'ssl_ca_certs',
  'ssl_ca_data',
  'ssl_certfile',
  'ssl_keyfile',
  'ssl_password',
  'ssl_server_hostname',
  'ssl_ciphers',
  'ssl_version',
  'ssl_min_version',
  'ssl_tls_minimum_version',
  'ssl_tls_maximum_version',
]);

/** What is said elsewhere in a URL. */
const PLACES: Readonly<Record<string, string>> = {
  hostname: "stands after '://'",
  port: 'stands after the host',
  userid: "stands before the '@'",
  password: "stands before the '@'",
  virtual_host: 'is the path of the URL',
  transport: 'is the scheme of the URL',
};

/** TLS settings of a URL: Kombu's `ssl_*` keys. `ssl_cert_reqs` is `required`, `optional` or `none`; `ssl_check_hostname` a boolean. */
export type UrlSsl = Readonly<Record<string, string | boolean>>;

/** The query of a URL, taken apart. */
export interface UrlQuery {
  readonly ssl: boolean | UrlSsl | undefined;
  readonly options: Readonly<Record<string, string>>;
}

/** Which keys a query may have. */
export interface QueryRules {
  readonly knownKeys: ReadonlySet<string> | undefined;
  readonly ignoredKeys: Readonly<Record<string, string>>;
}

/**
 * Reads `a=1&b=2` as Python's `parse_qsl` does (the last of equal keys counts, `+` is a space), and refuses what that passes
 * over: a key without a value, and keys that nobody knows.
 *
 * @param shown The URL for error messages, without its password.
 */
export function parseQuery(query: string, rules: QueryRules, shown: string): UrlQuery {
  // An '@' that is not encoded may come from a password, and then the rest of that stands here.
  if (query.includes('@')) throw new InvalidUrlError(`'@' in the query is to be written %40, in ${shown}`);
  const values = new Map<string, string>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const [key = '', ...value] = part.split('=').map((text) => percentDecode(text.replaceAll('+', ' '), shown));
    // A bare `ssl` that is passed over would be a plain connection where an encrypted one was meant.
    if (value.length === 0 || (value.length === 1 && value[0] === '')) {
      throw new InvalidUrlError(`${named(key)} has no value in ${shown}`);
    }
    values.set(key, value.join('='));
  }
  return { ssl: takeSsl(values, shown), options: Object.fromEntries(checked(values, rules, shown)) };
}

function* checked(values: ReadonlyMap<string, string>, rules: QueryRules, shown: string): Generator<[string, string]> {
  for (const [key, value] of values) {
    const place = Object.hasOwn(PLACES, key) ? PLACES[key] : undefined;
    if (place !== undefined) throw new InvalidUrlError(`${named(key)}: it ${place}, in ${shown}`);
    const known = rules.knownKeys === undefined || rules.knownKeys.has(key) || CONNECTION_QUERY_KEYS.has(key);
    const ignored = ignoredBecause(key, rules);
    if (ignored !== undefined) warnOnce(`query ${key}`, `URL query key '${key}' has no effect: ${ignored}`);
    else if (known) yield [key, value];
    else throw unknownKey(key, [...(rules.knownKeys ?? []), ...CONNECTION_QUERY_KEYS, 'ssl'], shown);
  }
}

function ignoredBecause(key: string, { ignoredKeys }: QueryRules): string | undefined {
  if (Object.hasOwn(ignoredKeys, key)) return ignoredKeys[key];
  return Object.hasOwn(IGNORED_QUERY_KEYS, key) ? IGNORED_QUERY_KEYS[key] : undefined;
}

function named(key: string): string {
  return `query key ${show(key)}`;
}

function unknownKey(key: string, known: Iterable<string>, shown: string): InvalidUrlError {
  return new InvalidUrlError(`unknown ${named(key)}${didYouMean(key, known)} in ${shown}`);
}

/** Takes `ssl` and the keys that begin so out of the query. */
function takeSsl(values: Map<string, string>, shown: string): boolean | UrlSsl | undefined {
  const flag = values.get('ssl');
  const ssl = flag === undefined ? undefined : parseFlag('ssl', flag, shown);
  values.delete('ssl');
  const settings: Record<string, string | boolean> = {};
  for (const [key, value] of values) {
    // pika's `ssl_options` is a dictionary, which its transport reads.
    if (!key.startsWith('ssl_') || key === 'ssl_options') continue;
    if (!SSL_KEYS.has(key)) throw unknownKey(key, SSL_KEYS, shown);
    settings[key] = parseSetting(key, value, shown);
    values.delete(key);
  }
  if (Object.keys(settings).length === 0) return ssl;
  if (ssl === false) throw new InvalidUrlError(`ssl is off, and yet has settings, in ${shown}`);
  return settings;
}

function parseSetting(key: string, value: string, shown: string): string | boolean {
  if (key === 'ssl_check_hostname') return parseFlag(key, value, shown);
  if (key !== 'ssl_cert_reqs') return value;
  const requirement = value.toLowerCase().replace(/^cert_/, '');
  if (requirement === 'required' || requirement === 'optional' || requirement === 'none') return requirement;
  throw new InvalidUrlError(`ssl_cert_reqs must be CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE, in ${shown}`);
}

function parseFlag(key: string, value: string, shown: string): boolean {
  if (/^(?:1|true|yes|on)$/i.test(value)) return true;
  if (/^(?:0|false|no|off)$/i.test(value)) return false;
  throw new InvalidUrlError(`${key} must be 1 or 0, in ${shown}`);
}
