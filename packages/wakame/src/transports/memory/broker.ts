import { FifoQueue } from '../../util/queue.js';
import type {
  AttachResult,
  ConsumerRecord,
  Outbound,
  QueueHints,
  QueueOptions,
  QueueStat,
  RemoveRequest,
  RemoveResult,
  SendResult,
  Settlement,
  StoredMessage,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../virtual/driver.js';
import { copyMessage } from '../virtual/wire/copy.js';
import { Entry } from './entry.js';
import { type Lease, MemoryHolder } from './holder.js';
import { MemoryQueue } from './queue.js';
import { type Event, Schedule } from './schedule.js';
import { isHeldBy, isLocked, mayTake, type Share, shareOf, takeFairly, toTaken } from './share.js';
import { MemoryTable } from './table.js';
import { Watching } from './watching.js';

/** An open driver, as the broker sees it. */
export interface Session {
  readonly holder: MemoryHolder;
  /** There is something to sweep. */
  due(): void;
  /** The connection is lost. */
  lose(error: unknown): void;
}

/**
 * A broker in this process: queues, what is held, what is scheduled. Everything happens within the call; the clock is looked at only while
 * something is scheduled.
 */
export class MemoryBroker {
  readonly name: string;
  readonly table = new MemoryTable();
  /** While set, nobody can connect. */
  stopped = false;
  readonly #queues = new Map<string, MemoryQueue>();
  readonly #holders = new Map<string, MemoryHolder>();
  readonly #sessions = new Set<Session>();
  readonly #watching = new Watching((queue) => this.#queues.has(queue));
  /** Expired or pushed out, waiting for somebody to bring them to their dead-letter exchange. */
  readonly #limbo = new FifoQueue<Entry>();
  readonly #schedule = new Schedule(() => this.#advance());
  #consumers = 0;
  #dueTold = false;

  constructor(name: string) {
    this.name = name;
  }

  // Connections ────────────────────────────────────────────────────────────────────────────────────────────────────

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Nothing would be lost if it were forgotten. */
  get isIdle(): boolean {
    return this.#sessions.size === 0 && this.#queues.size === 0 && this.#holders.size === 0 && this.table.isEmpty;
  }

  holder(id: string, lease: number | undefined): MemoryHolder {
    let holder = this.#holders.get(id);
    if (holder === undefined) {
      holder = new MemoryHolder(id, lease);
      this.#holders.set(id, holder);
    }
    holder.aliveAt = Date.now();
    return holder;
  }

  connect(session: Session): void {
    this.#sessions.add(session);
    this.#runSchedule();
    this.#tellDue();
  }

  disconnect(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    this.#watching.end(session);
    this.#detachAll(session.holder);
    this.#dueTold = false;
    this.#tellDue();
    this.#runSchedule();
  }

  /** Every connection is lost, as if the broker or the network had gone. */
  loseAll(error: unknown): void {
    for (const session of [...this.#sessions]) {
      this.disconnect(session);
      session.lose(error);
    }
  }

  retire(holder: MemoryHolder): void {
    for (const lease of holder.held()) this.#giveBack(lease, true);
    this.#deleteExclusive(holder);
    this.#holders.delete(holder.id);
  }

  /** Forgets everything but the connections. */
  clear(): void {
    for (const queue of [...this.#queues.values()]) this.#delete(queue);
    for (const holder of this.#holders.values()) {
      for (const lease of holder.held()) this.#end(lease);
    }
    for (const entry of this.#limbo.drain()) this.#gone(entry);
    this.table.clear();
  }

  // Queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  declare(name: string, options: QueueOptions): QueueStat {
    this.#advance();
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new MemoryQueue(name, options, this.#watching.of(name));
      this.#queues.set(name, queue);
    }
    this.#used(queue);
    return queue.stat();
  }

  remove(request: RemoveRequest): RemoveResult {
    this.#advance();
    const queue = this.#queues.get(request.queue);
    if (queue === undefined) return 'missing';
    if (request.ifUnused === true && queue.consumers.length > 0) return 'used';
    if (request.ifEmpty === true && queue.readyCount > 0) return 'not-empty';
    return this.#delete(queue);
  }

  stat(name: string): QueueStat | undefined {
    this.#advance();
    return this.#queues.get(name)?.stat();
  }

  purge(name: string): number {
    this.#advance();
    const queue = this.#queues.get(name);
    return queue === undefined ? 0 : this.#empty(queue);
  }

  list(): string[] {
    this.#advance();
    return [...this.#queues.keys()];
  }

  peek(name: string, limit: number): StoredMessage[] {
    this.#advance();
    const messages: StoredMessage[] = [];
    for (const entry of this.#queues.get(name)?.ready() ?? []) {
      if (messages.length >= limit) break;
      messages.push(copyMessage(entry.message));
    }
    return messages;
  }

  // Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  send(messages: readonly Outbound[]): SendResult[] {
    // One instant for all: what is due by itself must not overtake what was due before it.
    const now = Date.now();
    this.#advance(now);
    const results = new Array<SendResult>(messages.length);
    // A message to several queues comes as several in a row.
    let original: StoredMessage | undefined;
    let copy: StoredMessage | undefined;
    for (let i = 0; i < messages.length; i++) {
      const outbound = messages[i] as Outbound;
      const queue = this.#queues.get(outbound.queue);
      if (queue === undefined) {
        results[i] = 'missing';
        continue;
      }
      if (copy === undefined || outbound.message !== original) {
        original = outbound.message;
        copy = copyMessage(original);
      }
      results[i] = this.#store(queue, copy, outbound, now);
    }
    return results;
  }

  take(session: Session, requests: readonly TakeRequest[], options: TakeOptions): Taken[] {
    this.#advance();
    const taken: Taken[] = [];
    const { holder } = session;
    if (requests.length === 0) return this.#takenBefore(holder, options.requestId);
    const shares: Share[] = [];
    for (const request of requests) {
      const queue = this.#queues.get(request.queue);
      if (queue === undefined) continue;
      if (mayTake(queue, holder)) shares.push(shareOf(request, queue, queue.watchers.rivals(session)));
      else queue.watchers.taken(session, false);
    }
    const from = (share: Share, most: number) => this.#takeFrom(share, most, session, options, taken);
    if (options.order === 'fair' && shares.length > 1) takeFairly(shares, options.limit, from);
    else for (const share of shares) from(share, options.limit - taken.length);
    for (const { queue } of shares) queue.watchers.taken(session, queue.readyCount > 0);
    return taken;
  }

  settle(holder: MemoryHolder, { lease, outcome }: Settlement): boolean {
    if (!isHeldBy(lease, holder)) return false;
    const stands = !lease.entry.queue.deleted;
    if (!stands || outcome === 'ack' || outcome === 'reject') this.#end(lease);
    else this.#giveBack(lease, outcome !== 'release');
    return stands;
  }

  extend(holder: MemoryHolder, leases: readonly unknown[]): boolean[] {
    const now = Date.now();
    holder.aliveAt = now;
    return leases.map((lease) => {
      if (!isHeldBy(lease, holder) || lease.entry.queue.deleted) return false;
      if (holder.lease !== undefined) lease.until = now + holder.lease;
      return true;
    });
  }

  sweep(holder: MemoryHolder, limit: number): SweepResult {
    this.#dueTold = false;
    this.#advance();
    const returned = this.#returnLapsed(limit);
    const expired: Taken[] = [];
    const overflowed: Taken[] = [];
    for (let n = 0; n < limit; n++) {
      const entry = this.#limbo.shift();
      if (entry === undefined) break;
      const taken = toTaken(entry, this.#hold(entry, holder, -1));
      if (entry.fate === 'overflowed') overflowed.push(taken);
      else expired.push({ ...taken, expired: true });
    }
    this.#tellDue();
    return { returned, expired, overflowed, deletedQueues: [] };
  }

  // Consumers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  attach(holder: MemoryHolder, consumer: ConsumerRecord): AttachResult {
    this.#advance();
    const queue = this.#queues.get(consumer.queue);
    if (queue === undefined) return 'missing';
    if (isLocked(queue, holder)) return 'locked';
    const { consumers } = queue;
    if (consumers.some((other) => other.exclusive) || (consumer.exclusive && consumers.length > 0)) return 'refused';
    consumers.push({ ...consumer, holder });
    this.#consumers++;
    this.#runSchedule();
    return consumers.length;
  }

  detach(holder: MemoryHolder, consumer: ConsumerRecord): number {
    const queue = this.#queues.get(consumer.queue);
    if (queue === undefined) return 0;
    const at = queue.consumers.findIndex((other) => other.holder === holder && other.tag === consumer.tag);
    if (at >= 0) this.#dropConsumer(queue, at);
    return queue.consumers.length;
  }

  watch(session: Session, queues: ReadonlySet<string>, hints: QueueHints): void {
    for (const name of this.#watching.set(session, queues, hints)) {
      const queue = this.#queues.get(name);
      if (queue !== undefined && queue.readyCount > 0) queue.watchers.ready();
    }
  }

  // Storing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #store(queue: MemoryQueue, message: StoredMessage, { notBefore, expiresAt }: Outbound, now: number): SendResult {
    const { messageTtl, maxPriority = 0, overflow } = queue.options;
    if (overflow !== undefined && overflow !== 'drop-head' && queue.isOver(1, message.body.length)) return 'full';

    const readyAt = notBefore !== undefined && notBefore > now ? notBefore : now;
    const ends =
      messageTtl === undefined ? expiresAt : Math.min(expiresAt ?? Number.POSITIVE_INFINITY, readyAt + messageTtl);
    const priority = Math.min(message.properties.priority ?? 0, maxPriority);
    const entry = new Entry(queue, message, priority, ends);
    if (ends !== undefined) this.#schedule.addEntry(ends, 'expiry', entry);
    if (readyAt > now) {
      entry.state = 'delayed';
      queue.delayed.add(entry);
      this.#schedule.addEntry(readyAt, 'delay', entry);
    } else {
      this.#arrive(entry);
    }
    return 'stored';
  }

  #arrive(entry: Entry): void {
    const { queue } = entry;
    queue.append(entry);
    this.#dropHead(queue);
    queue.watchers.ready();
  }

  #dropHead(queue: MemoryQueue): void {
    if ((queue.options.overflow ?? 'drop-head') !== 'drop-head') return;
    while (queue.isOver(0, 0)) {
      const entry = queue.takeFirst();
      if (entry === undefined) return;
      this.#discard(entry, 'overflowed');
    }
  }

  /** The message leaves its queue by its rules: to limbo where the queue has a dead-letter exchange. */
  #discard(entry: Entry, fate: 'expired' | 'overflowed'): void {
    if (!entry.queue.options.deadLetter) return this.#gone(entry);
    entry.state = 'limbo';
    entry.fate = fate;
    this.#limbo.push(entry);
    this.#tellDue();
  }

  #gone(entry: Entry): void {
    entry.state = 'gone';
    if (entry.timers > 0) this.#schedule.forget(entry.timers);
  }

  // Taking and giving back ─────────────────────────────────────────────────────────────────────────────────────────

  /** Takes up to so many of a share; gives the number. */
  #takeFrom(share: Share, most: number, session: Session, options: TakeOptions, taken: Taken[]): number {
    const { queue, request } = share;
    const before = share.left;
    if (queue.consumers.length === 0) this.#used(queue);
    for (let n = Math.min(share.left, most); n > 0; n--) {
      const entry = queue.takeFirst();
      if (entry === undefined) break;
      share.left--;
      if (request.noAck) this.#gone(entry);
      const lease = request.noAck ? undefined : this.#hold(entry, session.holder, options.requestId);
      taken.push(toTaken(entry, lease));
    }
    return before - share.left;
  }

  #hold(entry: Entry, holder: MemoryHolder, requestId: number): Lease {
    const lease = holder.hold(entry, requestId);
    if (holder.lease !== undefined) lease.until = Date.now() + holder.lease;
    return lease;
  }

  /** What was held is gone. */
  #end(lease: Lease): void {
    lease.holder?.drop(lease);
    this.#gone(lease.entry);
  }

  #takenBefore(holder: MemoryHolder, requestId: number): Taken[] {
    const taken: Taken[] = [];
    for (const lease of holder.held()) if (lease.requestId === requestId) taken.push(toTaken(lease.entry, lease));
    return taken;
  }

  #giveBack(lease: Lease, counted: boolean): void {
    lease.holder?.drop(lease);
    const { entry } = lease;
    const { queue } = entry;
    if (queue.deleted) return this.#gone(entry);
    if (entry.fate !== undefined) return this.#discard(entry, entry.fate);
    if (counted) {
      entry.returns++;
      entry.redelivered = true;
    }
    if (entry.expiresAt !== undefined && entry.expiresAt <= Date.now()) return this.#discard(entry, 'expired');
    queue.putBack(entry);
    this.#dropHead(queue);
    queue.watchers.ready();
  }

  #returnLapsed(limit: number): number {
    const now = Date.now();
    let returned = 0;
    for (const holder of this.#holders.values()) {
      if (holder.lease === undefined) continue;
      for (const lease of holder.held()) {
        if (lease.until > now || returned >= limit) continue;
        this.#giveBack(lease, true);
        returned++;
      }
      if (holder.aliveAt + holder.lease <= now) this.#bury(holder);
    }
    return returned;
  }

  // The clock ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Does what is due. */
  #advance(now: number = Date.now()): void {
    if (this.#schedule.isEmpty) return;
    for (let event = this.#schedule.next(now); event !== undefined; event = this.#schedule.next(now)) {
      this.#happen(event, now);
    }
  }

  #happen(event: Event, now: number): void {
    if (event.kind === 'queue') return this.#expireQueue(event.queue, now);
    const { entry } = event;
    const { queue, state } = entry;
    if (state !== 'ready' && state !== 'delayed') return;
    if (event.kind === 'delay') {
      queue.delayed.delete(entry);
      this.#arrive(entry);
    } else if (state === 'delayed') {
      queue.delayed.delete(entry);
      this.#discard(entry, 'expired');
    } else {
      this.#expireReady(entry);
    }
  }

  /** It stands somewhere in its queue: a tombstone stays there, and another entry goes on. */
  #expireReady(entry: Entry): void {
    entry.queue.remove(entry);
    if (entry.queue.options.deadLetter) this.#discard(entry.successor(), 'expired');
    this.#gone(entry);
  }

  #expireQueue(queue: MemoryQueue, now: number): void {
    queue.expiryScheduled = false;
    const { expires } = queue.options;
    // With a consumer it does not age; its last one's leaving schedules this again.
    if (expires === undefined || queue.consumers.length > 0) return;
    if (queue.usedAt + expires <= now) this.#delete(queue);
    else this.#scheduleExpiry(queue, expires);
  }

  #used(queue: MemoryQueue): void {
    const { expires } = queue.options;
    if (expires === undefined) return;
    queue.usedAt = Date.now();
    if (queue.consumers.length === 0) this.#scheduleExpiry(queue, expires);
  }

  #scheduleExpiry(queue: MemoryQueue, expires: number): void {
    if (queue.expiryScheduled) return;
    queue.expiryScheduled = true;
    this.#schedule.addQueue(queue.usedAt + expires, queue);
  }

  #tellDue(): void {
    if (this.#dueTold || this.#limbo.size === 0) return;
    const [session] = this.#sessions;
    if (session === undefined) return;
    this.#dueTold = true;
    session.due();
  }

  #runSchedule(): void {
    this.#schedule.run(this.#sessions.size > 0, this.#consumers > 0);
  }

  // Ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #delete(queue: MemoryQueue): number {
    const count = queue.readyCount;
    this.#queues.delete(queue.name);
    this.#empty(queue);
    queue.deleted = true;
    if (queue.expiryScheduled) this.#schedule.forget(1);
    this.#consumers -= queue.consumers.length;
    queue.consumers = [];
    this.#runSchedule();
    this.table.unbindAll('queue', queue.name);
    queue.watchers.gone();
    this.#watching.forget(queue.name);
    return count;
  }

  #empty(queue: MemoryQueue): number {
    let count = 0;
    for (let entry = queue.takeFirst(); entry !== undefined; entry = queue.takeFirst()) {
      this.#gone(entry);
      count++;
    }
    for (const entry of queue.delayed) {
      this.#gone(entry);
      count++;
    }
    queue.delayed.clear();
    return count;
  }

  /** A holder whose sign of life failed to come: what it consumed from and had for itself goes; what it holds lapses on its own. */
  #bury(holder: MemoryHolder): void {
    this.#detachAll(holder);
    this.#deleteExclusive(holder);
    if (holder.holdsNothing && ![...this.#sessions].some((session) => session.holder === holder)) {
      this.#holders.delete(holder.id);
    }
  }

  #deleteExclusive(holder: MemoryHolder): void {
    for (const queue of [...this.#queues.values()]) if (queue.options.exclusiveTo === holder.id) this.#delete(queue);
  }

  #detachAll(holder: MemoryHolder): void {
    for (const queue of [...this.#queues.values()]) {
      for (let at = queue.consumers.length - 1; at >= 0; at--) {
        if (queue.consumers[at]?.holder === holder) this.#dropConsumer(queue, at);
      }
    }
  }

  #dropConsumer(queue: MemoryQueue, at: number): void {
    queue.consumers.splice(at, 1);
    this.#consumers--;
    this.#runSchedule();
    if (queue.consumers.length > 0) {
      // Somebody else may be the single active one now.
      if (queue.readyCount > 0) queue.watchers.ready();
      return;
    }
    if (queue.options.autoDelete) this.#delete(queue);
    else this.#used(queue);
  }
}
