/**
 * Whose fault it was. A broker that refuses a request closes the channel, or, for worse, the connection, and everything under way there
 * ends. The reply names the method; the oldest request of that method is the one.
 *
 * ```
 *   sent:     queue.declare a · queue.declare b · queue.bind c
 *   reply:    declare-ok  ·  channel.close 406 queue.declare
 *   outcome:  a resolves  ·  b rejects with 406  ·  c rejects with CHANNEL_CLOSED, and may be repeated
 * ```
 */
import type { Channel as Client } from '@wakame/amqp';
import { ChannelError, ConnectionError, type MessagingError, RecoverableConnectionError } from '../../errors.js';

interface Pending {
  readonly method: string;
  readonly channel: Client;
}

/** The requests under way on all channels of one connection, in the order in which they were sent. */
export class Requests {
  readonly #pending = new Set<Pending>();
  /** By the reply that ended a channel or connection: the request that it means. */
  readonly #guilty = new WeakMap<MessagingError, { readonly request: Pending | undefined }>();

  /** Sends a request by `send`, and turns its rejection into what it means for this one. */
  async run<T>(channel: Client, method: string, send: () => Promise<T>): Promise<T> {
    const request = { method, channel };
    this.#pending.add(request);
    try {
      return await send();
    } catch (error) {
      throw this.#judge(request, error);
    } finally {
      this.#pending.delete(request);
    }
  }

  #judge(request: Pending, error: unknown): unknown {
    const { closeError: reply, state } = request.channel;
    // The request's own error, or the end of a socket, which is nobody's fault.
    if (state !== 'closed' || reply?.replyCode === undefined) return error;
    if (this.#guiltyOf(reply, request.channel) === request) return error;
    const { message, host } = reply;
    return reply instanceof ConnectionError
      ? new RecoverableConnectionError(`another request ended the connection: ${message}`, { cause: reply, host })
      : new ChannelError(`another request closed the channel: ${message}`, { cause: reply });
  }

  #guiltyOf(reply: MessagingError, channel: Client): Pending | undefined {
    let guilty = this.#guilty.get(reply);
    if (guilty === undefined) {
      const { method } = reply;
      const suspects = [...this.#pending].filter((request) =>
        reply instanceof ConnectionError
          ? request.channel.connection === channel.connection
          : request.channel === channel,
      );
      guilty = { request: suspects.find((request) => method === undefined || request.method === method) };
      this.#guilty.set(reply, guilty);
    }
    return guilty.request;
  }
}
