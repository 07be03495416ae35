import { AssertionError, equal } from 'node:assert/strict';
import type { Connection, Consumer, ConsumerOptions, ErrorCode, Message, MessagingError, Queue } from '../index.js';
import type { QueueDeclareOk } from '../transport/contract.js';
import { type Deferred, deferred } from '../util/deferred.js';
import type { ConformanceContext } from './context.js';

/** A consumer that keeps what it gets, and settles nothing by itself. */
export class Inbox<T> {
  readonly consumer: Consumer<T>;
  /** All that came, in order. */
  readonly messages: Message<T>[] = [];
  readonly #t: ConformanceContext;
  #taken = 0;
  #arrival: Deferred<void> = deferred();

  constructor(
    t: ConformanceContext,
    connection: Connection,
    queues: Queue<T> | readonly Queue<T>[],
    o: ConsumerOptions<T>,
  ) {
    this.#t = t;
    this.consumer = connection.consumer(queues, {
      ...o,
      onMessage: (message) => {
        this.messages.push(message);
        this.#arrival.resolve();
      },
    });
  }

  /** The next messages that were not taken before; waits until there are so many. */
  async take(count: number): Promise<readonly Message<T>[]> {
    const until = this.#taken + count;
    await this.#t.within(`${count} messages of a consumer`, this.#reach(until));
    const taken = this.messages.slice(this.#taken, until);
    this.#taken = until;
    return taken;
  }

  /** The next message. */
  async next(): Promise<Message<T>> {
    const [message] = await this.take(1);
    return message as Message<T>;
  }

  async #reach(count: number): Promise<void> {
    while (this.messages.length < count) {
      this.#arrival = deferred();
      await this.#arrival.promise;
    }
  }
}

/** Starts a consumer that only collects. */
export async function collect<T>(
  t: ConformanceContext,
  queues: Queue<T> | readonly Queue<T>[],
  options: ConsumerOptions<T> = {},
  connection: Connection = t.connection,
): Promise<Inbox<T>> {
  const inbox = new Inbox(t, connection, queues, options);
  await t.within('a consumer to start', inbox.consumer.consume());
  return inbox;
}

export const payloads = <T>(messages: readonly Message<T>[]): T[] => messages.map(({ payload }) => payload);

/** For what is of no interest to a case. */
export const ignore = (): undefined => undefined;

/** 0, 1, 2 … */
export const sequence = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** That it rejects with this code; gives the error. */
export async function rejection(promise: PromiseLike<unknown>, code: ErrorCode): Promise<MessagingError> {
  const error = await failure(promise);
  equal(error.code, code, `rejected with: ${error.stack ?? String(error)}`);
  return error;
}

/** That it rejects; gives the error. */
export async function failure(promise: PromiseLike<unknown>): Promise<MessagingError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as MessagingError;
  }
  throw new AssertionError({ message: `should have been rejected, and resolved with ${String(value)}` });
}

/** What the broker says of a queue now, on a channel that a missing queue may close. */
export async function stat(
  t: ConformanceContext,
  queue: Queue<never> | Queue,
  connection = t.connection,
): Promise<QueueDeclareOk> {
  return t.within(
    `the state of ${queue.name}`,
    connection.defaultChannel().queueDeclare(queue.name, { passive: true }),
  );
}

/** How many messages wait in a queue. */
export async function depth(
  t: ConformanceContext,
  queue: Queue<never> | Queue,
  connection = t.connection,
): Promise<number> {
  return (await stat(t, queue, connection)).messageCount;
}

/** Waits until so many messages wait in a queue. */
export async function untilDepth(t: ConformanceContext, queue: Queue<never> | Queue, count: number): Promise<void> {
  await t.eventually(`${count} messages in ${queue.name}`, async () => (await depth(t, queue)) === count);
}

/** Everything in a queue, taken without acknowledgement. */
export async function drain<T>(
  t: ConformanceContext,
  queue: Queue<T>,
  connection = t.connection,
): Promise<Message<T>[]> {
  const bound = queue.bind(connection);
  const messages: Message<T>[] = [];
  for (;;) {
    const message = await t.within(`get from ${queue.name}`, bound.get({ noAck: true }));
    if (message === undefined) return messages;
    messages.push(message);
  }
}

/** Publishes 0, 1, 2 … to a queue. */
export async function fill(t: ConformanceContext, queue: string, count: number): Promise<void> {
  const producer = t.connection.producer();
  await t.within(
    `${count} publishes`,
    Promise.all(sequence(count).map((i) => producer.publish(i, { routingKey: queue }))),
    3 * t.patience,
  );
  await producer.close();
}

/** An event of an emitter, as a promise of its first argument. */
export function event<T>(t: ConformanceContext, emitter: EventSource, name: string, ms = t.patience): Promise<T> {
  const happened = new Promise<T>((resolve) => emitter.once(name, (value) => resolve(value as T)));
  const told = t.within(`the event '${name}'`, happened, ms);
  told.catch(ignore); // A case that has failed before it looks has told enough.
  return told;
}

interface EventSource {
  once(name: string, listener: (value: unknown) => void): unknown;
}
