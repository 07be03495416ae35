/** What stands at a broker, whoever declared it: for tools that list, and for people who look. */
import type { Arguments } from './message.js';

/** An exchange as it was declared. */
export interface ExchangeEntry {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: Arguments;
}

/** A queue as it was declared, with its counts. */
export interface QueueEntry {
  readonly name: string;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Arguments;
  /**
   * Messages ready to be taken. On RabbitMQ, whose management API counts every few seconds, it may lag behind, and is undefined for a queue that
   * was not counted yet; a passive declaration tells at once.
   */
  readonly messageCount: number | undefined;
  /** Likewise. */
  readonly consumerCount: number | undefined;
}

/** What an exchange passes on, and where to. */
export interface BindingEntry {
  readonly source: string;
  readonly destinationType: 'queue' | 'exchange';
  readonly destination: string;
  readonly routingKey: string;
  readonly arguments: Arguments;
}

/** How long a list may take. */
export interface CatalogOptions {
  /** Milliseconds for the answer. Default 10 s. */
  readonly timeout?: number | undefined;
  /** Ends the wait; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lists what stands in the connection's virtual host, each list sorted by name. The broker's own exchanges (the default one and `amq.…`) may be
 * among them; the bindings of the default exchange, which every queue has, are not.
 *
 * AMQP has no lists: there it is RabbitMQ's management API that answers, found as `connection.manager` finds it. Methods reject as those do
 * (CONNECT_FAILED without the API, AUTH_FAILED …), with what the store answers, TIMEOUT, or the signal's reason.
 */
export interface Catalog {
  /** All exchanges. */
  exchanges(options?: CatalogOptions): Promise<readonly ExchangeEntry[]>;
  /** All queues, with their counts. */
  queues(options?: CatalogOptions): Promise<readonly QueueEntry[]>;
  /** Of queues and of exchanges. */
  bindings(options?: CatalogOptions): Promise<readonly BindingEntry[]>;
}

/** For sorting: by code units, the same on every machine. */
export function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
