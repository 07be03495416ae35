import { MessagingError, RecoverableConnectionError, StoreError } from '../../errors.js';
import type { DeliveryTag } from '../../transport/message.js';
import type {
  AttachResult,
  ConsumerRecord,
  Driver,
  DriverFeatures,
  OpenDriver,
  Outbound,
  QueueHints,
  QueueOptions,
  QueueStat,
  RemoveRequest,
  RemoveResult,
  SendOptions,
  SendResult,
  Settlement,
  StoredMessage,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../virtual/driver.js';
import type { MemoryBroker, Session } from './broker.js';
import type { MemoryHolder } from './holder.js';
import { brokerFor } from './registry.js';
import type { MemoryTable } from './table.js';

/** What a driver made by hand is told. */
export interface MemoryDriverOptions {
  /**
   * Milliseconds after which a message that is held and not renewed goes back to its queue. Default: none; what a connection holds goes back
   * when it is closed for good.
   */
  readonly lease?: number | undefined;
}

/**
 * The driver of `memory://`: a broker in this process. It does everything itself and at once, and is what the Driver contract
 * means where words leave room.
 */
export class MemoryDriver implements Driver {
  readonly features: DriverFeatures;
  #broker: MemoryBroker | undefined;
  #session: Session | undefined;
  #holder: MemoryHolder | undefined;

  constructor(options: MemoryDriverOptions = {}) {
    const { lease } = options;
    this.features = {
      synchronous: true,
      priority: 'highest-first',
      requeuePosition: 'original',
      delay: true,
      messageTtl: true,
      queueTtl: true,
      maxLength: true,
      singleActiveConsumer: true,
      atomicSend: true,
      transactions: false,
      persistent: false,
      multiProcess: false,
      lease,
      longPoll: false,
      pollInterval: undefined,
      sweepInterval: lease === undefined ? undefined : Math.ceil(lease / 3),
      maxMessageBytes: undefined,
    };
  }

  async open({ parameters, holder, lost, due }: OpenDriver): Promise<void> {
    const broker = brokerFor(parameters.hostname, parameters.virtualHost);
    if (broker.stopped) {
      throw new RecoverableConnectionError(`memory://${broker.name} is stopped`, { code: 'CONNECT_FAILED' });
    }
    this.#disconnect();
    this.#broker = broker;
    this.#holder = broker.holder(holder.id, this.features.lease);
    this.#session = {
      holder: this.#holder,
      due,
      lose: (error) => {
        this.#session = undefined;
        lost(error);
      },
    };
    broker.connect(this.#session);
  }

  async close(): Promise<void> {
    this.#disconnect();
  }

  async retire(): Promise<void> {
    this.#disconnect();
    if (this.#holder !== undefined) this.#broker?.retire(this.#holder);
    this.#holder = undefined;
    this.#broker = undefined;
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    return { product: 'memory', broker: this.#open.name };
  }

  classify(error: unknown): MessagingError {
    if (error instanceof MessagingError) return error;
    return new StoreError(error instanceof Error ? error.message : String(error), { cause: error });
  }

  declare(queues: readonly { readonly name: string; readonly options: QueueOptions }[]): readonly QueueStat[] {
    return queues.map(({ name, options }) => this.#open.declare(name, options));
  }

  remove(requests: readonly RemoveRequest[]): readonly RemoveResult[] {
    return requests.map((request) => this.#open.remove(request));
  }

  /** See {@link Driver.stat}. */
  stat(queues: readonly string[]): readonly (QueueStat | undefined)[] {
    return queues.map((queue) => this.#open.stat(queue));
  }

  purge(queues: readonly string[]): readonly number[] {
    return queues.map((queue) => this.#open.purge(queue));
  }

  list(): readonly string[] {
    return this.#open.list();
  }

  peek(queue: string, limit: number): readonly StoredMessage[] {
    return this.#open.peek(queue, limit);
  }

  send(messages: readonly Outbound[], _options?: SendOptions): readonly SendResult[] {
    return this.#open.send(messages);
  }

  take(requests: readonly TakeRequest[], options: TakeOptions): readonly Taken[] {
    return this.#open.take(this.#live, requests, options);
  }

  watch(queues: readonly string[], hints: QueueHints): void {
    this.#open.watch(this.#live, new Set(queues), hints);
  }

  settle(settlements: readonly Settlement[]): readonly boolean[] {
    const broker = this.#open;
    const { holder } = this.#live;
    const results = new Array<boolean>(settlements.length);
    for (let i = 0; i < results.length; i++) results[i] = broker.settle(holder, settlements[i] as Settlement);
    return results;
  }

  extend(leases: readonly DeliveryTag[]): readonly boolean[] {
    return this.#open.extend(this.#live.holder, leases);
  }

  sweep(limit: number): SweepResult {
    return this.#open.sweep(this.#live.holder, limit);
  }

  attach(consumers: readonly ConsumerRecord[]): readonly AttachResult[] {
    return consumers.map((consumer) => this.#open.attach(this.#live.holder, consumer));
  }

  detach(consumers: readonly ConsumerRecord[]): readonly number[] {
    return consumers.map((consumer) => this.#open.detach(this.#live.holder, consumer));
  }

  get table(): MemoryTable {
    return this.#open.table;
  }

  #disconnect(): void {
    if (this.#session !== undefined) this.#broker?.disconnect(this.#session);
    this.#session = undefined;
  }

  get #live(): Session {
    if (this.#session === undefined) throw new RecoverableConnectionError('the connection to memory:// is gone');
    return this.#session;
  }

  get #open(): MemoryBroker {
    if (this.#session === undefined || this.#broker === undefined) {
      throw new RecoverableConnectionError('the connection to memory:// is gone');
    }
    return this.#broker;
  }
}
