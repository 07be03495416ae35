import { Life } from '../../util/life.js';
import type { OpenDriver } from '../virtual/driver.js';
import type { Backend, Session } from './backend.js';
import { backendOf } from './backends.js';
import { type Context, Effects } from './context.js';
import { Executor } from './executor.js';
import { join, tell } from './neighbours.js';
import { Operations } from './operations/index.js';
import { type SqlOptions, sqlOptions } from './options.js';
import { first, run, type Steps } from './steps.js';
import { keyOf, type Target, targetOf } from './target.js';
import { Watcher } from './watcher.js';

/** How often the database's clock is looked at when the connection is opened: the quickest answer counts. */
const CLOCK_LOOKS = 3;
/** Milliseconds. */
const CLOCK_STEP = 5000;

/** One connection to the database with all that belongs to it: from its opening until it is closed or lost. */
export class Incarnation {
  readonly backend: Backend;
  readonly session: Session;
  readonly options: SqlOptions;
  readonly operations: Operations;
  readonly executor: Executor;
  readonly watcher: Watcher;
  /** The largest payload that fits, in bytes. */
  readonly payloadLimit: number | undefined;
  readonly holderName: string;
  readonly problem: (error: unknown) => void;
  readonly #context: Context;
  readonly #target: Target;
  readonly #key: string;
  readonly #leave: () => void;
  readonly #life: Life;
  #isImproved = false;

  static async open(driver: OpenDriver): Promise<Incarnation> {
    const { parameters, signal } = driver;
    const target = targetOf(parameters);
    const options = sqlOptions({ ...parameters.transportOptions, ...target.query });
    const backend = backendOf(target);
    let incarnation: Incarnation | undefined;
    const life = new Life(driver.lost, (error) => {
      if (incarnation !== undefined) incarnation.#stop(error);
    });
    const session = await backend.open({
      target,
      options,
      names: options.names,
      connectTimeout: parameters.connectTimeout,
      signal,
      lost: (error) => {
        if (incarnation === undefined) life.lose(error);
        else incarnation.#lose(error);
      },
      notified: (queueIds) => incarnation?.watcher.nudge(queueIds),
    });
    try {
      await backend.prepare(session, options.names);
      const payloadLimit = await backend.payloadLimit?.(session, options.names);
      life.check();
      incarnation = new Incarnation({ driver, target, options, backend, session, payloadLimit, life });
      const { executor, operations, holderName } = incarnation;
      for (let i = 0; i < CLOCK_LOOKS; i++) await incarnation.compareClocks();
      await incarnation.improve();
      await executor.submit('write', () => operations.consumers.open(holderName));
      signal?.throwIfAborted();
      life.opened();
      return incarnation;
    } catch (error) {
      life.end(error);
      await session.close();
      throw error;
    }
  }

  private constructor(parts: {
    readonly driver: OpenDriver;
    readonly target: Target;
    readonly options: SqlOptions;
    readonly backend: Backend;
    readonly session: Session;
    readonly payloadLimit: number | undefined;
    readonly life: Life;
  }) {
    const { driver, target, options, backend, session } = parts;
    const { holder, due, problem } = driver;
    this.backend = backend;
    this.session = session;
    this.options = options;
    this.payloadLimit = parts.payloadLimit;
    this.holderName = holder.name;
    this.problem = problem;
    this.#life = parts.life;
    this.#target = target;
    this.#key = `${keyOf(target)} ${options.names.prefix}`;
    this.#context = {
      dialect: session.dialect,
      names: options.names,
      holder: holder.id,
      lease: options.lease,
      clock: { offset: backend.singleWriter ? 0 : Number.POSITIVE_INFINITY },
      effects: new Effects(),
    };
    this.operations = new Operations(this.#context);
    this.executor = new Executor({
      session,
      errors: backend,
      takesLast: !backend.singleWriter,
      effects: this.#context.effects,
      timeout: options.timeout,
      announce: (effects) => announce(this.#context, effects),
      committed: (effects) => tell(this.#key, effects),
      lost: (error) => this.#lose(error),
    });
    this.watcher = new Watcher({
      pace: backend.pace,
      look: (queues) => this.executor.submit('read', () => this.operations.hints.look(queues)),
      changed: session.changed?.bind(session),
      due,
    });
    this.#leave = join(this.#key, { nudge: (ids) => this.watcher.nudge(ids), due });
  }

  /** Learns how far the clocks are apart. A file has no clock but ours. */
  async compareClocks(): Promise<void> {
    const { clock, dialect } = this.#context;
    if (this.backend.singleWriter) return;
    const asked = Date.now();
    const row = await this.executor.submit('read', () => first(`SELECT ${dialect.now} AS now`));
    const offset = Number(row?.now) - asked;
    // An answer that took its time says too much. One that differs by far tells of a clock that was set.
    const isSet = Math.abs(offset - clock.offset) > CLOCK_STEP;
    clock.offset = isSet ? offset : Math.min(offset, clock.offset);
  }

  /** Makes better what somebody else made, if it can be done now. */
  async improve(): Promise<void> {
    const { backend, session, options } = this;
    if (this.#isImproved || backend.improve === undefined) return;
    const improve = backend.improve.bind(backend, session, options.names);
    try {
      this.#isImproved = await this.executor.submit('alone', improve);
    } catch (error) {
      if (backend.failureOf(error) !== 'failed') throw error;
      // Who may not do it need not: it costs time, later.
      this.#isImproved = true;
      this.problem(backend.classify(error));
    }
  }

  /** Rejects, and gives the connection up, when it is of no use in a way that no statement would show. */
  async inspect(): Promise<void> {
    try {
      await this.session.check?.();
    } catch (error) {
      this.#lose(error);
      throw error;
    }
  }

  /** Runs an operation in a transaction of the user's. What it does is seen by others when that is committed. */
  within<T>(transaction: unknown, work: (operations: Operations) => Steps<T>): Promise<T> {
    // Its effects are not known before the user commits.
    const context = { ...this.#context, effects: new Effects() };
    const operations = new Operations(context);
    return this.backend.within(this.session, transaction, this.#target, function* () {
      // What fails leaves nothing behind in it, and the user may go on.
      yield* run('SAVEPOINT wakame');
      try {
        const result = yield* work(operations);
        yield* announce(context, context.effects);
        yield* run('RELEASE SAVEPOINT wakame');
        return result;
      } catch (error) {
        try {
          yield* run('ROLLBACK TO SAVEPOINT wakame');
          yield* run('RELEASE SAVEPOINT wakame');
        } catch {
          // The database has ended the whole transaction, or the connection is lost: there is nothing left in it.
        }
        throw error;
      }
    });
  }

  /** @param holderStays There is something that goes with the holder, who may come back. */
  async close(holderStays: boolean): Promise<void> {
    this.watcher.stop();
    const { holder } = this.#context;
    const { consumers } = this.operations;
    await this.#leaveWith(function* () {
      if (holderStays) yield* consumers.detachAll(holder);
      else yield* consumers.bury(holder);
    });
  }

  /** The holder is gone for good. */
  async retire(): Promise<void> {
    const { holder } = this.#context;
    const { consumers, settling } = this.operations;
    await this.#leaveWith(function* () {
      yield* settling.returnAll();
      yield* consumers.bury(holder);
    });
  }

  get isOpen(): boolean {
    return this.#life.isOpen;
  }

  #stop(error: unknown): void {
    this.watcher.stop();
    this.#leave();
    this.executor.end(error);
  }

  /** Waits for what is under way, does a last thing, and closes the connection. */
  async #leaveWith(work: () => Steps<void>): Promise<void> {
    this.#life.leave();
    try {
      await this.executor.submit('write', work);
      await this.executor.quiet();
    } catch {
      // The connection is lost: what was to be done happens when the holder is found dead.
    }
    this.#life.end(new Error('the connection to the database is closed'));
    await this.session.close();
  }

  #lose(error: unknown): void {
    this.#life.lose(error);
    void this.session.close();
  }
}

/** Tells other processes what the transaction at hand did, where they can be told: they hear of it when it is committed. */
function* announce({ dialect, names }: Context, { ready, changed }: Effects): Steps<void> {
  if (dialect.notify === undefined || (ready.size === 0 && !changed)) return;
  yield* dialect.notify(names, changed ? undefined : [...ready]);
}
