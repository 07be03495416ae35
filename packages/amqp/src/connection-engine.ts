import type { Socket } from 'node:net';
import { ChannelEngine, type ChannelHost } from './channel-engine.js';
import { copyError } from './error-copies.js';
import {
  ChannelNotOpen,
  ConnectionClosedError,
  errorForReply,
  InternalError,
  InvalidArgumentError,
  MessagingError,
  RecoverableConnectionError,
  ResourceError,
  TimeoutError,
  UnexpectedFrame,
} from './errors.js';
import { type Agreement, Handshake } from './handshake.js';
import { Heartbeat } from './heartbeat.js';
import type { ResolvedParameters } from './parameters.js';
import { within } from './promises.js';
import { decodeMethod } from './protocol/methods.js';
import type { DecodedMethod } from './protocol/types.js';
import type { OutboundBuffer } from './protocol/writer.js';
import { type CloseArguments, replyDetails } from './replies.js';
import { type CallOptions, RpcQueue } from './rpc.js';
import type { Progress } from './socket.js';
import { Wire, type WireReceiver } from './wire.js';

/** The life of a connection, which goes one way: nothing here connects again. */
export type ConnectionState = 'opening' | 'open' | 'closing' | 'closed';

/** Whom the engine tells what happens: the public {@link Connection}. */
export interface ConnectionListener {
  closed(error: MessagingError | undefined): void;
  blocked(reason: string): void;
  unblocked(): void;
  drain(): void;
}

/** The part of the close deadline that is kept for the broker's answer, in milliseconds. */
const ANSWER_TIME = 1000;
/** A reply text is a short string: 255 bytes. */
const MAX_REPLY_TEXT = 200;

/**
 * The machinery of one connection: its state, the frames of channel 0 and the dealing out of all others.
 *
 * ```
 *   opening ── Handshake ──▶ open ── close() ──▶ closing ── connection.close-ok ──▶ closed
 *                             └── connection.close from the server, loss, silence, violation ──▶ closed
 * ```
 */
export class ConnectionEngine implements WireReceiver, ChannelHost {
  state: ConnectionState = 'opening';
  /** The broker's reason for not reading what this connection publishes. */
  blockedReason: string | undefined;
  closeError: MessagingError | undefined;
  listener: ConnectionListener | undefined;
  agreement: Agreement = { serverProperties: {}, channelMax: 0, frameMax: 0, heartbeat: 0 };
  readonly host: string;
  readonly rpcTimeout: number;
  readonly closeTimeout: number;
  readonly maxBodyBytes: number;
  isRabbitMQ = false;
  readonly #blockedTimeout: number;
  readonly #wire: Wire;
  readonly #rpc: RpcQueue;
  #handshake: Handshake | undefined;
  #heartbeat: Heartbeat | undefined;
  #blockedTimer: NodeJS.Timeout | undefined;
  readonly #channels: (ChannelEngine | undefined)[] = [];
  /** No number below this one is free. */
  #lowestFree = 1;
  #reason: MessagingError | undefined;
  #closing: Promise<void> | undefined;
  #onCloseOk: (() => void) | undefined;

  constructor(socket: Socket, parameters: ResolvedParameters, host: string) {
    this.host = host;
    this.rpcTimeout = parameters.rpcTimeout;
    this.closeTimeout = parameters.closeTimeout;
    this.maxBodyBytes = parameters.maxBodyBytes;
    this.#blockedTimeout = parameters.blockedTimeout;
    this.#rpc = new RpcQueue(parameters.rpcTimeout);
    this.#wire = new Wire(socket, this);
  }

  get outbound(): OutboundBuffer {
    return this.#wire.outbound;
  }

  get bufferedBytes(): number {
    return this.#wire.bufferedBytes;
  }

  get bytesSent(): number {
    return this.#wire.sent;
  }

  get congested(): boolean {
    return this.#wire.congested;
  }

  turn(): Promise<void> {
    return this.#wire.turn();
  }

  pause(): void {
    this.#wire.pause();
  }

  resume(): void {
    this.#wire.resume();
  }

  dropChannel(id: number): void {
    this.#wire.dropChannel(id);
  }

  /** Goes through the handshake. When `signal` fires the socket is dropped and its reason thrown. */
  open(parameters: ResolvedParameters, progress: Progress, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        this.#wire.destroy();
        throw signal.reason;
      }
      const settle = (act: () => void) => {
        signal.removeEventListener('abort', onAbort);
        this.#handshake = undefined;
        act();
      };
      const fail = (error: unknown) =>
        settle(() => {
          this.state = 'closed';
          this.#heartbeat?.stop();
          reject(error);
        });
      const onAbort = () => {
        this.#wire.destroy();
        fail(signal.reason);
      };
      signal.addEventListener('abort', onAbort);
      this.#handshake = new Handshake(parameters, progress, {
        outbound: this.outbound,
        tuned: (agreement) => this.#tuned(agreement),
        agreed: () =>
          settle(() => {
            this.state = 'open';
            resolve();
          }),
        failed: (error) => {
          void this.#wire.end();
          fail(error);
        },
      });
      this.#handshake.begin();
    });
  }

  #tuned(agreement: Agreement): void {
    this.agreement = agreement;
    this.isRabbitMQ = agreement.serverProperties.product === 'RabbitMQ';
    this.#wire.setFrameMax(agreement.frameMax);
    if (agreement.heartbeat === 0) return;
    const wire = this.#wire;
    this.#heartbeat = new Heartbeat(agreement.heartbeat, {
      get received() {
        return wire.received;
      },
      get sent() {
        return wire.sent;
      },
      send: () => {
        wire.outbound.heartbeat();
        wire.flush();
      },
      dead: () => this.#drop('HEARTBEAT_TIMEOUT', `nothing came for two heartbeats of ${agreement.heartbeat} ms`),
    });
  }

  // ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** A channel of the given number, or of the lowest free one; not open yet. */
  createChannel(id: number | undefined): ChannelEngine {
    this.assertOpen();
    const number = id === undefined ? this.#lowestFreeId() : this.#claim(id);
    const channel = new ChannelEngine(number, this);
    this.#channels[number] = channel;
    return channel;
  }

  #lowestFreeId(): number {
    while (this.#channels[this.#lowestFree] !== undefined) this.#lowestFree += 1;
    if (this.#lowestFree > this.agreement.channelMax) {
      throw new ResourceError(`all ${this.agreement.channelMax} channels of the connection are in use`, {
        code: 'CHANNEL_LIMIT',
      });
    }
    return this.#lowestFree;
  }

  #claim(id: number): number {
    const { channelMax } = this.agreement;
    if (!Number.isInteger(id) || id < 1 || id > channelMax) {
      throw new InvalidArgumentError(`channel id must be an integer from 1 to ${channelMax}: ${String(id)}`);
    }
    if (this.#channels[id] !== undefined) throw new InvalidArgumentError(`channel ${id} is in use`);
    return id;
  }

  release(id: number): void {
    this.#channels[id] = undefined;
    this.#lowestFree = Math.min(this.#lowestFree, id);
  }

  #openChannels(): ChannelEngine[] {
    return this.#channels.filter((channel) => channel !== undefined);
  }

  // ── the connection itself ──────────────────────────────────────────────────────────────────────────────────────

  updateSecret(newSecret: string | Uint8Array, reason: string, options: CallOptions): Promise<unknown> {
    return this.#rpc.call(
      'connection.update-secret',
      { newSecret, reason },
      (method, args) => {
        this.assertOpen();
        this.outbound.method(0, method, args);
      },
      options,
    );
  }

  /** Throws the reason when the connection takes no new operations. */
  assertOpen(): void {
    if (this.state === 'open') return;
    if (this.#reason !== undefined) throw copyError(this.#reason);
    throw new ConnectionClosedError(`the connection to ${this.host} is ${this.state}`);
  }

  close(timeout: number): Promise<void> {
    if (this.state === 'closed') return Promise.resolve();
    this.#closing ??= this.#closeOrderly(timeout);
    return this.#closing;
  }

  async #closeOrderly(timeout: number): Promise<void> {
    this.state = 'closing';
    const channels = this.#openChannels();
    for (const channel of channels) channel.beginClosing();
    const answerTime = Math.min(ANSWER_TIME, timeout / 2);
    await within(timeout - answerTime, Promise.all(channels.map((channel) => channel.idle())));
    if ((this.state as ConnectionState) === 'closed') return;

    const closed = new Promise<void>((resolve) => {
      this.#onCloseOk = resolve;
    });
    this.outbound.method(0, 'connection.close', { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 });
    const answered = await within(answerTime, closed);
    const ended = this.#wire.end();
    this.#finish(undefined, new ConnectionClosedError(`the connection to ${this.host} was closed`));
    if (answered) await ended;
    else if (timeout > 0) throw new TimeoutError(`no answer to connection.close within ${timeout} ms`);
  }

  /** Drops the socket. */
  abort(error: MessagingError | undefined): void {
    this.#wire.destroy();
    this.#finish(error, error ?? new ConnectionClosedError(`the connection to ${this.host} was aborted`));
  }

  #drop(code: 'HEARTBEAT_TIMEOUT' | 'BLOCKED_TIMEOUT', problem: string): void {
    this.abort(
      new RecoverableConnectionError(`connection to ${this.host} lost: ${problem}`, { code, host: this.host }),
    );
  }

  /** Everything that waits is told that it is over. `error` is for the `close` events, `reason` for what waits. */
  #finish(error: MessagingError | undefined, reason: MessagingError): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.closeError = error;
    this.#reason = reason;
    this.#heartbeat?.stop();
    clearTimeout(this.#blockedTimer);
    this.blockedReason = undefined;
    this.#rpc.failAll(reason);
    for (const channel of this.#openChannels()) channel.finish(error, reason);
    this.#channels.length = 0;
    this.#onCloseOk?.();
    this.listener?.closed(error);
  }

  // ── what the wire tells ────────────────────────────────────────────────────────────────────────────────────────

  onMethod(channel: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (channel === 0) this.#onConnectionMethod(decodeMethod(id, buffer, start, end));
    else this.#channel(channel).onMethod(id, buffer, start, end);
  }

  onContentHeader(
    channel: number,
    classId: number,
    bodySize: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    this.#channel(channel).onContentHeader(classId, bodySize, buffer, start, end);
  }

  onBody(channel: number, buffer: Buffer, start: number, end: number, left: number): void {
    this.#channel(channel).onBody(buffer, start, end, left);
  }

  onHeartbeat(): void {
    // Its bytes were counted.
  }

  #channel(id: number): ChannelEngine {
    const channel = this.#channels[id];
    if (channel !== undefined) return channel;
    if (id === 0) throw new UnexpectedFrame('the server sent content on channel 0', { replyCode: 505 });
    throw new ChannelNotOpen(`the server sent a frame on channel ${id}, which is not open`, { replyCode: 504 });
  }

  #onConnectionMethod(method: DecodedMethod): void {
    if (this.#handshake !== undefined) {
      this.#handshake.onMethod(method);
      return;
    }
    switch (method.name) {
      case 'connection.blocked':
        this.#onBlocked(method.arguments.reason);
        return;
      case 'connection.unblocked':
        this.#onUnblocked();
        return;
      case 'connection.close':
        this.#onClose(method.arguments);
        return;
      case 'connection.close-ok':
        if (this.#onCloseOk === undefined) break;
        this.#onCloseOk();
        return;
    }
    this.#rpc.settle(method.name, method.arguments);
  }

  #onBlocked(reason: string): void {
    this.blockedReason = reason;
    if (this.#blockedTimeout > 0) {
      const problem = `it was blocked for ${this.#blockedTimeout} ms: ${reason}`;
      this.#blockedTimer ??= setTimeout(() => this.#drop('BLOCKED_TIMEOUT', problem), this.#blockedTimeout).unref();
    }
    this.listener?.blocked(reason);
  }

  #onUnblocked(): void {
    this.blockedReason = undefined;
    clearTimeout(this.#blockedTimer);
    this.#blockedTimer = undefined;
    this.listener?.unblocked();
  }

  #onClose(close: CloseArguments): void {
    const error = errorForReply('connection', close.replyCode, close.replyText, {
      ...replyDetails(close),
      host: this.host,
    });
    this.outbound.dropBodies();
    this.outbound.method(0, 'connection.close-ok', {});
    void this.#wire.end();
    this.#finish(error, error);
  }

  onMalformed(error: unknown): void {
    if (this.#handshake !== undefined) {
      this.#handshake.onMalformed(error);
      return;
    }
    if (this.state === 'closed') return;
    const violation =
      error instanceof MessagingError
        ? error
        : new InternalError(`a frame could not be handled: ${String(error)}`, { cause: error, replyCode: 541 });
    const replyCode = violation.replyCode ?? 501;
    this.outbound.dropBodies();
    this.outbound.method(0, 'connection.close', {
      replyCode,
      replyText: violation.message.slice(0, MAX_REPLY_TEXT).replace(/[^\x20-\x7e]/g, '?'),
      classId: 0,
      methodId: 0,
    });
    void this.#wire.end();
    this.#finish(violation, violation);
  }

  onLost(cause: Error | undefined): void {
    if (this.#handshake !== undefined) {
      this.#handshake.onLost(cause);
      return;
    }
    // A server that has our connection.close may hang up without a word.
    if (this.#onCloseOk !== undefined) {
      this.#onCloseOk();
      return;
    }
    const problem = cause === undefined ? 'the peer closed the socket' : cause.message;
    const error = new RecoverableConnectionError(`connection to ${this.host} lost: ${problem}`, {
      host: this.host,
      ...(cause === undefined ? {} : { cause }),
    });
    this.#finish(error, error);
  }

  onDrain(): void {
    this.listener?.drain();
    for (const channel of this.#openChannels()) channel.onDrain();
  }
}
