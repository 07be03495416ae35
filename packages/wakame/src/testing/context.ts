import { AssertionError, deepStrictEqual } from 'node:assert/strict';
import {
  Connection,
  type ConnectionOptions,
  Exchange,
  type ExchangeOptions,
  type MessagingError,
  Queue,
  type QueueOptions,
} from '../index.js';
import type { TransportFeatures } from '../transport/contract.js';
import { sleep } from '../util/abort.js';
import type { ConformanceOptions, Disruptor, Processes } from './types.js';

/** Milliseconds between two looks at something that no event tells of. */
const POLL = 20;

/** The bench of one case: names of its own, connections that are closed and entities that are deleted afterwards. */
export class ConformanceContext {
  readonly options: ConformanceOptions;
  readonly features: TransportFeatures;
  readonly #namespace: string;
  /** Milliseconds that one answer of the broker may take. */
  readonly patience: number;
  readonly #connections: Connection[] = [];
  readonly #queues = new Set<string>();
  readonly #exchanges = new Set<string>();
  readonly #cleanups: (() => Promise<unknown> | unknown)[] = [];
  readonly #pending = new Set<string>();
  #problems: MessagingError[] = [];
  #connection: Connection | undefined;

  constructor(options: ConformanceOptions, features: TransportFeatures, namespace: string) {
    this.options = options;
    this.features = features;
    this.patience = options.patience ?? 10_000;
    this.#namespace = namespace;
  }

  /** A number of messages, multiplied by the scale. */
  scaled(count: number): number {
    const scale = this.options.scale ?? Number(process.env.WAKAME_TEST_SCALE ?? 1);
    return Math.max(1, Math.round(count * scale));
  }

  /** The means to cut connections. Only for cases that say they need it. */
  get disruptor(): Disruptor {
    return given(this.options.disrupt, 'disrupt');
  }

  /** The means to start processes. Only for cases that say they need it. */
  get processes(): Processes {
    return given(this.options.processes, 'processes');
  }

  /** A name that no other case uses, for what the case deletes itself. */
  name(label: string): string {
    return `${this.#namespace}.${label}`;
  }

  /** The case's usual connection. */
  get connection(): Connection {
    this.#connection ??= this.connect();
    return this.#connection;
  }

  /** One more connection. A problem it tells of fails the case, unless the case takes it by {@link problems}. */
  connect(options: ConnectionOptions = {}, url = this.options.url): Connection {
    const connection = new Connection(url, { ...this.options.connection, ...options });
    connection.on('problem', (error) => this.#problems.push(error));
    this.#connections.push(connection);
    return connection;
  }

  /** A queue that is deleted afterwards. `''` as label: the broker chooses its name. */
  queue<T = unknown>(label: string, options: QueueOptions<T> = {}): Queue<T> {
    const name = label === '' ? '' : this.name(label);
    if (name !== '') this.#queues.add(name);
    return new Queue<T>(name, options);
  }

  /** An exchange that is deleted afterwards. */
  exchange(label: string, options: ExchangeOptions = {}): Exchange {
    return new Exchange(this.exchangeName(label), options);
  }

  /** The name of an exchange that is deleted afterwards, whoever declares it. */
  exchangeName(label: string): string {
    const name = this.name(label);
    this.#exchanges.add(name);
    return name;
  }

  /** Runs when the case has ended, the latest first, before its connections are closed. */
  onEnd(cleanup: () => Promise<unknown> | unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** What the case's connections told of as `problem` since the last call. */
  problems(): readonly MessagingError[] {
    const told = this.#problems;
    this.#problems = [];
    return told;
  }

  /** The outcome of `promise`, or an error that says what was waited for in vain. */
  async within<T>(what: string, promise: PromiseLike<T>, ms = this.patience): Promise<T> {
    this.#pending.add(what);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new AssertionError({ message: `in vain for ${ms} ms: ${what}` })), ms);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
      this.#pending.delete(what);
    }
  }

  /** Looks again and again until the answer is not `undefined` or false. For what no event tells of. */
  async eventually<T>(what: string, look: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
    let over = false;
    const search = async (): Promise<T> => {
      for (;;) {
        const found = await look();
        if (found !== undefined && found !== false) return found;
        await sleep(POLL);
        if (over) throw new AssertionError({ message: `gave up: ${what}` });
      }
    };
    try {
      return await this.within(what, search());
    } finally {
      over = true;
    }
  }

  /** For the suite: bounds the whole case. */
  async deadline(ms: number, run: Promise<void>): Promise<void> {
    const limit = (ms * this.patience) / 10_000;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const waits = [...this.#pending].join('; ') || 'something that the case does not name';
        reject(new AssertionError({ message: `the case took more than ${limit} ms; it waits for: ${waits}` }));
      }, limit);
    });
    try {
      await Promise.race([run, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** For the suite: deletes and closes what the case made. */
  async clean(): Promise<void> {
    try {
      for (const cleanup of this.#cleanups.reverse()) await cleanup();
    } finally {
      await Promise.all(this.#connections.map((connection) => connection.close()));
      await this.#delete();
    }
  }

  /** For the suite. */
  assertNoProblems(): void {
    const told = this.problems().map(String);
    deepStrictEqual(told, [], 'the connections told of problems that the case did not expect');
  }

  async #delete(): Promise<void> {
    if (this.#queues.size === 0 && this.#exchanges.size === 0) return;
    const connection = new Connection(this.options.url, this.options.connection);
    try {
      const channel = connection.defaultChannel();
      await Promise.all([...this.#queues].map((queue) => gone(channel.queueDelete(queue))));
      await Promise.all([...this.#exchanges].map((exchange) => gone(channel.exchangeDelete(exchange))));
    } finally {
      await connection.close();
    }
  }
}

/** A deletion of what may have gone by itself. */
async function gone(deletion: Promise<unknown>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if ((error as MessagingError).code !== 'NOT_FOUND') throw error;
  }
}

function given<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new TypeError(`the case uses '${name}' and does not say so in 'needs'`);
  return value;
}
