import type { DeliveryTag } from '../../../transport/contract.js';
import { noop } from '../../../util/noop.js';
import { LONGEST_TIMER } from '../../../util/timer.js';
import type {
  ConsumerRecord,
  Driver,
  DriverFeatures,
  MaybePromise,
  OpenDriver,
  Outbound,
  QueueHints,
  SendOptions,
  SendResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../driver.js';
import { marked, markOf, unmarked } from './marks.js';
import { DriverWrapper } from './wrapper.js';

const MARK = 'x-wakame-not-before';
/** Messages of one queue that wait here for their time. With more than that, what stands behind them waits too. */
const MOST_WAITING = 10_000;

/** A message that was taken before its time. It is held by us until then. */
interface Waiting {
  readonly taken: Taken;
  readonly notBefore: number;
}

interface WaitingQueue {
  /** By time, the next first. */
  readonly messages: Waiting[];
  timer: NodeJS.Timeout | undefined;
}

/**
 * Delayed delivery for a store that knows none: the message is stored at once with its time on it. A connection with consumers that takes
 * it earlier keeps it, lease and all, and hands it out when its time comes; if it dies, the next one does the same. `get` puts back what
 * it finds too early.
 */
export class EmulatedDelay extends DriverWrapper {
  readonly features: DriverFeatures;
  readonly #waiting = new Map<string, WaitingQueue>();
  #hints: QueueHints | undefined;
  #watched: ReadonlySet<string> = new Set();
  /** Leases left from an incarnation that was lost. */
  #left: DeliveryTag[] = [];

  constructor(inner: Driver) {
    super(inner);
    this.features = { ...inner.features, synchronous: false, delay: true };
  }

  override async open(options: OpenDriver): Promise<void> {
    const lost = (error: unknown) => {
      for (const queue of [...this.#waiting.keys()]) this.#left.push(...this.#letGo(queue));
      options.lost(error);
    };
    await this.inner.open({ ...options, lost });
    await this.#release(this.#left.splice(0));
  }

  override async close(): Promise<void> {
    const leases = [...this.#waiting.keys()].flatMap((queue) => this.#letGo(queue));
    // What cannot be given back now comes back with its lease.
    await this.#release(leases).catch(noop);
    await this.inner.close();
  }

  override send(messages: readonly Outbound[], options?: SendOptions): MaybePromise<readonly SendResult[]> {
    const now = Date.now();
    const withTimes = messages.map((outbound) => {
      const { notBefore, message, ...rest } = outbound;
      return notBefore === undefined || notBefore <= now
        ? outbound
        : { ...rest, message: marked(message, MARK, notBefore) };
    });
    return this.inner.send(withTimes, options);
  }

  override async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    if (requests.length === 0) return this.inner.take(requests, options);
    const taken: Taken[] = [];
    const acked: DeliveryTag[] = [];
    const returned: DeliveryTag[] = [];
    let asked = this.#serveDue(requests, options.limit, taken, acked);
    // As long as the store gives messages whose time has not come, there may be others behind them.
    for (let early = 1; early > 0 && asked.length > 0 && taken.length < options.limit; ) {
      early = 0;
      // Everything is taken with a lease: only then can it wait here.
      const leased = asked.map(({ queue, credit }) => ({ queue, credit, noAck: false }));
      const waitMs = taken.length === 0 ? options.waitMs : 0;
      const batch = await this.inner.take(leased, { ...options, limit: options.limit - taken.length, waitMs });
      const left = asked.map((request) => ({ ...request }));
      for (const one of batch) {
        const notBefore = markOf(one.message, MARK);
        const message = notBefore === undefined ? one.message : unmarked(one.message, MARK);
        if (notBefore !== undefined && notBefore > Date.now()) {
          early++;
          if (this.#watched.has(one.queue)) this.#keep({ ...one, message }, notBefore);
          else returned.push(one.lease);
          continue;
        }
        const request = left.find(({ queue, credit }) => queue === one.queue && credit > 0);
        if (request !== undefined) request.credit--;
        taken.push(request?.noAck === true ? this.#acked({ ...one, message }, acked) : { ...one, message });
      }
      asked = left.filter(({ queue, credit }) => credit > 0 && !this.#isFull(queue));
    }
    if (acked.length > 0) await this.inner.settle(acked.map((lease) => ({ lease, outcome: 'ack' })));
    await this.#release(returned);
    return taken;
  }

  override watch(queues: readonly string[], hints: QueueHints): MaybePromise<void> {
    this.#hints = hints;
    this.#watched = new Set(queues);
    return this.inner.watch(queues, hints);
  }

  override async extend(leases: readonly DeliveryTag[]): Promise<readonly boolean[]> {
    const own = [...this.#waiting.values()].flatMap(({ messages }) => messages.map(({ taken }) => taken.lease));
    const answers = await this.inner.extend([...leases, ...own]);
    return answers.slice(0, leases.length);
  }

  override async purge(queues: readonly string[]): Promise<readonly number[]> {
    const leases = queues.map((queue) => this.#letGo(queue));
    await Promise.all(
      leases.map((some) => this.inner.settle(some.map((lease) => ({ lease, outcome: 'reject' as const })))),
    );
    const purged = await this.inner.purge(queues);
    return purged.map((count, i) => count + (leases[i]?.length ?? 0));
  }

  override async detach(consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    const counts = await this.inner.detach(consumers);
    // Others who consume the queue shall have what waits here; if nobody does, it may as well wait in the store.
    await this.#release(consumers.flatMap(({ queue }) => this.#letGo(queue)));
    return counts;
  }

  /** Messages whose time has come while they were here. Gives what is left to ask the store for. */
  #serveDue(requests: readonly TakeRequest[], limit: number, taken: Taken[], acked: DeliveryTag[]): TakeRequest[] {
    const now = Date.now();
    const left: TakeRequest[] = [];
    for (const request of requests) {
      const messages = this.#waiting.get(request.queue)?.messages ?? [];
      let { credit } = request;
      while (credit > 0 && taken.length < limit && (messages[0]?.notBefore ?? Number.POSITIVE_INFINITY) <= now) {
        const { taken: one } = messages.shift() as Waiting;
        taken.push(request.noAck ? this.#acked(one, acked) : one);
        credit--;
      }
      this.#setTimer(request.queue);
      if (credit > 0 && !this.#isFull(request.queue)) left.push({ ...request, credit });
    }
    return left;
  }

  /** Keeps it until its time. */
  #keep(one: Taken, notBefore: number): void {
    let queue = this.#waiting.get(one.queue);
    if (queue === undefined) {
      queue = { messages: [], timer: undefined };
      this.#waiting.set(one.queue, queue);
    }
    const { messages } = queue;
    let at = messages.length;
    while (at > 0 && (messages[at - 1] as Waiting).notBefore > notBefore) at--;
    messages.splice(at, 0, { taken: one, notBefore });
    if (at === 0) this.#setTimer(one.queue);
  }

  #acked(one: Taken, acked: DeliveryTag[]): Taken {
    acked.push(one.lease);
    return { ...one, lease: undefined };
  }

  #isFull(queue: string): boolean {
    return (this.#waiting.get(queue)?.messages.length ?? 0) >= MOST_WAITING;
  }

  #setTimer(name: string): void {
    const queue = this.#waiting.get(name);
    if (queue === undefined) return;
    clearTimeout(queue.timer);
    const [next] = queue.messages;
    if (next === undefined) {
      this.#waiting.delete(name);
      return;
    }
    const ms = Math.min(Math.max(next.notBefore - Date.now(), 0), LONGEST_TIMER);
    queue.timer = setTimeout(() => this.#hints?.ready(name), ms);
  }

  /** Gives up what waits of a queue. */
  #letGo(name: string): DeliveryTag[] {
    const queue = this.#waiting.get(name);
    if (queue === undefined) return [];
    clearTimeout(queue.timer);
    this.#waiting.delete(name);
    return queue.messages.map(({ taken }) => taken.lease);
  }

  async #release(leases: readonly DeliveryTag[]): Promise<void> {
    if (leases.length > 0) await this.inner.settle(leases.map((lease) => ({ lease, outcome: 'release' })));
  }
}
