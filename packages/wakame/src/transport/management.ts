/** A broker's management API over HTTP, as far as programs ask for it. Answers are the broker's JSON, unchanged. */

/** An answer of the API: what the broker's own documentation says. */
export type ManagementObject = Readonly<Record<string, unknown>>;

/** How long an answer may take. */
export interface ManagementOptions {
  /** Milliseconds. Default: 10 s. */
  readonly timeout?: number | undefined;
  /** Ends the wait; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Each method rejects with HttpError for an answer of 400 and above, CONNECT_FAILED when the API cannot be reached, TIMEOUT, or
 * `signal.reason`. `virtualHost` is that of the connection unless given.
 */
export interface Management {
  /** Product, version, totals. */
  overview(options?: ManagementOptions): Promise<ManagementObject>;
  /** Nodes of the cluster, with alarms and resources. */
  nodes(options?: ManagementOptions): Promise<readonly ManagementObject[]>;
  /** Virtual hosts. */
  virtualHosts(options?: ManagementOptions): Promise<readonly ManagementObject[]>;
  /** Users and their tags. */
  users(options?: ManagementOptions): Promise<readonly ManagementObject[]>;
  /** Connections of all clients. */
  connections(options?: ManagementOptions): Promise<readonly ManagementObject[]>;
  /** Closes a connection, whoever's: its client sees reply code 320 and `reason`. */
  closeConnection(name: string, reason: string, options?: ManagementOptions): Promise<void>;
  /** Channels of all connections. */
  channels(options?: ManagementOptions): Promise<readonly ManagementObject[]>;
  /** Exchanges of the virtual host. */
  exchanges(
    options?: ManagementOptions & { readonly virtualHost?: string | undefined },
  ): Promise<readonly ManagementObject[]>;
  /** Queues of the virtual host, with their counts. */
  queues(
    options?: ManagementOptions & { readonly virtualHost?: string | undefined },
  ): Promise<readonly ManagementObject[]>;
  /** One queue, with its counts. */
  queue(
    name: string,
    options?: ManagementOptions & { readonly virtualHost?: string | undefined },
  ): Promise<ManagementObject>;
  /** Bindings of the virtual host. */
  bindings(
    options?: ManagementOptions & { readonly virtualHost?: string | undefined },
  ): Promise<readonly ManagementObject[]>;
  /** Anything else: `path` below the API's root, encoded by the caller; the answer's JSON, undefined when there is none. */
  request(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    options?: ManagementOptions,
  ): Promise<unknown>;
}
