import { type FaultProxy, startFaultProxy, through } from '../../scripts/lib/network/fault-proxy.ts';
import { certificate, startTlsFront, type TlsFront } from '../../scripts/lib/network/tls-front.ts';
import type { Link } from '../crew/place.ts';

/** How a worker connects: what its task says. */
export interface Way {
  readonly url: string;
  readonly ssl: { readonly ca: string } | false;
}

/** The proxies of a stand, one for each worker and server. */
export class Links {
  readonly all: Link[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  #front: Promise<TlsFront> | undefined;

  /**
   * A new way from a place to the server that the URL names. With `tls` the bytes on it are encrypted:
   *
   * ```
   *  worker ══ TLS ══ proxy ══ TLS ══ front ── plain ── server
   * ```
   */
  async add(
    place: string,
    url: string,
    options: { readonly tls?: boolean; readonly server?: number } = {},
  ): Promise<Way> {
    const { hostname: host, port, protocol } = new URL(url);
    const { tls = false, server: index = 0 } = options;
    const server = { host, port: Number(port) };
    if (tls) this.#front ??= startTlsFront(server);
    const front = tls ? await this.#front : undefined;
    const proxy: FaultProxy = await startFaultProxy(
      front === undefined ? server : { host: '127.0.0.1', port: front.port },
    );
    this.#closers.push(() => proxy.close());
    this.all.push({ place, server: index, proxy, tls });
    const way = through(proxy, url);
    if (!tls) return { url: way, ssl: false };
    return { url: way.replace(protocol, protocol.replace(':', 's:')), ssl: { ca: certificate } };
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()));
    await (await this.#front)?.close();
  }
}
