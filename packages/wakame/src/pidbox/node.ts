import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import { asMessagingError } from '../connection/waiters.js';
import type { Queue } from '../entities/queue.js';
import { type ChannelOrConnection, checkTarget } from '../entities/target.js';
import { ConsumerBusyError, InconsistencyError, MessagingError, NotBoundError, ResourceLocked } from '../errors.js';
import { matcher } from '../matcher/index.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerCallback } from '../messaging/consumer-options.js';
import type { Message } from '../messaging/message.js';
import { checkFunction, checkKeys, show } from '../util/check.js';
import { withDeadline } from '../util/deadline.js';
import { TypedEmitter } from '../util/emitter.js';
import { noop } from '../util/noop.js';
import { type CommandHandler, type CommandHandlers, HandlerMap, type HandlerOptions } from './handlers.js';
import type { Mailbox } from './mailbox.js';
import { checkFilled } from './options.js';
import { publish } from './publishing.js';
import {
  type CommandArguments,
  errorResult,
  lateness,
  type MailboxRequest,
  type ReplyAddress,
  readRequest,
  writeReply,
} from './wire.js';

/** Options of {@link Mailbox.node}. */
export interface NodeOptions<S> {
  /** Handed to every handler. */
  readonly state?: S | undefined;
  /** Where it listens and replies. Default: the connection of the mailbox. */
  readonly channel?: ChannelOrConnection | undefined;
  /** What carries out which command. Default: none yet. */
  readonly handlers?: CommandHandlers<S> | undefined;
}

/** Options of {@link Node.listen}. */
export interface ListenOptions {
  /** Becomes the node's channel. */
  readonly channel?: ChannelOrConnection | undefined;
  /** Gets each message in the place of {@link Node.handleMessage}, which it may call. */
  readonly callback?: ConsumerCallback<unknown> | undefined;
  /** Commands carried out at one time. Default 1: one by one, in order, as Kombu does. */
  readonly concurrency?: number | undefined;
  /** Aborting it ends the listening. */
  readonly signal?: AbortSignal | undefined;
}

/** Where a reply goes and what it belongs to. */
export interface ReplyTo extends ReplyAddress {
  readonly ticket?: string | undefined;
}

/** What a node tells by events. */
export interface NodeEvents {
  /** A command could not be read, is none, or names its nodes in a way unknown here. It was dropped. */
  decodeError: [error: MessagingError, message: Message];
  /** A handler threw or rejected, there is no handler of that name, or its result cannot be sent. The caller, if it waits, has got the error as reply. */
  handlerError: [error: Error, request: MailboxRequest];
  /** A command came when its caller had given up, and was not carried out. `late`: milliseconds. */
  expired: [request: MailboxRequest, late: number];
}

/** Replies under way at most; then commands wait. */
const MOST_REPLIES = 256;
const NODE_OPTIONS: ReadonlySet<string> = new Set(['state', 'channel', 'handlers']);
const LISTEN_OPTIONS: ReadonlySet<string> = new Set(['channel', 'callback', 'concurrency', 'signal']);

/**
 * A process that takes commands from a mailbox (`kombu.pidbox.Node`).
 *
 * ```ts
 * const node = mailbox.bind(connection).node('kitchen', { state: new Map<string, number>() });
 * node.handler('count', ({ name }, { state }) => state.get(String(name)) ?? 0);
 * await node.listen();
 * ```
 *
 * Commands are acknowledged before they are carried out: one that the process dies of does not come back. (Where queues are durable, it does
 * when the connection is lost in the very moment, before the acknowledgement has arrived.) After a loss of the connection the node goes
 * on by itself; unless its queue is durable, what was sent meanwhile is lost.
 *
 * `S` is the type of its state.
 */
export class Node<S = undefined> extends TypedEmitter<NodeEvents> implements AsyncDisposable {
  readonly mailbox: Mailbox;
  readonly hostname: string;
  readonly state: S;
  readonly #handlers = new HandlerMap<S>();
  /** Replies that are on their way. */
  readonly #replies = new Set<Promise<void>>();
  #channel: ChannelOrConnection | undefined;
  #consumer: Consumer | undefined;

  /** Use {@link Mailbox.node}. Throws INVALID_ARGUMENT. */
  constructor(mailbox: Mailbox, hostname: string, options: NodeOptions<S> = {}) {
    super();
    checkKeys('node', options, NODE_OPTIONS);
    this.mailbox = mailbox;
    this.hostname = checkFilled('hostname', hostname);
    // The mailbox sees to it that S is undefined when there is no state.
    this.state = options.state as S;
    if (options.channel !== undefined) this.channel = options.channel;
    if (options.handlers !== undefined) this.#handlers.addAll(options.handlers);
  }

  /** Where it listens, from the next {@link listen} on, and replies. */
  get channel(): ChannelOrConnection | undefined {
    return this.#channel ?? this.mailbox.connection;
  }

  set channel(channel: ChannelOrConnection) {
    this.#channel = checkTarget(channel);
  }

  /** Names of the commands that it has handlers for. */
  get commands(): readonly string[] {
    return this.#handlers.names;
  }

  /** Whether it is consuming from its queue. */
  get listening(): boolean {
    return this.#consumer?.consumingFrom(this.#queueName) === true;
  }

  /** Adds the handler of a command, or replaces it. With a `schema` its arguments are checked and typed. Throws INVALID_ARGUMENT. */
  handler(command: string, handler: CommandHandler<S>): this;
  handler<A>(command: string, handler: CommandHandler<S, A>, options: HandlerOptions<A>): this;
  handler<A>(command: string, handler: CommandHandler<S, A> | CommandHandler<S>, options?: HandlerOptions<A>): this {
    this.#handlers.add(command, handler, options);
    return this;
  }

  /**
   * Declares its queue and takes commands from it. Resolves with the consumer when the broker has accepted it; `consumer.cancel()` or
   * {@link close} ends it.
   *
   * Rejects NOT_BOUND without a connection; RESOURCE_LOCKED when a node of that name listens on another connection, CONSUMER_BUSY when this
   * one does already; else as `consumer.consume`. Where queues are not exclusive, a second node of one name takes every other
   * command away from the first: that is a `problem` of the connection.
   */
  async listen(options: ListenOptions = {}): Promise<Consumer> {
    checkKeys('listen', options, LISTEN_OPTIONS);
    const { channel, callback, concurrency, signal } = options;
    if (callback !== undefined) checkFunction('callback', callback);
    if (this.listening) throw new ConsumerBusyError(`node '${this.hostname}' is listening already`);
    if (channel !== undefined) this.channel = channel;
    const handle = callback ?? ((body: unknown, message: Message) => this.#heed(body, message));
    const consumer = new Consumer(this.#connection, {
      ...{ queues: this.#queue(), accept: this.mailbox.accept, concurrency, signal },
      onMessage: (message) => take(message, handle),
      onDecodeError: (message, error) => this.#unreadable(message, error),
    });
    this.#consumer = consumer;
    try {
      return await consumer.consume();
    } catch (error) {
      await consumer.close();
      if (!(error instanceof ResourceLocked)) throw error;
      const text = `a node named '${this.hostname}' uses mailbox '${this.mailbox.namespace}' on another connection`;
      throw new ResourceLocked(text, { cause: error });
    }
  }

  /**
   * Carries out a command if it is for this node and not stale, and sends the reply that it asks for. Resolves with the reply when the handler
   * is done: the reply may still be under way, and if it cannot be sent that is a `problem` of the connection. Rejects
   * DECODE_FAILED for what is no command; NOT_SUPPORTED or INVALID_ARGUMENT for a matcher that is off or not registered here.
   */
  async handleMessage(body: unknown, message?: Message): Promise<unknown> {
    if (message !== undefined) this.mailbox.clock.adjust(message.headers['clock']);
    const request = readRequest(body);
    if (!this.#isFor(request)) return undefined;
    const late = lateness(message?.headers['expires']);
    if (late > 0) {
      this.#expired(request, late);
      return undefined;
    }
    const result = await this.#carryOut(request);
    const { replyTo } = request;
    if (replyTo !== undefined) await this.#replyLater(request, result, replyTo);
    return result;
  }

  /**
   * Carries out a command, whoever it is for, and sends the reply to where `replyTo` says. Resolves with the reply, which for a failed
   * handler is `{ error }`. Rejects when the reply cannot be sent.
   */
  async dispatch(method: string, args: CommandArguments = {}, replyTo?: ReplyTo): Promise<unknown> {
    const none = { destination: undefined, pattern: undefined, matcher: undefined };
    const request = { method, arguments: args, ...none, replyTo, ticket: replyTo?.ticket };
    const result = await this.#carryOut(request);
    if (replyTo !== undefined) await this.#answer(request, result, replyTo);
    return result;
  }

  /** Sends a result, under this node's name. Resolves when the broker has it; rejects as `publish`. */
  async reply(result: unknown, to: ReplyTo): Promise<void> {
    const { mailbox } = this;
    const { exchange, routingKey, ticket = null } = to;
    await publish(this.#connection, mailbox.producerPool, writeReply(this.hostname, result), {
      ...{ exchange, routingKey, serializer: mailbox.serializer ?? 'json', deliveryMode: 'transient' },
      // Another exchange is its owner's to declare.
      declare: exchange === mailbox.replyExchange.name ? [mailbox.replyExchange] : [],
      headers: { ticket, clock: mailbox.clock.forward() },
    });
  }

  /**
   * Stops listening, and waits for the handlers at work and their replies, at most `timeout` milliseconds (10 s). {@link listen} starts it
   * again. Never rejects. A handler that waits for it waits for itself.
   */
  async close(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { timeout = DEFAULTS.closeTimeout } = options;
    const stop = async () => {
      await this.#consumer?.close({ timeout });
      await Promise.all(this.#replies);
    };
    await withDeadline(stop(), 'close', { timeout }).catch(noop);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #connection(): Connection {
    const { channel } = this;
    if (channel !== undefined) return channel.connection;
    throw new NotBoundError(`node '${this.hostname}' has no channel: bind its mailbox, or set node.channel`);
  }

  get #queueName(): string {
    return `${this.hostname}.${this.mailbox.exchange.name}`;
  }

  #queue(): Queue {
    const connection = this.#connection;
    return this.mailbox.getQueue(this.hostname, {
      onDeclared: ({ consumerCount }) => {
        if (consumerCount === 0) return;
        const text = `a node named '${this.hostname}' uses mailbox '${this.mailbox.namespace}' already`;
        connection.problem(new InconsistencyError(`${text}: it and this one get every other command each`));
      },
    });
  }

  #isFor({ destination, pattern, matcher: name }: MailboxRequest): boolean {
    if (destination !== undefined && destination.length > 0) return destination.includes(this.hostname);
    // Kombu heeds a pattern only when there is a matcher, and sends none by default: then it was meant as a glob.
    if (pattern !== undefined) return matcher.match(this.hostname, pattern, name);
    return true;
  }

  async #heed(body: unknown, message: Message): Promise<void> {
    try {
      await this.handleMessage(body, message);
    } catch (error) {
      this.#unreadable(message, asMessagingError(error));
    }
  }

  /** The reply to a command: what its handler returns, or `{ error }`. */
  async #carryOut(request: MailboxRequest): Promise<unknown> {
    try {
      const { state } = this;
      return await this.#handlers.get(request.method)(request.arguments, { state, node: this, request });
    } catch (error) {
      this.#failed(request, error);
      return errorResult(error);
    }
  }

  /** Resolves when there is room for more. */
  async #replyLater(request: MailboxRequest, result: unknown, to: ReplyAddress): Promise<void> {
    const connection = this.#connection;
    const reply = this.#answer(request, result, { ...to, ticket: request.ticket })
      .catch((error: unknown) => connection.problem(asMessagingError(error)))
      .finally(() => this.#replies.delete(reply));
    this.#replies.add(reply);
    if (this.#replies.size >= MOST_REPLIES) await Promise.race(this.#replies);
  }

  async #answer(request: MailboxRequest, result: unknown, to: ReplyTo): Promise<void> {
    try {
      await this.reply(result, to);
    } catch (error) {
      if (!isUnsendable(error)) throw error;
      this.#failed(request, error);
      await this.reply(errorResult(error), to);
    }
  }

  #unreadable(message: Message, error: MessagingError): void {
    const text = `node '${this.hostname}' dropped a command that it cannot read: ${error.message}`;
    this.emitOrWarn('decodeError', `command:${this.#queueName}:${error.code}`, text, error, message);
  }

  #failed(request: MailboxRequest, thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
    if (this.emit('handlerError', error, request) || request.replyTo !== undefined) return;
    // Nobody waits for a reply that would tell.
    const text = `command '${request.method}' failed on node '${this.hostname}': ${error.name}: ${error.message}`;
    this.emitOrWarn('handlerError', `handler:${this.#queueName}:${request.method}`, text, error, request);
  }

  #expired(request: MailboxRequest, late: number): void {
    const seconds = (late / 1000).toFixed(1);
    const text = `node '${this.hostname}' got command '${request.method}' ${seconds} s too late, or its clock differs from the sender's`;
    this.emitOrWarn('expired', `expired:${this.#queueName}`, text, request, late);
  }
}

/** Acknowledges a command, then carries it out: it does not come again, whatever becomes of it. */
async function take(message: Message, handle: ConsumerCallback<unknown>): Promise<void> {
  // Stale: it will come again.
  if (!(await message.ack())) return;
  // What is written leaves with the end of the turn. A handler that ends the process must not keep it back.
  await nextTurn();
  await handle(message.payload, message);
}

/** The value cannot be written, or is too large: another one can be sent in its place. */
function isUnsendable(error: unknown): boolean {
  return error instanceof MessagingError && (error.code === 'ENCODE_FAILED' || error.code === 'MESSAGE_TOO_LARGE');
}
