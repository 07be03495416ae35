import type { MessagingError } from '../../../errors.js';
import type { DeliveryTag } from '../../../transport/contract.js';
import type {
  AttachResult,
  Broadcast,
  ConsumerRecord,
  Driver,
  DriverFeatures,
  Herald,
  MaybePromise,
  OpenDriver,
  Outbound,
  QueueHints,
  QueueOptions,
  QueueStat,
  RemoveRequest,
  RemoveResult,
  RoutingTable,
  SendOptions,
  SendResult,
  Settlement,
  StoredMessage,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';

/** A driver in front of another. It passes everything on; what it adds, a subclass says. */
export abstract class DriverWrapper implements Driver {
  protected readonly inner: Driver;
  abstract readonly features: DriverFeatures;

  constructor(inner: Driver) {
    this.inner = inner;
  }

  get table(): RoutingTable {
    return this.inner.table;
  }

  get broadcast(): Broadcast | undefined {
    return this.inner.broadcast;
  }

  get herald(): Herald | undefined {
    return this.inner.herald;
  }

  open(options: OpenDriver): Promise<void> {
    return this.inner.open(options);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  async retire(): Promise<void> {
    await this.close();
    await this.inner.retire();
  }

  info(): Promise<Readonly<Record<string, unknown>>> {
    return this.inner.info();
  }

  classify(error: unknown): MessagingError {
    return this.inner.classify(error);
  }

  declare(
    queues: readonly { readonly name: string; readonly options: QueueOptions }[],
  ): MaybePromise<readonly QueueStat[]> {
    return this.inner.declare(queues);
  }

  remove(requests: readonly RemoveRequest[]): MaybePromise<readonly RemoveResult[]> {
    return this.inner.remove(requests);
  }

  stat(queues: readonly string[]): MaybePromise<readonly (QueueStat | undefined)[]> {
    return this.inner.stat(queues);
  }

  purge(queues: readonly string[]): MaybePromise<readonly number[]> {
    return this.inner.purge(queues);
  }

  list(): MaybePromise<readonly string[]> {
    return this.inner.list();
  }

  peek(queue: string, limit: number): MaybePromise<readonly StoredMessage[]> {
    return this.inner.peek(queue, limit);
  }

  send(messages: readonly Outbound[], options?: SendOptions): MaybePromise<readonly SendResult[]> {
    return this.inner.send(messages, options);
  }

  take(requests: readonly TakeRequest[], options: TakeOptions): MaybePromise<readonly Taken[]> {
    return this.inner.take(requests, options);
  }

  watch(queues: readonly string[], hints: QueueHints): MaybePromise<void> {
    return this.inner.watch(queues, hints);
  }

  settle(settlements: readonly Settlement[]): MaybePromise<readonly boolean[]> {
    return this.inner.settle(settlements);
  }

  extend(leases: readonly DeliveryTag[]): MaybePromise<readonly boolean[]> {
    return this.inner.extend(leases);
  }

  sweep(limit: number): MaybePromise<SweepResult> {
    return this.inner.sweep(limit);
  }

  attach(consumers: readonly ConsumerRecord[]): MaybePromise<readonly AttachResult[]> {
    return this.inner.attach(consumers);
  }

  detach(consumers: readonly ConsumerRecord[]): MaybePromise<readonly number[]> {
    return this.inner.detach(consumers);
  }
}
