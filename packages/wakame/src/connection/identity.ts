/**
 * What a connection tells of itself, without its secrets.
 */
import { createHash } from 'node:crypto';
import { asUrl, type UrlFormat } from '../url/index.js';
import { canonical } from '../util/canonical.js';
import { type BrokerHost, parametersFor, type Settings } from './options.js';

/** What `info()` tells. No password. */
export interface ConnectionInfo {
  readonly transport: string;
  readonly hostname: string | undefined;
  readonly port: number | undefined;
  readonly userid: string | undefined;
  readonly virtualHost: string | undefined;
  readonly ssl: boolean;
  readonly connectTimeout: number;
  readonly connectDeadline: number;
  readonly heartbeat: number;
  readonly loginMethod: string | undefined;
  readonly failoverStrategy: string;
  /** The other hosts, as URLs without passwords. */
  readonly alternates: readonly string[];
  /** Names of the transport options given. */
  readonly transportOptions: readonly string[];
}

export function connectionInfo(settings: Settings, current: BrokerHost): ConnectionInfo {
  const { failoverStrategy, connectDeadline, hosts, options } = settings;
  const known = parametersFor(settings, current, {}, {});
  return {
    transport: known.transport,
    hostname: known.hostname,
    port: known.port,
    userid: known.userid,
    virtualHost: known.virtualHost,
    ssl: known.ssl !== false,
    connectTimeout: known.connectTimeout,
    connectDeadline,
    heartbeat: known.heartbeat,
    loginMethod: known.loginMethod,
    failoverStrategy: typeof failoverStrategy === 'string' ? failoverStrategy : 'function',
    alternates: hosts.filter((host) => host !== current).map(({ parsed }) => asUrl(parsed)),
    transportOptions: Object.keys(options.transportOptions ?? {}),
  };
}

/** The URL of a host, with what the options add to it. */
export function uriOf(settings: Settings, host: BrokerHost, format: UrlFormat): string {
  const { hostname, port, userid, password, virtualHost } = parametersFor(settings, host, {}, {});
  return asUrl({ ...host.parsed, hostname, port, userid, password, virtualHost }, format);
}

/** The same for settings that make the same connection; a hash, since passwords are part of it. */
export function poolKeyOf({ hosts, options }: Settings): string {
  const urls = hosts.map(({ url }) => url);
  const identity = canonical([urls, identified(options), identified(options.transportOptions)]);
  return createHash('sha256').update(identity).digest('hex');
}

const identities = new WeakMap<object, number>();
let identityCount = 0;

/** A copy in which functions and modules are replaced by numbers, the same for the same one. */
function identified(options: object = {}): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(options)) {
    const isModule = key === 'transport' && typeof value === 'object';
    copy[key] = typeof value === 'function' || isModule ? identityOf(value) : value;
  }
  return copy;
}

function identityOf(value: object): number {
  let identity = identities.get(value);
  if (identity === undefined) {
    identityCount++;
    identity = identityCount;
    identities.set(value, identity);
  }
  return identity;
}
