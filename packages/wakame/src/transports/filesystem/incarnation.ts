import { RecoverableConnectionError } from '../../errors.js';
import { Life } from '../../util/life.js';
import type { ConsumerRecord, OpenDriver, QueueOptions } from '../virtual/driver.js';
import { Alarm } from './alarm.js';
import { isLoss } from './classify.js';
import { loadFlock } from './flock.js';
import { Holders } from './holders.js';
import { type Layout, makeLayout } from './layout.js';
import { Listing } from './listing.js';
import { Locks } from './locks.js';
import { Messages } from './messages.js';
import { type FilesystemOptions, filesystemOptions } from './options.js';
import { Turns } from './parallel.js';
import { type QueueFile, Queues } from './queues.js';
import { Records } from './records.js';
import { type ExchangeFile, FileTable } from './table.js';
import { hasExpired, Taking } from './taking.js';
import { Watcher } from './watcher.js';

/** The folders as one connection has them open: from its opening until it is closed or lost. */
export class Incarnation {
  readonly options: FilesystemOptions;
  readonly layout: Layout;
  readonly hasFlock: boolean;
  readonly locks: Locks;
  readonly holders: Holders;
  readonly listing: Listing;
  readonly messages: Messages;
  readonly taking: Taking;
  readonly queues: Queues;
  readonly table: FileTable;
  readonly watcher: Watcher;
  readonly alarm: Alarm;
  readonly #turns = new Turns();
  readonly #life: Life;

  /** @param former Consumers of the incarnation before, which was lost. */
  static async open(driver: OpenDriver, former: readonly ConsumerRecord[]): Promise<Incarnation> {
    const options = filesystemOptions(driver.parameters);
    const layout = await makeLayout(options);
    const flock = await loadFlock();
    driver.signal?.throwIfAborted();
    const incarnation = new Incarnation(driver, options, layout, flock);
    const { id, name } = driver.holder;
    try {
      incarnation.holders.live(id, name);
      incarnation.messages.open();
      if (former.length > 0) await incarnation.run(() => incarnation.queues.detach(id, former));
      incarnation.#life.opened();
      return incarnation;
    } catch (error) {
      await incarnation.close(async () => undefined);
      throw error;
    }
  }

  private constructor(
    { holder, problem, due, lost }: OpenDriver,
    options: FilesystemOptions,
    layout: Layout,
    flock: Awaited<ReturnType<typeof loadFlock>>,
  ) {
    this.options = options;
    this.layout = layout;
    this.hasFlock = flock !== undefined;
    this.#life = new Life(lost, () => this.#stop());
    // A little before those who wait for the answer give up: as a loss, after which it is tried again.
    this.locks = new Locks(layout.own, flock, options.timeout * 0.9);
    this.holders = new Holders(layout.holders, options.lease);
    this.listing = new Listing(layout.source.ready);
    this.watcher = new Watcher({
      layout,
      look: (queues) => this.#look(queues),
      waits: (dueAt) => this.alarm.at(dueAt),
      problem,
    });
    this.messages = new Messages({
      ...{ layout, options, holder: holder.id, listing: this.listing, problem },
      changed: (queue) => this.watcher.nudge(queue),
    });
    this.taking = new Taking({ ready: layout.source.ready, listing: this.listing, messages: this.messages, due });
    const { fsync } = options;
    const exchanges = new Records<ExchangeFile>(layout.exchanges, layout.temp, fsync);
    this.table = new FileTable(layout, this.locks, exchanges, fsync);
    const records = new Records<QueueFile>(layout.queues, layout.temp, fsync);
    this.queues = new Queues(records, this.holders, this.locks, (queue) => this.#clear(queue));
    this.alarm = new Alarm(() => {
      due();
      void this.run(async () => this.promote()).catch(() => undefined); // A loss is told by itself.
    });
  }

  /** Does it after all that was begun before. A failure that is none of its own ends the incarnation. */
  run<T>(action: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      this.#life.check();
      try {
        return await action();
      } catch (error) {
        if (isLoss(error)) this.#life.lose(error);
        throw error;
      }
    });
  }

  /** Moves messages whose time has come, and waits for the next. */
  promote(): void {
    this.alarm.at(this.messages.promote());
  }

  /** Whether there is such a queue: declared, bound by Python, or with messages. The listing is of now. */
  async exists(queue: string): Promise<boolean> {
    const declared = this.queues.get(queue);
    if (declared !== undefined) return declared !== 'over';
    return this.listing.of(queue).length > 0 || (await this.table.queuesOfKombu()).has(queue);
  }

  /** How many messages are ready. The listing is of now. */
  count(queue: string): number {
    return this.listing.of(queue).filter((name) => !hasExpired(name)).length;
  }

  optionsOf(queue: string): QueueOptions | undefined {
    const declared = this.queues.get(queue);
    return declared === 'over' ? undefined : declared?.options;
  }

  get isOpen(): boolean {
    return this.#life.isOpen;
  }

  /** Nothing more is done than what was begun. */
  async close(last: () => Promise<void>): Promise<void> {
    this.#life.leave();
    this.watcher.stop();
    this.alarm.stop();
    try {
      await this.run(last);
    } catch {
      // What was to be done happens when the holder is found dead.
    }
    this.#life.end(new RecoverableConnectionError('filesystem: the connection is closed'));
  }

  #stop(): void {
    this.listing.close();
    this.watcher.stop();
    this.alarm.stop();
  }

  #look(queues: ReadonlySet<string>): Promise<readonly string[]> {
    return this.run(async () => {
      this.promote();
      await this.listing.refresh();
      return [...queues].filter((queue) => this.listing.of(queue).length > 0);
    });
  }

  async #clear(queue: string): Promise<void> {
    await this.table.unbindAll('queue', queue);
    await this.messages.deleteLater(queue);
    // First where they are taken from; and again, for what a holder gave back meanwhile.
    await this.#clearReady(queue);
    await this.messages.deleteHeld(queue);
    await this.#clearReady(queue);
    this.watcher.gone(queue);
  }

  async #clearReady(queue: string): Promise<void> {
    await this.listing.refresh();
    await this.messages.delete(this.listing.of(queue));
  }
}
