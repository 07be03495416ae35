/**
 * The Channel contract: the AMQP model as an interface. `transports/amqp` and `transports/virtual` implement it; the
 * layers above know nothing else of a broker.
 *
 * ```
 *  Connection (one per application)          survives losses
 *    └─ Transport                            one per Connection; made by the scheme's factory
 *         └─ TransportConnection             one incarnation: from open() until it is closed or lost
 *              └─ TransportChannel           dies with its TransportConnection, or alone by an error
 * ```
 *
 * An incarnation never heals itself. A loss is reported once, upward; the Connection above opens the next one.
 */
import type { LookupAddress } from 'node:dns';
import type { MessagingError } from '../errors.js';
import type { Catalog } from './catalog.js';
import type { Management } from './management.js';
import type { Arguments, Delivery, DeliveryTag, OutgoingMessage, Returned } from './message.js';

export type { Arguments, BasicProperties, Delivery, DeliveryTag, OutgoingMessage, Returned } from './message.js';

/** Where and how to connect: one host, all of it decided. */
export interface ConnectionParameters {
  /** The scheme, as registered: `amqp`, `memory`. */
  readonly transport: string;
  /** One host; empty where there is none. */
  readonly hostname: string | undefined;
  /** As given, or the transport's default. */
  readonly port: number | undefined;
  /**
   * Where `hostname` leads this time, for a transport that `takesAddresses`: to be connected to instead of what it looks up. Absent:
   * `hostname` is an address, or not known.
   */
  readonly addresses?: readonly LookupAddress[] | undefined;
  /** As given. */
  readonly userid: string | undefined;
  /** As given. See `currentPassword`. */
  readonly password: string | undefined;
  /** The password of now, for a transport that logs in again later (a further socket). Absent: `password` stays valid. */
  readonly currentPassword?: (() => Promise<string | undefined>) | undefined;
  /** As given. */
  readonly virtualHost: string | undefined;
  /** `false`: plain. `true`: TLS, verified. An object: TLS with these options (Node's names, or Kombu's `ssl_*` keys). */
  readonly ssl: boolean | Readonly<Record<string, unknown>>;
  /** Milliseconds for one try. */
  readonly connectTimeout: number;
  /** Milliseconds; 0 is off. */
  readonly heartbeat: number;
  /** SASL mechanism, as the URL's `login_method`. */
  readonly loginMethod: string | undefined;
  /** Kombu's `transport_options`: Kombu's names and units. */
  readonly transportOptions: Readonly<Record<string, unknown>>;
}

/** What a broker can do. The conformance suite runs what is claimed here. */
export interface TransportFeatures {
  readonly exchangeTypes: ReadonlySet<string>;
  readonly heartbeats: boolean;
  /** The transport learns at no cost when no queue took a message, so it always reports. */
  readonly reportsUnroutable: boolean;
  /** A delivery outlives its connection and can still be settled from the next one. */
  readonly deliveriesOutliveConnection: boolean;
  /** Where a requeued message goes. */
  readonly requeuePosition: 'original' | 'front' | 'back';
  /** Which priority is served first; `none`: priorities have no effect. */
  readonly priority: 'highest-first' | 'lowest-first' | 'none';
  readonly messageTtl: boolean;
  readonly queueTtl: boolean;
  readonly maxLength: boolean;
  readonly maxLengthBytes: boolean;
  readonly deadLetter: boolean;
  readonly delay: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly exchangeBindings: boolean;
  readonly alternateExchange: boolean;
  readonly multipleAck: boolean;
  readonly recover: boolean;
  /** Messages survive a restart of the broker. */
  readonly persistent: boolean;
  /** Several processes can share the broker. */
  readonly multiProcess: boolean;
  /** Largest body in bytes, when the broker sets a limit below the library's own. */
  readonly maxMessageBytes: number | undefined;
  /** Longest name of a queue in characters, when the broker sets a limit below AMQP's 255 bytes. */
  readonly maxQueueName?: number | undefined;
}

/** How long opening may go on. */
export interface OpenOptions {
  /** Gives up; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One per Connection; makes incarnations. State that outlives an incarnation (leases, holder id) lives here. */
export interface Transport {
  readonly name: string;
  readonly features: TransportFeatures;
  /**
   * Connects once, to one host, within `parameters.connectTimeout`. Rejects with a typed error (CONNECT_FAILED, AUTH_FAILED,
   * VHOST_NOT_FOUND, TLS_FAILED …) or `signal.reason`.
   */
  open(parameters: ConnectionParameters, events: ConnectionEvents, options?: OpenOptions): Promise<TransportConnection>;
  /** The Connection is closed for good: releases what outlived its incarnations. */
  dispose(): Promise<void>;
  /** The broker's own management API, where it has one. `connection.manager` is NOT_SUPPORTED elsewhere. */
  createManagement?(parameters: ConnectionParameters): Management;
}

/** How an incarnation tells of what happens to it. Each is called in a turn of its own, never from inside a call. */
export interface ConnectionEvents {
  /** Once. Without an error when `close()` was asked for. No other event follows. */
  onClose(error: MessagingError | undefined): void;
  /** The broker stopped taking publishes (AMQP's connection.blocked). */
  onBlocked(reason: string): void;
  /** It takes publishes again. */
  onUnblocked(): void;
  /** A problem that breaks nothing: the application should hear of it. */
  onProblem(error: MessagingError): void;
}

/**
 * What a channel is for. On AMQP, channels that publish and channels that do everything else (consume, declare) live on different
 * sockets, each opened when first needed: a broker under an alarm stops reading the publishing one, and acks must
 * flow on. The loss of either socket is the loss of the connection.
 */
export type ChannelRole = 'publish' | 'consume';

/** One incarnation of a connection. */
export interface TransportConnection {
  readonly state: 'open' | 'closing' | 'closed';
  /** What the server says of itself: product, version. */
  readonly serverProperties: Arguments;
  /** Negotiated, in milliseconds; 0: none. */
  readonly heartbeat: number;
  /** Lists what stands at the broker. Absent: it cannot be listed. */
  readonly catalog?: Catalog | undefined;
  /** Opens a channel. Rejects CHANNEL_LIMIT when no more are allowed. */
  openChannel(role: ChannelRole, events: ChannelEvents, options?: OpenOptions): Promise<TransportChannel>;
  /** Replaces the secret of an open connection (AMQP connection.update-secret). NOT_SUPPORTED elsewhere. */
  updateSecret(secret: string): Promise<void>;
  /** Flushes and closes in the protocol's order; at `timeout` (ms) drops what is left. Never rejects. */
  close(options: { readonly timeout: number }): Promise<void>;
  /** Drops the connection at once, with no word to the broker. `onClose` follows with this error. */
  abort(error: MessagingError): void;
}

/** How an incarnation of a channel tells of what happens to it. */
export interface ChannelEvents {
  /** Once, and only for this channel's own end or its connection's. Without an error when `close()` was asked for. */
  onClose(error: MessagingError | undefined): void;
  /** A message published with `unroutable: 'report'` reached no queue. */
  onReturned(returned: Returned): void;
}

/** How an exchange is declared, in AMQP's words. */
export interface ExchangeDeclareOptions {
  /** Only checks that it exists: NOT_FOUND otherwise. */
  readonly passive?: boolean | undefined;
  /** It outlives a restart of the broker. */
  readonly durable?: boolean | undefined;
  /** It goes with its last binding. */
  readonly autoDelete?: boolean | undefined;
  /** Only other exchanges can publish to it. */
  readonly internal?: boolean | undefined;
  /** Such as `alternate-exchange`. */
  readonly arguments?: Arguments | undefined;
}

/** How a queue is declared, in AMQP's words. */
export interface QueueDeclareOptions {
  /** Only checks that it exists: NOT_FOUND otherwise. */
  readonly passive?: boolean | undefined;
  /** It outlives a restart of the broker. */
  readonly durable?: boolean | undefined;
  /** For this connection alone, and gone with it. */
  readonly exclusive?: boolean | undefined;
  /** It goes with its last consumer. */
  readonly autoDelete?: boolean | undefined;
  /** Such as `x-message-ttl`. */
  readonly arguments?: Arguments | undefined;
}

/** What stands after a declaration. */
export interface QueueDeclareOk {
  /** The name, which the broker chose when none was given. */
  readonly queue: string;
  readonly messageCount: number;
  readonly consumerCount: number;
}

/** A binding between two exchanges. */
export interface ExchangeBinding {
  readonly destination: string;
  readonly source: string;
  readonly routingKey: string;
  readonly arguments?: Arguments | undefined;
}

/** A binding of a queue to an exchange. */
export interface QueueBinding {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly arguments?: Arguments | undefined;
}

/** What a consumer asks of the broker. */
export interface ConsumeOptions {
  /** Chosen by the caller; unique on the channel. */
  readonly consumerTag: string;
  /** Deliveries count as settled when they are sent. */
  readonly noAck?: boolean | undefined;
  /** Refused (ACCESS_REFUSED) when the queue has consumers; no other one is let in. */
  readonly exclusive?: boolean | undefined;
  /** Nothing that this connection published. RabbitMQ ignores it. */
  readonly noLocal?: boolean | undefined;
  /** Further arguments, such as `x-priority`. */
  readonly arguments?: Arguments | undefined;
}

/** Where a consumer's messages go. Neither function may throw. */
export interface DeliverySink {
  /** A message came. */
  onDelivery(delivery: Delivery): void;
  /** The broker ended the consumer. The channel lives on. */
  onCancel(error: MessagingError): void;
}

/**
 * When a publish is done: the broker has taken responsibility, or the bytes are within the window of what may be buffered.
 */
export type PublishMode = 'confirmed' | 'written';

/**
 * Hears what becomes of one message: one of the two is called, once, and perhaps within the call that sends the message. Neither may
 * throw.
 */
export interface Receipt {
  /** The broker has taken responsibility. */
  confirmed(): void;
  /** `error.outcome` tells what is known of the message. */
  failed(error: MessagingError): void;
}

/**
 * One incarnation of a channel. Calls are carried out in the order they are made.
 *
 * An error of the channel's (NOT_FOUND, PRECONDITION_FAILED …) rejects the call that caused it and closes the channel. Every other
 * request under way rejects with CHANNEL_CLOSED, the error as its `cause`: it may be repeated on the next incarnation. Where
 * the connection ends with it, the others reject with a recoverable connection error. A transport that need not close the
 * channel does not. (Publishes reject with the error itself, and `onClose` tells more.)
 */
export interface TransportChannel {
  readonly id: number;
  readonly connection: TransportConnection;
  readonly state: 'open' | 'closing' | 'closed';

  /** Rejects PRECONDITION_FAILED when it stands with other settings. */
  exchangeDeclare(exchange: string, type: string, options?: ExchangeDeclareOptions): Promise<void>;
  /** Deletes it with its bindings. One that is absent counts as deleted. */
  exchangeDelete(exchange: string, options?: { readonly ifUnused?: boolean | undefined }): Promise<void>;
  /** Binds an exchange to another one. NOT_FOUND when either is absent. */
  exchangeBind(binding: ExchangeBinding): Promise<void>;
  /** Undoes `exchangeBind`. */
  exchangeUnbind(binding: ExchangeBinding): Promise<void>;

  /**
   * Without a name the broker chooses one. Rejects PRECONDITION_FAILED when it stands with other settings, RESOURCE_LOCKED when it is
   * another connection's.
   */
  queueDeclare(queue: string, options?: QueueDeclareOptions): Promise<QueueDeclareOk>;
  /** Binds a queue to an exchange. NOT_FOUND when either is absent. */
  queueBind(binding: QueueBinding): Promise<void>;
  /** Undoes `queueBind`. */
  queueUnbind(binding: QueueBinding): Promise<void>;
  /** Resolves with the number of messages removed. Those delivered and not settled stay. */
  queuePurge(queue: string): Promise<number>;
  /** Resolves with the number of messages removed. */
  queueDelete(
    queue: string,
    options?: { readonly ifUnused?: boolean | undefined; readonly ifEmpty?: boolean | undefined },
  ): Promise<number>;

  /**
   * `confirmed` resolves when the broker has taken responsibility. `written` resolves when few enough bytes wait to be
   * written, and rejects only for what can be known before sending. Every rejection is a MessagingError with `outcome`.
   * A message that cannot be encoded rejects alone: the channel lives on.
   */
  publish(message: OutgoingMessage, mode: PublishMode): Promise<void>;
  /** The same as `publish` in mode `confirmed`, for those who publish much: there is no promise, `receipt` is told. */
  send(message: OutgoingMessage, receipt: Receipt): void;
  /** Bytes accepted by `publish` and `send` and not yet handed to the operating system or the store. */
  readonly bufferedBytes: number;

  /** Resolves with the consumer tag when the broker has accepted the consumer. */
  consume(queue: string, options: ConsumeOptions, sink: DeliverySink): Promise<string>;
  /** After it resolves, no further delivery comes for this tag. Deliveries unsettled stay so. */
  cancel(consumerTag: string): Promise<void>;
  /** One message, or undefined when none is ready. */
  get(queue: string, options?: { readonly noAck?: boolean | undefined }): Promise<Delivery | undefined>;

  /** True when settled; false when the delivery is stale. AMQP answers at once, a store when it has done it. */
  ack(tag: DeliveryTag, options?: { readonly multiple?: boolean | undefined }): boolean | Promise<boolean>;
  /** As `ack`, for a message that is not wanted: back to its queue, or to the dead letters. */
  reject(
    tag: DeliveryTag,
    options: { readonly requeue: boolean; readonly multiple?: boolean | undefined },
  ): boolean | Promise<boolean>;
  /**
   * Gives back deliveries that nobody saw, to their old place and with no mark of a failed attempt where the broker can
   * (AMQP cannot: there it is reject with requeue). The order of `tags` is that of delivery. Resolves when they are back, for
   * whoever looks into the queue next.
   */
  release(tags: readonly DeliveryTag[]): Promise<void>;
  /** Every unsettled delivery of the channel goes back to its queue. */
  recover(): Promise<void>;
  /** Unsettled deliveries allowed: to each consumer started from now on, or to the channel. 0: no limit. */
  qos(options: { readonly prefetch: number; readonly scope: 'consumer' | 'channel' }): Promise<void>;
  /** Stops or resumes deliveries to this channel. NOT_SUPPORTED on RabbitMQ. */
  flow(active: boolean): Promise<void>;
  /**
   * More has come than can be handled just now: nothing further shall be read from the broker, where that can be done, until `resume` was called
   * as often. For a turn of the event loop, not longer: all else on the same socket waits as well.
   */
  pause(): void;
  /** Undoes one `pause`. */
  resume(): void;
  /** Unsettled deliveries go back to their queues. Never rejects. */
  close(): Promise<void>;
}

/** What a scheme's module offers; see `registerTransport`. */
export interface TransportModule {
  /** Makes the transport of one Connection. */
  createTransport(): Transport;
  readonly defaultPort?: number | undefined;
  /** It connects to `parameters.addresses`: a name with several addresses is then several hosts. */
  readonly takesAddresses?: boolean | undefined;
  /** Names of the transport options understood, in Kombu's snake_case. Others are refused with the nearest of these. */
  readonly transportOptions: ReadonlySet<string>;
  /**
   * Those among them that are durations: seconds under Kombu's name, milliseconds when given in camelCase. The transport always
   * gets seconds.
   */
  readonly durationOptions?: ReadonlySet<string> | undefined;
  /** Options that Kombu knows and that mean nothing here, with the reason. Accepted, and warned of once. */
  readonly ignoredOptions?: Readonly<Record<string, string>> | undefined;
}
