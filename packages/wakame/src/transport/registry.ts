/**
 * Which transport serves a URL scheme. This file, and no other above `transports/`, names transports.
 */
import { InvalidArgumentError, UnknownTransportError } from '../errors.js';
import { checkFunction, show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';
import type { TransportModule } from './contract.js';

/** Gives the module of a transport, once its scheme is first used. */
export type TransportLoader = () => TransportModule | Promise<TransportModule>;

interface Registration {
  readonly load: TransportLoader;
  readonly wholeUrl: boolean;
}

/** How a scheme is to be read. */
export interface RegisterOptions {
  /** The transport reads its URL itself: it gets the whole of it as `hostname`. Default false. */
  readonly wholeUrl?: boolean | undefined;
}

const amqp: TransportLoader = async () => (await import('../transports/amqp/index.js')).transportModule;
const memory: TransportLoader = async () => (await import('../transports/memory/index.js')).transportModule;
const redis: TransportLoader = async () => (await import('../transports/redis/index.js')).transportModule;

const sqlite: TransportLoader = async () => (await import('../transports/sql/index.js')).sqliteModule;
const postgresql: TransportLoader = async () => (await import('../transports/sql/index.js')).postgresqlModule;
const mysql: TransportLoader = async () => (await import('../transports/sql/index.js')).mysqlModule;
const sqlalchemy: TransportLoader = async () => (await import('../transports/sql/index.js')).sqlalchemyModule;

const filesystem: TransportLoader = async () => (await import('../transports/filesystem/index.js')).transportModule;

const registrations = new Map<string, Registration>([
  ['amqp', { load: amqp, wholeUrl: false }],
  ['amqps', { load: amqp, wholeUrl: false }],
  ['pyamqp', { load: amqp, wholeUrl: false }],
  ['librabbitmq', { load: amqp, wholeUrl: false }],
  ['memory', { load: memory, wholeUrl: false }],
  ['redis', { load: redis, wholeUrl: false }],
  ['rediss', { load: redis, wholeUrl: false }],
  ['sentinel', { load: redis, wholeUrl: false }],
  ['sqlite', { load: sqlite, wholeUrl: true }],
  ['postgresql', { load: postgresql, wholeUrl: false }],
  ['postgres', { load: postgresql, wholeUrl: false }],
  ['mysql', { load: mysql, wholeUrl: false }],
  ['mariadb', { load: mysql, wholeUrl: false }],
  ['sqla', { load: sqlalchemy, wholeUrl: false }],
  ['sqlalchemy', { load: sqlalchemy, wholeUrl: false }],
  ['filesystem', { load: filesystem, wholeUrl: false }],
]);

/**
 * Makes `scheme://` URLs use a transport. A scheme that has one already gets the new one.
 *
 * @param scheme A URL scheme (RFC 3986 section 3.1), in lower case.
 * @param loader Called once, at the first use, so that nothing is loaded in vain.
 * @returns How to undo it: what stood before stands again.
 * @throws InvalidArgumentError INVALID_ARGUMENT for what is no scheme, or no function.
 */
export function registerTransport(scheme: string, loader: TransportLoader, options: RegisterOptions = {}): () => void {
  if (typeof scheme !== 'string' || !/^[a-z][a-z0-9.-]*$/.test(scheme)) {
    throw new InvalidArgumentError(`scheme must be a URL scheme in lower case, not ${show(scheme)}`);
  }
  const registration = { load: once(checkFunction('loader', loader)), wholeUrl: options.wholeUrl ?? false };
  const former = registrations.get(scheme);
  registrations.set(scheme, registration);
  return () => {
    if (registrations.get(scheme) !== registration) return;
    if (former === undefined) registrations.delete(scheme);
    else registrations.set(scheme, former);
  };
}

/**
 * A loader that loads once: a connection knows by the module whether the transport it has, and what that holds, is still the right one.
 * A load that failed is tried again.
 */
function once(loader: TransportLoader): TransportLoader {
  let loading: Promise<TransportModule> | undefined;
  return () => {
    loading ??= Promise.resolve()
      .then(loader)
      .catch((error: unknown) => {
        loading = undefined;
        throw error;
      });
    return loading;
  };
}

/** The schemes known, in order of registration. */
export function transportNames(): string[] {
  return [...registrations.keys()];
}

/** Whether the scheme's transport reads its URL itself. */
export function readsWholeUrl(scheme: string): boolean {
  return registrations.get(scheme)?.wholeUrl ?? false;
}

/** The loader of a scheme. Throws UNKNOWN_TRANSPORT with the nearest known name. */
export function transportLoader(scheme: string): TransportLoader {
  const registration = registrations.get(scheme);
  if (registration !== undefined) return registration.load;
  const known = transportNames();
  throw new UnknownTransportError(
    `no transport is named ${show(scheme)}${didYouMean(scheme, known)}; known are ${known.join(', ')}`,
  );
}
