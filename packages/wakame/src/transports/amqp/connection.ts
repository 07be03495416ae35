/**
 * One incarnation of a connection over AMQP: up to two sockets, one for channels that publish and one for all others.
 *
 * ```
 *   channels that publish ──▶ socket ──┐
 *                                      ├──▶ broker        an alarm: the broker reads the upper one no more,
 *   all other channels   ──▶ socket ──┘                   acks on the lower one go on
 * ```
 *
 * Each is opened when it is first needed; the first one opened serves whoever comes first. The loss of one is the loss of
 * the connection: the other is dropped.
 */
import { type Connection as Client, connect } from '@wakame/amqp';
import { ConnectionError, MessagingError, RecoverableConnectionError } from '../../errors.js';
import type {
  Arguments,
  ChannelEvents,
  ChannelRole,
  ConnectionEvents,
  ConnectionParameters,
  OpenOptions,
  TransportChannel,
  TransportConnection,
} from '../../transport/contract.js';
import { noop } from '../../util/noop.js';
import { Requests } from './blame.js';
import { RabbitCatalog } from './catalog.js';
import { AmqpChannel } from './channel.js';
import { DelayedDelivery } from './delayed-delivery.js';
import { RabbitManagement } from './management.js';
import { type AmqpOptions, amqpOptions, clientParameters } from './options.js';
import { watchForStall } from './stall.js';

export class AmqpConnection implements TransportConnection {
  readonly delays: DelayedDelivery;
  readonly requests: Requests = new Requests();
  readonly catalog: RabbitCatalog;
  readonly #parameters: ConnectionParameters;
  readonly #events: ConnectionEvents;
  readonly #options: AmqpOptions;
  /** All sockets that are open. */
  readonly #clients = new Set<Client>();
  readonly #blocked = new Set<Client>();
  /** By role; the first one is free until somebody needs it. */
  readonly #byRole = new Map<ChannelRole, Promise<Client>>();
  readonly #first: Client;
  #firstIsFree = true;
  #ended = false;
  #closing = false;
  /** The secret that `updateSecret` set, for a socket to be opened later. */
  #secret: string | undefined;

  /** Connects once. Rejects as the client's `connect` does. */
  static async open(
    parameters: ConnectionParameters,
    events: ConnectionEvents,
    options: OpenOptions = {},
  ): Promise<AmqpConnection> {
    const own = amqpOptions(parameters);
    const client = await connect(clientParameters(parameters), { signal: options.signal });
    return new AmqpConnection(parameters, events, own, client);
  }

  private constructor(
    parameters: ConnectionParameters,
    events: ConnectionEvents,
    options: AmqpOptions,
    client: Client,
  ) {
    this.#parameters = parameters;
    this.#events = events;
    this.#options = options;
    this.#first = client;
    this.catalog = new RabbitCatalog(() => new RabbitManagement(parameters));
    this.delays = new DelayedDelivery(this, options.delayQueueType);
    this.#adopt(client);
  }

  get state(): 'open' | 'closing' | 'closed' {
    if (this.#ended) return 'closed';
    return this.#closing ? 'closing' : 'open';
  }

  get serverProperties(): Arguments {
    return this.#first.serverProperties;
  }

  get heartbeat(): number {
    return this.#first.heartbeat;
  }

  async openChannel(role: ChannelRole, events: ChannelEvents, options: OpenOptions = {}): Promise<TransportChannel> {
    const client = await this.#client(role);
    const channel = await client.channel({ signal: options.signal });
    return new AmqpChannel(this, channel, events);
  }

  async updateSecret(secret: string): Promise<void> {
    this.#secret = secret;
    await Promise.all([...this.#clients].map((client) => client.updateSecret(secret, 'the secret was renewed')));
  }

  async close({ timeout }: { readonly timeout: number }): Promise<void> {
    this.#closing = true;
    // A client that gets no answer in time has closed its socket all the same.
    await Promise.all([...this.#clients].map((client) => client.close({ timeout }).catch(noop)));
    this.#end(undefined);
  }

  abort(error: MessagingError): void {
    this.#end(error);
  }

  /** Something failed that nobody waits for. */
  problem(cause: unknown): void {
    const error = cause instanceof MessagingError ? cause : new MessagingError(String(cause), { cause });
    setImmediate(() => {
      if (!this.#ended) this.#events.onProblem(error);
    });
  }

  /** The socket for a role. */
  #client(role: ChannelRole): Promise<Client> {
    let client = this.#byRole.get(role);
    if (client === undefined) {
      client = this.#firstIsFree ? Promise.resolve(this.#first) : this.#second(role);
      this.#firstIsFree = false;
      this.#byRole.set(role, client);
    }
    return client;
  }

  /**
   * Opens the second socket. Where the broker allows only one (a limit of connections, a token used once), both roles share the
   * first. A broker that cannot be reached any more is a lost connection.
   */
  async #second(role: ChannelRole): Promise<Client> {
    try {
      const password = this.#secret ?? (await this.#parameters.currentPassword?.()) ?? this.#parameters.password;
      const client = await connect(clientParameters({ ...this.#parameters, password }));
      if (this.state !== 'open') {
        client.abort();
        throw new RecoverableConnectionError('the connection was closed meanwhile');
      }
      this.#adopt(client);
      return client;
    } catch (thrown) {
      const error = thrown as MessagingError;
      if (this.state !== 'open') throw error;
      if (error.recoverable) {
        this.#end(error);
        throw error;
      }
      const problem = `no second socket for channels that ${role}, so all share one: ${error.message}`;
      this.problem(new ConnectionError(problem, { code: error.code, cause: error }));
      return this.#first;
    }
  }

  #adopt(client: Client): void {
    this.#clients.add(client);
    const { writeTimeout } = this.#options;
    if (writeTimeout !== undefined) watchForStall(client, writeTimeout);
    client.on('close', (error) => this.#socketClosed(client, error));
    client.on('blocked', (reason) => this.#onBlocked(client, reason));
    client.on('unblocked', () => this.#onUnblocked(client));
  }

  #socketClosed(client: Client, error: MessagingError | undefined): void {
    this.#clients.delete(client);
    if (!this.#closing || error !== undefined)
      this.#end(error ?? new RecoverableConnectionError('the socket was closed'));
  }

  /** The whole of it is over: told once, in a turn of its own. */
  #end(error: MessagingError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const client of [...this.#clients]) client.abort(error);
    const told = this.#closing ? undefined : error;
    setImmediate(() => this.#events.onClose(told));
  }

  #onBlocked(client: Client, reason: string): void {
    const isNews = this.#blocked.size === 0;
    this.#blocked.add(client);
    if (!isNews) return;
    setImmediate(() => {
      if (this.#ended) return;
      this.#events.onBlocked(reason);
      this.#options.onBlocked?.(reason);
    });
  }

  #onUnblocked(client: Client): void {
    if (!this.#blocked.delete(client) || this.#blocked.size > 0) return;
    setImmediate(() => {
      if (this.#ended) return;
      this.#events.onUnblocked();
      this.#options.onUnblocked?.();
    });
  }
}
