import { type Consumer, Consumers } from './consumers.js';
import { copyError } from './error-copies.js';
import {
  ChannelError,
  ConnectionError,
  ConsumerCancelled,
  type ContentTooLarge,
  errorForReply,
  InvalidArgumentError,
  IrrecoverableChannelError,
  type MessagingError,
  TimeoutError,
  UnexpectedFrame,
} from './errors.js';
import type { Delivery, FetchedMessage, ReturnedDelivery } from './messages.js';
import { type Deferred, deferred, handled, within } from './promises.js';
import { ContentAssembler, type ContentHandler } from './protocol/content.js';
import { decodeAck, decodeDeliver, decodeGetOk, decodeMethod, decodeReturn, METHOD_IDS } from './protocol/methods.js';
import type { DecodedProperties } from './protocol/properties.js';
import type {
  DecodedMethod,
  MethodArguments,
  MethodInput,
  MethodName,
  SynchronousMethodName,
} from './protocol/types.js';
import type { OutboundBuffer } from './protocol/writer.js';
import { type OutgoingMessage, Publisher, type Settlement } from './publisher.js';
import { type CloseArguments, replyDetails } from './replies.js';
import { type CallOptions, type Reply, RpcQueue } from './rpc.js';

/** The life of a channel, which goes one way. A channel that was closed is not opened again. */
export type ChannelState = 'opening' | 'open' | 'closing' | 'closed';

/** What a channel needs of its connection. */
export interface ChannelHost {
  readonly outbound: OutboundBuffer;
  readonly bufferedBytes: number;
  readonly rpcTimeout: number;
  readonly closeTimeout: number;
  readonly maxBodyBytes: number;
  /** The server is a RabbitMQ. */
  readonly isRabbitMQ: boolean;
  /** See {@link Wire.congested}, {@link Wire.turn}, {@link Wire.dropChannel}. */
  readonly congested: boolean;
  turn(): Promise<void>;
  dropChannel(id: number): void;
  /** The channel's number is free again. */
  release(id: number): void;
}

/** Whom an engine tells what happens: the public {@link Channel}. User code runs in there, and its failures stay there. */
export interface ChannelListener {
  closed(error: MessagingError | undefined): void;
  /** `matched`: a publish will fail with it. */
  returned(message: ReturnedDelivery, matched: boolean): void;
  cancelled(consumer: Consumer, error: ConsumerCancelled): void;
  flow(active: boolean): void;
  drain(): void;
  deliver(consumer: Consumer, delivery: Delivery): void;
  failed(error: unknown): void;
}

type ContentArguments =
  | MethodArguments<'basic.deliver'>
  | MethodArguments<'basic.get-ok'>
  | MethodArguments<'basic.return'>;

const DELIVER = METHOD_IDS['basic.deliver'];
const GET_OK = METHOD_IDS['basic.get-ok'];
const RETURN = METHOD_IDS['basic.return'];
const ACK = METHOD_IDS['basic.ack'];

/** In place of a fetched message whose body was beyond `maxBodyBytes`. */
interface Oversized {
  readonly deliveryTag: number;
  readonly tooLarge: ContentTooLarge;
}

/** The part of the close deadline that is kept for the broker's answer, in milliseconds. */
const ANSWER_TIME = 1000;

/**
 * The machinery of one channel: its state, its calls, consumers and publishes.
 *
 * ```
 *   opening ── open-ok ──▶ open ── close() ──▶ closing ── close-ok ──▶ closed
 *                            └─── channel.close from the server, or the connection is over ───▶ closed
 * ```
 */
export class ChannelEngine implements ContentHandler<ContentArguments> {
  readonly id: number;
  readonly consumers = new Consumers();
  readonly publisher: Publisher;
  state: ChannelState = 'opening';
  /** Why the channel is closed; undefined while it is not, and when this program closed it. */
  closeError: MessagingError | undefined;
  listener: ChannelListener | undefined;
  readonly #host: ChannelHost;
  readonly #rpc: RpcQueue;
  readonly #assembler: ContentAssembler<ContentArguments>;
  /** The method that the content in hand belongs to. */
  #contentMethod = 0;
  /** channel.close was sent: nothing but channel.close-ok may follow it. */
  #closeSent = false;
  /** What operations on a closed channel are told. */
  #reason: MessagingError | undefined;
  #closing: Promise<void> | undefined;
  #onCloseOk: (() => void) | undefined;
  /** For those who wait until the connection is congested no more. */
  #drained: Deferred<void> | undefined;

  constructor(id: number, host: ChannelHost) {
    this.id = id;
    this.#host = host;
    this.#rpc = new RpcQueue(host.rpcTimeout);
    this.#assembler = new ContentAssembler<ContentArguments>(this, { maxBodyBytes: host.maxBodyBytes });
    this.publisher = new Publisher(
      (message) => this.#sendMessage(message),
      (error) => this.listener?.failed(error),
    );
  }

  get isRabbitMQ(): boolean {
    return this.#host.isRabbitMQ;
  }

  get closeTimeout(): number {
    return this.#host.closeTimeout;
  }

  get bufferedBytes(): number {
    return this.#host.bufferedBytes;
  }

  /** Resolves while fewer than 16 MiB are unsent; rejects when the channel is over. */
  ready(): Promise<void> {
    if (this.state === 'closed') return handled(Promise.reject(this.closedError()));
    if (!this.#host.congested) return this.#host.turn();
    if (this.#drained === undefined) {
      this.#drained = deferred();
      // A publish that nobody awaits must not become an unhandled rejection.
      void handled(this.#drained.promise);
    }
    return this.#drained.promise;
  }

  // ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async open(options: CallOptions): Promise<void> {
    // An answer after the caller gave up opens a channel that nobody has: it is closed, and its number free again.
    const late = () => this.#sendClose();
    await this.#rpc.call('channel.open', {}, this.#send, options, late);
  }

  /** Calls a method that has an answer. Rejects when the channel is not open. */
  call<N extends SynchronousMethodName>(
    method: N,
    args: MethodInput<N>,
    options?: CallOptions | undefined,
    late?: ((reply: unknown) => void) | undefined,
  ): Promise<Reply<N>> {
    const send = (name: N, input: MethodInput<N>) => {
      this.assertOpen();
      this.#send(name, input);
    };
    return this.#rpc.call(method, args, send, options, late) as Promise<Reply<N>>;
  }

  /** Fetches one message. One that comes too late, or is too large to keep, goes back to its queue. */
  async get(queue: string, noAck: boolean, options: CallOptions | undefined): Promise<FetchedMessage | undefined> {
    const giveBack = (reply: unknown) => {
      if (reply !== undefined && !noAck) this.#giveBack((reply as FetchedMessage | Oversized).deliveryTag, true);
    };
    const answer: unknown = await this.call('basic.get', { queue, noAck }, options, giveBack);
    const reply = answer as FetchedMessage | Oversized | undefined;
    if (reply === undefined || !('tooLarge' in reply)) return reply;
    giveBack(reply);
    throw reply.tooLarge;
  }

  /** Sends a method that has no answer. Throws when the channel is not open or the arguments cannot be encoded. */
  send<N extends MethodName>(method: N, args: MethodInput<N>): void {
    this.assertOpen();
    this.#send(method, args);
  }

  readonly #send = <N extends MethodName>(method: N, args: MethodInput<N>): void => {
    this.#host.outbound.method(this.id, method, args);
    // The broker counts delivery tags from where it reads confirm.select, whenever its answer comes.
    if (method === 'confirm.select') this.publisher.enableConfirms();
  };

  /** Settles deliveries: also while the channel closes, for handlers that end just then. */
  settle(method: 'ack' | 'nack' | 'reject', deliveryTag: number, multiple: boolean, requeue: boolean): void {
    if (this.state === 'closed' || this.#closeSent) throw this.closedError();
    if (!Number.isSafeInteger(deliveryTag) || deliveryTag < 0 || (deliveryTag === 0 && !multiple)) {
      throw new InvalidArgumentError(`no delivery tag: ${String(deliveryTag)}`);
    }
    const { outbound } = this.#host;
    if (method === 'ack') outbound.ack(this.id, deliveryTag, multiple);
    else if (method === 'nack') outbound.nack(this.id, deliveryTag, multiple, requeue);
    else outbound.reject(this.id, deliveryTag, requeue);
  }

  publish(message: OutgoingMessage, settlement: Settlement): void {
    if (this.state === 'open') this.publisher.publish(message, settlement);
    else settlement.failed(this.closedError('not-sent'));
  }

  /** Publishes on a channel whose flow is on and whose publishes are not confirmed; returns why it could not. */
  publishUnconfirmed(message: OutgoingMessage): MessagingError | undefined {
    return this.state === 'open' ? this.publisher.send(message) : this.closedError('not-sent');
  }

  #sendMessage({ exchange, routingKey, mandatory = false, immediate, properties, body }: OutgoingMessage): void {
    const { outbound, maxBodyBytes } = this.#host;
    if (longerThan(body, maxBodyBytes)) {
      throw new InvalidArgumentError(`the body is longer than maxBodyBytes, ${maxBodyBytes}`, {
        code: 'MESSAGE_TOO_LARGE',
      });
    }
    if (immediate) {
      const args = { exchange, routingKey, mandatory, immediate };
      outbound.content(this.id, 'basic.publish', args, properties ?? {}, body);
    } else {
      outbound.publish(this.id, exchange, routingKey, mandatory, properties, body);
    }
  }

  /** Throws the reason when the channel takes no new operations. */
  assertOpen(): void {
    if (this.state !== 'open') throw this.closedError();
  }

  closedError(outcome?: 'not-sent'): MessagingError {
    const reason = this.#reason;
    if (reason instanceof ConnectionError) return copyError(reason, outcome);
    const text = `channel ${this.id} is ${this.state}`;
    if (this.closeError === undefined) return new ChannelError(text, { outcome });
    return new ChannelError(`${text}: ${this.closeError.message}`, { outcome, cause: this.closeError });
  }

  // ── closing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes no new operations from here on, but lets those under way end. */
  beginClosing(): void {
    if (this.state === 'open') this.state = 'closing';
  }

  /** Resolves when no call and no publish is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#rpc.idle(), this.publisher.idle()]);
  }

  close(timeout: number): Promise<void> {
    if (this.state === 'closed') return Promise.resolve();
    this.#closing ??= this.#closeOrderly(timeout);
    return this.#closing;
  }

  async #closeOrderly(timeout: number): Promise<void> {
    this.beginClosing();
    const answerTime = Math.min(ANSWER_TIME, timeout / 2);
    await within(timeout - answerTime, this.idle());
    if ((this.state as ChannelState) === 'closed') return;
    const closed = new Promise<void>((resolve) => {
      this.#onCloseOk = resolve;
    });
    this.#sendClose();
    const answered = await within(answerTime, closed);
    this.finish(undefined);
    if (!answered && timeout > 0) throw new TimeoutError(`no answer to channel.close within ${timeout} ms`);
  }

  #sendClose(): void {
    if (this.#closeSent) return;
    this.#closeSent = true;
    this.#send('channel.close', { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 });
  }

  #onClose(close: CloseArguments): void {
    const error = errorForReply('channel', close.replyCode, close.replyText, replyDetails(close));
    if (this.#closeSent) {
      // The two closes crossed. The number is free when the server has answered ours.
      this.#send('channel.close-ok', {});
    } else {
      this.#host.dropChannel(this.id);
      this.#send('channel.close-ok', {});
      this.#host.release(this.id);
    }
    this.finish(error);
  }

  #onCloseAnswered(): void {
    if (!this.#closeSent) throw new UnexpectedFrame('the server sent channel.close-ok unasked', { replyCode: 505 });
    this.#host.release(this.id);
    this.#onCloseOk?.();
  }

  /**
   * The channel is over. Everything that waits is told.
   *
   * @param error for the `close` event: undefined when this program closed it
   * @param reason for what waits, and for whatever is tried later
   */
  finish(
    error: MessagingError | undefined,
    reason: MessagingError = error ?? new IrrecoverableChannelError(`channel ${this.id} was closed`),
  ): void {
    if (this.state === 'closed') return;
    const wasOpening = this.state === 'opening';
    this.state = 'closed';
    this.closeError = error;
    this.#reason = reason;
    this.#rpc.failAll(reason);
    this.publisher.failAll(reason);
    this.#drained?.reject(copyError(reason, 'unknown'));
    this.#onCloseOk?.();
    for (const consumer of this.consumers.clear()) consumer.onChannelClose?.(error);
    if (!wasOpening) this.listener?.closed(error);
  }

  onDrain(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
    this.listener?.drain();
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────────────────────

  onMethod(id: number, buffer: Buffer, start: number, end: number): void {
    switch (id) {
      case DELIVER:
        this.#begin(id, decodeDeliver(buffer, start, end));
        return;
      case GET_OK:
        this.#begin(id, decodeGetOk(buffer, start, end));
        return;
      case RETURN:
        this.#begin(id, decodeReturn(buffer, start, end));
        return;
    }
    this.#assembler.expectNone('a method');
    if (id === ACK) {
      const { deliveryTag, multiple } = decodeAck(buffer, start, end);
      this.publisher.onConfirm('basic.ack', deliveryTag, multiple);
      return;
    }
    this.#dispatch(decodeMethod(id, buffer, start, end));
  }

  onContentHeader(classId: number, bodySize: number, buffer: Buffer, start: number, end: number): void {
    this.#assembler.header(classId, bodySize, buffer, start, end);
  }

  onBody(buffer: Buffer, start: number, end: number, left: number): void {
    this.#assembler.body(buffer, start, end, left);
  }

  #begin(id: number, args: ContentArguments): void {
    this.#assembler.begin(args);
    this.#contentMethod = id;
  }

  #dispatch(method: DecodedMethod): void {
    switch (method.name) {
      case 'basic.nack':
        this.publisher.onConfirm('basic.nack', method.arguments.deliveryTag, method.arguments.multiple);
        return;
      case 'basic.cancel':
        this.#onCancel(method.arguments.consumerTag, method.arguments.nowait);
        return;
      case 'channel.flow':
        this.#send('channel.flow-ok', { active: method.arguments.active });
        this.publisher.setFlow(method.arguments.active);
        this.listener?.flow(method.arguments.active);
        return;
      case 'channel.close':
        this.#onClose(method.arguments);
        return;
      case 'channel.close-ok':
        this.#onCloseAnswered();
        return;
      case 'basic.get-empty':
        this.#rpc.settle(method.name, undefined);
        return;
      case 'channel.open-ok':
        if (this.state === 'opening') this.state = 'open';
        this.#rpc.settle(method.name, method.arguments);
        return;
      default:
        this.#rpc.settle(method.name, method.arguments);
    }
  }

  onContent(args: ContentArguments, properties: DecodedProperties, body: Buffer): void {
    switch (this.#contentMethod) {
      case DELIVER:
        this.#onDelivery(args as MethodArguments<'basic.deliver'>, properties, body);
        return;
      case GET_OK: {
        const message: FetchedMessage = { ...(args as MethodArguments<'basic.get-ok'>), properties, body };
        this.#rpc.settle('basic.get-ok', message);
        return;
      }
      default: {
        const message: ReturnedDelivery = { ...(args as MethodArguments<'basic.return'>), properties, body };
        this.listener?.returned(message, this.publisher.onReturn(message));
      }
    }
  }

  #onDelivery(args: MethodArguments<'basic.deliver'>, properties: DecodedProperties, body: Buffer): void {
    const { consumerTag, deliveryTag, redelivered, exchange, routingKey } = args;
    const consumer = this.consumers.get(consumerTag);
    if (consumer === undefined) {
      if (this.consumers.mustReject(consumerTag)) this.#giveBack(deliveryTag, true);
      return;
    }
    // What is not settled goes back to its queue when the channel closes.
    if (this.state !== 'open' && !consumer.noAck) return;
    const delivery = { consumerTag, deliveryTag, redelivered, exchange, routingKey, properties, body };
    this.listener?.deliver(consumer, delivery);
  }

  /** The body was beyond `maxBodyBytes` and is not kept. Nobody can handle the message, so it is not requeued but dead-lettered. */
  onContentTooLarge(args: ContentArguments, properties: DecodedProperties, error: ContentTooLarge): void {
    switch (this.#contentMethod) {
      case DELIVER: {
        const { consumerTag, deliveryTag } = args as MethodArguments<'basic.deliver'>;
        if (this.consumers.get(consumerTag)?.noAck !== true) this.#giveBack(deliveryTag, false);
        this.listener?.failed(error);
        return;
      }
      case GET_OK: {
        const oversized: Oversized = {
          deliveryTag: (args as MethodArguments<'basic.get-ok'>).deliveryTag,
          tooLarge: error,
        };
        this.#rpc.settle('basic.get-ok', oversized);
        return;
      }
      default:
        this.onContent(args, properties, Buffer.alloc(0));
    }
  }

  #giveBack(deliveryTag: number, requeue: boolean): void {
    if (this.state !== 'closed' && !this.#closeSent) this.settle('reject', deliveryTag, false, requeue);
  }

  #onCancel(tag: string, nowait: boolean): void {
    const consumer = this.consumers.remove(tag);
    if (!nowait && !this.#closeSent) this.#send('basic.cancel-ok', { consumerTag: tag });
    if (consumer === undefined) return;
    const error = new ConsumerCancelled(`the broker cancelled consumer '${tag}'`, { method: 'basic.cancel' });
    this.listener?.cancelled(consumer, error);
  }
}

function longerThan(body: Uint8Array | string, limit: number): boolean {
  if (typeof body !== 'string') return body?.byteLength > limit;
  return body.length > limit || (body.length * 3 > limit && Buffer.byteLength(body) > limit);
}
