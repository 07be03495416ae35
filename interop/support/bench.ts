/** What the tests of a column share: a connection of ours, a Python process with one of its own, names that nobody else uses. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import {
  Connection,
  type ConsumerOptions,
  type Message,
  type Producer,
  type PublishOptions,
  Queue,
  type QueueOptions,
} from 'wakame';
import { canonical, normalized } from '../../packages/wakame/test/golden/canonical.ts';
import { type Column, columns, type Endpoints, endpointsOf } from './columns.ts';
import type { Unless } from './matrix.ts';
import { Peer, type PeerMessage } from './peer.ts';

export class Bench {
  readonly column: Column;
  #endpoints: Endpoints | undefined;
  readonly #queues: string[] = [];
  readonly #exchanges: string[] = [];
  #connection: Connection | undefined;
  #peer: Peer | undefined;
  #producer: Producer | undefined;

  constructor(column: Column, endpoints?: Endpoints) {
    this.column = column;
    this.#endpoints = endpoints;
  }

  get #ends(): Endpoints {
    if (this.#endpoints === undefined) throw new Error('not opened yet');
    return this.#endpoints;
  }

  /** Where Node connects. */
  get url(): string {
    return this.#ends.node;
  }

  /** Where Python connects. */
  get pythonUrl(): string {
    return this.#ends.python;
  }

  /** Options of Kombu's transport that Python needs besides. */
  get pythonOptions(): Readonly<Record<string, unknown>> {
    return this.#ends.pythonOptions ?? {};
  }

  get connection(): Connection {
    if (this.#connection === undefined) throw new Error('not connected yet');
    return this.#connection;
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('not connected yet');
    return this.#peer;
  }

  async open(): Promise<void> {
    this.#endpoints ??= await endpointsOf(this.column.transport);
    this.#connection = new Connection(this.url);
    await this.#connection.connect();
    this.#peer = await this.another();
  }

  /** A further Python process. */
  another(): Promise<Peer> {
    return Peer.connect(this.column.peer, this.pythonUrl, this.pythonOptions);
  }

  async close(): Promise<void> {
    const channel = this.#connection?.channel();
    for (const queue of this.#queues) await channel?.queueDelete(queue);
    for (const exchange of this.#exchanges) await channel?.exchangeDelete(exchange);
    await this.#connection?.close();
    await this.#peer?.[Symbol.asyncDispose]();
  }

  /** A name for a queue; what has it is deleted in the end. */
  queueName(stem = 'queue'): string {
    const name = `interop.${stem}.${randomUUID().slice(0, 8)}`;
    this.#queues.push(name);
    return name;
  }

  /** A queue and an exchange of that name are deleted in the end. */
  deleteLater(name: string): void {
    this.#queues.push(name);
    this.#exchanges.push(name);
  }

  exchangeName(stem = 'exchange'): string {
    const name = `interop.${stem}.${randomUUID().slice(0, 8)}`;
    this.deleteExchange(name);
    return name;
  }

  /** An exchange of that name is deleted in the end, too. */
  deleteExchange(name: string): void {
    this.#exchanges.push(name);
  }

  /** A queue that both sides know. */
  async queue(options: QueueOptions = {}): Promise<Queue> {
    const queue = new Queue(this.queueName(), options).bind(this.connection);
    await queue.declare();
    return queue;
  }

  /** The bodies of so many messages, which Python takes: all that the queue has. */
  async bodiesIn(name: string, count: number): Promise<unknown[]> {
    const messages = count === 0 ? [] : await this.peer.take(name, { count });
    const queue = new Queue(name, { noDeclare: true }).bind(this.connection);
    await eventually(async () => (await queue.queueDeclare({ passive: true })).messageCount).toBe(0);
    return bodies(messages);
  }

  /** Publishes to a queue by its name. */
  async publish(queue: Queue | string, body: unknown, options: PublishOptions = {}): Promise<void> {
    const routingKey = typeof queue === 'string' ? queue : queue.name;
    this.#producer ??= this.connection.producer();
    await this.#producer.publish(body, { routingKey, ...options });
  }
}

/** A group of tests for each column but those that `unless` has a reason against. A {@link Bench} is open in each. */
export function inEachColumn(area: string, define: (bench: Bench) => void, unless: Unless = () => undefined): void {
  const chosen = columns.filter((column) => unless(column) === undefined);
  const groups = chosen.map((column) => ({ title: `${area}: ${column.key}`, column }));
  // The other side is a process that has to come into being and be heard: on a busy machine that takes its time.
  describe.each(groups)('$title', { timeout: 60_000 }, ({ column }) => {
    const bench = new Bench(column);
    beforeAll(() => bench.open());
    afterAll(() => bench.close());
    define(bench);
  });
}

/** Looks until it is as expected: `await eventually(() => seen).toEqual([1])`. */
export function eventually<T>(look: () => T): ReturnType<typeof expect.poll<T>> {
  return expect.poll(look, { timeout: 10_000 });
}

/** Consumes and acknowledges `count` messages. */
export async function take<T = unknown>(
  connection: Connection,
  queue: Queue<T> | string,
  count = 1,
  options: ConsumerOptions<T> = {},
): Promise<Message<T>[]> {
  const messages: Message<T>[] = [];
  const source = typeof queue === 'string' ? new Queue<T>(queue, { noDeclare: true }) : queue;
  for await (const message of connection.consumer(source, { signal: AbortSignal.timeout(10_000), ...options })) {
    await message.ack();
    if (messages.push(message) === count) break;
  }
  return messages;
}

/** For Python, and to compare with what it answers. */
export const pack = canonical;

/** What Python packed, comparable with {@link pack}. */
export const unpacked = normalized;

/** The bodies that Python received. */
export function bodies(messages: readonly PeerMessage[]): unknown[] {
  return messages.map((message) => normalized(message.body));
}
