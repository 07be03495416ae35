/** What the tests of producers and consumers share: brokers to run against, and a connection that is watched. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import { Queue, type QueueOptions } from '../../src/entities/index.js';
import type { MessagingError } from '../../src/errors.js';
import { Consumer, type ConsumerOptions, Producer, type ProducerOptions } from '../../src/messaging/index.js';
import type { Message } from '../../src/messaging/message.js';
import { memoryBroker, resetMemory } from '../../src/transports/memory/index.js';
import { deferred } from '../../src/util/deferred.js';
import { type FaultProxy, startFaultProxy, through } from '../support/fault-proxy.js';

export interface Bench {
  readonly url: string;
  readonly connection: Connection;
  /** What the connection called problems. */
  readonly problems: MessagingError[];
  connect(options?: ConnectionOptions): Connection;
  /** A name that nobody else uses. */
  name(stem: string): string;
  /** A queue with such a name, bound to the connection, deleted in the end. */
  queue<T>(stem: string, options?: QueueOptions<T>): Queue<T>;
  producer<T = unknown>(options?: ProducerOptions<T>): Producer<T>;
  consumer<T>(queues: Queue<T> | readonly Queue<T>[], options?: Omit<ConsumerOptions<T>, 'queues'>): Consumer<T>;
  /** Publishes 0, 1, 2 … */
  fill(queue: Queue<never> | Queue, count: number): Promise<void>;
  /** How many messages wait. */
  depth(queue: Queue<never> | Queue): Promise<number>;
  untilDepth(queue: Queue<never> | Queue, count: number): Promise<void>;
  /** Everything that waits. */
  drain<T>(queue: Queue<T>): Promise<Message<T>[]>;
  /** The connection to the broker is lost, and comes back. */
  drop(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly url: (id: string) => Promise<string>;
  readonly drop: (id: string) => Promise<void>;
  readonly end: (id: string) => Promise<void>;
}

const proxies = new Map<string, FaultProxy>();

const MEMORY: Kind = {
  name: 'memory',
  url: async (id) => `memory://${id}`,
  drop: async (id) => memoryBroker(id).disconnect(),
  end: async (id) => resetMemory(id),
};

const rabbitmq = process.env.WAKAME_TEST_RABBITMQ_URL;
const redis = process.env.WAKAME_TEST_REDIS_URL;

/** A server, through a proxy that breaks connections. */
function served(name: string, server: string | undefined, port: number): Kind[] {
  if (server === undefined) return [];
  const url = async (id: string) => {
    const target = new URL(server);
    const proxy = await startFaultProxy({ host: target.hostname, port: Number(target.port || port) });
    proxies.set(id, proxy);
    return through(proxy, server);
  };
  const end = async (id: string) => {
    await proxies.get(id)?.close();
    proxies.delete(id);
  };
  return [{ name, url, drop: async (id) => proxies.get(id)?.reset(), end }];
}

const RABBITMQ = served('rabbitmq', rabbitmq, 5672);
const REDIS = served('redis', redis, 6379);

const unhandled: unknown[] = [];

/** Runs a suite against a store and a real broker, each test with a connection of its own. Unhandled rejections fail it. */
export function onEachBroker(title: string, suite: (bench: Bench) => void): void {
  on([MEMORY, ...RABBITMQ], title, suite);
}

/** The same, against Redis, too: what is built on channels alone is the conformance suite's there. */
export function onEachTransport(title: string, suite: (bench: Bench) => void): void {
  on([MEMORY, ...RABBITMQ, ...REDIS], title, suite);
}

/** The same, for what only a virtual transport has. */
export function onMemory(title: string, suite: (bench: Bench) => void): void {
  on([MEMORY], title, suite);
}

function on(kinds: readonly Kind[], title: string, suite: (bench: Bench) => void): void {
  describe.each(kinds)(`${title}: $name`, (kind) => {
    let state: ReturnType<typeof makeBench>;
    const bench = new Proxy({} as Bench, { get: (_, key) => Reflect.get(state.bench, key) });

    beforeEach(async () => {
      const id = `bench-${randomUUID()}`;
      state = makeBench(
        await kind.url(id),
        () => kind.drop(id),
        () => kind.end(id),
      );
    });
    afterEach(async () => {
      await state.end();
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled.splice(0)).toEqual([]);
    });

    suite(bench);
  });
}

process.on('unhandledRejection', (reason) => unhandled.push(reason));

function makeBench(url: string, drop: () => Promise<void>, finish: () => Promise<void>) {
  const problems: MessagingError[] = [];
  const connections: Connection[] = [];
  const queues: Queue[] = [];
  const id = randomUUID().slice(0, 8);
  const connect = (options?: ConnectionOptions) => {
    const connection = new Connection(url, options);
    connection.on('problem', (error) => problems.push(error));
    connections.push(connection);
    return connection;
  };
  const connection = connect();
  const name = (stem: string) => `wakame.test.${stem}.${id}`;
  const depth = async (queue: Queue<never> | Queue) =>
    (await connection.defaultChannel().queueDeclare(queue.name, { passive: true })).messageCount;
  const bench: Bench = {
    ...{ url, connection, problems, connect, name, depth },
    queue: <T>(stem: string, options?: QueueOptions<T>) => {
      const queue = new Queue<T>(name(stem), options).bind(connection);
      queues.push(queue as Queue);
      return queue;
    },
    producer: <T>(options?: ProducerOptions<T>) => new Producer<T>(connection, options),
    consumer: (of, options) => new Consumer(connection, { ...options, queues: of }),
    fill: async (queue, count) => {
      const producer = new Producer(connection);
      await Promise.all(sequence(count).map((i) => producer.publish(i, { routingKey: queue.name })));
      await producer.close();
    },
    untilDepth: (queue, count) =>
      eventually(`${count} messages in ${queue.name}`, async () => (await depth(queue)) === count),
    drain: async <T>(queue: Queue<T>) => {
      const messages: Message<T>[] = [];
      for (let message = await queue.get({ noAck: true }); message; message = await queue.get({ noAck: true })) {
        messages.push(message);
      }
      return messages;
    },
    drop,
  };
  const end = async () => {
    for (const each of connections) expect(each.subscriptions.filter(({ state }) => state === 'forgotten')).toEqual([]);
    await Promise.all(connections.map((each) => each.close({ timeout: 2000 })));
    const tidy = new Connection(url);
    await Promise.all(
      queues.map((queue) =>
        queue
          .bind(tidy)
          .delete()
          .catch(() => 0),
      ),
    );
    await tidy.close();
    await finish();
  };
  return { bench, end };
}

export const sequence = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
export const payloads = <T>(messages: readonly Message<T>[]): T[] => messages.map(({ payload }) => payload);

/** Waits until something holds that no event tells of. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The error that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<MessagingError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome) return outcome.error as MessagingError;
  throw new Error(`resolved with ${JSON.stringify(outcome.value)}`);
}

/** Counts calls, and lets a test wait for so many. */
export class Count {
  value = 0;
  #waiting: { readonly at: number; readonly resolve: () => void }[] = [];

  up(): void {
    this.value++;
    for (const { at, resolve } of this.#waiting) if (this.value >= at) resolve();
    this.#waiting = this.#waiting.filter(({ at }) => this.value < at);
  }

  async reach(at: number): Promise<void> {
    if (this.value >= at) return;
    const { promise, resolve } = deferred();
    this.#waiting.push({ at, resolve });
    await promise;
  }
}
