import {
  ChannelError,
  Connection,
  type ConnectionOptions,
  DEFAULTS,
  type Exchange,
  InvalidArgumentError,
  MessagingError,
  type Producer,
  type WaitOptions,
} from 'wakame';
import { checkKeys, Deadline, doneBefore, show, TypedEmitter } from 'wakame/util';
import { connect, placeOf } from './broker.js';
import { InvalidTransportUrl, MessageDeliveryFailure, MessageUndeliverable } from './errors.js';
import { type OsloOptions, type OsloSettings, osloSettings } from './options.js';
import { Replies } from './rpc/replies.js';
import { type Address, Topology } from './topology.js';
import type { ErrorClasses } from './wire/failure.js';

/** Options of a {@link Transport}. */
export interface TransportOptions {
  /** Options of oslo.messaging, under its names and in its units (seconds). A URL's query wins. */
  readonly conf?: OsloOptions | undefined;
  /**
   * Classes of errors by the Python module that they stand for: a failure of such a class is thrown as an instance of it. All others are a
   * RemoteError. (oslo's `allowed_remote_exmods`, which imports the modules.)
   */
  readonly allowedRemoteExmods?: Readonly<Record<string, ErrorClasses>> | undefined;
  /** Options of the Connection, beside what follows from `conf`; they win. */
  readonly connection?: ConnectionOptions | undefined;
}

/** What a transport tells by events. */
export interface TransportEvents {
  /** An answer came when its call had given up. */
  lateReply: [msgId: string];
  /** What came to the reply queue is no answer; it was dropped. */
  decodeError: [error: MessagingError];
}

const KEYS: ReadonlySet<string> = new Set<keyof TransportOptions>(['conf', 'allowedRemoteExmods', 'connection']);

/** How one message is sent. */
export interface Sending extends Address {
  readonly mandatory?: boolean | undefined;
  /** Milliseconds that it may wait in its queue. */
  readonly expiration?: number | undefined;
  /** Milliseconds that sending may take. Default: for ever. */
  readonly timeout?: number | undefined;
  /** -1: as often as it takes. Default: the option `rabbit_max_retries`, which is that. */
  readonly retry?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A message bus (`oslo_messaging.get_rpc_transport`, `get_notification_transport`): what clients, servers, notifiers and listeners share. It connects when it
 * is first used, and again whenever the connection is lost.
 *
 * ```ts
 * await using transport = new Transport('rabbit://user:password@host1,user:password@host2/');
 * await using local = new Transport('fake://');             // within this process
 * await using lite = new Transport('redis://localhost/0');   // any URL of Wakame's
 * ```
 */
export class Transport extends TypedEmitter<TransportEvents> implements AsyncDisposable {
  readonly connection: Connection;
  /** The options of oslo.messaging in force. */
  readonly conf: OsloSettings;
  /** For clients, servers, notifiers and listeners: how exchanges and queues are declared. */
  readonly topology: Topology;
  /** Classes of errors by module, see {@link TransportOptions.allowedRemoteExmods}. */
  readonly remoteErrors: ReadonlyMap<string, ErrorClasses>;
  readonly #owned: boolean;
  /** To be done before the connection closes. */
  readonly #users = new Set<(options: { readonly timeout: number }) => Promise<void>>();
  readonly #offConnection: () => void;
  readonly #offDisconnected: () => void;
  /** Where messages go that others have declared otherwise than we would. */
  readonly #foreign = new Set<string>();
  /** Exchanges that were declared on this incarnation of the connection. The connection itself declares those that go by themselves each time. */
  readonly #declared = new Set<Exchange>();
  /** Of the connection, so far. */
  #losses = 0;
  #producer: Producer | undefined;
  #replies: Replies | undefined;
  #closing: Promise<void> | undefined;
  #isClosed = false;

  /**
   * @param given A transport URL of oslo.messaging, a URL of Wakame's, or a Connection, which stays its owner's to close. Default: the option
   * `transport_url`, else `rabbit://`.
   *
   * Throws INVALID_URL, UNKNOWN_TRANSPORT, INVALID_ARGUMENT.
   */
  constructor(given?: string | Connection, options: TransportOptions = {}) {
    super();
    checkKeys('Transport', options, KEYS);
    const { conf = {}, connection: connectionOptions = {}, allowedRemoteExmods = {} } = options;
    const target = given ?? conf.transport_url ?? 'rabbit://';
    this.remoteErrors = new Map(Object.entries(allowedRemoteExmods));
    this.#owned = typeof target === 'string';
    if (typeof target === 'string') {
      const place = placeOf(target);
      if (Object.hasOwn(place.query, 'transport_url')) {
        throw new InvalidTransportUrl('transport_url cannot be an option of a transport URL');
      }
      this.conf = osloSettings(conf, place.query);
      this.connection = connect(place, this.conf, connectionOptions);
    } else {
      if (!(target instanceof Connection)) {
        throw new InvalidArgumentError(`a transport's target must be a URL or a Connection, not ${show(target)}`);
      }
      if (options.connection !== undefined) {
        throw new InvalidArgumentError('options of the connection cannot be given with a Connection');
      }
      this.conf = osloSettings(conf);
      this.connection = target;
    }
    this.topology = new Topology(this.conf);
    const forget = () => {
      this.#losses++;
      this.#declared.clear();
    };
    this.connection.on('disconnected', forget);
    this.#offDisconnected = () => this.connection.off('disconnected', forget);
    this.#offConnection = this.connection.beforeClose(({ timeout = DEFAULTS.closeTimeout }) => this.#finish(timeout));
  }

  /** For clients: where answers arrive. */
  get replies(): Replies {
    if (this.#closing !== undefined) throw new ChannelError('the transport was closed');
    if (this.#replies === undefined) {
      this.#replies = new Replies(this, {
        late: (msgId) => this.emit('lateReply', msgId),
        unreadable: (error) => {
          const text = `an answer was dropped: ${error.message}`;
          this.emitOrWarn('decodeError', `oslo reply ${error.code}`, text, error);
        },
      });
    }
    return this.#replies;
  }

  /**
   * For clients, servers and notifiers: sends a body. Resolves when the broker has it. Rejects MessageUndeliverable, MessageDeliveryFailure; INVALID_ARGUMENT,
   * MESSAGE_TOO_LARGE; CONNECTION_CLOSED; the reason of `signal`.
   */
  send(body: string, sending: Sending): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(new ChannelError('the transport was closed'));
    // Not awaited where it need not be: messages leave in the order of the calls.
    const connecting = this.connecting(sending);
    const sent =
      connecting === undefined ? this.#publish(body, sending) : connecting.then(() => this.#publish(body, sending));
    return sent.catch((error: unknown) => this.#otherwise(body, sending, error));
  }

  /**
   * Waits for the connection where its tries are counted: by `retry`, or by the option `rabbit_max_retries`. Undefined where there is nothing to wait for: the
   * others wait where they need it. Rejects MessageDeliveryFailure after so many, or in the end; the reason of `signal`.
   */
  connecting(how: WaitOptions & { readonly retry?: number | undefined } = {}): Promise<unknown> | undefined {
    const { retry = this.#retries, timeout, signal } = how;
    if (retry < 0 || this.connection.state === 'open') return undefined;
    return this.connection.ensureConnection({ maxRetries: retry, timeout, signal }).catch((error: unknown) => {
      throw error instanceof MessagingError ? MessageDeliveryFailure.from(error) : error;
    });
  }

  get #retries(): number {
    const { rabbit_max_retries: retries } = this.conf;
    return retries <= 0 ? -1 : retries;
  }

  #publish(body: string, sending: Sending): Promise<unknown> {
    const { exchange, routingKey, declare, mandatory, expiration, retry = this.#retries, signal } = sending;
    this.#producer ??= this.connection.producer({ compression: compressionOf(this.conf) });
    const isForeign =
      exchange !== undefined && this.#foreign.size > 0 && this.#foreign.has(addressOf(exchange.name, routingKey));
    const needed = exchange === undefined || isForeign || this.#declared.has(exchange) ? undefined : exchange;
    const entities = needed === undefined ? declare : [needed, ...(declare ?? [])];
    const published = this.#producer.publish(body, {
      exchange: exchange?.name ?? '',
      routingKey,
      declare: isForeign ? undefined : entities,
      mandatory,
      expiration,
      signal,
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      timeout: sending.timeout ?? Number.POSITIVE_INFINITY,
      // Without a number it is tried for ever.
      retry: retry < 0 ? undefined : retry,
    });
    if (needed === undefined) return published;
    const losses = this.#losses;
    return published.then((receipt) => {
      if (losses === this.#losses) this.#declared.add(needed);
      return receipt;
    });
  }

  /** Others may have declared the exchange or queue with other flags: then it is used as it is. It may have been deleted: then it is made again. */
  async #otherwise(body: string, sending: Sending, error: unknown): Promise<unknown> {
    const { exchange, routingKey } = sending;
    const code = error instanceof MessagingError ? error.code : undefined;
    if (exchange === undefined || (code !== 'PRECONDITION_FAILED' && code !== 'NOT_FOUND')) {
      throw sendError(error, exchange?.name ?? '', routingKey);
    }
    const address = addressOf(exchange.name, routingKey);
    this.#declared.delete(exchange);
    if (code === 'NOT_FOUND') this.#foreign.delete(address);
    else {
      if (this.#foreign.size >= MOST_FOREIGN) this.#foreign.clear();
      this.#foreign.add(address);
    }
    try {
      return await this.#publish(body, sending);
    } catch (failure) {
      throw sendError(failure, exchange.name, routingKey);
    }
  }

  /** For servers and listeners: `close` is called before the connection closes. Returns how to take it back. */
  addUser(close: (options: { readonly timeout: number }) => Promise<void>): () => void {
    this.#users.add(close);
    return () => this.#users.delete(close);
  }

  /**
   * Closes servers and listeners, which finish what they are at, within `timeout` milliseconds (10 s); then the connection, if it is the transport's own. Calls
   * under way reject. Never rejects.
   */
  async close(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { timeout = DEFAULTS.closeTimeout } = options;
    if (this.#owned) await this.connection.close({ timeout });
    else await this.#finish(timeout);
  }

  /** The same as {@link close} (oslo's name). */
  cleanup(): Promise<void> {
    return this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #finish(timeout: number): Promise<void> {
    this.#closing ??= this.#release(timeout);
    return this.#closing;
  }

  async #release(timeout: number): Promise<void> {
    this.#offConnection();
    this.#offDisconnected();
    const deadline = new Deadline(timeout);
    this.#replies?.settle();
    const users = [...this.#users].map((close) => close({ timeout }));
    await doneBefore(deadline, Promise.all(users));
    await this.#replies?.close();
    await this.#producer?.close({ timeout: deadline.remaining });
    this.#isClosed = true;
  }
}

const MOST_FOREIGN = 1000;

/** oslo.messaging's help says `bz2`, which Kombu has under another name. */
function compressionOf({ kombu_compression: name }: OsloSettings): string | undefined {
  return name === 'bz2' ? 'bzip2' : name || undefined;
}

function addressOf(exchange: string, routingKey: string): string {
  return `${exchange}\0${routingKey}`;
}

/** What a publish that failed means to its sender. */
function sendError(error: unknown, exchange: string, routingKey: string): unknown {
  if (!(error instanceof MessagingError) || error instanceof MessageDeliveryFailure) return error;
  if (error.code === 'UNROUTABLE') return new MessageUndeliverable(exchange, routingKey, { cause: error });
  return CALLERS_OWN.has(error.code) ? error : MessageDeliveryFailure.from(error);
}

/** What trying again would not change. */
const CALLERS_OWN: ReadonlySet<string> = new Set([
  ...['INVALID_ARGUMENT', 'ENCODE_FAILED', 'MESSAGE_TOO_LARGE', 'CONNECTION_CLOSED', 'BUFFER_FULL'],
]);
