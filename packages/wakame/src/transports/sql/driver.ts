import { MessagingError, NotSupportedError, RecoverableConnectionError, StoreError } from '../../errors.js';
import type { DeliveryTag } from '../../transport/message.js';
import { noop } from '../../util/noop.js';
import type {
  AttachResult,
  BindingRecord,
  ConsumerRecord,
  Driver,
  DriverFeatures,
  ExchangeRecord,
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
} from '../virtual/driver.js';
import { backendOf } from './backends.js';
import { checkQueueName, encodeAll, MOST_NAME, SqlLease, toStored, toTaken } from './codec.js';
import { Incarnation } from './incarnation.js';
import { DEFAULT_LEASE } from './options.js';
import { targetOf } from './target.js';

/** Messages that are deleted in one transaction when a queue is emptied. */
const CHUNK = 2000;
/** Rows looked at when a sweep tidies up. */
const TIDY = 1000;
/** Messages left by Python that one sweep deletes. */
const PRUNE = 1000;

/**
 * The driver of SQL databases, over the tables of Kombu's SQLAlchemy transport and some beside them. All that a queue can do, the database
 * does: with its clock, in its transactions.
 */
export class SqlDriver implements Driver {
  #lease = DEFAULT_LEASE;
  #options: OpenDriver | undefined;
  #current: Incarnation | undefined;
  #maxMessageBytes: number | undefined;
  /** What this holder holds, as far as it knows; when it retires, this says whether there is anything to give back. */
  readonly #held = new Set<number>();
  /** It made exclusive queues. */
  #hasExclusive = false;
  /** What the sweep takes is held under numbers of its own. */
  #sweeps = 0;
  /** Where tidying goes on. */
  #tidied = 0;

  /** Those of the database. */
  get features(): DriverFeatures {
    return {
      synchronous: false,
      priority: 'highest-first',
      requeuePosition: 'original',
      delay: true,
      messageTtl: true,
      queueTtl: true,
      maxLength: true,
      singleActiveConsumer: true,
      atomicSend: true,
      transactions: true,
      persistent: true,
      multiProcess: true,
      lease: this.#lease,
      longPoll: false,
      pollInterval: undefined,
      sweepInterval: Math.ceil(this.#lease / 3),
      maxMessageBytes: this.#maxMessageBytes,
      maxQueueName: MOST_NAME,
    };
  }

  async open(options: OpenDriver): Promise<void> {
    this.#options = options;
    const incarnation = await Incarnation.open(options);
    this.#lease = incarnation.options.lease;
    // Its envelope takes some hundreds of bytes, and base64 a third more than the body.
    const { payloadLimit } = incarnation;
    this.#maxMessageBytes = payloadLimit === undefined ? undefined : Math.floor(((payloadLimit - 1024) * 3) / 4);
    this.#current = incarnation;
  }

  async close(): Promise<void> {
    const incarnation = this.#current;
    this.#current = undefined;
    if (incarnation?.isOpen) await incarnation.close(this.#hasExclusive);
  }

  async retire(): Promise<void> {
    await this.close();
    const options = this.#options;
    this.#options = undefined;
    if (options === undefined || (this.#held.size === 0 && !this.#hasExclusive)) return;
    this.#held.clear();
    this.#hasExclusive = false;
    try {
      const incarnation = await Incarnation.open({ ...options, lost: noop, due: noop, signal: undefined });
      await incarnation.retire();
    } catch {
      // What it held comes back with its leases.
    }
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    return this.#open.session.info();
  }

  classify(error: unknown): MessagingError {
    if (error instanceof MessagingError) return error;
    const backend = this.#current?.backend ?? (this.#options && backendOf(targetOf(this.#options.parameters)));
    return backend?.classify(error) ?? new StoreError(String(error), { cause: error });
  }

  // Queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async declare(
    queues: readonly { readonly name: string; readonly options: QueueOptions }[],
  ): Promise<readonly QueueStat[]> {
    for (const { name, options } of queues) {
      checkQueueName(name);
      if (options.exclusiveTo !== undefined) this.#hasExclusive = true;
    }
    const { executor, operations } = this.#open;
    return executor.submit('write', () => operations.lifecycle.declare(queues));
  }

  async remove(requests: readonly RemoveRequest[]): Promise<readonly RemoveResult[]> {
    const { executor, operations } = this.#open;
    const removed = requests.map(async (request): Promise<RemoveResult> => {
      // Thousands of messages go in several transactions, so that nobody waits for long; all of them count.
      let cleared = 0;
      if (request.ifEmpty !== true && request.ifUnused !== true) {
        const before = await this.#countOf(request.queue);
        if (before > CHUNK) {
          cleared = before;
          for (let count = CHUNK; count === CHUNK; ) {
            count = await executor.submit('write', () => operations.lifecycle.clearSome(request.queue, CHUNK));
          }
        }
      }
      const result = await executor.submit('write', () => operations.lifecycle.remove(request));
      return typeof result === 'number' ? result + cleared : result;
    });
    return Promise.all(removed);
  }

  /** See {@link Driver.stat}. */
  async stat(queues: readonly string[]): Promise<readonly (QueueStat | undefined)[]> {
    const { executor, operations } = this.#open;
    return executor.submit('read', () => operations.lifecycle.stat(queues));
  }

  async purge(queues: readonly string[]): Promise<readonly number[]> {
    return Promise.all(queues.map((queue) => this.#purge(queue)));
  }

  async list(): Promise<readonly string[]> {
    const { executor, operations } = this.#open;
    return executor.submit('read', () => operations.lifecycle.list());
  }

  async peek(queue: string, limit: number): Promise<readonly StoredMessage[]> {
    const { executor, operations } = this.#open;
    const payloads = await executor.submit('read', () => operations.taking.peek(queue, limit));
    return payloads.map((payload) => toStored(payload, queue));
  }

  // Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async send(messages: readonly Outbound[], options?: SendOptions): Promise<readonly SendResult[]> {
    const { executor, operations, payloadLimit, options: settings } = this.#open;
    const encoded = encodeAll(messages, { bodyEncoding: settings.bodyEncoding, payloadLimit });
    const transaction = options?.transaction;
    if (transaction !== undefined) return this.#open.within(transaction, (own) => own.storing.send(encoded));
    return executor.merge('send', encoded, (all) => operations.storing.send(all));
  }

  async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const { executor, operations, backend, watcher, problem } = this.#open;
    if (requests.length === 0) {
      const rows = await executor.submit('read', () => operations.taking.before(options.requestId));
      return rows.map((row) => toTaken(row, problem));
    }
    const queues = requests.map(({ queue }) => queue);
    const worthIt = !backend.singleWriter || (await executor.submit('read', () => operations.taking.any(queues)));
    const rows = worthIt ? await executor.submit('take', () => operations.taking.take(requests, options)) : [];
    for (const { id, requestId } of rows) if (requestId !== undefined) this.#held.add(id);
    const asked = requests.reduce((sum, { credit }) => sum + credit, 0);
    const isAll = rows.length >= Math.min(asked, options.limit);
    watcher.taken(queues, rows.length === 0 ? 'nothing' : isAll ? 'all' : 'some');
    return rows.map((row) => toTaken(row, problem));
  }

  watch(queues: readonly string[], hints: QueueHints): void {
    this.#open.watcher.set(queues, hints);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly boolean[]> {
    const { executor, operations } = this.#open;
    const keyed = settlements.map(({ lease, outcome }) => ({ lease: leaseKey(lease), outcome }));
    const settled = await executor.merge('settle', keyed, (all) => operations.settling.settle(all));
    for (const { lease } of keyed) this.#held.delete(lease.id);
    return settled;
  }

  async extend(leases: readonly DeliveryTag[]): Promise<readonly boolean[]> {
    const incarnation = this.#open;
    const { executor, operations, holderName } = incarnation;
    await incarnation.inspect();
    void incarnation.compareClocks().catch(noop);
    const keys = leases.map(leaseKey);
    return executor.submit('write', function* () {
      yield* operations.consumers.renew(holderName);
      return yield* operations.settling.extend(keys);
    });
  }

  async sweep(limit: number): Promise<SweepResult> {
    const incarnation = this.#open;
    const { executor, operations, options, problem } = incarnation;
    await incarnation.inspect();
    await incarnation.improve();
    const requestId = -++this.#sweeps;
    const { returned, expired, overflowed, deletedQueues } = await executor.submit('write', () =>
      operations.sweeping.sweep(limit, requestId),
    );
    for (const { id } of [...expired, ...overflowed]) this.#held.add(id);
    this.#tidied = await executor.submit('write', () => operations.sweeping.tidy(this.#tidied, TIDY));
    const { pruneAfter } = options;
    if (pruneAfter !== undefined) {
      const before = pythonTime(Date.now() - pruneAfter);
      await executor.submit('write', () => operations.sweeping.prune(before, PRUNE));
    }
    return {
      returned,
      expired: expired.map((row) => ({ ...toTaken(row, problem), expired: true })),
      overflowed: overflowed.map((row) => toTaken(row, problem)),
      deletedQueues,
    };
  }

  // Consumers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async attach(consumers: readonly ConsumerRecord[]): Promise<readonly AttachResult[]> {
    const { executor, operations } = this.#open;
    return executor.submit('write', () => operations.consumers.attach(consumers));
  }

  async detach(consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    const { executor, operations } = this.#open;
    return executor.submit('write', () => operations.consumers.detach(consumers));
  }

  // Routing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  readonly table: RoutingTable = {
    coherent: false,
    exchange: (name, known): Promise<ExchangeRecord | 'unchanged' | undefined> => {
      const { executor, operations } = this.#open;
      return executor.submit('read', () => operations.routing.exchange(name, known));
    },
    bindingsTo: (type, destination): Promise<readonly BindingRecord[]> => {
      const { executor, operations } = this.#open;
      return executor.submit('read', () => operations.routing.bindingsTo(type, destination));
    },
    exchanges: (): Promise<readonly string[]> => {
      const { executor, operations } = this.#open;
      return executor.submit('read', () => operations.routing.exchanges());
    },
    apply: (changes): Promise<readonly boolean[]> => {
      const { executor, operations } = this.#open;
      return executor.submit('write', () => operations.routing.apply(changes));
    },
    // Whoever routes by what it read looks again after a second.
    watch: () => noop,
  };

  async #countOf(queue: string): Promise<number> {
    const [stat] = await this.stat([queue]);
    return stat?.messageCount ?? 0;
  }

  /** In several transactions, so that nobody waits for long; what comes meanwhile stays. */
  async #purge(queue: string): Promise<number> {
    const { executor, operations } = this.#open;
    const until = await executor.submit('read', () => operations.lifecycle.purgeUntil(queue));
    if (until === undefined) return 0;
    let total = await executor.submit('write', () => operations.lifecycle.purgeDelayed(queue));
    for (let count = CHUNK; count === CHUNK; total += count) {
      count = await executor.submit('write', () => operations.lifecycle.purgeSome(queue, until, CHUNK));
    }
    return total;
  }

  get #open(): Incarnation {
    if (this.#current?.isOpen) return this.#current;
    throw new RecoverableConnectionError('the connection to the database is gone');
  }
}

function leaseKey(lease: DeliveryTag): SqlLease {
  if (lease instanceof SqlLease) return lease;
  throw new NotSupportedError('this lease was not given by the sql driver');
}

/** As Python writes `datetime.now()`: local time, no zone. */
function pythonTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
