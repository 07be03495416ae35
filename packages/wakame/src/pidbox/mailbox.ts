import { hostname as ownHostname } from 'node:os';
import { LamportClock } from '../clock/index.js';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import { Exchange } from '../entities/exchange.js';
import { Queue } from '../entities/queue.js';
import type { QueueOptions } from '../entities/queue-options.js';
import { checkTarget } from '../entities/target.js';
import { type MessagingError, NotBoundError } from '../errors.js';
import type { Message } from '../messaging/message.js';
import type { StandardSchemaV1 } from '../messaging/schema.js';
import { raceSignal } from '../util/abort.js';
import { TypedEmitter } from '../util/emitter.js';
import { uuid } from '../util/uuid.js';
import { Node, type NodeOptions } from './node.js';
import {
  type AbcastOptions,
  type BroadcastCommandOptions,
  type CallOptions,
  type CastOptions,
  checkBroadcast,
  checkDestination,
  checkFilled,
  type MailboxOptions,
  type MailboxSettings,
  type MailboxType,
  type MultiCallOptions,
  mailboxSettings,
  type Sending,
} from './options.js';
import { type ProducerSource, publish } from './publishing.js';
import { Replies } from './replies.js';
import { UnclaimedReplies } from './unclaimed.js';
import { type CommandArguments, expiresIn, type Reply, writeRequest } from './wire.js';

/** What a bound mailbox tells by events. */
export interface MailboxEvents {
  /** A reply could not be read, or is none. It counts as one of those that its call waits for, and is dropped. */
  decodeError: [error: MessagingError, message: Message];
}

/** What the copies of a mailbox for several connections have in common, beside the clock. */
interface Shared {
  /** One for each connection, so that all calls over it share a reply queue. */
  readonly bound: WeakMap<Connection, Mailbox>;
  readonly unclaimed: UnclaimedReplies;
}

/** With a schema: values are what it gives. */
type WithSchema<O, T> = O & { readonly schema: StandardSchemaV1<unknown, T> };
/** Without one nothing is known of the values. */
type WithoutSchema<O> = O & { readonly schema?: undefined };

/** The most replies that one call collects: more than any estate has nodes. */
const MOST_REPLIES = 100_000;

/**
 * Commands to processes by their names, and the replies (`kombu.pidbox.Mailbox`). Every process that listens is a {@link Node}; whoever has the
 * mailbox bound to a connection can command them.
 *
 * ```ts
 * const mailbox = new Mailbox('testMailbox', { type: 'fanout' });
 *
 * const node = mailbox.bind(connection).node('kitchen');
 * node.handler('print_msg', ({ msg }) => console.log(msg));
 * await node.listen();
 *
 * const replies = await mailbox.bind(other).multiCall('print_msg', { msg: 'hello' });
 * ```
 *
 * Python processes are reached, and reach ours, in the same way.
 */
export class Mailbox extends TypedEmitter<MailboxEvents> implements AsyncDisposable {
  readonly namespace: string;
  readonly type: MailboxType;
  readonly connection: Connection | undefined;
  /** Where commands go: `<namespace>.pidbox`. */
  readonly exchange: Exchange;
  /** Where replies go: `reply.<namespace>.pidbox`. */
  readonly replyExchange: Exchange;
  /** `<oid>.reply.<namespace>.pidbox`. */
  readonly replyQueue: Queue;
  /** The routing key of replies to this mailbox. */
  readonly oid: string;
  readonly clock: LamportClock;
  readonly #options: MailboxOptions;
  readonly #settings: MailboxSettings;
  #shared: Shared = { bound: new WeakMap(), unclaimed: new UnclaimedReplies() };
  #replies: Replies | undefined;

  /** Throws INVALID_ARGUMENT for options that cannot be used. Nothing is sent before the first use. */
  constructor(namespace: string, options: MailboxOptions = {}) {
    super();
    const settings = mailboxSettings(options);
    this.#settings = settings;
    // An iterable may be good for one time only.
    this.#options = { ...options, accept: settings.accept };
    this.namespace = checkFilled('namespace', namespace);
    this.type = settings.type;
    this.connection = options.connection;
    this.clock = options.clock ?? new LamportClock();
    this.oid = settings.oid ?? uuid();
    const transient = { durable: false, deliveryMode: 'transient' } as const;
    this.exchange = new Exchange(`${namespace}.pidbox`, { ...transient, type: this.type });
    this.replyExchange = new Exchange(`reply.${namespace}.pidbox`, { ...transient, type: 'direct' });
    this.replyQueue = new Queue(`${this.oid}.${this.replyExchange.name}`, {
      ...{ exchange: this.replyExchange, routingKey: this.oid, ...this.#lifetime },
      ...{ expires: settings.replyQueueExpires, messageTtl: settings.replyQueueTtl },
    });
    if (this.connection !== undefined) this.#shared.bound.set(this.connection, this);
  }

  /** Serializers or MIME types that are read. */
  get accept(): readonly string[] {
    return this.#settings.accept;
  }

  /** The serializer of commands and replies. */
  get serializer(): string | undefined {
    return this.#settings.serializer;
  }

  /** Where the producers for commands and replies come from. */
  get producerPool(): ProducerSource | undefined {
    return this.#settings.producerPool;
  }

  /** Replies that came too late; those of all connections. */
  get unclaimed(): UnclaimedReplies {
    return this.#shared.unclaimed;
  }

  /** This mailbox on a connection; the same one each time. */
  bind(connection: Connection): Mailbox {
    const { connection: owner } = checkTarget(connection);
    const known = this.#shared.bound.get(owner);
    if (known !== undefined) return known;
    const copy = new Mailbox(this.namespace, { ...this.#options, connection: owner, clock: this.clock });
    copy.#shared = this.#shared;
    this.#shared.bound.set(owner, copy);
    return copy;
  }

  /**
   * A process that takes commands. It starts by {@link Node.listen}.
   *
   * @param hostname Its name, unique within the mailbox. Default: that of the machine.
   */
  node(hostname?: string, options?: NodeOptions<undefined>): Node;
  node<S>(hostname: string | undefined, options: NodeOptions<S> & { readonly state: S }): Node<S>;
  node<S>(hostname: string = ownHostname(), options: NodeOptions<S> = {}): Node<S> {
    return new Node<S>(this, hostname, options);
  }

  /** The queue of a node: `<hostname>.<namespace>.pidbox`. */
  getQueue(hostname: string, options: Pick<QueueOptions, 'onDeclared'> = {}): Queue {
    const { queueExpires: expires, queueTtl: messageTtl } = this.#settings;
    return new Queue(`${checkFilled('hostname', hostname)}.${this.exchange.name}`, {
      ...{ exchange: this.exchange, ...this.#lifetime, expires, messageTtl },
      onDeclared: options.onDeclared,
    });
  }

  /**
   * Sends a command to certain nodes and resolves with their replies, in the order of their arrival: as soon as all are there, or after
   * `timeout` (10 s) without one more. A node that does not answer is missing; one that failed has `error`.
   *
   * Rejects INVALID_ARGUMENT; NOT_BOUND without a connection; as `publish` when the command cannot be sent; CONNECTION_CLOSED or CHANNEL_CLOSED when
   * connection or mailbox is closed meanwhile; the reason of `signal`.
   */
  call<T>(
    destination: readonly string[],
    command: string,
    args: CommandArguments | undefined,
    options: WithSchema<CallOptions<T>, T>,
  ): Promise<readonly Reply<T>[]>;
  call(
    destination: readonly string[],
    command: string,
    args?: CommandArguments,
    options?: WithoutSchema<CallOptions>,
  ): Promise<readonly Reply[]>;
  async call<T>(
    destination: readonly string[],
    command: string,
    args: CommandArguments = {},
    options: CallOptions<T> = {},
  ): Promise<readonly Reply<T>[]> {
    const { timeout = DEFAULTS.mailboxCall } = options;
    checkDestination(destination);
    return this.#collect(command, { ...options, arguments: args, destination, reply: true, timeout });
  }

  /** Sends a command to certain nodes. Resolves when the broker has it; rejects as {@link call}. */
  async cast(
    destination: readonly string[],
    command: string,
    args: CommandArguments = {},
    options: CastOptions = {},
  ): Promise<void> {
    checkDestination(destination);
    await this.#send(command, { ...options, arguments: args, destination });
  }

  /** Sends a command to all nodes, or to those that a pattern names. Resolves when the broker has it; rejects as {@link call}. */
  async abcast(command: string, args: CommandArguments = {}, options: AbcastOptions = {}): Promise<void> {
    await this.#send(command, { ...options, arguments: args });
  }

  /**
   * Sends a command to all nodes, or to those that a pattern names, and resolves with their replies: with `limit` of them, or after
   * `timeout` (1 s) without one more. Rejects as {@link call}.
   */
  multiCall<T>(
    command: string,
    args: CommandArguments | undefined,
    options: WithSchema<MultiCallOptions<T>, T>,
  ): Promise<readonly Reply<T>[]>;
  multiCall(
    command: string,
    args?: CommandArguments,
    options?: WithoutSchema<MultiCallOptions>,
  ): Promise<readonly Reply[]>;
  async multiCall<T>(
    command: string,
    args: CommandArguments = {},
    options: MultiCallOptions<T> = {},
  ): Promise<readonly Reply<T>[]> {
    return this.#collect(command, { ...options, arguments: args, reply: true });
  }

  /** What the other four are made of. Resolves with the replies when `reply` is true, as {@link multiCall}, else as {@link abcast}. */
  broadcast<T>(
    command: string,
    options: WithSchema<BroadcastCommandOptions<T>, T> & { readonly reply: true },
  ): Promise<readonly Reply<T>[]>;
  broadcast(
    command: string,
    options: WithoutSchema<BroadcastCommandOptions> & { readonly reply: true },
  ): Promise<readonly Reply[]>;
  broadcast(
    command: string,
    options?: WithoutSchema<BroadcastCommandOptions> & { readonly reply?: false | undefined },
  ): Promise<undefined>;
  async broadcast<T>(
    command: string,
    options: BroadcastCommandOptions<T> = {},
  ): Promise<readonly Reply<T>[] | undefined> {
    if (options.reply === true) return this.#collect(command, options);
    await this.#send(command, options);
    return undefined;
  }

  /**
   * Gives up the reply queue. Calls under way reject CHANNEL_CLOSED; a later one makes it again. Nodes and the connection stay as
   * they are. Never rejects.
   */
  async close(): Promise<void> {
    const replies = this.#replies;
    this.#replies = undefined;
    await replies?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** How long queues live. */
  get #lifetime(): { readonly durable: boolean; readonly exclusive: boolean; readonly autoDelete: boolean } {
    const { queueDurable: durable, queueExclusive: exclusive } = this.#settings;
    return { durable, exclusive, autoDelete: !durable };
  }

  /** The mailbox to work with: this one, or its copy for another connection. */
  #on(options: Sending): Mailbox {
    const { channel } = options;
    if (channel !== undefined) return this.bind(checkTarget(channel).connection);
    if (this.connection !== undefined) return this;
    throw new NotBoundError(`mailbox '${this.namespace}' is not bound: use mailbox.bind(connection) first`);
  }

  async #send<T>(command: string, options: BroadcastCommandOptions<T>): Promise<void> {
    checkBroadcast(command, options);
    options.signal?.throwIfAborted();
    await this.#on(options).#publish(command, options, options.timeout, undefined);
  }

  async #collect<T>(command: string, options: BroadcastCommandOptions<T>): Promise<readonly Reply<T>[]> {
    checkBroadcast(command, options);
    const { timeout = DEFAULTS.mailboxMultiCall, destination, callback, schema, signal } = options;
    signal?.throwIfAborted();
    const mailbox = this.#on(options);
    const replies = mailbox.#openReplies();
    await replies.ready(signal);
    const ticket = uuid();
    const limit = options.limit ?? (destination === undefined ? MOST_REPLIES : new Set(destination).size);
    const collector = replies.collect<T>(ticket, { limit, callback, schema });
    try {
      await mailbox.#publish(command, options, timeout, ticket);
      collector.waitFor(timeout);
      return await raceSignal(collector.replies, signal);
    } finally {
      collector.close();
    }
  }

  async #publish(
    command: string,
    options: Sending,
    timeout: number | undefined,
    ticket: string | undefined,
  ): Promise<void> {
    const { destination, pattern, matcher, signal, serializer = this.serializer ?? 'json' } = options;
    const replyTo = { exchange: this.replyExchange.name, routingKey: this.oid };
    const request = writeRequest({
      ...{ method: command, arguments: options.arguments ?? {}, destination, pattern, ticket },
      // A node of Kombu's heeds a pattern only when the matcher is there too.
      matcher: pattern === undefined ? undefined : (matcher ?? 'glob'),
      replyTo: ticket === undefined ? undefined : replyTo,
    });
    // As `#on` has made sure.
    const connection = this.connection as Connection;
    await publish(connection, this.producerPool, request, {
      ...{ exchange: this.exchange.name, declare: [this.exchange], serializer, signal },
      headers: { clock: this.clock.forward(), expires: expiresIn(timeout) },
    });
  }

  #openReplies(): Replies {
    if (this.#replies === undefined || this.#replies.isClosed) {
      this.#replies = new Replies({
        connection: this.connection as Connection,
        queue: this.replyQueue,
        accept: this.accept,
        unclaimed: this.unclaimed,
        received: (clock) => this.clock.adjust(clock),
        decodeError: (error, message) => {
          const cause = `reply:${this.namespace}:${error.code}`;
          const text = `a reply to mailbox '${this.namespace}' was dropped: ${error.message}`;
          this.emitOrWarn('decodeError', cause, text, error, message);
        },
      });
    }
    return this.#replies;
  }
}
