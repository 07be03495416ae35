import { InvalidArgumentError, RecoverableConnectionError } from '../../errors.js';
import { onAbort } from '../../util/abort.js';
import { noop } from '../../util/noop.js';
import { tlsOptions } from '../../util/tls.js';
import { connectError } from './classify.js';
import { type ClientFactory, clientFactory } from './library.js';
import { Link } from './link.js';
import type { RedisSettings } from './options.js';

/** The two sockets of a connection. */
export interface Links {
  /** Every command. */
  readonly commands: Link;
  /** What the server says by itself: what changed, what was broadcast. */
  readonly news: Link;
  /** Whether the server tells `news` of changes to what `commands` asked about. */
  readonly tracking: boolean;
  /** `host:port`, or the path of the socket. */
  readonly label: string;
  /** What the server says of itself, in `INFO server`. */
  readonly server: ReadonlyMap<string, string>;
}

/** The channel of a server's messages about changed keys, for clients of the second version of the protocol. */
export const INVALIDATIONS = '__redis__:invalidate';

interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string | undefined;
}

const labelOf = ({ host, port, path }: Target) =>
  path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/**
 * Connects, through a sentinel if that is what the URL names. Rejects CONNECT_FAILED with the phase, AUTH_FAILED, TLS_FAILED,
 * VHOST_NOT_FOUND, ACCESS_REFUSED, MISSING_DEPENDENCY.
 */
export async function connect(settings: RedisSettings, signal: AbortSignal | undefined): Promise<Links> {
  const make = await clientFactory(settings.template);
  const links: Link[] = [];
  // Giving up is closing the sockets: whatever is under way rejects.
  const off = onAbort(signal, () => {
    for (const link of links) link.close();
  });
  try {
    const own = { host: settings.host, port: settings.port, path: settings.path };
    const target = settings.sentinel === undefined ? own : await askSentinel(make, settings, links);
    signal?.throwIfAborted();
    return await openBoth(make, settings, target, links);
  } catch (error) {
    for (const link of links) link.close();
    if (signal?.aborted === true) throw signal.reason;
    throw error;
  } finally {
    off();
  }
}

async function openBoth(make: ClientFactory, settings: RedisSettings, target: Target, links: Link[]): Promise<Links> {
  const label = labelOf(target);
  const client = () => newLink(make, settings, target, settings.ssl, links);
  const [commands, news] = [client(), client()];
  try {
    await Promise.all([commands.connect(), news.connect()]);
  } catch (error) {
    throw connectError(error, 'tcp', label);
  }
  try {
    await Promise.all([logIn(commands, settings), logIn(news, settings)]);
  } catch (error) {
    throw connectError(error, 'sasl', label);
  }
  try {
    if (settings.sentinel !== undefined) await checkRole(commands, label);
    const server = parseInfo(await commands.call('INFO', 'server').catch(noop));
    const tracking = await track(commands, news);
    return { commands, news, tracking, label, server };
  } catch (error) {
    throw connectError(error, 'open', label);
  }
}

function newLink(
  make: ClientFactory,
  { connectTimeout, answerTimeout, keepAlive }: RedisSettings,
  { host, port, path }: Target,
  ssl: boolean | Readonly<Record<string, unknown>>,
  links: Link[],
): Link {
  const tls = ssl === false ? {} : { tls: tlsOptions(ssl, host) };
  const place = path === undefined ? { host, port } : { path };
  // Sentinels are asked by us, and databases chosen by us: both also for a client made like the application's.
  const rest = { sentinels: undefined, db: 0, keyPrefix: '', connectTimeout, keepAlive: keepAlive ?? 0, noDelay: true };
  const link = new Link(make({ ...place, ...tls, ...rest }), answerTimeout);
  links.push(link);
  return link;
}

async function logIn(link: Link, { username, password, db, clientName }: RedisSettings): Promise<void> {
  const steps: Promise<unknown>[] = [];
  if (password !== undefined) {
    steps.push(username === undefined ? link.call('AUTH', password) : link.call('AUTH', username, password));
  }
  // A name is a convenience, and a server may not let us have one.
  if (clientName !== undefined) steps.push(link.call('CLIENT', 'SETNAME', clientName).catch(noop));
  steps.push(link.call('SELECT', db));
  const results = await Promise.allSettled(steps);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Asks to be told of changes. `false` where the server is too old, or does not let us. */
async function track(commands: Link, news: Link): Promise<boolean> {
  try {
    const id = await news.call('CLIENT', 'ID');
    await news.call('subscribe', INVALIDATIONS);
    await commands.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id), 'OPTIN');
    return true;
  } catch (error) {
    if (!commands.isOpen || !news.isOpen) throw error;
    return false;
  }
}

/** A sentinel may not have noticed yet that its master is one no more. */
async function checkRole(commands: Link, label: string): Promise<void> {
  const answer = await commands.call('ROLE');
  const role = Array.isArray(answer) ? String(answer[0]) : 'unknown';
  if (role === 'master') return;
  throw new RecoverableConnectionError(`${label} is no master but a ${role}`, {
    code: 'CONNECT_FAILED',
    phase: 'open',
  });
}

async function askSentinel(make: ClientFactory, settings: RedisSettings, links: Link[]): Promise<Target> {
  const { sentinel, host, port } = settings;
  if (sentinel === undefined) throw new InvalidArgumentError('no sentinel was named');
  const { masterName, minOtherSentinels, username, password } = sentinel;
  const label = labelOf({ host, port, path: undefined });
  const link = newLink(make, settings, { host, port, path: undefined }, sentinel.ssl ?? settings.ssl, links);
  try {
    await link.connect();
    if (password !== undefined) {
      await (username === undefined ? link.call('AUTH', password) : link.call('AUTH', username, password));
    }
    const address = await link.call('SENTINEL', 'get-master-addr-by-name', masterName);
    if (!Array.isArray(address)) {
      throw new RecoverableConnectionError(`sentinel ${label} knows no master '${masterName}'`, {
        code: 'CONNECT_FAILED',
        phase: 'open',
        host: label,
      });
    }
    if (minOtherSentinels > 0) await checkOthers(link, masterName, minOtherSentinels, label);
    return { host: String(address[0]), port: Number(address[1]), path: undefined };
  } catch (error) {
    throw connectError(error, 'tcp', label);
  } finally {
    link.close();
  }
}

async function checkOthers(link: Link, masterName: string, wanted: number, label: string): Promise<void> {
  const answer = (await link.call('SENTINEL', 'master', masterName)) as string[];
  const at = answer.indexOf('num-other-sentinels');
  const known = at < 0 ? 0 : Number(answer[at + 1]);
  if (known >= wanted) return;
  throw new RecoverableConnectionError(
    `sentinel ${label} knows ${known} others, and min_other_sentinels is ${wanted}`,
    {
      code: 'CONNECT_FAILED',
      phase: 'open',
      host: label,
    },
  );
}

function parseInfo(info: unknown): ReadonlyMap<string, string> {
  const lines = typeof info === 'string' ? info.split('\r\n') : [];
  return new Map(lines.filter((line) => line.includes(':')).map((line) => line.split(/:(.*)/s, 2) as [string, string]));
}
