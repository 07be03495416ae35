import { hostname, release, type as systemName } from 'node:os';
import { type MessagingError, NotSupportedError, RecoverableConnectionError } from '../../errors.js';
import type { DeliveryTag } from '../../transport/message.js';
import { noop } from '../../util/noop.js';
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
  RoutingTable,
  SendResult,
  Settlement,
  StoredMessage,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../virtual/driver.js';
import { classify } from './classify.js';
import { Incarnation } from './incarnation.js';
import { FileLease } from './messages.js';
import { checkQueueName, MOST_NAME } from './names.js';
import { DEFAULT_LEASE } from './options.js';
import { Sending } from './sending.js';
import { sweep } from './sweeping.js';
import { hasExpired, inServingOrder, type Share } from './taking.js';

/** Milliseconds between two looks for what no hint told of. */
const POLL_INTERVAL = 1000;

/** The driver of folders, in Kombu's layout: a message is a file, and taking it is renaming it. */
export class FilesystemDriver implements Driver {
  #features = featuresOf(DEFAULT_LEASE);
  #options: OpenDriver | undefined;
  #current: Incarnation | undefined;
  /** The last one, for what is to be done when the holder retires. */
  #former: Incarnation | undefined;
  /** Consumers of this holder, by queue and tag. */
  readonly #attached = new Map<string, ConsumerRecord>();
  #hasExclusive = false;

  /** What a folder of files can do by itself. `lease` is that of the options once it was opened. */
  get features(): DriverFeatures {
    return this.#features;
  }

  async open(options: OpenDriver): Promise<void> {
    this.#options = options;
    const incarnation = await Incarnation.open(options, [...this.#attached.values()]);
    this.#attached.clear();
    this.#features = featuresOf(incarnation.options.lease);
    this.#current = incarnation;
    this.#former = incarnation;
  }

  async close(): Promise<void> {
    const incarnation = this.#current;
    const options = this.#options;
    this.#current = undefined;
    if (!incarnation?.isOpen || options === undefined) return;
    await incarnation.close(async () => {
      const { id } = options.holder;
      if (this.#attached.size > 0) await incarnation.queues.detach(id, [...this.#attached.values()]);
      this.#attached.clear();
      if (!this.#hasExclusive) incarnation.holders.die(id);
    });
  }

  async retire(): Promise<void> {
    await this.close();
    const [incarnation, options] = [this.#former, this.#options];
    this.#former = undefined;
    this.#options = undefined;
    if (incarnation === undefined || options === undefined) return;
    try {
      incarnation.messages.returnAll();
      if (this.#hasExclusive || this.#attached.size > 0) await incarnation.queues.bury(options.holder.id);
    } catch {
      // What it held comes back with its leases.
    }
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    const { options, hasFlock } = this.#open;
    const { dataIn, dataOut, control } = options;
    return {
      ...{ product: 'file system', version: `${systemName()} ${release()}`, host: hostname() },
      ...{ dataFolderIn: dataIn, dataFolderOut: dataOut, controlFolder: control, flock: hasFlock },
    };
  }

  classify(error: unknown): MessagingError {
    return classify(error);
  }

  // Queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  declare(queues: readonly { readonly name: string; readonly options: QueueOptions }[]): Promise<readonly QueueStat[]> {
    return this.#run(async (incarnation) => {
      for (const { name, options } of queues) {
        checkQueueName(name);
        if (options.exclusiveTo !== undefined) this.#hasExclusive = true;
      }
      await incarnation.queues.declare(queues);
      const stats = await statsOf(
        incarnation,
        queues.map(({ name }) => name),
      );
      return stats.map(
        (stat, i) =>
          stat ?? { name: queues[i]?.name ?? '', messageCount: 0, consumerCount: 0, options: queues[i]?.options },
      );
    });
  }

  remove(requests: readonly RemoveRequest[]): Promise<readonly RemoveResult[]> {
    return this.#run((incarnation) =>
      incarnation.locks.alone(async () => {
        const results: RemoveResult[] = [];
        for (const { queue: name, ifUnused, ifEmpty } of requests) {
          const [stat] = await statsOf(incarnation, [name]);
          if (stat === undefined) results.push('missing');
          else if (ifUnused === true && stat.consumerCount > 0) results.push('used');
          else if (ifEmpty === true && stat.messageCount > 0) results.push('not-empty');
          else {
            await incarnation.queues.delete({ name, consumers: [] });
            results.push(stat.messageCount);
          }
        }
        return results;
      }),
    );
  }

  stat(queues: readonly string[]): Promise<readonly (QueueStat | undefined)[]> {
    return this.#run((incarnation) => statsOf(incarnation, queues));
  }

  purge(queues: readonly string[]): Promise<readonly number[]> {
    return this.#run(async ({ listing, messages }) => {
      await listing.refresh();
      const counts: number[] = [];
      for (const queue of queues) {
        const names = listing.of(queue);
        const waiting = await messages.deleteLater(queue);
        await messages.delete(names.filter(hasExpired));
        counts.push(waiting + (await messages.delete(names.filter((name) => !hasExpired(name)))));
      }
      return counts;
    });
  }

  list(): Promise<readonly string[]> {
    return this.#run(async ({ queues, listing, table }) => {
      await listing.refresh();
      return [...new Set([...queues.names(), ...listing.queues, ...(await table.queuesOfKombu())])];
    });
  }

  peek(queue: string, limit: number): Promise<readonly StoredMessage[]> {
    return this.#run(async (incarnation) => {
      const { listing, messages } = incarnation;
      incarnation.promote();
      await listing.refresh();
      const { maxPriority = 0 } = incarnation.optionsOf(queue) ?? {};
      const names = inServingOrder(listing.of(queue), maxPriority).filter((name) => !hasExpired(name));
      return messages.peek(names.slice(0, limit));
    });
  }

  // Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async send(messages: readonly Outbound[]): Promise<readonly SendResult[]> {
    const incarnation = this.#open;
    const due = this.#options?.due;
    const sending = new Sending(incarnation, () => due?.());
    // What takes long, writing, begins at once; where it can be seen it comes in turn.
    const prepared = sending.prepare(messages);
    prepared.catch(noop); // It is awaited below.
    try {
      return await this.#run(async () => sending.publish(await prepared, messages));
    } catch (error) {
      void prepared.then(({ drafts }) => incarnation.messages.discard(drafts)).catch(noop);
      throw error;
    }
  }

  take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    return this.#run(async (incarnation) => {
      const { messages, taking, watcher, queues, listing } = incarnation;
      if (requests.length === 0) return messages.before(options.requestId);
      watcher.taking(requests.map(({ queue }) => queue));
      incarnation.promote();
      const shares: Share[] = [];
      for (const { queue: name, credit, noAck } of requests) {
        const queue = queues.get(name);
        if (queue === 'over') continue;
        const rules = queue?.options;
        const { exclusiveTo, singleActiveConsumer, maxPriority = 0, deadLetter = false } = rules ?? {};
        if (exclusiveTo !== undefined && exclusiveTo !== this.#holderId) continue;
        const [active] = queue?.consumers ?? [];
        if (singleActiveConsumer === true && active !== undefined && active.holder !== this.#holderId) continue;
        if (queue !== undefined) queues.used(queue);
        shares.push({ queue: name, noAck, maxPriority, deadLetter, left: credit });
      }
      if (shares.length === 0) return [];
      const taken = await taking.take(shares, options);
      for (const { queue } of shares) if (listing.of(queue).some((name) => !hasExpired(name))) watcher.nudge(queue);
      return taken;
    });
  }

  watch(queues: readonly string[], hints: QueueHints): void {
    this.#open.watcher.set(queues, hints);
  }

  settle(settlements: readonly Settlement[]): Promise<readonly boolean[]> {
    return this.#run(({ messages }) =>
      messages.settle(settlements.map(({ lease, outcome }) => ({ lease: fileLease(lease), outcome }))),
    );
  }

  extend(leases: readonly DeliveryTag[]): Promise<readonly boolean[]> {
    return this.#run(async ({ messages, holders }) => {
      const { id = '', name = '' } = this.#options?.holder ?? {};
      holders.live(id, name);
      return messages.extend(leases.map(fileLease));
    });
  }

  sweep(limit: number): Promise<SweepResult> {
    return this.#run((incarnation) => sweep(incarnation, limit));
  }

  // Consumers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  attach(consumers: readonly ConsumerRecord[]): Promise<readonly AttachResult[]> {
    return this.#run(async (incarnation) => {
      await incarnation.listing.refresh();
      const results = await incarnation.queues.attach(this.#holderId, consumers, (queue) => incarnation.exists(queue));
      consumers.forEach((consumer, i) => {
        if (typeof results[i] === 'number') this.#attached.set(keyOf(consumer), consumer);
      });
      return results;
    });
  }

  detach(consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    return this.#run(async ({ queues }) => {
      const left = await queues.detach(this.#holderId, consumers);
      for (const consumer of consumers) this.#attached.delete(keyOf(consumer));
      return left;
    });
  }

  // Routing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  readonly table: RoutingTable = {
    coherent: false,
    exchange: (name, known) => this.#run(({ table }) => table.exchange(name, known)),
    bindingsTo: (type, destination) => this.#run(({ table }) => table.bindingsTo(type, destination)),
    exchanges: () => this.#run(({ table }) => table.exchanges()),
    apply: (changes) => this.#run(({ table }) => table.apply(changes)),
    watch: () => this.#open.table.watch(),
  };

  get #holderId(): string {
    return this.#options?.holder.id ?? '';
  }

  get #open(): Incarnation {
    if (this.#current?.isOpen) return this.#current;
    throw new RecoverableConnectionError('filesystem: the connection is closed');
  }

  async #run<T>(action: (incarnation: Incarnation) => Promise<T>): Promise<T> {
    const incarnation = this.#open;
    return incarnation.run(() => action(incarnation));
  }
}

function featuresOf(lease: number): DriverFeatures {
  return {
    synchronous: false,
    priority: 'highest-first',
    requeuePosition: 'original',
    delay: true,
    messageTtl: true,
    queueTtl: true,
    maxLength: true,
    singleActiveConsumer: true,
    // Each message is a file of its own.
    atomicSend: false,
    transactions: false,
    persistent: true,
    multiProcess: true,
    lease,
    longPoll: false,
    // The system may leave out changes when there are many, and tells of none on some file systems.
    pollInterval: POLL_INTERVAL,
    sweepInterval: Math.ceil(lease / 3),
    maxMessageBytes: undefined,
    maxQueueName: MOST_NAME,
  };
}

async function statsOf(
  incarnation: Incarnation,
  names: readonly string[],
): Promise<readonly (QueueStat | undefined)[]> {
  incarnation.promote();
  await incarnation.listing.refresh();
  const stats: (QueueStat | undefined)[] = [];
  for (const name of names) {
    const queue = incarnation.queues.get(name);
    if (queue === 'over' || (queue === undefined && !(await incarnation.exists(name)))) stats.push(undefined);
    else {
      const consumerCount = queue?.consumers.length ?? 0;
      stats.push({ name, messageCount: incarnation.count(name), consumerCount, options: queue?.options });
    }
  }
  return stats;
}

function keyOf({ queue, tag }: ConsumerRecord): string {
  return `${queue}\0${tag}`;
}

function fileLease(lease: DeliveryTag): FileLease {
  if (lease instanceof FileLease) return lease;
  throw new NotSupportedError('this lease was not given by the filesystem driver');
}
