import { Channel } from './channel.js';
import type { CloseOptions } from './channel-options.js';
import type { ConnectionEngine, ConnectionState } from './connection-engine.js';
import { ConnectionClosedError, MessagingError } from './errors.js';
import { SafeEmitter } from './events.js';
import { duration } from './parameters.js';
import type { ReceivedTable } from './protocol/tables.js';
import type { CallOptions } from './rpc.js';

/** Events of a {@link Connection} and what their listeners get. */
export interface ConnectionEvents {
  /** The connection is over: with the reason, or without when this program closed it. Comes after its channels' `close`. */
  close: [error?: MessagingError];
  /** The broker is short of something and stops reading what this connection publishes. */
  blocked: [reason: string];
  unblocked: [];
  /** Fewer than 16 MiB are unsent, after there were more. */
  drain: [];
  /** A listener of one of these events failed. */
  handlerError: [error: unknown];
}

export interface ChannelOptions extends CallOptions {
  /** The number to claim. Default: the lowest free one. */
  id?: number | undefined;
}

/**
 * A connection to one broker. Made by {@link connect}. It does not reconnect: when it is lost, `close` tells why, and
 * everything that waited rejects.
 *
 * Heartbeats run by themselves. The open socket keeps the process alive; once the connection is closed nothing of it does.
 */
export class Connection extends SafeEmitter<ConnectionEvents> {
  readonly #engine: ConnectionEngine;

  /** @internal Use {@link connect}. */
  constructor(engine: ConnectionEngine) {
    super();
    this.#engine = engine;
    engine.listener = {
      closed: (error) => (error === undefined ? this.raise('close') : this.raise('close', error)),
      blocked: (reason) => this.raise('blocked', reason),
      unblocked: () => this.raise('unblocked'),
      drain: () => this.raise('drain'),
    };
  }

  /** Where it is in its life. */
  get state(): ConnectionState {
    return this.#engine.state;
  }

  /** `host:port` of the broker. */
  get host(): string {
    return this.#engine.host;
  }

  /** What the server tells of itself: product, version, capabilities and so on. */
  get serverProperties(): ReceivedTable {
    return this.#engine.agreement.serverProperties;
  }

  /** The highest channel number that was agreed on. */
  get channelMax(): number {
    return this.#engine.agreement.channelMax;
  }

  /** The longest frame that was agreed on, in bytes; 0: no limit. */
  get frameMax(): number {
    return this.#engine.agreement.frameMax;
  }

  /** The heartbeat interval that was agreed on, in milliseconds; 0: none. */
  get heartbeat(): number {
    return this.#engine.agreement.heartbeat;
  }

  /** Why the broker does not read what this connection publishes (connection.blocked); undefined while it does. */
  get blocked(): string | undefined {
    return this.#engine.blockedReason;
  }

  /** Bytes that are not sent yet. */
  get bufferedBytes(): number {
    return this.#engine.bufferedBytes;
  }

  /** Bytes handed to the socket since the beginning. It is handed no more while it holds 256 KiB that the peer does not read. */
  get bytesSent(): number {
    return this.#engine.bytesSent;
  }

  /** Why the connection was lost; undefined while it is not, and when this program closed it. */
  get closeError(): MessagingError | undefined {
    return this.#engine.closeError;
  }

  /**
   * Opens a channel.
   *
   * Rejects with `CHANNEL_LIMIT` when all numbers are taken, `INVALID_ARGUMENT` when `id` is, `CONNECTION_CLOSED` or the
   * reason of the loss, `TIMEOUT`, or `signal.reason`.
   */
  async channel(options: ChannelOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted();
    const engine = this.#engine.createChannel(options.id);
    const channel = new Channel(this, engine);
    await engine.open(options);
    return channel;
  }

  /** connection.update-secret (RabbitMQ): a new token in place of one that is about to expire. */
  async updateSecret(secret: string | Uint8Array, reason: string, options: CallOptions = {}): Promise<void> {
    await this.#engine.updateSecret(secret, reason, options);
  }

  /**
   * Reads nothing more from the broker, until {@link resume} was called as often: for the moment in which more has come than can
   * be handled. Everything waits: deliveries of all channels, confirms, answers to calls, and so do {@link close} and its like.
   */
  pause(): void {
    this.#engine.pause();
  }

  /** Undoes one {@link pause}. */
  resume(): void {
    this.#engine.resume();
  }

  /**
   * Closes the connection in order: waits for the calls and confirms under way on all channels, sends what is buffered and
   * waits for the broker's answer. What is not settled by the deadline rejects. Closing twice is once.
   *
   * Rejects with `TIMEOUT` when the broker did not answer; the connection is closed all the same.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    await this.#engine.close(duration('timeout', options.timeout ?? this.#engine.closeTimeout));
  }

  /** Drops the socket at once, without a word to the broker. Everything that waits rejects with `error`, or CONNECTION_CLOSED. */
  abort(error?: Error | undefined): void {
    const typed =
      error === undefined || error instanceof MessagingError
        ? error
        : new ConnectionClosedError(`the connection was aborted: ${error.message}`, { cause: error });
    this.#engine.abort(typed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
