/** `connection.manager`: the broker's management API, made when it is first asked. */
import type { Management, ManagementObject, ManagementOptions } from '../transport/management.js';

type InVirtualHost = ManagementOptions & { readonly virtualHost?: string | undefined };

export class LazyManagement implements Management {
  readonly #load: () => Promise<Management>;

  constructor(load: () => Promise<Management>) {
    this.#load = load;
  }

  async overview(options?: ManagementOptions): Promise<ManagementObject> {
    return (await this.#load()).overview(options);
  }

  async nodes(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return (await this.#load()).nodes(options);
  }

  async virtualHosts(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return (await this.#load()).virtualHosts(options);
  }

  async users(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return (await this.#load()).users(options);
  }

  async connections(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return (await this.#load()).connections(options);
  }

  async closeConnection(name: string, reason: string, options?: ManagementOptions): Promise<void> {
    return (await this.#load()).closeConnection(name, reason, options);
  }

  async channels(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return (await this.#load()).channels(options);
  }

  async exchanges(options?: InVirtualHost): Promise<readonly ManagementObject[]> {
    return (await this.#load()).exchanges(options);
  }

  async queues(options?: InVirtualHost): Promise<readonly ManagementObject[]> {
    return (await this.#load()).queues(options);
  }

  async queue(name: string, options?: InVirtualHost): Promise<ManagementObject> {
    return (await this.#load()).queue(name, options);
  }

  async bindings(options?: InVirtualHost): Promise<readonly ManagementObject[]> {
    return (await this.#load()).bindings(options);
  }

  async request(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    options?: ManagementOptions,
  ): Promise<unknown> {
    return (await this.#load()).request(method, path, body, options);
  }
}
