import { randomUUID } from 'node:crypto';
import { RecoverableConnectionError } from '../../errors.js';
import { Life } from '../../util/life.js';
import { LONGEST_TIMER } from '../../util/timer.js';
import type { Holder, OpenDriver } from '../virtual/driver.js';
import { isLossOf } from './classify.js';
import { connect, INVALIDATIONS, type Links } from './connect.js';
import { Fanout } from './fanout.js';
import { queuesFor, readRecord, stepOfEnvelope } from './foreign.js';
import type { Link } from './link.js';
import type { RedisSettings } from './options.js';
import { type ScriptName, Scripts } from './scripts.js';
import { Sender, writeBulks } from './sender.js';
import { RedisTable } from './table.js';
import { Waiting } from './waiting.js';

/** Each client does what is done at intervals less often the more there are: so often in all, in milliseconds for each. */
const SHARE = 500;
/** How long an orderly end may take, in milliseconds. */
const FAREWELL = 2000;
const BATCH = 500;
/** So often, in milliseconds at the most, Kombu's sweepers are shown that what is held is in good hands: Python's timeouts are not ours. */
const SHOWN = 10_000;

/** What is known of a holder's leases. */
export interface LeaseName {
  readonly field: string;
  readonly queue: string;
}

export interface Swept {
  readonly returned: number;
  readonly deletedQueues: readonly string[];
  readonly bodies: readonly {
    readonly kind: string;
    readonly queue: string;
    readonly field: string;
    readonly text: string;
  }[];
}

/** One incarnation: two sockets, and what runs over them until they end. */
export class Session {
  readonly settings: RedisSettings;
  readonly holder: Holder;
  readonly links: Links;
  readonly table: RedisTable;
  readonly waiting: Waiting;
  readonly fanout: Fanout;
  readonly sender: Sender;
  readonly problem: (error: unknown) => void;
  readonly #scripts: Scripts;
  readonly #due: () => void;
  readonly #life: Life;
  /** How many holders the server knows of. */
  #holders = 1;
  /** When, by our clock, the holder has to give its next sign of life. */
  #lifeDueAt = 0;
  #sweeps = 0;
  /** This client made something that is due some day, so it sees to it itself. */
  #hasSchedule = false;
  #sweepTimer: NodeJS.Timeout | undefined;
  #sweepAt = Number.POSITIVE_INFINITY;
  #healthTimer: NodeJS.Timeout | undefined;
  #refreshTimer: NodeJS.Timeout | undefined;
  /** The holder may have leases: of a former incarnation, for all that is known in the beginning. */
  #holding = true;
  #wakers: Promise<unknown> | undefined;

  private constructor(
    settings: RedisSettings,
    scripts: Scripts,
    links: Links,
    canTransact: boolean,
    { holder, due, problem, lost }: OpenDriver,
  ) {
    this.settings = settings;
    this.holder = holder;
    this.links = links;
    this.#scripts = scripts;
    this.#due = due;
    this.#life = new Life(lost, () => this.#closeLinks());
    this.problem = problem;
    const run = (name: ScriptName, args: (string | number)[]) => this.run(name, args);
    this.fanout = new Fanout({
      settings,
      ...links,
      run,
      problem,
      bindings: (queue) => this.#fanoutsOf(queue),
    });
    this.table = new RedisTable({
      run,
      separator: settings.separator,
      bindingsChanged: (queues) => this.fanout.bindingsChanged(queues),
    });
    this.sender = new Sender({
      settings,
      run,
      transaction: canTransact ? (commands) => this.#checked(links.commands.transaction(commands)) : undefined,
      table: this.table,
      dueIn: (ms) => this.#dueIn(ms),
    });
    const { prefix, separator, pollInterval, steps } = settings;
    const { tracking } = links;
    const look = (keys: readonly string[]) => {
      // The keys of the command that follows are those that the server tells of from now on.
      if (tracking) links.commands.call('CLIENT', 'CACHING', 'YES').catch((error: unknown) => this.#failed(error));
      return this.#checked(scripts.run(links.commands, 'LOOK', [], keys));
    };
    const guard = async (queues: readonly string[]) => {
      await this.#listenToWakers();
      return (await this.run('GUARD', [holder.id, ...queues])) as number[];
    };
    const pass = (queue: string) => this.run('PASS', [holder.id, queue]);
    this.waiting = new Waiting({ look, guard, pass, tracking, pollInterval, problem, prefix, separator, steps });
  }

  /** Connects and tells the server of the holder. Rejects with a typed error. */
  static async open(settings: RedisSettings, options: OpenDriver): Promise<Session> {
    const scripts = new Scripts(settings);
    const links = await connect(settings, options.signal);
    try {
      const [canTransact] = await Promise.all([canCheckBulks(links.commands), scripts.load(links.commands)]);
      const session = new Session(settings, scripts, links, canTransact, options);
      await session.#start();
      options.signal?.throwIfAborted();
      session.#begin();
      return session;
    } catch (error) {
      links.commands.close();
      links.news.close();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { commands, news } = this.links;
    news.client.on('messageBuffer', (channel: Buffer, message: unknown) => {
      const name = channel.toString();
      if (name === this.#wakeChannel) this.waiting.woken(String(message));
      else if (name === INVALIDATIONS) this.waiting.changed(Array.isArray(message) ? message.map(String) : undefined);
      else this.fanout.rebound(name);
    });
    news.client.on('pmessageBuffer', (pattern: Buffer, _channel: Buffer, message: Buffer) => {
      this.fanout.heard(pattern.toString(), message.toString());
    });
    this.#holders = Number(await this.#scripts.run(commands, 'OPEN', [this.holder.id, this.#lifetime]));
    this.#lifeDueAt = performance.now() + this.#lifetime / 3;
  }

  /** From now on a loss is told, and what has to be done from time to time is. Throws a loss that came before. */
  #begin(): void {
    const { commands, news } = this.links;
    commands.watch((error) => this.#life.lose(error));
    news.watch((error) => this.#life.lose(error));
    this.#life.opened();
    this.#scheduleHealth();
    this.#scheduleSweep(this.#jittered(this.#sweepInterval));
    const refresh = Math.min(SHOWN, this.settings.visibilityTimeout / 4);
    if (refresh < this.settings.lease / 3) {
      this.#refreshTimer = setInterval(() => void this.#refresh(), refresh);
      this.#refreshTimer.unref();
    }
  }

  /** Runs a script. An error that says that this is the wrong server is a loss, too. */
  run(name: ScriptName, args: (string | number)[]): Promise<unknown> {
    return this.#checked(this.#scripts.run(this.links.commands, name, args));
  }

  #checked<T>(answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      this.#failed(error);
      throw error;
    });
  }

  #failed(error: unknown): void {
    if (isLossOf(error)) queueMicrotask(() => this.#life.lose(error));
  }

  get #wakeChannel(): string {
    return `${this.settings.prefix}_wakame.wake.${this.holder.id}`;
  }

  /** Clients that wait for the same queue may wake this one. */
  #listenToWakers(): Promise<unknown> {
    this.#wakers ??= this.links.news.call('subscribe', this.#wakeChannel);
    return this.#wakers;
  }

  // Leases ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Milliseconds between signs of life of a holder that holds nothing. */
  get #interval(): number {
    return Math.max(this.settings.lease / 3, this.#holders * SHARE);
  }

  /** Milliseconds that a holder without a sign of life counts as alive. */
  get #lifetime(): number {
    return Math.ceil(this.#interval * 3);
  }

  async extend(leases: readonly LeaseName[]): Promise<readonly boolean[]> {
    if (leases.length > 0) this.#holding = true;
    if (leases.length === 0 && performance.now() < this.#lifeDueAt) return [];
    this.#lifeDueAt = performance.now() + this.#interval - 1;
    const calls: Promise<unknown>[] = [];
    for (let at = 0; at === 0 || at < leases.length; at += BATCH) {
      const args = leases.slice(at, at + BATCH).flatMap(({ field, queue }) => [field, queue]);
      calls.push(this.run('EXTEND', [this.holder.id, this.settings.lease, this.#lifetime, ...args]));
    }
    const answers = (await Promise.all(calls)) as number[][];
    this.#holders = answers.at(-1)?.at(-1) ?? this.#holders;
    return answers.flatMap((answer) => answer.slice(0, -1).map((ours) => ours === 1));
  }

  /** Something was taken. */
  tookLeases(): void {
    this.#holding = true;
  }

  /** Where Kombu's sweepers are quicker than our leases are renewed. */
  async #refresh(): Promise<void> {
    if (!this.#holding) return;
    this.#holding = false;
    try {
      for (let at = 0; ; at += BATCH) {
        const seen = Number(await this.run('REFRESH', [this.holder.id, at, BATCH]));
        if (seen > 0) this.#holding = true;
        if (seen < BATCH) return;
      }
    } catch (error) {
      if (this.#life.isOpen) this.problem(error);
    }
  }

  // Sweeping ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Something that this client sent has to be seen to in so many milliseconds (-1: nothing). */
  #dueIn(ms: number): void {
    if (ms < 0) return;
    this.#hasSchedule = true;
    this.#scheduleSweep(ms + 1);
  }

  async sweep(limit: number): Promise<Swept> {
    const { lease, visibilityTimeout } = this.settings;
    this.#sweepAt = Number.POSITIVE_INFINITY;
    const args = [this.holder.id, -++this.#sweeps, lease, limit, visibilityTimeout / 1000];
    const answer = (await this.run('SWEEP', args)) as [number, number, number, string[], string[], number];
    const [returned, holders, next, deletedQueues, flat, foreign] = answer;
    this.#holders = holders;
    const bodies: Swept['bodies'][number][] = [];
    for (let at = 0; at < flat.length; at += 4) {
      const [kind = '', queue = '', field = '', text = ''] = flat.slice(at, at + 4);
      bodies.push({ kind, queue, field, text });
    }
    this.#scheduleNext(next);
    const restored = foreign === 1 ? await this.#restoreForeign() : 0;
    return { returned: returned + restored, deletedQueues, bodies };
  }

  /** Messages of a dead holder are not to wait much longer than their leases. */
  get #sweepInterval(): number {
    const { restoreInterval, lease } = this.settings;
    return Math.max(Math.min(restoreInterval, lease / 3), this.#holders * SHARE);
  }

  /** Where there are few clients each follows the schedule; where there are many, those who have a part in it. */
  #scheduleNext(next: number): void {
    this.#scheduleSweep(this.#jittered(this.#sweepInterval));
    if (next >= 0 && (this.#hasSchedule || this.#holders <= 4)) this.#scheduleSweep(next + 1);
    if (next < 0) this.#hasSchedule = false;
  }

  #jittered(ms: number): number {
    return ms * (0.75 + Math.random() / 2);
  }

  /** At the latest in so many milliseconds. */
  #scheduleSweep(ms: number): void {
    if (!this.#life.isOpen) return;
    const at = performance.now() + ms;
    if (at >= this.#sweepAt) return;
    this.#sweepAt = at;
    clearTimeout(this.#sweepTimer);
    this.#sweepTimer = setTimeout(
      () => {
        this.#sweepAt = Number.POSITIVE_INFINITY;
        this.#due();
      },
      Math.min(Math.ceil(ms), LONGEST_TIMER),
    );
    this.#sweepTimer.unref();
  }

  /** Brings back what Python's consumers held for longer than the visibility timeout. Nobody else does meanwhile: Kombu's mutex. */
  async #restoreForeign(): Promise<number> {
    const { mutexKey, mutexExpire, visibilityTimeout, restoreLimit, steps } = this.settings;
    const token = randomUUID();
    const timeout = visibilityTimeout / 1000;
    const found = (await this.run('FOREIGN', [
      mutexKey,
      token,
      Math.ceil(mutexExpire),
      timeout,
      restoreLimit,
    ])) as string[];
    if (found.length === 0) return 0;
    const args: (string | number)[] = [];
    for (let at = 0; at < found.length; at += 2) {
      const [field, text] = [found[at] as string, found[at + 1] as string];
      try {
        const record = readRecord(text);
        const exchange = record.exchange === '' ? undefined : await this.table.exchange(record.exchange);
        const queues = queuesFor(record, exchange === 'unchanged' ? undefined : exchange);
        const step = stepOfEnvelope(record.envelope, steps);
        args.push(field, text, queues.length, ...queues.flatMap((queue) => [queue, step, record.envelope]));
      } catch (error) {
        this.problem(error);
        args.push(field, text, 0);
      }
    }
    return Number(await this.run('RESTORE', [mutexKey, token, timeout, ...args]));
  }

  // Health ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A peer that is gone without a word is noticed: an answer that does not come is a loss. */
  #scheduleHealth(): void {
    const { healthCheckInterval } = this.settings;
    if (healthCheckInterval === 0 || !this.#life.isOpen) return;
    const interval = Math.max(healthCheckInterval, this.#holders * SHARE);
    this.#healthTimer = setTimeout(
      () => {
        for (const link of [this.links.commands, this.links.news]) {
          if (link.silence < interval * 0.9) continue;
          link.call('ping').catch((error: unknown) => this.#failed(error));
        }
        this.#scheduleHealth();
      },
      Math.min(interval, LONGEST_TIMER),
    );
    this.#healthTimer.unref();
  }

  async #fanoutsOf(queue: string): Promise<readonly { readonly exchange: string; readonly routingKey: string }[]> {
    const bindings = await this.table.bindingsWithTypes('queue', queue);
    return bindings
      .filter(({ exchangeType }) => exchangeType === 'fanout')
      .map(({ binding }) => ({ exchange: binding.source, routingKey: binding.routingKey }));
  }

  get isOpen(): boolean {
    return this.#life.isOpen;
  }

  // Ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The incarnation ends in order. Resolves with whether the holder leaves something behind, or may. Never rejects. */
  async leave(): Promise<boolean> {
    let remains = true;
    await this.#farewell(async () => {
      remains = Number(await this.run('LEAVE', [this.holder.id])) === 1;
    });
    return remains;
  }

  /** The holder is gone for good. Never rejects. */
  async retire(): Promise<void> {
    await this.#farewell(async () => {
      while (Number(await this.run('RETIRE', [this.holder.id, BATCH])) >= BATCH);
    });
  }

  async #farewell(say: () => Promise<void>): Promise<void> {
    this.#stop();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FAREWELL);
    });
    // A server that does not hear it will miss the signs of life.
    await Promise.race([say().catch(() => undefined), late]);
    clearTimeout(timer);
    this.close();
  }

  /** At once, with no word. */
  close(): void {
    this.#life.end(new RecoverableConnectionError('the connection to Redis is closed'));
  }

  #closeLinks(): void {
    this.#stop();
    this.links.commands.close();
    this.links.news.close();
  }

  #stop(): void {
    this.#life.leave();
    clearTimeout(this.#sweepTimer);
    clearTimeout(this.#healthTimer);
    clearInterval(this.#refreshTimer);
    this.waiting.stop();
  }
}

/** Proxies do not let everything pass, and access rules may forbid it. */
async function canCheckBulks(link: Link): Promise<boolean> {
  try {
    await link.transaction(writeBulks([], ''));
    return true;
  } catch (error) {
    if (!link.isOpen) throw error;
    return false;
  }
}
