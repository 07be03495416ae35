/** Drivers with less than memory's, and with faults. */
import { MemoryDriver, type MemoryDriverOptions } from '../../src/transports/memory/index.js';
import type {
  Broadcast,
  Driver,
  DriverFeatures,
  MaybePromise,
  OpenDriver,
  Outbound,
  QueueHints,
  QueueOptions,
  QueueStat,
  RoutingTable,
  SendOptions,
  SendResult,
  Settlement,
  StoredMessage,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../../src/transports/virtual/driver.js';
import { DriverWrapper } from '../../src/transports/virtual/emulation/wrapper.js';

/** A turn of the event loop: as long as a store on the same machine takes. */
const roundTrip = () => new Promise<void>((resolve) => setImmediate(resolve));

type Method = 'send' | 'take' | 'settle' | 'stat' | 'declare' | 'attach' | 'extend' | 'sweep';

interface Fault {
  readonly method: Method;
  /** The store did it, and its answer was lost. Otherwise it never heard of it. */
  readonly done: boolean;
  readonly error: Error;
}

/** A store at the other end of a wire: answers take a turn, and can be made to fail or to wait. */
export class RemoteDriver extends DriverWrapper {
  readonly features: DriverFeatures;
  /** The calls made, with what matters of their arguments. */
  readonly calls: { readonly method: Method; readonly size: number; readonly argument: unknown }[] = [];
  #faults: Fault[] = [];
  #gate: Promise<void> | undefined;
  #check: (messages: readonly Outbound[]) => void = () => {};
  #lost: ((error: unknown) => void) | undefined;

  constructor(features: Partial<DriverFeatures> = {}, options: MemoryDriverOptions = {}) {
    super(new MemoryDriver(options));
    this.features = { ...this.inner.features, synchronous: false, ...features };
  }

  /** The next call of this method fails. */
  fail(method: Method, fault: { readonly done?: boolean; readonly error?: Error } = {}): void {
    this.#faults.push({ method, done: fault.done ?? false, error: fault.error ?? new Error(`${method} failed`) });
  }

  /** Looks at each batch before it is sent, and may throw. */
  refuse(check: (messages: readonly Outbound[]) => void): void {
    this.#check = check;
  }

  /** Answers wait until the returned function is called. */
  hold(): () => void {
    let open = (): void => {};
    this.#gate = new Promise((resolve) => {
      open = () => {
        this.#gate = undefined;
        resolve();
      };
    });
    return open;
  }

  /** The connection is cut: nothing is said to the store. */
  cut(error = new Error('cut')): void {
    this.#lost?.(error);
  }

  callsOf(method: Method) {
    return this.calls.filter((call) => call.method === method);
  }

  override async open(options: OpenDriver): Promise<void> {
    await roundTrip();
    this.#lost = options.lost;
    await this.inner.open(options);
  }

  override declare(queues: readonly { readonly name: string; readonly options: QueueOptions }[]) {
    return this.#call('declare', queues, () => this.inner.declare(queues));
  }

  override stat(queues: readonly string[]) {
    return this.#call('stat', queues, () => this.inner.stat(queues));
  }

  override send(messages: readonly Outbound[], options?: SendOptions): MaybePromise<readonly SendResult[]> {
    const run = () => {
      this.#check(messages);
      return this.inner.send(messages, options);
    };
    return this.#call('send', messages, run, options);
  }

  override take(requests: readonly TakeRequest[], options: TakeOptions): MaybePromise<readonly Taken[]> {
    return this.#call('take', requests, () => this.inner.take(requests, options), options);
  }

  override settle(settlements: readonly Settlement[]): MaybePromise<readonly boolean[]> {
    return this.#call('settle', settlements, () => this.inner.settle(settlements));
  }

  override extend(leases: readonly unknown[]): MaybePromise<readonly boolean[]> {
    return this.#call('extend', leases, () => this.inner.extend(leases));
  }

  override sweep(limit: number) {
    return this.#call('sweep', [], () => this.inner.sweep(limit));
  }

  override attach(consumers: Parameters<Driver['attach']>[0]) {
    return this.#call('attach', consumers, () => this.inner.attach(consumers));
  }

  async #call<T>(
    method: Method,
    list: readonly unknown[],
    run: () => MaybePromise<T>,
    argument: unknown = list,
  ): Promise<T> {
    this.calls.push({ method, size: list.length, argument });
    const at = this.#faults.findIndex((fault) => fault.method === method);
    const [fault] = at < 0 ? [] : this.#faults.splice(at, 1);
    if (fault !== undefined && !fault.done) {
      await roundTrip();
      throw fault.error;
    }
    const result = await run();
    await roundTrip();
    while (this.#gate !== undefined) await this.#gate;
    if (fault !== undefined) throw fault.error;
    return result;
  }
}

/** Options as the store itself never sees them, by queue. */
const declared = new Map<string, QueueOptions>();

/**
 * A store that can do as little as the contract allows: no delay, no TTL, no lengths, no hints, no word of changed bindings. What it is asked
 * to hold it holds, and it serves it at once.
 */
export class BareDriver extends RemoteDriver {
  #store = '';

  constructor(features: Partial<DriverFeatures> = {}, options: MemoryDriverOptions = {}) {
    super(
      {
        delay: false,
        messageTtl: false,
        queueTtl: false,
        maxLength: false,
        singleActiveConsumer: false,
        pollInterval: 5,
        sweepInterval: 20,
        ...features,
      },
      options,
    );
  }

  override open(options: OpenDriver): Promise<void> {
    this.#store = options.parameters.hostname ?? '';
    return super.open(options);
  }

  override async declare(
    queues: readonly { readonly name: string; readonly options: QueueOptions }[],
  ): Promise<readonly QueueStat[]> {
    // One that went with its last consumer or holder left its options behind here.
    const standing = await this.inner.stat(queues.map(({ name }) => name));
    const plain = queues.map(({ name, options }, i) => {
      const key = this.#key(name);
      if (standing[i] === undefined) declared.delete(key);
      if (!declared.has(key)) declared.set(key, options);
      const { messageTtl: _, expires: __, maxLength: ___, maxLengthBytes: ____, overflow: _____, ...rest } = options;
      return { name, options: rest };
    });
    const stats = await super.declare(plain);
    return stats.map((stat) => this.#withOptions(stat));
  }

  override async stat(queues: readonly string[]): Promise<readonly (QueueStat | undefined)[]> {
    const stats = await super.stat(queues);
    stats.forEach((stat, i) => {
      if (stat === undefined) declared.delete(this.#key(queues[i] as string));
    });
    return stats.map((stat) => (stat === undefined ? undefined : this.#withOptions(stat)));
  }

  override send(messages: readonly Outbound[], options?: SendOptions): MaybePromise<readonly SendResult[]> {
    const plain = messages.map(({ queue, message }) => ({ queue, message }));
    return super.send(plain, options);
  }

  override watch(_queues: readonly string[], _hints: QueueHints): MaybePromise<void> {
    return undefined;
  }

  override get table(): RoutingTable {
    const table = this.inner.table;
    const remote =
      <A extends unknown[], R>(local: (...args: A) => R) =>
      async (...args: A): Promise<Awaited<R>> => {
        await roundTrip();
        return await local(...args);
      };
    return {
      coherent: false,
      exchange: remote((...args: Parameters<RoutingTable['exchange']>) => table.exchange(...args)),
      bindingsTo: remote((...args: Parameters<RoutingTable['bindingsTo']>) => table.bindingsTo(...args)),
      exchanges: remote(() => table.exchanges()),
      apply: remote((changes: Parameters<RoutingTable['apply']>[0]) => table.apply(changes)),
      watch: () => () => {},
    };
  }

  #key(queue: string): string {
    return `${this.#store} ${queue}`;
  }

  #withOptions(stat: QueueStat): QueueStat {
    return { ...stat, options: declared.get(this.#key(stat.name)) ?? stat.options };
  }
}

/** A store whose hints are as few as allowed: silent about a queue until a take came back with less than was asked for. */
export class TerseDriver extends RemoteDriver {
  #told = new Set<string>();

  override watch(queues: readonly string[], hints: QueueHints): MaybePromise<void> {
    return this.inner.watch(queues, {
      ready: (queue) => {
        if (this.#told.has(queue)) return;
        this.#told.add(queue);
        hints.ready(queue);
      },
      gone: (queue) => hints.gone(queue),
    });
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const taken = await super.take(requests, options);
    for (const { queue, credit } of requests) {
      const got = taken.filter((one) => one.queue === queue).length;
      if (got < credit && taken.length < options.limit) this.#told.delete(queue);
    }
    return taken;
  }
}

/** A store that can be asked to wait for a message. */
export class LongPollDriver extends BareDriver {
  /** Waits that were ended by their signal. */
  aborted = 0;

  constructor() {
    super({ longPoll: true, pollInterval: undefined });
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const until = performance.now() + options.waitMs;
    for (;;) {
      const taken = await super.take(requests, options);
      if (taken.length > 0 || performance.now() >= until) return taken;
      if (options.signal?.aborted === true) {
        this.aborted++;
        return taken;
      }
      await roundTrip();
    }
  }
}

/** Who is subscribed, by store and exchange. */
const subscribers = new Map<string, Set<(message: StoredMessage) => void>>();

/** A store that brings fanout messages to subscribers itself and keeps none. */
export class BroadcastingDriver extends RemoteDriver {
  #store = '';
  readonly #ends: (() => void)[] = [];
  refuseSubscriptions = false;

  override open(options: OpenDriver): Promise<void> {
    this.#store = options.parameters.hostname ?? '';
    return super.open(options);
  }

  readonly #broadcast: Broadcast = {
    publish: async (messages, exchanges) => {
      await roundTrip();
      return messages.map((message, i) => {
        const receivers = subscribers.get(`${this.#store} ${exchanges[i]}`) ?? new Set();
        for (const receive of receivers) receive(message);
        return receivers.size;
      });
    },
    subscribe: async (exchange, _routingKey, receive) => {
      await roundTrip();
      if (this.refuseSubscriptions) throw new Error('subscribe failed');
      const key = `${this.#store} ${exchange}`;
      const receivers = subscribers.get(key) ?? new Set();
      subscribers.set(key, receivers.add(receive));
      const end = () => receivers.delete(receive);
      this.#ends.push(end);
      return async () => {
        end();
      };
    },
  };

  /** Subscriptions end with the connection. */
  override cut(error?: Error): void {
    for (const end of this.#ends.splice(0)) end();
    super.cut(error);
  }

  override get broadcast(): Broadcast {
    return this.#broadcast;
  }

  /** How many subscriptions there are on an exchange. */
  subscriptions(exchange: string): number {
    return subscribers.get(`${this.#store} ${exchange}`)?.size ?? 0;
  }
}
