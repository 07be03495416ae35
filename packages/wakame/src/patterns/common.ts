/** Helpers that programs written for Kombu look for (`kombu.common`). */
import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import type { EnsureOptions } from '../connection/retry.js';
import { declareEntity, type Entity } from '../entities/declare.js';
import type { Exchange } from '../entities/exchange.js';
import type { Queue } from '../entities/queue.js';
import type { ChannelOrConnection } from '../entities/target.js';
import { InvalidArgumentError, NotBoundError, TimeoutError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions } from '../messaging/consumer-options.js';
import type { Message } from '../messaging/message.js';
import type { Producer } from '../messaging/producer.js';
import type { PublishOptions, PublishResult } from '../messaging/publish-options.js';
import { withDeadline } from '../util/deadline.js';

/** What {@link maybeDeclare} does when the connection is lost meanwhile. */
export interface MaybeDeclareOptions extends EnsureOptions {
  /** Tries again after a loss, with the policy given, by `connection.ensure`. Default false. */
  readonly retry?: boolean | undefined;
}

/**
 * Declares an entity, unless this connection has declared the same already. Resolves with `true` when it was declared now.
 *
 * @param target - Where. Default: what the entity is bound to; NOT_BOUND when it is not.
 */
export async function maybeDeclare(
  entity: Entity,
  target: ChannelOrConnection | undefined = entity.channel,
  options: MaybeDeclareOptions = {},
): Promise<boolean> {
  if (target === undefined) throw new NotBoundError(`'${entity.name}' is not bound, and no channel was given`);
  const { retry = false, ...policy } = options;
  const { connection } = target;
  const bound = entity.bind(target);
  const declare = () => declareEntity(bound, connection.topology);
  return retry ? connection.ensure(undefined, declare, policy)() : declare();
}

/** How long {@link eventLoop} goes on. */
export interface EventLoopOptions {
  /** Ends after this many events. Default: none. */
  readonly limit?: number | undefined;
  /** Milliseconds to wait for an event. Default: no end. */
  readonly timeout?: number | undefined;
  /** Ends quietly when no event came within `timeout`, instead of rejecting with TIMEOUT. Default false. */
  readonly ignoreTimeouts?: boolean | undefined;
  /** Ends the loop quietly. */
  readonly signal?: AbortSignal | undefined;
}

/** Drains events, yielding the number of them handled each time (`kombu.common.eventloop`). For scripts: delivery needs no loop. */
export async function* eventLoop(connection: Connection, options: EventLoopOptions = {}): AsyncGenerator<number, void> {
  const { limit = Number.POSITIVE_INFINITY, timeout, ignoreTimeouts = false, signal } = options;
  for (let events = 0; events < limit && !signal?.aborted; ) {
    try {
      const handled = await connection.drainEvents({ timeout, signal });
      events += handled;
      yield handled;
    } catch (error) {
      if (signal?.aborted && error === signal.reason) return;
      if (!(ignoreTimeouts && error instanceof TimeoutError)) throw error;
      return;
    }
  }
}

/** How many messages {@link drainConsumer}, {@link itermessages} and {@link collectReplies} take, and how long they wait. */
export interface DrainOptions {
  /** Ends after this many messages. Default 1, as Kombu's. */
  readonly limit?: number | undefined;
  /** Milliseconds to wait for the next message; then it ends. Default: no end. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Yields `limit` messages of a consumer that has not been started, and closes it (`kombu.common.drain_consumer`).
 */
export async function* drainConsumer<T>(
  consumer: Consumer<T>,
  options: DrainOptions = {},
): AsyncGenerator<Message<T>, void> {
  const { limit = 1, timeout, signal } = options;
  const messages = consumer[Symbol.asyncIterator]();
  try {
    for (let taken = 0; taken < limit; taken += 1) {
      const next = await withDeadline(messages.next(), 'message', { timeout, signal });
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  } finally {
    await messages.return?.();
  }
}

/** Options of {@link itermessages}: those of the Consumer too. */
export interface IterMessagesOptions<T> extends DrainOptions, Omit<ConsumerOptions<T>, 'queues' | 'signal'> {}

/** Yields `limit` messages of a queue (`kombu.common.itermessages`). */
export function itermessages<T>(
  target: ChannelOrConnection,
  queue: Queue<T>,
  options: IterMessagesOptions<T> = {},
): AsyncGenerator<Message<T>, void> {
  const { limit, timeout, signal, ...rest } = options;
  const consumer = new Consumer<T>(target, { prefetch: limit ?? 1, ...rest, queues: [queue] });
  return drainConsumer(consumer, { limit, timeout, signal });
}

/**
 * Answers a request (`kombu.common.send_reply`): to the queue that its `replyTo` names, with its correlation id, in its serialization.
 *
 * @param options - `exchange` other than the default exchange, and whatever else {@link Producer.publish} takes.
 * @throws InvalidArgumentError (INVALID_ARGUMENT) when the request has no `replyTo`.
 */
export async function sendReply(
  request: Message<unknown>,
  body: unknown,
  producer: Producer<never>,
  options: PublishOptions & { readonly exchange?: Exchange | string | undefined } = {},
): Promise<PublishResult> {
  const { replyTo, correlationId } = request.properties;
  if (replyTo === undefined) throw new InvalidArgumentError('the message asks for no reply: it has no replyTo');
  return producer.publish(body as never, {
    exchange: '',
    routingKey: replyTo,
    correlationId,
    serializer: options.contentType === undefined ? request.contentType : undefined,
    ...options,
  });
}

/** Options of {@link collectReplies}. */
export interface CollectRepliesOptions<T> extends IterMessagesOptions<T> {
  /** Replies come settled. Default true. */
  readonly noAck?: boolean | undefined;
}

/** Yields the bodies of the replies that arrive in `queue` (`kombu.common.collect_replies`). */
export async function* collectReplies<T>(
  target: ChannelOrConnection,
  queue: Queue<T>,
  options: CollectRepliesOptions<T> = {},
): AsyncGenerator<T, void> {
  const { noAck = true, ...rest } = options;
  for await (const message of itermessages(target, queue, { ...rest, noAck })) {
    if (!noAck) await message.ack();
    yield message.payload;
  }
}

/**
 * Runs a function with a connection of a pool and tries again after losses (`kombu.common.insured`).
 *
 * @param fn - Gets the connection's default channel.
 */
export async function insured<R>(
  pool: { acquire(): Promise<Connection> },
  fn: (channel: Channel) => R | Promise<R>,
  options: EnsureOptions = {},
): Promise<R> {
  const connection = await pool.acquire();
  try {
    const [result] = await connection.autoretry(fn, options)();
    return result;
  } finally {
    await connection.release();
  }
}

/**
 * Runs `fn` and lets pass what a broken connection or channel makes it throw (`kombu.common.ignore_errors`): for tidying up behind a
 * connection that may be gone. Anything else it throws is thrown on.
 */
export async function ignoreErrors<R>(connection: Connection, fn: () => R | Promise<R>): Promise<R | undefined> {
  try {
    return await fn();
  } catch (error) {
    const expected = [...connection.connectionErrors, ...connection.channelErrors];
    if (expected.some((type) => error instanceof type)) return undefined;
    throw error;
  }
}
