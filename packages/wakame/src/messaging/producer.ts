import { type CloseOptions, closeDeadline } from '../connection/close-options.js';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import type { WaitOptions } from '../connection/waiters.js';
import { checkName } from '../entities/checks.js';
import { declareEntity, type Entity, isCacheable, isDeclarable, nameOf } from '../entities/declare.js';
import type { Exchange } from '../entities/exchange.js';
import { type ChannelOrConnection, checkTarget } from '../entities/target.js';
import { ChannelError, type MessagingError, NotFound } from '../errors.js';
import type { Serializer } from '../serialization/index.js';
import { debug, type PublishContext, tracing } from '../tracing.js';
import type { OutgoingMessage, Returned, UnroutablePolicy } from '../transport/message.js';
import { onAbort, raceSignal } from '../util/abort.js';
import { type Deadline, doneBefore } from '../util/deadline.js';
import { TypedEmitter } from '../util/emitter.js';
import { encodeBody } from './encode.js';
import { Entry } from './entry.js';
import { Outbox } from './outbox.js';
import { asPublishError, withOutcome } from './outcome.js';
import {
  checkProducerOptions,
  checkPublishOptions,
  notBefore,
  type ProducerOptions,
  type PublishOptions,
  type PublishResult,
  propertiesFor,
  retryOptions,
} from './publish-options.js';
import { checkToSend } from './schema.js';

/** What a Producer tells by events. */
export interface ProducerEvents {
  /** A message reached no queue. `mandatory` ones also reject UNROUTABLE. */
  returned: [returned: Returned];
  /** A message published with `confirm: false` did not arrive after all, or nobody knows (`error.outcome`). */
  lost: [error: MessagingError, message: LostMessage];
}

/** A message that a caller was told was sent. */
export type LostMessage = Pick<OutgoingMessage, 'exchange' | 'routingKey' | 'body' | 'properties'>;

/**
 * What a message takes beside its body while it waits for its outcome, in bytes: some 600 of objects, promises and properties, and
 * as much twice over of its predecessors that the garbage collector has not got to yet.
 */
const OVERHEAD = 2048;

const NO_OPTIONS: PublishOptions = Object.freeze({});
const NOTHING: readonly Entity[] = Object.freeze([]);

/**
 * Publishes messages (`kombu.Producer`), on a channel of its own, opened by the first publish. `T` is what may be published.
 *
 * ```ts
 * const producer = connection.producer({ exchange: media });
 * await producer.publish({ name: 'lolcat.avi' }, { routingKey: 'video', declare: [video] });
 * ```
 *
 * Publishes are pipelined: thousands may be under way. They arrive in the order of the calls, also after a loss of the
 * connection, when those without an answer are sent again (`retry`): a message may then be in its queue twice.
 */
export class Producer<T = unknown> extends TypedEmitter<ProducerEvents> implements AsyncDisposable {
  readonly exchange: Exchange | string;
  readonly routingKey: string;
  readonly serializer: string | Serializer | undefined;
  readonly compression: string | undefined;
  readonly autoDeclare: boolean;
  readonly #options: ProducerOptions<T>;
  readonly #retry: ReturnType<typeof retryOptions>;
  #connection: Connection;
  #outbox: Outbox;
  /** What is known to stand at the broker, as long as this incarnation of the channel does. */
  #declared = new WeakSet<Entity>();
  #exchanges = new Set<string>();
  #closing: Promise<void> | undefined;
  #offConnection: (() => void) | undefined;

  /** Throws INVALID_ARGUMENT for options that cannot be used. Nothing is sent before the first publish. */
  constructor(target: ChannelOrConnection, options: ProducerOptions<T> = {}) {
    super();
    checkProducerOptions(options);
    this.exchange = options.exchange ?? '';
    this.routingKey = options.routingKey ?? '';
    this.serializer = options.serializer;
    this.compression = options.compression;
    this.autoDeclare = options.autoDeclare ?? true;
    this.#options = options;
    this.#retry = retryOptions(options.retry ?? true, options.retryPolicy);
    this.#connection = checkTarget(target).connection;
    this.#outbox = this.#newOutbox();
    if (options.onReturn !== undefined) this.on('returned', options.onReturn);
  }

  /** The connection that its channel belongs to. */
  get connection(): Connection {
    return this.#connection;
  }

  /** Bytes of messages that have no outcome yet, with what it takes to hold them. */
  get bufferedBytes(): number {
    return this.#outbox.bufferedBytes;
  }

  /**
   * Publishes a message. Resolves when the broker has taken responsibility for it (AMQP: its confirm; a store: its answer).
   *
   * Rejects with an error whose `outcome` says what is known of the message: `not-sent`; `refused` by the broker; `unknown`, when it was
   * sent and no answer came. Codes: INVALID_ARGUMENT, ENCODE_FAILED, MESSAGE_TOO_LARGE, BUFFER_FULL (nothing was sent); UNROUTABLE
   * (`mandatory`), NACKED, NOT_FOUND, ACCESS_REFUSED, PRECONDITION_FAILED; TIMEOUT; without `retry` CONNECTION_LOST, CHANNEL_CLOSED; the
   * codes of connecting and declaring. An abort rejects with the signal's reason.
   *
   * Bytes are not copied: leave them as they are until it is settled.
   */
  publish(body: T, options: PublishOptions = NO_OPTIONS): Promise<PublishResult> {
    return tracing.publish.hasSubscribers ? this.#publishTraced(body, options) : this.#publish(body, options);
  }

  /** Whether it has been closed, or is being closed. */
  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** Resolves while fewer than 16 MiB (and half of `maxBufferedBytes`) wait for an outcome: the time to publish more. */
  ready(): Promise<void> {
    return this.#outbox.ready();
  }

  /** Resolves when all that was published before has its outcome, whatever that is. */
  async flush(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    // Awaited rather than returned: it resolves after the promises of the publishes.
    await raceSignal(this.#outbox.flush(), options.signal);
  }

  /** Declares its exchange, when it was given as an object. */
  async declare(wait: WaitOptions = {}): Promise<void> {
    if (typeof this.exchange !== 'string') await declareEntity(this.exchange, this.#connection.topology, wait);
  }

  /** Moves to the connection of another channel. What was published before gets its outcome on the former one. */
  async revive(target: ChannelOrConnection): Promise<void> {
    const { connection } = checkTarget(target);
    this.#mustBeOpen();
    if (connection === this.#connection) return;
    const former = this.#outbox;
    this.#offConnection?.();
    this.#offConnection = undefined;
    this.#connection = connection;
    this.#outbox = this.#newOutbox();
    this.#forget();
    await doneBefore(closeDeadline({}), former.flush());
    await former.close();
  }

  /**
   * Waits until all that was published has its outcome, at most `timeout` milliseconds (10 s) and until `signal` is aborted, then closes
   * the channel. What has none by then rejects CHANNEL_CLOSED. Never rejects; more calls wait for the same end.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(closeDeadline(options));
    await this.#closing;
  }

  /** The same as {@link close} (Kombu's name). */
  release(): Promise<void> {
    return this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #publish(body: T, options: PublishOptions, context?: PublishContext): Promise<PublishResult> {
    try {
      return this.#accept(body, options, context).promise;
    } catch (error) {
      const aborted = options.signal?.aborted === true && error === options.signal.reason;
      return Promise.reject(aborted ? error : asPublishError(error, 'not-sent'));
    }
  }

  #publishTraced(body: T, options: PublishOptions): Promise<PublishResult> {
    const { exchange = this.exchange, routingKey = this.routingKey, messageId, correlationId } = options;
    const context: PublishContext = {
      broker: this.#connection.broker,
      exchange: typeof exchange === 'string' ? exchange : exchange.name,
      ...{ routingKey, messageId, correlationId },
      headers: { ...options.headers },
    };
    return tracing.publish.tracePromise(() => {
      return this.#publish(body, { ...options, headers: context.headers }, context);
    }, context);
  }

  /** Puts a message into the outbox. Throws when it cannot be sent. */
  #accept(body: T, options: PublishOptions, context: PublishContext | undefined): Entry {
    this.#mustBeOpen();
    checkPublishOptions(options);
    const { signal } = options;
    signal?.throwIfAborted();
    const exchange = options.exchange ?? this.exchange;
    const name = nameOf(exchange);
    const { schema } = this.#options;
    const checked = schema === undefined ? undefined : checkToSend(schema, body);
    const validation = checked instanceof Promise ? checked : undefined;
    const message = validation === undefined ? this.#compose(body, name, exchange, options, context) : undefined;
    const size = message === undefined ? OVERHEAD : sizeOf(message);
    this.#outbox.mustHaveRoom(size);
    const missing = this.#missing(name, exchange, options);
    const isGated = validation !== undefined || missing !== undefined;
    const { retry, retryPolicy, transaction } = options;
    const hasOwnRetry = retry !== undefined || retryPolicy !== undefined || transaction !== undefined;
    const entry = new Entry(this.#outbox, message, size, {
      state: isGated ? 'gated' : 'queued',
      timeout: options.timeout ?? DEFAULTS.publishTimeout,
      confirm: this.#confirmFor(options),
      retry: hasOwnRetry ? this.#retryFor(options) : this.#retry,
    });
    if (this.#offConnection === undefined) this.#flushBeforeClose();
    this.#outbox.add(entry);
    if (signal !== undefined && entry.state !== 'done') dropOnAbort(this.#outbox, entry, signal);
    if (isGated) {
      const composed = message ?? this.#composeChecked(validation, body, name, exchange, options, context);
      void this.#openGate(entry, name, missing, options, composed);
    }
    return entry;
  }

  #compose(
    body: T,
    name: string,
    exchange: Exchange | string,
    options: PublishOptions,
    context: PublishContext | undefined,
  ): OutgoingMessage {
    const encoded = encodeBody(body, options, this);
    if (context !== undefined) context.bodySize = encoded.body.length;
    const own = typeof this.exchange === 'string' ? undefined : this.exchange.deliveryMode;
    const deliveryMode = typeof exchange === 'string' ? own : exchange.deliveryMode;
    return {
      exchange: name,
      routingKey: options.routingKey === undefined ? this.routingKey : checkName('routingKey', options.routingKey),
      body: encoded.body,
      properties: propertiesFor(options, encoded, deliveryMode),
      unroutable: this.#unroutable(options),
      notBefore: notBefore(options),
      transaction: options.transaction,
    };
  }

  /** Once the schema has let the body pass. */
  async #composeChecked(
    validation: Promise<unknown> | undefined,
    body: T,
    name: string,
    exchange: Exchange | string,
    options: PublishOptions,
    context: PublishContext | undefined,
  ): Promise<OutgoingMessage> {
    await validation;
    return this.#compose(body, name, exchange, options, context);
  }

  #unroutable(options: PublishOptions): UnroutablePolicy {
    if (options.mandatory === true) return 'reject';
    const isHeard = this.listenerCount('returned') > 0 || this.#connection.listenerCount('unroutable') > 0;
    return isHeard || this.#connection.transport?.features.reportsUnroutable === true ? 'report' : 'ignore';
  }

  #confirmFor({ confirm, transaction }: PublishOptions): boolean {
    return transaction !== undefined || (confirm ?? this.#options.confirm ?? this.#connection.confirmByDefault);
  }

  #retryFor(options: PublishOptions): ReturnType<typeof retryOptions> {
    if (options.transaction !== undefined) return undefined;
    const { retry = options.retryPolicy === undefined ? (this.#options.retry ?? true) : true, retryPolicy } = options;
    return retryOptions(retry, retryPolicy ?? this.#options.retryPolicy);
  }

  /**
   * What must be declared before the message can go; empty when only its exchange must be asked for; undefined when all is known
   * to stand.
   */
  #missing(name: string, exchange: Exchange | string, options: PublishOptions): readonly Entity[] | undefined {
    // Declaring takes a transaction of its own, and may wait for the application's: an exchange that is not there is NOT_FOUND.
    if (options.transaction !== undefined) return undefined;
    const { declare = NOTHING } = options;
    const isOwn = this.autoDeclare && options.exchange === undefined && typeof exchange !== 'string';
    const entities = isOwn && isDeclarable(exchange) ? [exchange, ...declare] : declare;
    const missing = entities.length === 0 ? NOTHING : entities.filter(this.#isMissing);
    return missing.length === 0 && this.#isThere(name) ? undefined : missing;
  }

  readonly #isMissing = (entity: Entity): boolean => !this.#isDeclared(entity);

  #isDeclared(entity: Entity): boolean {
    const { topology } = this.#connection;
    if (!this.#declared.has(entity) || !isCacheable(entity)) return false;
    return 'routingKey' in entity ? topology.isKnown(entity.name) : topology.isExchangeKnown(entity.name);
  }

  /** Whether nothing need be asked about an exchange. */
  #isThere(name: string): boolean {
    if (name === '' || this.#exchanges.has(name) || name.startsWith('amq.')) return true;
    return this.#connection.topology.isExchangeKnown(name);
  }

  /**
   * Asks once for an exchange that was not declared here. Where the transport answers a publish to one that is missing by closing
   * the channel, this keeps the messages around it out of harm's way.
   */
  async #askFor(name: string, wait: WaitOptions): Promise<void> {
    const exchanges = this.#exchanges;
    const { features } = await raceSignal(this.#connection.loadTransport(), wait.signal);
    // Such a transport looks the exchange up in any case, and refuses the one message.
    if (!features.reportsUnroutable) {
      const asked = this.#connection.topology.declareExchange({ name, type: 'direct', passive: true, ...wait });
      await asked.catch((error: unknown) => {
        throw error instanceof NotFound ? withOutcome(error, 'refused') : error;
      });
    }
    if (exchanges.size >= MOST_EXCHANGES) exchanges.clear();
    exchanges.add(name);
  }

  /** Lets a message go when what it needs stands, and its schema has let it pass. */
  async #openGate(
    entry: Entry,
    name: string,
    missing: readonly Entity[] | undefined,
    options: PublishOptions,
    composed: OutgoingMessage | Promise<OutgoingMessage>,
  ): Promise<void> {
    const outbox = this.#outbox;
    const wait = { timeout: options.timeout ?? DEFAULTS.publishTimeout, signal: options.signal };
    try {
      const message = await composed;
      const size = sizeOf(message);
      outbox.mustHaveRoom(size - entry.size);
      if (missing !== undefined) await this.#provide(name, missing, wait);
      outbox.open(entry, message, size);
    } catch (error) {
      outbox.drop(entry, asPublishError(error, 'not-sent'));
    }
  }

  async #provide(name: string, missing: readonly Entity[], wait: WaitOptions): Promise<void> {
    const declared = this.#declared;
    for (const entity of missing) {
      await declareEntity(entity, this.#connection.topology, wait);
      declared.add(entity);
    }
    if (!this.#isThere(name)) await this.#askFor(name, wait);
  }

  #flushBeforeClose(): void {
    this.#offConnection = this.#connection.beforeClose((options) => this.#outbox.finish(closeDeadline(options)));
  }

  #newOutbox(): Outbox {
    const connection = this.#connection;
    return new Outbox(connection, this.#options.maxBufferedBytes ?? DEFAULTS.maxBufferedBytes, {
      lost: (entry, error) => this.#lost(entry, error),
      incarnationEnded: () => this.#forget(),
      returned: (returned, mandatory) => {
        this.emit('returned', returned);
        if (!mandatory) connection.unroutable(returned);
        connection.eventHandled();
      },
    });
  }

  /** What was known of the broker may be wrong. */
  #forget(): void {
    this.#declared = new WeakSet();
    this.#exchanges = new Set();
  }

  #lost({ message }: Entry, error: MessagingError): void {
    if (message === undefined) return;
    const { exchange, routingKey, body, properties } = message;
    const text = `a message to exchange '${exchange}' published with confirm: false was lost: ${error.message}`;
    if (debug.enabled) debug(text);
    this.emitOrWarn('lost', `lost:${exchange}:${error.code}`, text, error, { exchange, routingKey, body, properties });
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw new ChannelError('the producer was closed');
  }

  async #close(deadline: Deadline): Promise<void> {
    await doneBefore(deadline, this.#outbox.flush());
    this.#offConnection?.();
    await this.#outbox.close();
  }
}

/** Exchanges remembered as existing. */
const MOST_EXCHANGES = 1000;

function sizeOf(message: OutgoingMessage): number {
  return message.body.length + OVERHEAD;
}

function dropOnAbort(outbox: Outbox, entry: Entry, signal: AbortSignal): void {
  entry.offAbort = onAbort(signal, (reason) => outbox.drop(entry, reason));
}
