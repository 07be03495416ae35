/**
 * The transport of a connection: loaded at first use, kept over its incarnations, replaced when a host of another scheme comes.
 */
import { InvalidArgumentError } from '../errors.js';
import type { Transport, TransportModule } from '../transport/contract.js';
import { transportLoader } from '../transport/registry.js';
import type { BrokerHost, Settings } from './options.js';
import { urlTransportOptions } from './options.js';
import { normalizeTransportOptions } from './transport-options.js';

/** A transport, ready to be used for a host. */
export interface Loaded {
  readonly module: TransportModule;
  readonly transport: Transport;
  /** The options for it, checked. */
  readonly options: Readonly<Record<string, unknown>>;
}

export class TransportSlot {
  readonly #settings: Settings;
  #module: TransportModule | undefined;
  #transport: Transport | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The transport, once loaded. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  /**
   * Rejects with MISSING_DEPENDENCY, or INVALID_ARGUMENT for transport options that the transport does not know.
   */
  async load(host: BrokerHost): Promise<Loaded> {
    const given = this.#settings.options.transport;
    const module = typeof given === 'object' ? given : await transportLoader(host.parsed.transport)();
    if (typeof module?.createTransport !== 'function') {
      throw new InvalidArgumentError(`the loader of '${host.parsed.transport}' gave no transport module`);
    }
    const options = normalizeTransportOptions(module, this.#settings.transportOptions, urlTransportOptions(host));
    const former = this.#transport;
    if (former !== undefined && this.#module === module) return { module, transport: former, options };
    const transport = module.createTransport();
    this.#module = module;
    this.#transport = transport;
    await former?.dispose();
    return { module, transport, options };
  }

  async dispose(): Promise<void> {
    await this.#transport?.dispose();
  }
}
