import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { IrrecoverableConnectionError, type MessagingError, RecoverableConnectionError } from '../../errors.js';
import type {
  ConnectionEvents,
  ConnectionParameters,
  OpenOptions,
  Transport,
  TransportConnection,
  TransportFeatures,
  TransportModule,
} from '../../transport/contract.js';
import { noop } from '../../util/noop.js';
import { VirtualConnection } from './connection.js';
import type { Driver, DriverFactory, DriverFeatures, Holder } from './driver.js';
import { completed } from './emulation/index.js';
import { Ledger } from './ledger.js';
import { Mortician } from './mortician.js';
import { COMMON_OPTIONS, virtualOptions } from './options.js';
import { typed } from './refusals.js';
import { EXCHANGE_TYPES } from './routing/exchange.js';

/** A store made into a transport. */
export interface VirtualTransportDefinition {
  /** As in the URL's scheme. */
  readonly name: string;
  /** Makes the driver of one Connection. */
  readonly createDriver: DriverFactory;
  readonly defaultPort?: number | undefined;
  /** Names of the driver's own transport options, in snake_case, beside those that every virtual transport has. */
  readonly transportOptions?: Iterable<string> | undefined;
  /** Those among them that are durations. */
  readonly durationOptions?: Iterable<string> | undefined;
  /** Options that Kombu knows and that mean nothing here, with the reason. */
  readonly ignoredOptions?: Readonly<Record<string, string>> | undefined;
}

/**
 * Makes a transport of a driver: exchanges, routing, prefetch, leases, dead letters and the rest of AMQP's model over any store.
 *
 * ```ts
 * registerTransport('mystore', () => defineVirtualTransport({ name: 'mystore', createDriver: () => new MyDriver() }));
 * ```
 *
 * Transport options of all: `deadletter_queue` (a queue for what no other takes), `queue_order_strategy` (`round_robin`, the default;
 * `priority`: the queue consumed first is served first; `sorted`: by name) and `polling_interval` (seconds; where the store does not tell
 * of new messages).
 */
export function defineVirtualTransport(definition: VirtualTransportDefinition): TransportModule {
  const {
    name,
    createDriver,
    defaultPort,
    transportOptions = [],
    durationOptions = [],
    ignoredOptions = {},
  } = definition;
  const common = COMMON_OPTIONS.filter((option) => !Object.hasOwn(ignoredOptions, option));
  return {
    createTransport: () => new VirtualTransport(name, createDriver()),
    defaultPort,
    transportOptions: new Set([...common, ...transportOptions]),
    durationOptions: new Set(['polling_interval', ...durationOptions]),
    ignoredOptions,
  };
}

/** The transport of one Connection: what outlives its incarnations is the driver, the holder's name, and what it holds. */
export class VirtualTransport implements Transport {
  readonly name: string;
  /** The driver as it was given. */
  readonly #store: Driver;
  readonly #driver: Driver;
  readonly #holder: Holder = { id: randomUUID(), name: `${hostname()}:${process.pid}` };
  readonly #ledger: Ledger;
  readonly #mortician: Mortician;
  #features: { readonly of: DriverFeatures; readonly are: TransportFeatures } | undefined;
  #current: VirtualConnection | undefined;
  /** The end of the driver's last incarnation. */
  #closed: Promise<void> = Promise.resolve();
  #opening = false;
  #disposed = false;

  constructor(name: string, driver: Driver) {
    this.name = name;
    this.#driver = completed(driver);
    this.#store = driver;
    this.#ledger = new Ledger(this.#driver);
    this.#mortician = new Mortician(this.#driver, this.#ledger);
  }

  /** Options may have a part in them: they are final once it was opened. */
  get features(): TransportFeatures {
    const { features } = this.#store;
    if (this.#features?.of !== features) this.#features = { of: features, are: transportFeatures(features) };
    return this.#features.are;
  }

  async open(
    parameters: ConnectionParameters,
    events: ConnectionEvents,
    options: OpenOptions = {},
  ): Promise<TransportConnection> {
    if (this.#disposed || this.#opening || this.#current !== undefined) {
      throw new IrrecoverableConnectionError(
        `${this.name}: the transport is ${this.#disposed ? 'disposed of' : 'open'}`,
      );
    }
    const settings = virtualOptions(parameters.transportOptions, this.#driver.features);
    this.#opening = true;
    // A loss may be reported before the answer of `open` has been seen.
    let connection: VirtualConnection | undefined;
    let lostEarly: { readonly error: unknown } | undefined;
    const early: unknown[] = [];
    let driverIsOpen = false;
    try {
      await this.#openDriver(parameters, options.signal, {
        lost: (error) => {
          if (connection === undefined) lostEarly = { error };
          else connection.lost(error);
        },
        due: () => connection?.due(),
        problem: (error) => {
          if (connection === undefined) early.push(error);
          else connection.problem(typed(this.#driver, error));
        },
      });
      driverIsOpen = true;
      const serverProperties = await this.#driver.info();
      if (lostEarly !== undefined) throw (lostEarly as { readonly error: unknown }).error;
      if (this.#disposed) throw new IrrecoverableConnectionError(`${this.name}: the transport was disposed of`);
      connection = new VirtualConnection({
        driver: this.#driver,
        holder: this.#holder,
        ledger: this.#ledger,
        mortician: this.#mortician,
        events,
        virtualHost: parameters.virtualHost ?? '/',
        serverProperties,
        options: settings,
        ended: (closed) => {
          this.#current = undefined;
          this.#closed = closed;
        },
      });
      this.#current = connection;
      for (const error of early) connection.problem(typed(this.#driver, error));
      // What waited in the store for somebody to connect.
      connection.due();
      return connection;
    } catch (error) {
      if (driverIsOpen) await this.#driver.close();
      if (this.#disposed) await this.#driver.retire();
      if (options.signal?.aborted === true) throw options.signal.reason;
      throw typed(this.#driver, error);
    } finally {
      this.#opening = false;
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#current?.close({ timeout: 0 });
    this.#ledger.dispose();
    this.#mortician.dispose();
    await this.#driver.retire();
  }

  /** Within `connectTimeout`. A driver that goes on regardless is closed when it comes back. */
  async #openDriver(
    parameters: ConnectionParameters,
    signal: AbortSignal | undefined,
    callbacks: { lost(error: unknown): void; due(): void; problem(error: unknown): void },
  ): Promise<void> {
    const { connectTimeout } = parameters;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(connectTimedOut(this.name, connectTimeout)), connectTimeout);
    const ends = signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]);
    const opened = this.#closed.then(() =>
      this.#driver.open({ parameters, holder: this.#holder, ...callbacks, signal: ends }),
    );
    try {
      await Promise.race([opened, aborted(ends)]);
    } catch (error) {
      this.#closed = opened.then(() => this.#driver.close(), noop);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function connectTimedOut(name: string, ms: number): MessagingError {
  return new RecoverableConnectionError(`${name}: not connected within ${ms} ms`, { code: 'CONNECT_FAILED' });
}

/** Rejects with the signal's reason. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function transportFeatures(driver: DriverFeatures): TransportFeatures {
  const { requeuePosition, priority, persistent, multiProcess, maxMessageBytes, maxQueueName } = driver;
  // A number of messages can be emulated, their bytes cannot.
  const maxLengthBytes = driver.maxLength;
  return {
    exchangeTypes: new Set(EXCHANGE_TYPES),
    heartbeats: false,
    reportsUnroutable: true,
    deliveriesOutliveConnection: true,
    requeuePosition,
    priority,
    messageTtl: true,
    queueTtl: true,
    maxLength: true,
    maxLengthBytes,
    deadLetter: true,
    delay: true,
    exclusive: true,
    autoDelete: true,
    exchangeBindings: true,
    alternateExchange: true,
    multipleAck: true,
    recover: true,
    persistent,
    multiProcess,
    maxMessageBytes,
    maxQueueName,
  };
}
