/**
 * A complete driver of the smallest kind: `shelf://name` is a shelf in this process, a Map of arrays. It does itself only what nobody can do for it, holding
 * messages for their takers and the table of exchanges; time to live, delays, length limits and dead letters are the virtual transport's. It passes the
 * conformance suite. In the place of the shelf put your store, and make each method one request to it.
 */
import { type MessagingError, RecoverableConnectionError, registerTransport, StoreError } from 'wakame';
import {
  type AttachResult,
  type ConsumerRecord,
  type Driver,
  type DriverFeatures,
  defineVirtualTransport,
  type OpenDriver,
  type Outbound,
  type QueueHints,
  type QueueOptions,
  type QueueStat,
  type RemoveRequest,
  type RemoveResult,
  type SendResult,
  type Settlement,
  type StoredMessage,
  type SweepResult,
  type Taken,
  type TakeOptions,
  type TakeRequest,
} from 'wakame/virtual';
import { copyMessage } from 'wakame/wire';
import { ShelfTable } from './table.ts';

/** A message in a queue. Numbers grow: they are the messages' places. */
interface Item {
  readonly place: number;
  readonly message: StoredMessage;
  /** How often it was taken and came back. */
  count: number;
}

/** A message taken. The object itself is the lease: it is good once, for its holder. */
interface Lease {
  readonly queue: string;
  readonly item: Item;
  readonly holder: string;
  readonly requestId: number;
}

interface ShelfQueue {
  readonly options: QueueOptions;
  /** Ready to be taken, by their places. */
  items: Item[];
  consumers: (ConsumerRecord & { readonly holder: string })[];
}

/** What all connections to one shelf share: the server. */
class Shelf {
  readonly queues = new Map<string, ShelfQueue>();
  readonly leases = new Set<Lease>();
  readonly table = new ShelfTable();
  readonly hints = new Map<string, { readonly queues: ReadonlySet<string>; readonly hints: QueueHints }>();
  /** How each connection is told that it is lost. */
  readonly connections = new Map<string, (error: Error) => void>();
  places = 0;

  /** Tells those who watch the queue. */
  tell(queue: string, what: keyof QueueHints): void {
    for (const watching of this.hints.values()) if (watching.queues.has(queue)) watching.hints[what](queue);
  }

  /** Puts an item where its place is. */
  put(name: string, item: Item): void {
    const queue = this.queues.get(name);
    if (queue === undefined) return;
    const after = queue.items.findLastIndex(({ place }) => place < item.place);
    queue.items.splice(after + 1, 0, item);
    this.tell(name, 'ready');
  }

  giveBack(lease: Lease, counted: boolean): void {
    this.leases.delete(lease);
    if (counted) lease.item.count += 1;
    this.put(lease.queue, lease.item);
  }

  delete(name: string): void {
    this.queues.delete(name);
    for (const lease of this.leases) if (lease.queue === name) this.leases.delete(lease);
    this.table.unbindAll('queue', name);
    this.tell(name, 'gone');
  }

  /** Takes a holder's consumers away, and the queues that go with their last one. */
  detach(isOne: (consumer: ConsumerRecord & { readonly holder: string }) => boolean): void {
    for (const [name, queue] of this.queues) {
      const before = queue.consumers.length;
      queue.consumers = queue.consumers.filter((consumer) => !isOne(consumer));
      const left = queue.consumers.length;
      if (left < before && left === 0 && queue.options.autoDelete) this.delete(name);
    }
  }
}

const shelves = new Map<string, Shelf>();

/** Loses every connection to a shelf, as a network would: for tests. */
export function loseConnections(name: string): void {
  for (const lose of [...(shelves.get(name)?.connections.values() ?? [])])
    lose(new Error('somebody ran into the shelf'));
}

export class ShelfDriver implements Driver {
  readonly features: DriverFeatures = {
    synchronous: false,
    priority: 'none',
    requeuePosition: 'original',
    delay: false,
    messageTtl: false,
    queueTtl: false,
    maxLength: false,
    singleActiveConsumer: false,
    atomicSend: true,
    transactions: false,
    persistent: false,
    multiProcess: false,
    lease: undefined, // the shelf cannot outlive its holders
    longPoll: false,
    pollInterval: undefined, // it tells of every message
    sweepInterval: undefined,
    maxMessageBytes: undefined,
  };
  /** Undefined while there is no connection. */
  #connected: Shelf | undefined;
  #last = new Shelf();
  #holder = '';

  // Connections. A store over a network connects here, and calls `lost` when it is gone.

  async open({ parameters, holder, lost }: OpenDriver): Promise<void> {
    const name = parameters.hostname ?? '';
    const shelf = shelves.get(name) ?? new Shelf();
    shelves.set(name, shelf);
    this.#connected = shelf;
    this.#last = shelf;
    this.#holder = holder.id;
    shelf.connections.set(holder.id, (error) => {
      void this.close();
      lost(error);
    });
  }

  /** What is held stays held: the holder may open again. */
  async close(): Promise<void> {
    const shelf = this.#connected;
    this.#connected = undefined;
    shelf?.connections.delete(this.#holder);
    shelf?.hints.delete(this.#holder);
    shelf?.detach(({ holder }) => holder === this.#holder);
  }

  /** The holder will not come again: what it held is for others. */
  async retire(): Promise<void> {
    await this.close();
    const shelf = this.#last;
    for (const lease of shelf.leases) if (lease.holder === this.#holder) shelf.giveBack(lease, true);
    for (const [name, { options }] of shelf.queues) if (options.exclusiveTo === this.#holder) shelf.delete(name);
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    return { product: 'shelf' };
  }

  classify(error: unknown): MessagingError {
    return new StoreError(error instanceof Error ? error.message : String(error), { cause: error });
  }

  // Queues

  declare(queues: readonly { readonly name: string; readonly options: QueueOptions }[]): QueueStat[] {
    return queues.map(({ name, options }) => {
      if (!this.#shelf.queues.has(name)) this.#shelf.queues.set(name, { options, items: [], consumers: [] });
      return this.#stat(name) as QueueStat;
    });
  }

  remove(requests: readonly RemoveRequest[]): RemoveResult[] {
    return requests.map(({ queue: name, ifUnused, ifEmpty }) => {
      const queue = this.#shelf.queues.get(name);
      if (queue === undefined) return 'missing';
      if (ifUnused === true && queue.consumers.length > 0) return 'used';
      if (ifEmpty === true && queue.items.length > 0) return 'not-empty';
      this.#shelf.delete(name);
      return queue.items.length;
    });
  }

  stat(queues: readonly string[]): (QueueStat | undefined)[] {
    return queues.map((name) => this.#stat(name));
  }

  purge(queues: readonly string[]): number[] {
    return queues.map((name) => this.#shelf.queues.get(name)?.items.splice(0).length ?? 0);
  }

  list(): string[] {
    return [...this.#shelf.queues.keys()];
  }

  peek(queue: string, limit: number): StoredMessage[] {
    const items = this.#shelf.queues.get(queue)?.items.slice(0, limit) ?? [];
    return items.map(({ message }) => copyMessage(message));
  }

  attach(consumers: readonly ConsumerRecord[]): AttachResult[] {
    return consumers.map((consumer) => {
      const queue = this.#shelf.queues.get(consumer.queue);
      if (queue === undefined) return 'missing';
      if (this.#isLocked(queue)) return 'locked';
      const others = queue.consumers;
      if (others.some(({ exclusive }) => exclusive) || (consumer.exclusive && others.length > 0)) return 'refused';
      return others.push({ ...consumer, holder: this.#holder });
    });
  }

  detach(consumers: readonly ConsumerRecord[]): number[] {
    return consumers.map(({ queue, tag }) => {
      this.#shelf.detach((one) => one.holder === this.#holder && one.queue === queue && one.tag === tag);
      return this.#shelf.queues.get(queue)?.consumers.length ?? 0;
    });
  }

  // Messages

  send(messages: readonly Outbound[]): SendResult[] {
    return messages.map(({ queue, message }) => {
      if (!this.#shelf.queues.has(queue)) return 'missing';
      this.#shelf.places += 1;
      this.#shelf.put(queue, { place: this.#shelf.places, message: copyMessage(message), count: 0 });
      return 'stored';
    });
  }

  /** One message of each queue in turn, so that a long queue does not keep a short one waiting. */
  take(requests: readonly TakeRequest[], { requestId, limit, order }: TakeOptions): Taken[] {
    // The answer to the request of that number was lost: the same again.
    if (requests.length === 0) {
      return [...this.#shelf.leases]
        .filter((one) => one.holder === this.#holder && one.requestId === requestId)
        .map(toTaken);
    }
    const taken: Taken[] = [];
    const credits = requests.map(({ credit }) => credit);
    for (let found = true; found && taken.length < limit; ) {
      found = false;
      for (const [index, { queue: name, noAck }] of requests.entries()) {
        const queue = this.#shelf.queues.get(name);
        const isWanted = taken.length < limit && (credits[index] ?? 0) > 0;
        if (!isWanted || queue === undefined || this.#isLocked(queue)) continue;
        const item = queue.items.shift();
        if (item === undefined) continue;
        credits[index] = (credits[index] ?? 0) - 1;
        const lease = { queue: name, item, holder: this.#holder, requestId };
        if (!noAck) this.#shelf.leases.add(lease);
        taken.push(noAck ? { ...toTaken(lease), lease: undefined } : toTaken(lease));
        found = true;
        // The first queue as long as it has any.
        if (order === 'strict') break;
      }
    }
    return taken;
  }

  settle(settlements: readonly Settlement[]): boolean[] {
    return settlements.map(({ lease: tag, outcome }) => {
      const lease = tag as Lease;
      if (!this.#shelf.leases.has(lease) || lease.holder !== this.#holder) return false;
      if (outcome === 'ack' || outcome === 'reject') this.#shelf.leases.delete(lease);
      else this.#shelf.giveBack(lease, outcome !== 'release');
      return true;
    });
  }

  extend(leases: readonly unknown[]): boolean[] {
    return leases.map((lease) => this.#shelf.leases.has(lease as Lease));
  }

  sweep(): SweepResult {
    return { returned: 0, expired: [], overflowed: [], deletedQueues: [] };
  }

  watch(queues: readonly string[], hints: QueueHints): void {
    this.#shelf.hints.set(this.#holder, { queues: new Set(queues), hints });
    for (const name of queues) if ((this.#shelf.queues.get(name)?.items.length ?? 0) > 0) hints.ready(name);
  }

  get table(): ShelfTable {
    return this.#shelf.table;
  }

  get #shelf(): Shelf {
    if (this.#connected === undefined) throw new RecoverableConnectionError('the shelf is out of reach');
    return this.#connected;
  }

  #stat(name: string): QueueStat | undefined {
    const queue = this.#shelf.queues.get(name);
    if (queue === undefined) return undefined;
    const { items, consumers, options } = queue;
    return { name, messageCount: items.length, consumerCount: consumers.length, options };
  }

  #isLocked({ options }: ShelfQueue): boolean {
    return options.exclusiveTo !== undefined && options.exclusiveTo !== this.#holder;
  }
}

function toTaken(lease: Lease): Taken {
  const { message, count } = lease.item;
  return { queue: lease.queue, message: copyMessage(message), lease, redelivered: count > 0, deliveryCount: count };
}

export const transportModule = defineVirtualTransport({ name: 'shelf', createDriver: () => new ShelfDriver() });

registerTransport('shelf', () => transportModule);
