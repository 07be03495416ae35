/**
 * RabbitMQ's management API over HTTP.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { TlsOptions } from '@wakame/amqp';
import { HttpError, MessagingError, RecoverableConnectionError } from '../../errors.js';
import type { ConnectionParameters } from '../../transport/contract.js';
import type { Management, ManagementObject, ManagementOptions } from '../../transport/management.js';
import { checkInteger, checkString } from '../../util/check.js';
import { withDeadline } from '../../util/deadline.js';
import { noop } from '../../util/noop.js';
import { clientParameters } from './options.js';

type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';
type InVirtualHost = ManagementOptions & { readonly virtualHost?: string | undefined };

const DEFAULT_TIMEOUT = 10_000;
/** An answer longer than this many bytes is not read to its end. */
const LONGEST_ANSWER = 64 * 1024 * 1024;

export class RabbitManagement implements Management {
  readonly #base: URL;
  readonly #authorization: string;
  readonly #virtualHost: string;
  readonly #tls: TlsOptions;

  /**
   * Takes the options `manager_hostname` (a name, or a URL such as `https://host`), `manager_port` (15672), `manager_userid`,
   * `manager_password`; what is missing is the connection's.
   */
  constructor(parameters: ConnectionParameters) {
    const {
      manager_hostname: hostname,
      manager_port: port,
      manager_userid,
      manager_password,
    } = parameters.transportOptions;
    const host = checkString('manager_hostname', hostname ?? parameters.hostname ?? 'localhost');
    const bare = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
    this.#base = new URL(host.includes('://') ? host : `http://${bare}`);
    if (port !== undefined || this.#base.port === '') {
      this.#base.port = String(checkInteger('manager_port', Number(port ?? 15_672), { min: 1, max: 65_535 }));
    }
    const userid = checkString('manager_userid', manager_userid ?? parameters.userid ?? 'guest');
    const password = manager_password ?? parameters.password ?? 'guest';
    this.#authorization = `Basic ${Buffer.from(`${userid}:${password}`).toString('base64')}`;
    this.#virtualHost = parameters.virtualHost ?? '/';
    const { tls } = clientParameters(parameters);
    this.#tls = typeof tls === 'object' ? tls : {};
  }

  overview(options?: ManagementOptions): Promise<ManagementObject> {
    return this.#one('overview', options);
  }

  nodes(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return this.#many('nodes', options);
  }

  virtualHosts(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return this.#many('vhosts', options);
  }

  users(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return this.#many('users', options);
  }

  connections(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return this.#many('connections', options);
  }

  async closeConnection(name: string, reason: string, options: ManagementOptions = {}): Promise<void> {
    const path = `connections/${encodeURIComponent(name)}`;
    await this.#request('DELETE', path, undefined, options, { 'x-reason': reason.replace(/[^\x20-\x7e]/g, '?') });
  }

  channels(options?: ManagementOptions): Promise<readonly ManagementObject[]> {
    return this.#many('channels', options);
  }

  exchanges(options: InVirtualHost = {}): Promise<readonly ManagementObject[]> {
    return this.#many(`exchanges/${this.#vhost(options)}`, options);
  }

  queues(options: InVirtualHost = {}): Promise<readonly ManagementObject[]> {
    return this.#many(`queues/${this.#vhost(options)}`, options);
  }

  queue(name: string, options: InVirtualHost = {}): Promise<ManagementObject> {
    return this.#one(`queues/${this.#vhost(options)}/${encodeURIComponent(name)}`, options);
  }

  bindings(options: InVirtualHost = {}): Promise<readonly ManagementObject[]> {
    return this.#many(`bindings/${this.#vhost(options)}`, options);
  }

  request(method: Method, path: string, body?: unknown, options: ManagementOptions = {}): Promise<unknown> {
    return this.#request(method, path.replace(/^\/(?:api\/)?/, ''), body, options);
  }

  #vhost({ virtualHost = this.#virtualHost }: InVirtualHost): string {
    return encodeURIComponent(virtualHost);
  }

  async #one(path: string, options: ManagementOptions = {}): Promise<ManagementObject> {
    return (await this.#request('GET', path, undefined, options)) as ManagementObject;
  }

  async #many(path: string, options: ManagementOptions = {}): Promise<readonly ManagementObject[]> {
    return (await this.#request('GET', path, undefined, options)) as readonly ManagementObject[];
  }

  async #request(
    method: Method,
    path: string,
    body: unknown,
    options: ManagementOptions,
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    const { timeout = DEFAULT_TIMEOUT, signal } = options;
    signal?.throwIfAborted();
    const url = new URL(`/api/${path}`, this.#base);
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const secure = url.protocol === 'https:';
    const outgoing = (secure ? https : http).request(url, {
      ...(secure ? await withFiles(this.#tls) : {}),
      method,
      // A connection kept for later would keep the process alive.
      agent: false,
      headers: {
        authorization: this.#authorization,
        accept: 'application/json',
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
    });
    const received = receive(outgoing, url);
    outgoing.end(payload);
    try {
      const { status, text } = await withDeadline(received, url.host, { timeout, signal });
      return answer(`${method} ${url.pathname}`, status, text);
    } finally {
      outgoing.destroy();
    }
  }
}

/** The files that the options name, read. */
async function withFiles({ caFile, certFile, keyFile, ...options }: TlsOptions): Promise<https.RequestOptions> {
  return {
    ...options,
    ...(caFile === undefined ? {} : { ca: await readFile(caFile) }),
    ...(certFile === undefined ? {} : { cert: await readFile(certFile) }),
    ...(keyFile === undefined ? {} : { key: await readFile(keyFile) }),
  } as https.RequestOptions;
}

/** The whole answer. */
async function receive(outgoing: http.ClientRequest, url: URL): Promise<{ status: number; text: string }> {
  try {
    const [response] = (await once(outgoing, 'response')) as [http.IncomingMessage];
    // What is cut off while it comes is an error of the request, too.
    outgoing.on('error', noop);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      chunks.push(chunk);
      if (length > LONGEST_ANSWER) throw new MessagingError(`${url.host} sent more than ${LONGEST_ANSWER} bytes`);
    }
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
  } catch (error) {
    outgoing.on('error', noop);
    throw error instanceof MessagingError ? error : unreachable(url, error as Error);
  }
}

function unreachable(url: URL, cause: Error): RecoverableConnectionError {
  const details = { code: 'CONNECT_FAILED', host: url.host, cause } as const;
  const hint = 'manager_port and manager_hostname in the URL say where it is';
  return new RecoverableConnectionError(
    `cannot reach the management API at ${url.host} (${hint}): ${cause.message}`,
    details,
  );
}

function answer(what: string, status: number, text: string): unknown {
  if (status >= 400) {
    throw new HttpError(status, `${what}: ${http.STATUS_CODES[status] ?? 'error'}`, text.slice(0, 2000));
  }
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MessagingError(`${what}: the answer is not JSON`, { cause });
  }
}
