/**
 * The state machine of a Connection. Only it connects.
 *
 * ```
 *            connect()            connected
 *   ┌──────┐ ─────────▶ ┌────────────┐ ────────▶ ┌──────┐
 *   │ idle │            │ connecting │           │ open │ ◀────────────┐
 *   └──────┘ ◀───────── └────────────┘           └──────┘              │ topology restored
 *            refused, or                            │ lost       ┌────────────┐
 *            nobody waits                           └──────────▶ │ recovering │ for ever
 *                                                                └────────────┘
 *   any of them ── close() ──▶ closing ──▶ closed
 * ```
 *
 * A new incarnation counts as open when the topology stands again; the channels are rebuilt right after that, each by itself.
 */
import { ConnectionClosedError, type ErrorCode, type MessagingError, RecoverableConnectionError } from '../errors.js';
import { debug } from '../tracing.js';
import type { ConnectionEvents, TransportConnection } from '../transport/contract.js';
import { raceSignal, sleep } from '../util/abort.js';
import { fxrange, jitteredBackoff } from '../util/backoff.js';
import { Deadline, doneBefore } from '../util/deadline.js';
import { noop } from '../util/noop.js';
import { DEFAULTS } from './defaults.js';
import { givenIntervals, type RetryOptions } from './retry-options.js';
import { asMessagingError, type ReadyOptions, Waiter } from './waiters.js';

/** The states of a Connection. See ARCHITECTURE.md for what leads from one to the other. */
export type ConnectionState = 'idle' | 'connecting' | 'open' | 'recovering' | 'closing' | 'closed';

/** What the machine needs of the Connection around it. */
export interface MachineHooks {
  /** Connects once to the current host. Rejects at once when `signal` is aborted, and leaves nothing behind then. */
  open(events: ConnectionEvents, signal: AbortSignal): Promise<{ connection: TransportConnection; host: string }>;
  /** Tries that make a full cycle of hosts. */
  hostCount(): number;
  /** Goes on to the next host. */
  nextHost(): void;
  /** Makes what must exist exist again, before the incarnation is used. Rejects when the incarnation fails. */
  restoreTopology(connection: TransportConnection): Promise<void>;
  /** Rebuilds the channels. Resolves when each has had its first try. Never rejects. */
  restoreChannels(connection: TransportConnection): Promise<void>;
  /** The incarnation ended: synchronously, before anything else is told. */
  lost(error: MessagingError): void;
  emit: MachineEvents;
}

export interface MachineEvents {
  connected(host: string): void;
  disconnected(error: MessagingError): void;
  recovered(host: string, duration: number, cause: MessagingError): void;
  failover(from: string, to: string, cause: MessagingError): void;
  blocked(reason: string): void;
  unblocked(): void;
  problem(error: MessagingError): void;
}

export interface MachineOptions {
  readonly connectDeadline: number;
  /** Policy of waits that bring none of their own. */
  readonly retry: RetryOptions;
}

/** Nobody but a person can mend these: the first connect rejects at once. */
const REFUSED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'AUTH_FAILED',
  'ACCESS_REFUSED',
  'VHOST_NOT_FOUND',
  'TLS_FAILED',
  'NOT_SUPPORTED',
  'INVALID_ARGUMENT',
  'INVALID_URL',
  'UNKNOWN_TRANSPORT',
  'MISSING_DEPENDENCY',
]);

/** Ends a try to connect, or the pause before it, to start over: not an error that anybody sees. */
const START_OVER = Symbol('start over');

export class ConnectionMachine {
  readonly #hooks: MachineHooks;
  readonly #options: MachineOptions;
  readonly #waiters = new Set<Waiter<TransportConnection>>();
  /** Those that were asked for; they begin anew with each trouble. */
  #pauses: Generator<number, never> | undefined;
  #state: ConnectionState = 'idle';
  #current: TransportConnection | undefined;
  #host: string | undefined;
  /** Ends the loop that connects. */
  #loop: AbortController | undefined;
  /** Ends the try or pause at hand, so that the loop goes on with the next. */
  #step: AbortController | undefined;
  #openedAt = 0;
  /** Tries that failed since a connection was last stable. */
  #failures = 0;
  /** Those in a row that only a person can mend. */
  #refusals = 0;
  #lastError: MessagingError | undefined;
  #closing: Promise<void> | undefined;

  constructor(hooks: MachineHooks, options: MachineOptions) {
    this.#hooks = hooks;
    this.#options = options;
    this.#calm();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** The open incarnation. */
  get current(): TransportConnection | undefined {
    return this.#current;
  }

  /** Why there is no incarnation: the last loss or failed try. */
  get lastError(): MessagingError | undefined {
    return this.#lastError;
  }

  /**
   * The open incarnation, once there is one. Connects when idle. Rejects with CONNECTION_CLOSED, the reason of `signal`, what
   * refused the first connect, or, at the deadline or the end of the tries, the last failure.
   */
  ready(what: string, options: ReadyOptions = {}): Promise<TransportConnection> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    // One that has ended is told of in a turn of its own.
    if (this.#current?.state === 'open') return Promise.resolve(this.#current);
    if (this.#state === 'closing' || this.#state === 'closed') return Promise.reject(this.closedError());
    const first = this.#state === 'idle' || this.#state === 'connecting';
    const usual = first ? this.#options.connectDeadline : DEFAULTS.operationTimeout;
    const { timeout = usual, maxRetries = this.#options.retry.maxRetries } = options;
    const waiter: Waiter<TransportConnection> = new Waiter(
      what,
      timeout,
      { ...options, maxRetries },
      () => {
        this.#waiters.delete(waiter);
        this.#abandonIfUnwanted();
      },
      () => this.#lastError,
    );
    this.#waiters.add(waiter);
    if (this.#state === 'idle') {
      this.#state = 'connecting';
      this.#start(undefined);
    }
    return waiter.promise;
  }

  closedError(): ConnectionClosedError {
    return new ConnectionClosedError('the connection was closed');
  }

  /** Drops the incarnation with no word to the broker; recovery follows. */
  drop(reason: string): void {
    this.#current?.abort(new RecoverableConnectionError(reason));
  }

  /** Leaves the present host, in good order where there is a connection, and connects to the current one of the cycle. */
  redirect(reason: string): void {
    const inner = this.#current;
    if (inner !== undefined) {
      this.#ended(new RecoverableConnectionError(reason));
      void inner.close({ timeout: DEFAULTS.closeTimeout });
    } else {
      this.#calm();
      this.#step?.abort(START_OVER);
    }
  }

  /**
   * Closes. `finish` runs first, while the incarnation still works, and must end by the deadline by itself.
   * Never rejects. A second call returns the first one's promise.
   */
  close(deadline: Deadline, finish: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#close(deadline, finish);
    return this.#closing;
  }

  async #close(deadline: Deadline, finish: () => Promise<void>): Promise<void> {
    this.#state = 'closing';
    this.#endLoop(this.closedError());
    for (const waiter of this.#takeWaiters()) waiter.reject(this.closedError());
    await finish();
    const inner = this.#current;
    this.#current = undefined;
    if (inner !== undefined && !(await doneBefore(deadline, inner.close({ timeout: deadline.remaining })))) {
      inner.abort(this.closedError());
    }
    this.#state = 'closed';
  }

  #takeWaiters(): Waiter<TransportConnection>[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }

  /** A first connect that nobody waits for any more is given up. Recovery is not: it belongs to the Connection. */
  #abandonIfUnwanted(): void {
    if (this.#state !== 'connecting' || this.#waiters.size > 0) return;
    this.#state = 'idle';
    this.#endLoop(START_OVER);
  }

  #endLoop(reason: unknown): void {
    this.#loop?.abort(reason);
    this.#step?.abort(reason);
  }

  #start(cause: MessagingError | undefined): void {
    const loop = new AbortController();
    this.#loop = loop;
    // Never rejects: see #connect.
    void this.#connect(loop.signal, cause, performance.now());
  }

  /** Tries until there is an incarnation, or `signal` ends it. */
  async #connect(signal: AbortSignal, cause: MessagingError | undefined, since: number): Promise<void> {
    // A connection that is lost as soon as it opens, again and again, must not be a busy loop.
    if (cause !== undefined && this.#failures > 1) await this.#pause(signal, this.#usualPause(cause));
    const told = new Set<ErrorCode>();
    while (!signal.aborted) {
      try {
        await this.#open(signal, cause, since);
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        if (thrown === START_OVER) continue;
        const error = asMessagingError(thrown);
        const pause = this.#failed(error);
        if (this.#state === 'connecting' && REFUSED.has(error.code)) return this.#giveUp(error);
        if (REFUSED.has(error.code) && !told.has(error.code)) {
          told.add(error.code);
          this.#hooks.emit.problem(error);
        }
        this.#spendBudgets(error, pause);
        if (pause > 0 && !signal.aborted) await this.#pause(signal, pause);
      }
    }
  }

  /** Counts the failure, moves to the next host, and gives the pause before it is tried. */
  #failed(error: MessagingError): number {
    this.#failures++;
    debug('try %d failed: %s', this.#failures, error.message);
    this.#refusals = REFUSED.has(error.code) ? this.#refusals + 1 : 0;
    this.#lastError = error;
    this.#hooks.nextHost();
    const cycleDone = this.#failures % this.#hooks.hostCount() === 0;
    return cycleDone ? this.#usualPause(error) : 0;
  }

  /** What failed before has no part in what comes. */
  #calm(): void {
    this.#failures = 0;
    const intervals = givenIntervals(this.#options.retry, DEFAULTS.ensureConnection);
    this.#pauses = intervals === undefined ? undefined : fxrange(intervals);
  }

  #usualPause(error: MessagingError): number {
    const given: number[] = [];
    for (const waiter of this.#waiters) {
      const pause = waiter.nextPause();
      if (pause !== undefined) given.push(pause);
    }
    if (given.length > 0) return Math.min(...given);
    if (this.#pauses !== undefined) return this.#pauses.next().value;
    const cyclesOf = (tries: number) => Math.max(0, Math.ceil(tries / this.#hooks.hostCount()) - 1);
    return REFUSED.has(error.code)
      ? jitteredBackoff(cyclesOf(this.#refusals), DEFAULTS.reconnectRefused)
      : jitteredBackoff(cyclesOf(this.#failures), DEFAULTS.reconnect);
  }

  #spendBudgets(error: MessagingError, pause: number): void {
    for (const waiter of this.#waiters) if (waiter.failed(error)) waiter.tell(error, pause);
    guarded(() => this.#options.retry.errback?.(error, pause));
  }

  /** The first connect is refused: everybody who waits is told, and the next one to come may try again. */
  #giveUp(error: MessagingError): void {
    this.#state = 'idle';
    this.#calm();
    for (const waiter of this.#takeWaiters()) waiter.reject(error);
  }

  async #open(loop: AbortSignal, cause: MessagingError | undefined, since: number): Promise<void> {
    const step = new AbortController();
    this.#step = step;
    const incarnation = new Incarnation(this.#hooks.emit, (connection, error) => {
      if (this.#current === connection) this.#lost(error);
    });
    const { connection, host } = await this.#hooks.open(incarnation.events, step.signal);
    incarnation.connection = connection;
    try {
      await raceSignal(this.#hooks.restoreTopology(connection), step.signal);
      if (loop.aborted) throw loop.reason;
      if (incarnation.ended !== undefined) throw incarnation.ended;
    } catch (error) {
      connection.abort(
        error === START_OVER ? new RecoverableConnectionError('no longer wanted') : asMessagingError(error),
      );
      throw incarnation.ended ?? error;
    }
    this.#opened(connection, host, cause, since);
  }

  #opened(connection: TransportConnection, host: string, cause: MessagingError | undefined, since: number): void {
    const former = this.#host;
    debug('connected to %s', host);
    this.#current = connection;
    this.#host = host;
    this.#state = 'open';
    this.#openedAt = performance.now();
    this.#lastError = undefined;
    this.#refusals = 0;
    const restored = this.#hooks.restoreChannels(connection);
    for (const waiter of this.#takeWaiters()) waiter.resolve(connection);
    const { emit } = this.#hooks;
    if (cause !== undefined && former !== undefined && former !== host) emit.failover(former, host, cause);
    emit.connected(host);
    if (cause === undefined) {
      this.#calm();
      return;
    }
    void restored.then(() => {
      if (this.#current === connection && this.#state === 'open')
        emit.recovered(host, performance.now() - since, cause);
    });
  }

  /** The incarnation ended by itself: on to the next host. */
  #lost(error: MessagingError): void {
    this.#hooks.nextHost();
    this.#ended(error);
  }

  #ended(error: MessagingError): void {
    debug('connection to %s lost: %s', this.#host, error.message);
    this.#current = undefined;
    this.#lastError = error;
    const stable = performance.now() - this.#openedAt >= DEFAULTS.stableAfter;
    if (stable) this.#calm();
    else this.#failures++;
    if (this.#state === 'open') this.#state = 'recovering';
    this.#hooks.lost(error);
    this.#hooks.emit.disconnected(error);
    if (this.#state === 'recovering') this.#start(error);
  }

  /** Waits, telling those who asked before the pause and each second. Ends early when the loop or the step ends. */
  async #pause(loop: AbortSignal, ms: number): Promise<void> {
    const step = new AbortController();
    const { signal } = step;
    this.#step = step;
    const end = new Deadline(ms);
    while (!end.passed && !loop.aborted && !signal.aborted) {
      guarded(() => this.#options.retry.callback?.());
      for (const waiter of this.#waiters) if (waiter.ticks !== undefined) waiter.guard(waiter.ticks);
      await sleep(end.atMost(1000), { signal }).catch(noop);
      // Timers are a fraction of a millisecond early now and then.
      if (end.remaining < 1) return;
    }
  }
}

/** The events of one incarnation, from the try to open it to its end. */
class Incarnation {
  readonly events: ConnectionEvents;
  connection: TransportConnection | undefined;
  /** Why it ended. */
  ended: MessagingError | undefined;

  constructor(emit: MachineEvents, lost: (connection: TransportConnection, error: MessagingError) => void) {
    this.events = {
      onClose: (error) => {
        this.ended = error ?? new RecoverableConnectionError('the connection was closed');
        if (this.connection !== undefined) lost(this.connection, this.ended);
      },
      onBlocked: (reason) => emit.blocked(reason),
      onUnblocked: () => emit.unblocked(),
      onProblem: (error) => emit.problem(error),
    };
  }
}

/** Runs a function of the application's. What it throws becomes an uncaught exception of its own. */
function guarded(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
