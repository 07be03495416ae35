import type { DeliveryTag } from '../../../transport/contract.js';
import { noop } from '../../../util/noop.js';
import { FifoQueue } from '../../../util/queue.js';
import type {
  AttachResult,
  BindingRecord,
  Broadcast,
  ConsumerRecord,
  Driver,
  DriverFeatures,
  MaybePromise,
  OpenDriver,
  QueueHints,
  QueueStat,
  RoutingTable,
  Settlement,
  StoredMessage,
  TableChange,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';
import { PREDECLARED } from '../routing/exchange.js';
import { DriverWrapper } from './wrapper.js';

/** Messages of one queue that wait here for a consumer with room. Past that the oldest is dropped: the store keeps nothing either. */
const MOST_WAITING = 10_000;

/** A message that came by broadcast. Its reference is its lease. */
class Received {
  readonly queue: string;
  readonly message: StoredMessage;
  held = false;
  returns = 0;
  redelivered = false;

  constructor(queue: string, message: StoredMessage) {
    this.queue = queue;
    this.message = message;
  }
}

/** A queue with consumers here. */
class Inbox {
  readonly tags = new Set<string>();
  readonly waiting = new FifoQueue<Received>();
  /** By exchange and routing key; how to end it. */
  readonly subscriptions = new Map<string, Promise<() => Promise<void>>>();
}

/**
 * Queues bound to fanout exchanges on a store that broadcasts: while a queue has consumers here it is subscribed, and what arrives is
 * served as if it had been in the queue, prefetch, acknowledgement and requeueing included. It exists in this process only.
 */
export class BroadcastQueues extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #broadcast: Broadcast;
  readonly #table: RoutingTable;
  readonly #inboxes = new Map<string, Inbox>();
  #hints: QueueHints | undefined;
  #problem: (error: unknown) => void = noop;

  constructor(inner: Driver, broadcast: Broadcast) {
    super(inner);
    this.features = { ...inner.features, synchronous: false };
    this.#broadcast = broadcast;
    this.#table = tableWith(inner, (changes) => this.#bindingsChanged(changes));
  }

  override get table(): RoutingTable {
    return this.#table;
  }

  override async open(options: OpenDriver): Promise<void> {
    this.#problem = options.problem;
    // Subscriptions ended with the former incarnation.
    this.#inboxes.clear();
    await this.inner.open(options);
  }

  override async attach(consumers: readonly ConsumerRecord[]): Promise<readonly AttachResult[]> {
    const results = await this.inner.attach(consumers);
    const attached = consumers.filter((_, i) => typeof results[i] === 'number');
    for (const { queue, tag } of attached) this.#inbox(queue).tags.add(tag);
    try {
      await Promise.all([...new Set(attached.map(({ queue }) => queue))].map((queue) => this.#subscribe(queue)));
    } catch (error) {
      await this.detach(attached);
      throw error;
    }
    return results;
  }

  override async detach(consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    const ends = consumers.map(({ queue, tag }) => {
      const inbox = this.#inboxes.get(queue);
      inbox?.tags.delete(tag);
      if (inbox === undefined || inbox.tags.size > 0) return undefined;
      this.#inboxes.delete(queue);
      return Promise.all([...inbox.subscriptions.values()].map(end));
    });
    await Promise.all(ends);
    return this.inner.detach(consumers);
  }

  override watch(queues: readonly string[], hints: QueueHints): MaybePromise<void> {
    this.#hints = hints;
    return this.inner.watch(queues, hints);
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const taken: Taken[] = [];
    const left: TakeRequest[] = [];
    for (const request of requests) {
      const { waiting } = this.#inboxes.get(request.queue) ?? {};
      let { credit } = request;
      while (waiting !== undefined && waiting.size > 0 && credit > 0 && taken.length < options.limit) {
        taken.push(toTaken(waiting.shift() as Received, request.noAck));
        credit--;
      }
      if (credit > 0) left.push({ ...request, credit });
    }
    const limit = options.limit - taken.length;
    if (requests.length > 0 && (limit === 0 || left.length === 0)) return taken;
    const waitMs = taken.length === 0 ? options.waitMs : 0;
    return [...taken, ...(await this.inner.take(left, { ...options, limit, waitMs }))];
  }

  override async settle(settlements: readonly Settlement[]): Promise<readonly boolean[]> {
    const stored = settlements.filter(({ lease }) => !(lease instanceof Received));
    const answers = [...(stored.length === 0 ? [] : await this.inner.settle(stored))];
    return settlements.map((settlement) => {
      const { lease } = settlement;
      return lease instanceof Received ? this.#settleReceived(lease, settlement) : answers.shift() === true;
    });
  }

  override async extend(leases: readonly DeliveryTag[]): Promise<readonly boolean[]> {
    const answers = [...(await this.inner.extend(leases.filter((lease) => !(lease instanceof Received))))];
    return leases.map((lease) => (lease instanceof Received ? lease.held : answers.shift() === true));
  }

  override async stat(queues: readonly string[]): Promise<readonly (QueueStat | undefined)[]> {
    const stats = await this.inner.stat(queues);
    return stats.map((stat) => {
      const waiting = stat === undefined ? 0 : (this.#inboxes.get(stat.name)?.waiting.size ?? 0);
      return stat === undefined || waiting === 0 ? stat : { ...stat, messageCount: stat.messageCount + waiting };
    });
  }

  override async purge(queues: readonly string[]): Promise<readonly number[]> {
    const waiting = queues.map((queue) => this.#inboxes.get(queue)?.waiting.drain().length ?? 0);
    const purged = await this.inner.purge(queues);
    return purged.map((count, i) => count + (waiting[i] ?? 0));
  }

  #settleReceived(received: Received, { outcome }: Settlement): boolean {
    if (!received.held) return false;
    received.held = false;
    if (outcome === 'ack' || outcome === 'reject') return true;
    if (outcome !== 'release') {
      received.returns++;
      received.redelivered = true;
    }
    this.#inboxes.get(received.queue)?.waiting.unshift(received);
    this.#hints?.ready(received.queue);
    return true;
  }

  // Subscribing ────────────────────────────────────────────────────────────────────────────────────────────────────

  #inbox(queue: string): Inbox {
    let inbox = this.#inboxes.get(queue);
    if (inbox === undefined) {
      inbox = new Inbox();
      this.#inboxes.set(queue, inbox);
    }
    return inbox;
  }

  /** Makes the subscriptions of a queue those that its bindings to fanout exchanges ask for. */
  async #subscribe(queue: string): Promise<void> {
    const inbox = this.#inboxes.get(queue);
    if (inbox === undefined) return;
    const bindings = await this.#fanouts(await this.inner.table.bindingsTo('queue', queue));
    const wanted = new Map(bindings.map((binding) => [`${binding.source}\0${binding.routingKey}`, binding]));
    const ends: Promise<void>[] = [];
    for (const [key, subscription] of inbox.subscriptions) {
      if (wanted.has(key)) continue;
      inbox.subscriptions.delete(key);
      ends.push(end(subscription));
    }
    for (const [key, { source, routingKey }] of wanted) {
      if (inbox.subscriptions.has(key)) continue;
      const subscription = this.#broadcast.subscribe(source, routingKey, (message) => this.#receive(queue, message));
      inbox.subscriptions.set(key, subscription);
      subscription.catch(() => inbox.subscriptions.delete(key));
    }
    await Promise.all([...ends, ...inbox.subscriptions.values()]);
  }

  async #fanouts(bindings: readonly BindingRecord[]): Promise<readonly BindingRecord[]> {
    const sources = [...new Set(bindings.map(({ source }) => source))];
    const records = await Promise.all(sources.map((source) => this.inner.table.exchange(source)));
    const fanouts = new Set(
      sources.filter((source, i) => {
        const record = records[i];
        return (PREDECLARED.get(source) ?? (typeof record === 'object' ? record.type : undefined)) === 'fanout';
      }),
    );
    return bindings.filter(({ source }) => fanouts.has(source));
  }

  #receive(queue: string, message: StoredMessage): void {
    const waiting = this.#inboxes.get(queue)?.waiting;
    if (waiting === undefined) return;
    if (waiting.size >= MOST_WAITING) {
      waiting.shift();
      this.#problem(new Error(`queue '${queue}' dropped a broadcast message: ${MOST_WAITING} wait for its consumers`));
    }
    waiting.push(new Received(queue, message));
    this.#hints?.ready(queue);
  }

  async #bindingsChanged(changes: readonly TableChange[]): Promise<void> {
    const queues = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'bind' || change.kind === 'unbind') queues.add(change.binding.destination);
      // Bindings of its own went with it; whose they were is not known any more.
      else for (const queue of this.#inboxes.keys()) queues.add(queue);
    }
    await Promise.all([...queues].map((queue) => this.#subscribe(queue)));
  }
}

/** The table, telling of changes made here once they stand. */
function tableWith(inner: Driver, changed: (changes: readonly TableChange[]) => Promise<void>): RoutingTable {
  return {
    get coherent() {
      return inner.table.coherent;
    },
    exchange: (name, known) => inner.table.exchange(name, known),
    bindingsTo: (type, destination) => inner.table.bindingsTo(type, destination),
    exchanges: () => inner.table.exchanges(),
    watch: (listener) => inner.table.watch(listener),
    async apply(changes) {
      const results = await inner.table.apply(changes);
      await changed(changes);
      return results;
    },
  };
}

function toTaken(received: Received, noAck: boolean): Taken {
  received.held = !noAck;
  const { queue, message, redelivered, returns } = received;
  return { queue, message, lease: noAck ? undefined : received, redelivered, deliveryCount: returns };
}

async function end(subscription: Promise<() => Promise<void>>): Promise<void> {
  const unsubscribe = await subscription;
  await unsubscribe();
}
