/** The lists that AMQP lacks, from RabbitMQ's management API. */
import {
  type BindingEntry,
  byName,
  type Catalog,
  type CatalogOptions,
  type ExchangeEntry,
  type QueueEntry,
} from '../../transport/catalog.js';
import type { Management, ManagementObject } from '../../transport/management.js';

export class RabbitCatalog implements Catalog {
  readonly #management: () => Management;

  /** @param management Made when a list is first asked for. */
  constructor(management: () => Management) {
    this.#management = management;
  }

  async exchanges(options: CatalogOptions = {}): Promise<readonly ExchangeEntry[]> {
    const found = await this.#management().exchanges(options);
    const entries = found.map((item) => ({
      name: text(item.name),
      type: text(item.type),
      durable: item.durable === true,
      autoDelete: item.auto_delete === true,
      internal: item.internal === true,
      arguments: table(item.arguments),
    }));
    return entries.sort((a, b) => byName(a.name, b.name));
  }

  async queues(options: CatalogOptions = {}): Promise<readonly QueueEntry[]> {
    const found = await this.#management().queues(options);
    const entries = found.map((item) => ({
      name: text(item.name),
      durable: item.durable === true,
      exclusive: item.exclusive === true,
      autoDelete: item.auto_delete === true,
      arguments: table(item.arguments),
      messageCount: count(item.messages_ready),
      consumerCount: count(item.consumers),
    }));
    return entries.sort((a, b) => byName(a.name, b.name));
  }

  async bindings(options: CatalogOptions = {}): Promise<readonly BindingEntry[]> {
    const found = await this.#management().bindings(options);
    const entries = found.map(
      (item: ManagementObject): BindingEntry => ({
        source: text(item.source),
        destinationType: item.destination_type === 'exchange' ? 'exchange' : 'queue',
        destination: text(item.destination),
        routingKey: text(item.routing_key),
        arguments: table(item.arguments),
      }),
    );
    return entries
      .filter(({ source }) => source !== '')
      .sort(
        (a, b) =>
          byName(a.source, b.source) || byName(a.destination, b.destination) || byName(a.routingKey, b.routingKey),
      );
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** Erlang's JSON shows an empty table as an empty list. */
function table(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
