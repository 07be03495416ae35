import type { LookupAddress } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { RecoverableConnectionError } from '../errors.js';
import { withDeadline } from '../util/deadline.js';
import type { Host, HostCycle } from './hosts.js';

/** Finds the addresses of a name, in the order in which they are to be tried. */
export type Lookup = (hostname: string) => Promise<readonly LookupAddress[]>;

/** What an attempt to connect needs to know of the place that it goes to. */
export interface Place {
  /** Undefined: the host's address is looked up by whoever connects to it. */
  readonly addresses: readonly LookupAddress[] | undefined;
  /** Behind the host's name, where it alone says too little. */
  readonly suffix: string;
}

const UNRESOLVED: Place = { addresses: undefined, suffix: '' };

/**
 * The hosts of a connection, where a name with several addresses is several of them:
 *
 * ```
 *   host 1 ──▶ 10.0.0.1 + fd00::1 ──▶ 10.0.0.2 + fd00::2 ──▶ host 2 ──▶ …
 * ```
 *
 * One address of each family makes a place: of `localhost`, or of a machine with both, it is not known which one the broker listens on, so
 * they are one try (Happy Eyeballs). Names are looked up anew each time that it is the host's turn.
 */
export class Places<H extends Host> {
  readonly #hosts: HostCycle<H>;
  readonly #lookup: Lookup;
  /** How many places each host was found to have, by its URL. */
  readonly #counts = new Map<string, number>();
  /** Those of the current host, once it was looked up; the first is the current one. */
  #places: Place[] | undefined;

  constructor(hosts: HostCycle<H>, lookup: Lookup = lookupAll) {
    this.#hosts = hosts;
    this.#lookup = lookup;
  }

  get host(): H {
    return this.#hosts.current;
  }

  /** Tries that make a full cycle, as far as is known. */
  get size(): number {
    const more = [...this.#counts.values()].reduce((sum, count) => sum + count - 1, 0);
    return this.#hosts.size + more;
  }

  /** Goes on to the next place of the host, or to the next host. */
  advance(): void {
    this.#places?.shift();
    if (this.#places !== undefined && this.#places.length > 0) return;
    this.#places = undefined;
    this.#hosts.advance();
  }

  /**
   * The current place. Rejects CONNECT_FAILED (phase `dns`) when the name has no address, or the answer takes longer than `timeout`
   * milliseconds; or with the reason of `signal`.
   */
  async resolve(
    hostname: string | undefined,
    options: { readonly timeout: number; readonly signal: AbortSignal },
  ): Promise<Place> {
    const { host } = this;
    if (hostname === undefined || isIP(hostname) !== 0) return UNRESOLVED;
    if (this.#places === undefined) {
      const found = placesOf(await this.#find(hostname, options));
      // The cycle may have gone on meanwhile.
      if (this.host !== host) return found[0] ?? UNRESOLVED;
      this.#places = found;
      this.#counts.set(host.url, found.length);
    }
    return this.#places[0] ?? UNRESOLVED;
  }

  async #find(
    hostname: string,
    options: { readonly timeout: number; readonly signal: AbortSignal },
  ): Promise<readonly LookupAddress[]> {
    try {
      const found = await withDeadline(this.#lookup(hostname), `looking up ${hostname}`, options);
      if (found.length > 0) return found;
      throw new Error(`${hostname} has no address`);
    } catch (cause) {
      options.signal.throwIfAborted();
      const message = `cannot connect to ${hostname} (dns): ${(cause as Error).message}`;
      throw new RecoverableConnectionError(message, { code: 'CONNECT_FAILED', phase: 'dns', host: hostname, cause });
    }
  }
}

/** All addresses, as the system orders them. */
function lookupAll(hostname: string): Promise<readonly LookupAddress[]> {
  return systemLookup(hostname, { all: true, order: 'verbatim' });
}

function placesOf(found: readonly LookupAddress[]): Place[] {
  const families = [...new Set(found.map(({ family }) => family))].map((family) =>
    found.filter((address) => address.family === family),
  );
  const count = Math.max(...families.map(({ length }) => length));
  return Array.from({ length: count }, (_, i) => {
    const addresses = families.flatMap((family) => family[i] ?? []);
    const names = addresses.map(({ address }) => address).join(', ');
    return { addresses, suffix: count === 1 ? '' : ` (${names})` };
  });
}
