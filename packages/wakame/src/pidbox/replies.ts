import type { Connection } from '../connection/connection.js';
import { asMessagingError } from '../connection/waiters.js';
import type { Queue } from '../entities/queue.js';
import { ChannelError, ConnectionClosedError, type MessagingError } from '../errors.js';
import { Consumer } from '../messaging/consumer.js';
import type { Message } from '../messaging/message.js';
import { raceSignal } from '../util/abort.js';
import { type Collection, Collector, type ReplySink } from './collector.js';
import type { UnclaimedReplies } from './unclaimed.js';
import { lateness, type Reply, readReply } from './wire.js';

/** What the replies of a mailbox need of it. */
export interface RepliesOptions {
  readonly connection: Connection;
  readonly queue: Queue;
  readonly accept: readonly string[];
  readonly unclaimed: UnclaimedReplies;
  /** A reply has come, with this count of its sender's clock. */
  readonly received: (clock: unknown) => void;
  readonly decodeError: (error: MessagingError, message: Message) => void;
}

/**
 * The one consumer of a mailbox's reply queue. Each reply goes to the call whose ticket it carries, so that any number of calls
 * may be under way. It starts with the first of them and goes on until the mailbox or the connection is closed.
 *
 * ```
 *   reply queue ──▶ ticket ─┬─ of a call under way ──▶ its Collector
 *                           └─ of none ──────────────▶ unclaimed
 * ```
 */
export class Replies {
  readonly #options: RepliesOptions;
  readonly #consumer: Consumer;
  /** Calls under way, by their tickets. */
  readonly #collectors = new Map<string, ReplySink>();
  readonly #offConnection: () => void;
  #starting: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RepliesOptions) {
    const { connection, queue, accept } = options;
    this.#options = options;
    this.#consumer = new Consumer(connection, {
      ...{ queues: queue, accept, noAck: true },
      onMessage: (message) => this.#arrived(message),
      onDecodeError: (message, error) => this.#unreadable(message, error),
    });
    this.#offConnection = connection.beforeClose(({ timeout }) =>
      this.close(new ConnectionClosedError('the connection was closed'), timeout),
    );
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** Resolves when replies can arrive. Rejects as `consume` does, or with the signal's reason. */
  ready(signal: AbortSignal | undefined): Promise<unknown> {
    const { queue } = this.#options;
    if (this.#starting === undefined && this.#consumer.consumingFrom(queue.name)) return Promise.resolve();
    // Shared by all who wait for it. Where the queue was lost for good, it begins anew.
    this.#starting ??= this.#consumer.consume().finally(() => {
      this.#starting = undefined;
    });
    return raceSignal(this.#starting, signal);
  }

  /** Replies with this ticket go to the collector returned, until that is closed. */
  collect<T>(ticket: string, collection: Collection<T>): Collector<T> {
    const collector = new Collector<T>(collection, () => this.#collectors.delete(ticket));
    this.#collectors.set(ticket, collector);
    return collector;
  }

  /** Calls under way reject with `reason`. Never rejects. */
  close(reason: MessagingError = new ChannelError('the mailbox was closed'), timeout?: number): Promise<void> {
    this.#closing ??= this.#close(reason, timeout);
    return this.#closing;
  }

  async #close(reason: MessagingError, timeout: number | undefined): Promise<void> {
    this.#offConnection();
    for (const collector of [...this.#collectors.values()]) collector.fail(reason);
    await this.#consumer.close({ timeout });
  }

  #arrived(message: Message): void {
    const { unclaimed, received } = this.#options;
    received(message.headers['clock']);
    if (lateness(message.headers['expires']) > 0) return;
    let reply: Reply;
    try {
      reply = readReply(message.payload);
    } catch (error) {
      this.#unreadable(message, asMessagingError(error));
      return;
    }
    const collector = this.#collectorOf(message);
    if (collector !== undefined) collector.add(reply);
    else unclaimed.add(ticketOf(message) ?? '', reply, message.body.length);
  }

  /** It counts as one of those that its call waits for: nothing better will come in its place. */
  #unreadable(message: Message, error: MessagingError): void {
    this.#options.decodeError(error, message);
    this.#collectorOf(message)?.counted();
  }

  #collectorOf(message: Message): ReplySink | undefined {
    const ticket = ticketOf(message);
    if (ticket !== undefined) return this.#collectors.get(ticket);
    // Kombu before 2.5 sends none. Then there must be no doubt.
    const [only, ...others] = this.#collectors.values();
    return others.length === 0 ? only : undefined;
  }
}

function ticketOf(message: Message): string | undefined {
  const { ticket } = message.headers;
  return typeof ticket === 'string' ? ticket : undefined;
}
