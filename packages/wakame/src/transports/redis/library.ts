import type { Writable } from 'node:stream';
import { InvalidArgumentError, MissingDependencyError } from '../../errors.js';
import { show } from '../../util/check.js';

/** A command of the library's, which asks it for its bytes when they are to be written to the socket. */
interface LibraryCommand {
  readonly promise: Promise<unknown>;
  toWritable(socket: Writable): string | Uint8Array;
}

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
  /** The same with an object, which has a promise of its answer. */
  sendCommand(command: LibraryCommand): unknown;
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

/** Sends commands of these names, which are written already, all of them in `bytes`. Gives their answers. */
export type SendWritten = (names: readonly string[], bytes: Uint8Array) => Promise<unknown>[];

/** A client, not connected yet. */
export interface NewClient {
  readonly client: RedisClient;
  /** Undefined where it is not known how: the client is of another copy of the library. */
  readonly sendWritten: SendWritten | undefined;
}

/** Makes clients. */
export type ClientFactory = (options: object) => NewClient;

/**
 * Of the library, or in the likeness of a client that the application handed in.
 *
 * @throws MissingDependencyError MISSING_DEPENDENCY.
 */
export async function clientFactory(template: RedisClient | undefined): Promise<ClientFactory> {
  if (template === undefined) {
    const library = await load();
    return (options) => newClient(new library.Redis({ ...options, ...PASSIVE }), library);
  }
  if (typeof template?.duplicate !== 'function' || typeof template.call !== 'function') {
    throw new InvalidArgumentError(`client must be a client of the library ioredis, not ${show(template)}`);
  }
  const library = await load().catch(() => undefined);
  const sameLibrary = library !== undefined && template instanceof library.Redis ? library : undefined;
  return (options) => newClient(template.duplicate({ ...options, ...PASSIVE }), sameLibrary);
}

/** What is used of the library. */
interface Library {
  readonly Redis: new (options: object) => RedisClient;
  readonly Command: new (name: string) => LibraryCommand;
}

async function load(): Promise<Library> {
  try {
    return (await import('ioredis')) as unknown as Library;
  } catch (cause) {
    throw new MissingDependencyError('the redis transport', 'ioredis', '', { cause });
  }
}

function newClient(client: RedisClient, library: Library | undefined): NewClient {
  return { client, sendWritten: library === undefined ? undefined : writtenSender(client, library) };
}

const NOTHING = new Uint8Array(0);

/**
 * Left to itself the library looks at each argument of each command several times, puts them together as one text, and has that encoded. A class
 * derived from its commands' has bytes instead.
 */
function writtenSender(client: RedisClient, { Command }: Library): SendWritten {
  class WrittenCommand extends Command {
    readonly #write: (socket: Writable) => Uint8Array;

    constructor(name: string, write: (socket: Writable) => Uint8Array) {
      super(name);
      this.#write = write;
    }

    override toWritable(socket: Writable): Uint8Array {
      return this.#write(socket);
    }
  }
  return (names, bytes) => {
    let socket: Writable | undefined;
    // The first one has the bytes of all. Writing those of the others, none, would be as many system calls.
    const write = (given: Writable): Uint8Array => {
      if (socket !== undefined) return NOTHING;
      socket = given;
      socket.cork();
      return bytes;
    };
    const commands = names.map((name) => new WrittenCommand(name, write));
    try {
      for (const command of commands) client.sendCommand(command);
    } finally {
      (socket as Writable | undefined)?.uncork();
    }
    return commands.map(({ promise }) => promise);
  };
}
