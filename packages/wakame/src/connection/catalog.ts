/** `connection.catalog`: the lists of whichever incarnation is open. */
import { NotSupportedError } from '../errors.js';
import type { BindingEntry, Catalog, CatalogOptions, ExchangeEntry, QueueEntry } from '../transport/catalog.js';
import type { TransportConnection } from '../transport/contract.js';

export class ConnectionCatalog implements Catalog {
  readonly #ready: (options: CatalogOptions) => Promise<TransportConnection>;

  /** @param ready Waits for an open incarnation. */
  constructor(ready: (options: CatalogOptions) => Promise<TransportConnection>) {
    this.#ready = ready;
  }

  async exchanges(options: CatalogOptions = {}): Promise<readonly ExchangeEntry[]> {
    return (await this.#catalog(options)).exchanges(options);
  }

  async queues(options: CatalogOptions = {}): Promise<readonly QueueEntry[]> {
    return (await this.#catalog(options)).queues(options);
  }

  async bindings(options: CatalogOptions = {}): Promise<readonly BindingEntry[]> {
    return (await this.#catalog(options)).bindings(options);
  }

  async #catalog(options: CatalogOptions): Promise<Catalog> {
    const { catalog } = await this.#ready(options);
    if (catalog === undefined) throw new NotSupportedError('this transport cannot list what stands at its broker');
    return catalog;
  }
}
