/** The lists of a store: what the driver's table and queues say. */
import {
  type BindingEntry,
  byName,
  type Catalog,
  type CatalogOptions,
  type ExchangeEntry,
  type QueueEntry,
} from '../../transport/catalog.js';
import { withDeadline } from '../../util/deadline.js';
import type { Driver, ExchangeRecord } from './driver.js';
import { typed } from './refusals.js';

const DEFAULT_TIMEOUT = 10_000;

export class DriverCatalog implements Catalog {
  readonly #driver: Driver;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  exchanges(options: CatalogOptions = {}): Promise<readonly ExchangeEntry[]> {
    return this.#ask(options, async () => {
      const records = await this.#records();
      return records.map(({ name, type, durable, autoDelete, internal, arguments: args }) => {
        return { name, type, durable, autoDelete, internal, arguments: args };
      });
    });
  }

  queues(options: CatalogOptions = {}): Promise<readonly QueueEntry[]> {
    return this.#ask(options, async () => {
      const names = [...(await this.#driver.list())].sort(byName);
      const stats = await this.#driver.stat(names);
      return stats.flatMap((stat) => {
        // Deleted meanwhile.
        if (stat === undefined) return [];
        const { name, messageCount, consumerCount, options: declared } = stat;
        return {
          name,
          // Whoever left no options (Python) means what Kombu does by default.
          durable: declared?.durable ?? true,
          exclusive: declared?.exclusiveTo !== undefined,
          autoDelete: declared?.autoDelete ?? false,
          arguments: declared?.arguments ?? {},
          messageCount,
          consumerCount,
        };
      });
    });
  }

  bindings(options: CatalogOptions = {}): Promise<readonly BindingEntry[]> {
    return this.#ask(options, async () => {
      const records = await this.#records();
      return records.flatMap(({ bindings }) =>
        bindings
          .map(({ source, destinationType, destination, routingKey, arguments: args }) => {
            return { source, destinationType, destination, routingKey, arguments: args };
          })
          .sort((a, b) => byName(a.destination, b.destination) || byName(a.routingKey, b.routingKey)),
      );
    });
  }

  /** In order of their names. */
  async #records(): Promise<ExchangeRecord[]> {
    const { table } = this.#driver;
    const names = [...(await table.exchanges())].sort(byName);
    const records = await Promise.all(names.map((name) => table.exchange(name)));
    return records.filter((record) => record !== undefined && record !== 'unchanged');
  }

  async #ask<T>({ timeout = DEFAULT_TIMEOUT, signal }: CatalogOptions, list: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const answer = list().catch((error: unknown) => {
      throw typed(this.#driver, error);
    });
    return withDeadline(answer, 'the list', { timeout, signal });
  }
}
