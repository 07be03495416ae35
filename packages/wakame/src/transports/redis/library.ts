import { InvalidArgumentError, MissingDependencyError } from '../../errors.js';
import { show } from '../../util/check.js';

/** What is used of a client of the library `ioredis`. */
export interface RedisClient {
  readonly status: string;
  readonly options: object;
  /** Connects once. */
  connect(): Promise<void>;
  /** Drops the connection. */
  disconnect(reconnect?: boolean): void;
  /** A client with the same options, but for these. */
  duplicate(override?: object): RedisClient;
  /** Sends one command. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** As an EventEmitter's. */
  on(event: string, listener: (...args: never[]) => void): unknown;
  /** As an EventEmitter's. */
  off(event: string, listener: (...args: never[]) => void): unknown;
}

/** What switches off that the library heals connections by itself. */
const PASSIVE = {
  lazyConnect: true,
  retryStrategy: null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  enableAutoPipelining: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  disableClientInfo: true,
  // Messages of tracking come as those of a channel; and every server since 2.6 speaks it.
  protocol: 2,
  showFriendlyErrorStack: false,
};

/** Makes clients, not connected yet. */
export type ClientFactory = (options: object) => RedisClient;

/**
 * Of the library, or in the likeness of a client that the application handed in.
 *
 * @throws MissingDependencyError MISSING_DEPENDENCY.
 */
export async function clientFactory(template: RedisClient | undefined): Promise<ClientFactory> {
  if (template !== undefined) {
    if (typeof template?.duplicate !== 'function' || typeof template.call !== 'function') {
      throw new InvalidArgumentError(`client must be a client of the library ioredis, not ${show(template)}`);
    }
    return (options) => template.duplicate({ ...options, ...PASSIVE });
  }
  let library: { readonly Redis: new (options: object) => unknown };
  try {
    library = await import('ioredis');
  } catch (cause) {
    throw new MissingDependencyError('the redis transport', 'ioredis', '', { cause });
  }
  const { Redis } = library;
  return (options) => new Redis({ ...options, ...PASSIVE }) as RedisClient;
}
