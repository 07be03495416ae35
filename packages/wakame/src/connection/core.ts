import { inspect } from 'node:util';
import {
  ChannelError,
  ConnectionError,
  type MessagingError,
  NotSupportedError,
  OperationalError,
  RecoverableChannelError,
  RecoverableConnectionError,
  TimeoutError,
} from '../errors.js';
import { type BrokerAddress, tracing } from '../tracing.js';
import type { Catalog } from '../transport/catalog.js';
import type {
  ConnectionEvents,
  ConnectionParameters,
  Returned,
  Transport,
  TransportConnection,
} from '../transport/contract.js';
import type { Management } from '../transport/management.js';
import type { UrlFormat } from '../url/index.js';
import { raceSignal } from '../util/abort.js';
import { checkDuration } from '../util/check.js';
import type { CycleName } from '../util/cycles.js';
import { type Deadline, doneBefore, withDeadline } from '../util/deadline.js';
import { TypedEmitter } from '../util/emitter.js';
import { noop } from '../util/noop.js';
import { ConnectionCatalog } from './catalog.js';
import { Channel } from './channel.js';
import { type CloseLimits, type CloseOptions, closeDeadline, closeOptions } from './close-options.js';
import type { Connection } from './connection.js';
import type { ConsumerChannel, ConsumerHost, SubscriptionStatus } from './consumer-channel.js';
import { type Credentials, CredentialsKeeper } from './credentials.js';
import { type DrainEventsOptions, EventCounter } from './drain.js';
import type { ConnectionEventMap } from './events.js';
import { type ConnectionInfo, connectionInfo, poolKeyOf, uriOf } from './identity.js';
import { ConnectionMachine, type ConnectionState } from './machine.js';
import type { ManagedChannel } from './managed-channel.js';
import { LazyManagement } from './manager.js';
import {
  type BrokerHost,
  type ConnectionOptions,
  hostCycle,
  parametersFor,
  parseHosts,
  resolveSettings,
  type Settings,
} from './options.js';
import { Places } from './places.js';
import { type EnsureOptions, type ErrorClass, ensured, isConnectionTrouble, type Revivable } from './retry.js';
import { checkRetry, type RetryOptions } from './retry-options.js';
import { Topology } from './topology.js';
import { TransportSlot } from './transports.js';
import { asMessagingError, type ReadyOptions, type WaitOptions } from './waiters.js';

/** What is done before the channels of a closing connection are closed: stop taking, flush. */
export type BeforeClose = (options: CloseLimits) => Promise<void>;

/** Of a transport that finds its hosts by itself. */
const NOWHERE_ELSE = { addresses: undefined, suffix: '' } as const;

/** A transport that does not keep its `connectTimeout` is given up this much later, in milliseconds. */
const CONNECT_GRACE = 1_000;

/**
 * Everything of a Connection that needs no layer above it. `Connection` adds the factories of producers, consumers and
 * pools.
 */
export abstract class ConnectionCore extends TypedEmitter<ConnectionEventMap> implements ConsumerHost, AsyncDisposable {
  /** Itself. Channels have the same property, so that either can be asked for its connection. */
  abstract readonly connection: Connection;
  /** What this connection has declared; every declaration goes through it. */
  readonly topology: Topology;
  /** The managed channels to restore after a loss. For the channels themselves. */
  readonly channels: Set<ManagedChannel> = new Set();
  /** The channels with consumers. For the channels themselves. */
  readonly consumerChannels: Set<ConsumerChannel> = new Set();
  protected readonly target: string | readonly string[] | undefined;
  protected readonly options: ConnectionOptions;
  #settings: Settings;
  readonly #machine: ConnectionMachine;
  readonly #slot: TransportSlot;
  readonly #keeper: CredentialsKeeper;
  readonly #events = new EventCounter();
  readonly #publicChannels = new Set<Channel>();
  readonly #beforeClose = new Set<BeforeClose>();
  #hosts: Places<BrokerHost>;
  #broker: { readonly host: BrokerHost; readonly address: BrokerAddress } | undefined;
  #channelCount = 0;
  #defaultChannel: Channel | undefined;
  #management: Management | undefined;
  #catalog: Catalog | undefined;
  #releaser: (() => Promise<void>) | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Opens nothing: the first use connects.
   *
   * @param target One URL, several joined by `;`, or an array of them. Default `amqp://localhost`.
   * @throws InvalidArgumentError INVALID_ARGUMENT, InvalidUrlError INVALID_URL, UnknownTransportError UNKNOWN_TRANSPORT.
   */
  constructor(target?: string | readonly string[], options: ConnectionOptions = {}) {
    super();
    this.target = target;
    this.options = options;
    this.#settings = resolveSettings(target, options);
    this.#hosts = new Places(hostCycle(this.#settings));
    this.#slot = new TransportSlot(this.#settings);
    this.#keeper = new CredentialsKeeper(
      () => askCredentials(options),
      (error) => this.problem(error),
    );
    this.topology = new Topology(this);
    const { connectDeadline, retry } = this.#settings;
    this.#machine = new ConnectionMachine(this.#hooks(), { connectDeadline, retry });
  }

  get state(): ConnectionState {
    return this.#machine.state;
  }

  /** Whether there is an open connection to the broker now. */
  get connected(): boolean {
    return this.#machine.state === 'open';
  }

  /** The transport, once it is loaded: by connecting, or by `loadTransport`. */
  get transport(): Transport | undefined {
    return this.#slot.transport;
  }

  /** Loads the transport without connecting. Rejects MISSING_DEPENDENCY, or INVALID_ARGUMENT for its options. */
  async loadTransport(): Promise<Transport> {
    return (await this.#slot.load(this.#hosts.host)).transport;
  }

  /** What Producer's `confirm` is when it is not given: true, unless the transport option `confirm_publish` is false. */
  get confirmByDefault(): boolean {
    return this.#settings.confirmByDefault;
  }

  /** In which order a consumer handles what several queues have delivered: the transport option `queue_order_strategy`. */
  get queueOrder(): CycleName {
    return this.#settings.queueOrder;
  }

  /** The open incarnation; see the Channel contract. For channels and their users. */
  get incarnation(): TransportConnection | undefined {
    return this.#machine.current;
  }

  /** Why there is no incarnation: the last loss or failed try. */
  get lastError(): MessagingError | undefined {
    return this.#machine.lastError;
  }

  /** Milliseconds that the answer to one request may take: the transport option `read_timeout`, else 10 s. */
  get rpcTimeout(): number {
    return this.#settings.rpcTimeout;
  }

  /**
   * Connects, or waits for recovery. Resolves with the connection itself.
   *
   * @param options `timeout` in milliseconds replaces `connectDeadline` (30 s); other hosts and pauses are included in it.
   * Rejects at once with AUTH_FAILED, VHOST_NOT_FOUND, TLS_FAILED or bad options at the first connect; else at the deadline with the last
   * failure (CONNECT_FAILED …); CONNECTION_CLOSED; the reason of `signal`.
   */
  async connect(options: WaitOptions = {}): Promise<this> {
    await this.ready(options);
    return this;
  }

  /** Waits for an open incarnation; see `connect`. */
  ready(options: ReadyOptions = {}): Promise<TransportConnection> {
    return this.#machine.ready('connect', options);
  }

  /** A new channel. It opens at first use and survives losses. */
  channel(): Channel {
    if (this.#closing !== undefined) throw this.#machine.closedError();
    this.#channelCount++;
    const channel = new Channel(this.connection, this.#channelCount);
    this.#publicChannels.add(channel);
    channel.once('close', () => {
      this.#publicChannels.delete(channel);
      if (this.#defaultChannel === channel) this.#defaultChannel = undefined;
    });
    return channel;
  }

  /** One channel that everybody shares, made when first asked for. */
  defaultChannel(): Channel {
    this.#defaultChannel ??= this.channel();
    return this.#defaultChannel;
  }

  /**
   * For scripts: resolves with the number of events (deliveries handled, returns, cancelled consumers) since the previous call, at once when there
   * were any. Connects when that was not done. Rejects TIMEOUT when none came within `timeout`.
   */
  async drainEvents(options: DrainEventsOptions = {}): Promise<number> {
    const { timeout, signal } = options;
    if (timeout !== undefined) checkDuration('timeout', timeout, { allowInfinity: true });
    if (this.state !== 'open' && this.state !== 'recovering') await this.ready({ signal });
    return this.#events.drain({ timeout, signal });
  }

  /** For consumers: an event was handled that `drainEvents` waits for. */
  eventHandled(): void {
    this.#events.handled();
  }

  /**
   * Waits until connected, by Kombu's rules: for ever unless bounded by `maxRetries` (tries after the first) or `timeout`.
   * Resolves with the connection itself. What is recoverable is rejected as OperationalError.
   */
  async ensureConnection(options: RetryOptions & WaitOptions = {}): Promise<this> {
    checkRetry(options);
    try {
      await this.ready({ ...options, timeout: options.timeout ?? this.#settings.ensureDeadline });
      return this;
    } catch (error) {
      throw isConnectionTrouble(error) ? OperationalError.from(error) : error;
    }
  }

  /**
   * Gives a function that runs `fn` again after the loss of the connection or a recoverable failure of a channel.
   *
   * After a loss it waits for the connection (`errback` hears of each failed try), then calls `target.revive(channel)` and
   * `onRevive(channel)`, then `fn` again. `maxRetries: N` is N runs after the first. What is recoverable and escapes is wrapped in
   * OperationalError.
   */
  ensure<A extends unknown[], R>(
    target: Revivable | undefined,
    fn: (...args: A) => R | Promise<R>,
    options: EnsureOptions = {},
  ): (...args: A) => Promise<R> {
    return ensured(this, target, fn, options);
  }

  /**
   * `ensure` for a function that works on a channel, which it gets as its first argument. Resolves with its result and
   * the channel of the last run.
   */
  autoretry<A extends unknown[], R>(
    fn: (channel: Channel, ...args: A) => R | Promise<R>,
    options: EnsureOptions & { readonly channel?: Channel | undefined } = {},
  ): (...args: A) => Promise<[result: R, channel: Channel]> {
    const { channel: given, ...rest } = options;
    let channel = given;
    const revival: Revivable = {
      revive: (revived) => {
        channel = revived;
      },
    };
    const run = async (...args: A): Promise<[R, Channel]> => {
      const used = channel ?? this.defaultChannel();
      channel = used;
      return [await fn(used, ...args), used];
    };
    return ensured(this, revival, run, rest);
  }

  /**
   * Every consumer of this connection, and whether it is consuming now. The rule: while the connection is open, each is consuming or
   * being brought back; one that is `forgotten` is a defect of this library. For health checks and tests.
   */
  get subscriptions(): readonly SubscriptionStatus[] {
    return [...this.consumerChannels].flatMap((channel) => channel.status);
  }

  /** Makes `channel` the default channel; the former one is closed. */
  async revive(channel: Channel): Promise<void> {
    const former = this.#defaultChannel;
    if (former === channel) return;
    this.#defaultChannel = channel;
    await former?.close();
  }

  /** Drops the connection with no word to the broker; recovery follows when it was open. */
  collect(): void {
    this.#machine.drop('the connection was dropped on request');
  }

  /**
   * Leaves the hosts it has for others. An open connection is closed in good order and opened there; otherwise the next connect goes
   * there. Resolves when that is done.
   */
  async switchTo(target: string | readonly string[], wait: WaitOptions = {}): Promise<void> {
    const hosts = parseHosts(target, { ...this.options, alternates: undefined });
    this.#settings = { ...this.#settings, hosts };
    this.#hosts = new Places(hostCycle(this.#settings));
    await this.#redirect(`switched to ${this.#hosts.host.label}`, wait);
  }

  /** Goes on to the next host where there are several, as `switchTo`. */
  async maybeSwitchNext(wait: WaitOptions = {}): Promise<void> {
    if (this.#hosts.size < 2) return;
    this.#hosts.advance();
    await this.#redirect(`switched to ${this.#hosts.host.label}`, wait);
  }

  /** Closes a channel if it is open. Never rejects. */
  async maybeCloseChannel(channel: Channel): Promise<void> {
    await channel.close();
  }

  /**
   * Throws the error that ended the connection when it is down, CONNECTION_CLOSED after `close()`; does nothing when it is up or was never used.
   * Heartbeats need no help: they run by themselves.
   */
  heartbeatCheck(): void {
    const { state, lastError } = this.#machine;
    if (state === 'closing' || state === 'closed') throw this.#machine.closedError();
    if (state === 'recovering' && lastError !== undefined) throw lastError;
  }

  /** Whether the transport has heartbeats. Loads it. */
  async supportsHeartbeats(): Promise<boolean> {
    return (await this.loadTransport()).features.heartbeats;
  }

  /** Whether the transport has exchanges of this type. Loads it. */
  async supportsExchangeType(type: string): Promise<boolean> {
    return (await this.loadTransport()).features.exchangeTypes.has(type);
  }

  /** Lists of the exchanges, queues and bindings that stand at the broker. Its methods connect when that was not done. */
  get catalog(): Catalog {
    this.#catalog ??= new ConnectionCatalog((options) => this.ready(options));
    return this.#catalog;
  }

  /** The broker's management API. Its methods reject NOT_SUPPORTED where there is none. */
  get manager(): Management {
    this.#management ??= new LazyManagement(async () => {
      const host = this.#hosts.host;
      const { transport, options } = await this.#slot.load(host);
      const management = transport.createManagement?.(await this.#parameters(host, options));
      if (management === undefined) throw new NotSupportedError(`${transport.name} has no management API`);
      return management;
    });
    return this.#management;
  }

  /** Errors of a connection, as classes. */
  get connectionErrors(): readonly ErrorClass[] {
    return [ConnectionError, TimeoutError];
  }

  /** Errors of a channel. */
  get channelErrors(): readonly ErrorClass[] {
    return [ChannelError];
  }

  /** Errors after which connecting again may help. */
  get recoverableConnectionErrors(): readonly ErrorClass[] {
    return [RecoverableConnectionError, TimeoutError];
  }

  /** Errors after which the same channel may succeed. */
  get recoverableChannelErrors(): readonly ErrorClass[] {
    return [RecoverableChannelError];
  }

  /** Where it leads, for tracing. */
  get broker(): BrokerAddress {
    const { host } = this.#hosts;
    if (this.#broker?.host !== host) {
      const { transport, hostname, port, virtualHost } = connectionInfo(this.#settings, host);
      this.#broker = { host, address: { transport, host: hostname, port, virtualHost } };
    }
    return this.#broker.address;
  }

  /** How this connection is set up. Holds no password: `clone()` makes an equal connection. */
  info(): ConnectionInfo {
    return connectionInfo(this.#settings, this.#hosts.host);
  }

  /** The URL of the present host. The password is masked unless asked for; one that a function gives is not in it. */
  asUri(options: UrlFormat = {}): string {
    return uriOf(this.#settings, this.#hosts.host, options);
  }

  /** The same for connections to the same place with the same options: what pools group by. Says nothing of the password. */
  get poolKey(): string {
    return poolKeyOf(this.#settings);
  }

  /** Registers what is to be done at the beginning of `close()`, within the time it has. Returns how to take it back. */
  beforeClose(hook: BeforeClose): () => void {
    this.#beforeClose.add(hook);
    return () => {
      this.#beforeClose.delete(hook);
    };
  }

  /** For pools: what `release()` does instead of closing. */
  setReleaser(releaser: (() => Promise<void>) | undefined): void {
    this.#releaser = releaser;
  }

  /** Gives the connection back to the pool it came from; closes it when it came from none. */
  async release(): Promise<void> {
    if (this.#releaser === undefined) await this.close();
    else await this.#releaser();
  }

  /**
   * Closes for good: consumers stop and their handlers finish, producers flush, channels and connection are closed in good order, within
   * `timeout` milliseconds (10 s), and until `signal` is aborted; then what is left is dropped, and unsettled messages go back to
   * their queues. Whoever waits for the connection gets CONNECTION_CLOSED. Rejects INVALID_ARGUMENT for such options only; a second
   * call waits for the first.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(closeDeadline(options));
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  [inspect.custom](): string {
    return `Connection { ${this.asUri()}, ${this.state} }`;
  }

  /** A problem that breaks nothing: the event `problem`, or, unheard, a process warning once per cause. */
  problem(error: MessagingError): void {
    const { message } = error;
    this.emitOrWarn('problem', `problem ${error.code} ${message}`, `${error.name}: ${message}`, error);
  }

  /** For producers: a message reached no queue, and its publisher did not ask to be told. */
  unroutable(returned: Returned): void {
    this.emit('unroutable', returned);
  }

  async #close(deadline: Deadline): Promise<void> {
    await this.#machine.close(deadline, () => this.#finish(deadline));
    this.#keeper.stop();
    await this.#slot.dispose();
    this.#events.end(this.#machine.closedError());
    this.emit('closed');
  }

  /** The last chance of all who use the connection. */
  async #finish(deadline: Deadline): Promise<void> {
    // Nothing can be flushed to a broker that is away: those who wait are told at once.
    if (this.#machine.current === undefined) await this.#closeChannels(deadline);
    const hooks = [...this.#beforeClose].map((hook) =>
      hook(closeOptions(deadline)).catch((error: unknown) => this.problem(asMessagingError(error))),
    );
    await doneBefore(deadline, Promise.all(hooks));
    await this.#closeChannels(deadline);
  }

  async #closeChannels(deadline: Deadline): Promise<void> {
    const all = [...this.#publicChannels, ...this.channels].map((channel) => channel.close());
    // What is not closed in time goes with the connection.
    await doneBefore(deadline, Promise.all(all));
  }

  async #redirect(reason: string, wait: WaitOptions): Promise<void> {
    if (this.#closing !== undefined) throw this.#machine.closedError();
    const wasUp = this.state !== 'idle';
    this.#machine.redirect(reason);
    if (wasUp) await this.ready(wait);
  }

  #hooks(): ConstructorParameters<typeof ConnectionMachine>[0] {
    return {
      open: (events, signal) => this.#open(events, signal),
      hostCount: () => this.#hosts.size,
      nextHost: () => this.#hosts.advance(),
      restoreTopology: (connection) => this.topology.restore(connection),
      restoreChannels: async (connection) => {
        this.#keeper.watch(connection);
        await Promise.all([...this.channels].map((channel) => channel.restore(connection)));
      },
      lost: (error) => {
        this.#keeper.stop();
        this.topology.connectionLost();
        for (const channel of [...this.channels]) {
          channel.connectionLost(error);
          // There is no recovery to wait for any more.
          if (this.#closing !== undefined) void channel.close();
        }
      },
      emit: {
        connected: (host) => this.emit('connected', { host }),
        disconnected: (error) => this.emit('disconnected', error),
        recovered: (host, duration, cause) => this.emit('recovered', { host, duration, cause }),
        failover: (from, to, cause) => this.emit('failover', { from, to, cause }),
        blocked: (reason) => this.emit('blocked', reason),
        unblocked: () => this.emit('unblocked'),
        problem: (error) => this.problem(error),
      },
    };
  }

  /** One try to connect to the current host. */
  async #open(
    events: ConnectionEvents,
    signal: AbortSignal,
  ): Promise<{ connection: TransportConnection; host: string }> {
    const host = this.#hosts.host;
    const { module, transport, options } = await raceSignal(this.#slot.load(host), signal);
    const given = await raceSignal(this.#parameters(host, options), signal);
    const resolving = { timeout: given.connectTimeout, signal };
    const { addresses, suffix } =
      module.takesAddresses === true ? await this.#hosts.resolve(given.hostname, resolving) : NOWHERE_ELSE;
    const parameters = { ...given, addresses };
    const { hostname, port = module.defaultPort, virtualHost, connectTimeout } = parameters;
    const context = { transport: parameters.transport, host: hostname, port, virtualHost };
    const opening = tracing.connect.tracePromise(() => transport.open(parameters, events, { signal }), context);
    try {
      const timeout = connectTimeout + CONNECT_GRACE;
      return {
        connection: await withDeadline(opening, 'connect', { timeout, signal }),
        host: `${host.label}${suffix}`,
      };
    } catch (error) {
      opening.then((late) => late.abort(asMessagingError(error)), noop);
      throw error;
    }
  }

  async #parameters(host: BrokerHost, options: Readonly<Record<string, unknown>>): Promise<ConnectionParameters> {
    const parameters = parametersFor(this.#settings, host, await this.#keeper.get(), options);
    const { password, credentials } = this.#settings.options;
    if (typeof password !== 'function' && credentials === undefined) return parameters;
    return { ...parameters, currentPassword: async () => (await this.#keeper.get()).password ?? parameters.password };
  }
}

/** Where the options say that credentials come from. The URL and the other options fill what is missing here. */
async function askCredentials(options: ConnectionOptions): Promise<Credentials> {
  if (options.credentials !== undefined) return options.credentials();
  const { password } = options;
  return { password: typeof password === 'function' ? await password() : undefined };
}
