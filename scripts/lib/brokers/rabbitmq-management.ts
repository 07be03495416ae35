/** What is done to a RabbitMQ through the HTTP API of its management plug-in. */
export class ManagementApi {
  readonly #origin: string;
  readonly #authorization: string;

  /** @param url With credentials. */
  constructor(url: string) {
    const { origin, username, password } = new URL(url);
    this.#origin = origin;
    this.#authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  /** Of guest in the vhost `/`: to configure, write and read what matches. */
  async setPermissions(pattern: string): Promise<void> {
    await this.#request('PUT', 'permissions/%2F/guest', { configure: pattern, write: pattern, read: pattern });
  }

  /** One that is not there is no error: it may have expired. */
  async deleteQueue(name: string): Promise<void> {
    await this.#request('DELETE', `queues/%2F/${encodeURIComponent(name)}`, undefined, [404]);
  }

  async #request(method: string, path: string, body?: unknown, accepted: readonly number[] = []): Promise<void> {
    const response = await fetch(`${this.#origin}/api/${path}`, {
      method,
      headers: { authorization: this.#authorization, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    if (response.ok || accepted.includes(response.status)) return;
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
}
