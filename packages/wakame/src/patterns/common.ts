/** Helpers that programs written for Kombu look for (`kombu.common`). */
import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import type { EnsureOptions } from '../connection/retry.js';
import { declareEntity, type Entity } from '../entities/declare.js';
import type { Queue } from '../entities/queue.js';
import type { ChannelOrConnection } from '../entities/target.js';
import { InvalidArgumentError, NotBoundError, TimeoutError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { ConsumerOptions } from '../messaging/consumer-options.js';
import type { Message } from '../messaging/message.js';
import type { Producer } from '../messaging/producer.js';
import type { PublishOptions, PublishResult } from '../messaging/publish-options.js';
import { serialization } from '../serialization/index.js';
import { checkInteger } from '../util/check.js';
import { Deadline, withDeadline } from '../util/deadline.js';
import { noop } from '../util/noop.js';
import type { AcquireOptions } from './resource-pool.js';

/** How {@link maybeDeclare} goes about it. `timeout` and `signal` bound it in any case. */
export interface MaybeDeclareOptions extends EnsureOptions {
  /** Tries again after a loss, as `connection.ensure` does, by the policy given. Default: whether any of it is given. */
  readonly retry?: boolean | undefined;
}

/**
 * Declares an entity, unless this connection has declared the same already. Resolves with `true` when it was declared now.
 *
 * Rejects NOT_BOUND without a target; with what the broker refuses (PRECONDITION_FAILED, NOT_FOUND, ACCESS_REFUSED …); TIMEOUT; what
 * escapes `connection.ensure`.
 *
 * @param target Where. Default: what the entity is bound to. A queue without a name must be bound: its copy keeps the name that the
 *   broker chooses.
 */
export async function maybeDeclare(
  entity: Entity,
  target: ChannelOrConnection | undefined = entity.channel,
  options: MaybeDeclareOptions = {},
): Promise<boolean> {
  if (target === undefined) throw new NotBoundError(`'${entity.name}' is not bound, and no channel was given`);
  const { timeout, signal, retry, ...policy } = options;
  const { connection } = target;
  const declare = () => declareEntity(entity, connection.topology, { timeout, signal });
  const hasPolicy = Object.values(policy).some((value) => value !== undefined);
  return (retry ?? hasPolicy) ? connection.ensure(undefined, declare, { ...policy, timeout, signal })() : declare();
}

/** How long {@link eventLoop} goes on. */
export interface EventLoopOptions {
  /** Ends after this many events. Default: no end. */
  readonly limit?: number | undefined;
  /** Milliseconds to wait for an event, each time. Default: no end. */
  readonly timeout?: number | undefined;
  /** Goes on when no event came within `timeout`: yields 0, which counts as one towards `limit`. Default `false`: rejects TIMEOUT. */
  readonly ignoreTimeouts?: boolean | undefined;
  /** Ends the loop quietly. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Drains events, yielding the number of them handled each time (`kombu.common.eventloop`). For scripts and ported code: delivery needs no
 * loop. Connects first. Rejects as `connection.connect` and `drainEvents`.
 */
export async function* eventLoop(connection: Connection, options: EventLoopOptions = {}): AsyncGenerator<number, void> {
  const { timeout, ignoreTimeouts = false, signal } = options;
  const limit = checkLimit(options.limit, Number.POSITIVE_INFINITY);
  try {
    await connection.connect({ signal });
    for (let events = 0; events < limit; ) {
      signal?.throwIfAborted();
      const handled = await connection.drainEvents({ timeout, signal }).catch((error: unknown) => {
        if (ignoreTimeouts && error instanceof TimeoutError) return 0;
        throw error;
      });
      events += Math.max(handled, 1);
      yield handled;
    }
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
  }
}

/** How many messages {@link drainConsumer}, {@link itermessages} and {@link collectReplies} take, and how long they wait. */
export interface DrainOptions {
  /** Ends after this many messages; `Infinity`: never. Default 1, as Kombu's. */
  readonly limit?: number | undefined;
  /** Milliseconds to wait for the next message; then it ends. Default: no end. */
  readonly timeout?: number | undefined;
  /** Ends the wait: rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Yields messages of a consumer that has not been started, and stops it (`kombu.common.drain_consumer`). What it was sent beyond `limit`
 * goes back. Messages yielded stay the caller's to settle, unless the consumer has `settle: 'auto'`.
 *
 * Here `timeout` includes the time that starting takes; the consumer's own `idleTimeout` does not.
 */
export async function* drainConsumer<T>(
  consumer: Consumer<T>,
  options: DrainOptions = {},
): AsyncGenerator<Message<T>, void> {
  const { timeout, signal } = options;
  const limit = checkLimit(options.limit, 1);
  const messages = consumer[Symbol.asyncIterator]();
  try {
    for (let taken = 0; taken < limit; taken++) {
      const message = await nextOf(messages, { timeout, signal });
      if (message === undefined) return;
      yield message;
      // The caller is done with it, also when it was the last.
      if (consumer.settle === 'auto' && message.state === 'RECEIVED') await message.ack();
    }
  } finally {
    await messages.return?.();
  }
}

/** The next message; undefined at the end and when none came in time. */
async function nextOf<T>(
  messages: AsyncIterator<Message<T>, undefined>,
  wait: Omit<DrainOptions, 'limit'>,
): Promise<Message<T> | undefined> {
  const next = messages.next();
  try {
    return (await withDeadline(next, 'message', wait)).value;
  } catch (error) {
    // It may have come in the very moment in which the caller gave up.
    next.then((late) => late.value?.requeue()).catch(noop);
    if (error instanceof TimeoutError && wait.timeout !== undefined) return undefined;
    throw error;
  }
}

/** Options of {@link itermessages}: those of the Consumer too. */
export interface IterMessagesOptions<T>
  extends DrainOptions,
    Omit<ConsumerOptions<T>, 'queues' | 'signal' | 'idleTimeout'> {}

/**
 * Yields messages of a queue (`kombu.common.itermessages`), as {@link drainConsumer} does; `timeout` counts from when the queue is being
 * consumed. With `noAck`, what the broker has sent beyond `limit` is lost.
 */
export function itermessages<T>(
  target: ChannelOrConnection,
  queue: Queue<T>,
  options: IterMessagesOptions<T> = {},
): AsyncGenerator<Message<T>, void> {
  const { limit, timeout, signal, ...rest } = options;
  const prefetch = checkLimit(limit, 1) <= MOST_PREFETCH ? (limit ?? 1) : undefined;
  const consumer = new Consumer<T>(target, { prefetch, ...rest, queues: queue, idleTimeout: timeout });
  return drainConsumer(consumer, { limit, signal });
}

/**
 * Answers a request (`kombu.common.send_reply`): to the queue that its `replyTo` names, with its correlation id, in its format where that
 * can hold anything. Resolves and rejects as {@link Producer.publish}; INVALID_ARGUMENT when the request asks for no reply.
 *
 * @param options Whatever else {@link Producer.publish} takes; it takes precedence.
 */
export async function sendReply<T>(
  request: Message,
  body: NoInfer<T>,
  producer: Producer<T>,
  options: PublishOptions = {},
): Promise<PublishResult> {
  const { replyTo, correlationId } = request.properties;
  if (!replyTo) throw new InvalidArgumentError('the message asks for no reply: it has no replyTo');
  const serializer = options.contentType === undefined ? structuredFormat(request.contentType) : undefined;
  return producer.publish(body, { exchange: '', routingKey: replyTo, correlationId, serializer, ...options });
}

/** The content type, if bodies of that type can hold any value: plain text and bytes cannot. */
function structuredFormat(contentType: string | undefined): string | undefined {
  if (contentType === undefined || !serialization.has(contentType)) return undefined;
  return /^(text\/plain|application\/data)\b/i.test(contentType) ? undefined : contentType;
}

/**
 * Yields the bodies of the replies that arrive in `queue` (`kombu.common.collect_replies`). Each is acknowledged before it is yielded.
 * (Kombu consumes with `noAck`; here that is for those who say so, since it loses what comes beyond `limit`.)
 */
export async function* collectReplies<T>(
  target: ChannelOrConnection,
  queue: Queue<T>,
  options: IterMessagesOptions<T> = {},
): AsyncGenerator<T, void> {
  for await (const message of itermessages(target, queue, options)) {
    await message.ack();
    yield message.payload;
  }
}

/**
 * Runs a function with a connection of a pool, and again after losses (`kombu.common.insured`): waits for the connection first, and tells
 * `errback` of each failed try. Rejects POOL_LIMIT, and as `connection.autoretry`.
 *
 * @param fn Gets the connection's default channel.
 */
export async function insured<R>(
  pool: { acquire(options?: AcquireOptions): Promise<Connection> },
  fn: (channel: Channel) => R | Promise<R>,
  options: EnsureOptions = {},
): Promise<R> {
  const deadline = new Deadline(options.timeout);
  const left = () => (options.timeout === undefined ? undefined : deadline.remaining);
  const connection = await pool.acquire({ timeout: left(), signal: options.signal });
  try {
    await connection.ensureConnection({ ...options, timeout: left() });
    const [result] = await connection.autoretry(fn, { ...options, timeout: left() })();
    return result;
  } finally {
    await connection.release();
  }
}

/**
 * Runs `fn` and lets pass what a broken connection or channel makes it throw (`kombu.common.ignore_errors`): for tidying up behind a
 * connection that may be gone. Anything else it throws is thrown on. Resolves with the result, or undefined.
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

/** AMQP counts prefetched messages in 16 bits (0-9-1, basic.qos). */
const MOST_PREFETCH = 65_535;

function checkLimit(limit: number | undefined, otherwise: number): number {
  if (limit === undefined) return otherwise;
  return limit === Number.POSITIVE_INFINITY ? limit : checkInteger('limit', limit, { min: 1 });
}
