/**
 * A channel that exists for as long as somebody wants it: opened at first use, opened again after each loss.
 *
 * ```
 *   idle ── open() ──▶ opening ──▶ open ◀───┐ opened() of its user resolved
 *    ▲                    │          │ lost  │
 *    └──── refused ───────┘          └──▶ recovering
 *   any of them ── close() ──▶ closed
 * ```
 */
import { setImmediate } from 'node:timers/promises';
import {
  ConnectionClosedError,
  ConnectionError,
  type MessagingError,
  RecoverableConnectionError,
  ResourceError,
  TimeoutError,
} from '../errors.js';
import { debug } from '../tracing.js';
import type {
  ChannelEvents,
  ChannelRole,
  Returned,
  TransportChannel,
  TransportConnection,
} from '../transport/contract.js';
import { sleep } from '../util/abort.js';
import { jitteredBackoff } from '../util/backoff.js';
import { Deadline, withDeadline } from '../util/deadline.js';
import { noop } from '../util/noop.js';
import { warnOnce } from '../util/warnings.js';
import { DEFAULTS } from './defaults.js';
import type { ConnectionState } from './machine.js';
import { asMessagingError, isCollateral, type ReadyOptions, Waiter, type WaitOptions } from './waiters.js';

export type { WaitOptions } from './waiters.js';

/** Who uses a managed channel. */
export interface ChannelUser {
  /**
   * Each new incarnation, after the topology was restored: apply qos, start consumers, send again. The channel counts as open
   * when it resolves. A rejection closes the incarnation; it is tried again with back-off, and the error is a `problem`.
   * At the very first opening the call of `open` rejects with it instead, and the channel is idle again.
   */
  opened?(inner: TransportChannel): void | Promise<void>;
  /** Synchronously, at the end of an incarnation that was handed to `opened`. Without an error: closed on request. */
  lost?(inner: TransportChannel, error: MessagingError | undefined): void;
  returned?(returned: Returned): void;
}

/** What managed channels need of their connection. */
export interface ChannelHost {
  /** Waits for an open incarnation of the connection. */
  ready(options?: ReadyOptions): Promise<TransportConnection>;
  /** The open incarnation. */
  readonly incarnation: TransportConnection | undefined;
  readonly state: ConnectionState;
  /** Milliseconds for the answer to one request. */
  readonly rpcTimeout: number;
  /** Those to restore after a loss and to close with the connection. */
  readonly channels: Set<ManagedChannel>;
  /** Why there is no incarnation, while there is none. */
  readonly lastError: MessagingError | undefined;
  problem(error: MessagingError): void;
}

/** The states of a channel that comes back after each loss. */
export type ManagedChannelState = 'idle' | 'opening' | 'open' | 'recovering' | 'closed';

export interface RunOptions extends WaitOptions {
  /** The operation may be carried out twice: it is repeated when the channel was lost for another reason. Default false. */
  readonly idempotent?: boolean | undefined;
}

/** An incarnation that ended sooner than this, in milliseconds, makes the next one wait a little. */
const SHORT_LIFE = 1_000;
/** Bounds that wait: the errors of single requests must not hold up the others for long. */
const MOST_SHORT_LIVES = 5;
/** More than this on one connection are most often forgotten ones. */
const MANY_CHANNELS = 500;
const REMEDY =
  'each Producer and each Consumer has one until it is closed: make one for many messages rather than one for each, or close() it';

export class ManagedChannel {
  readonly #host: ChannelHost;
  readonly #role: ChannelRole;
  readonly #user: ChannelUser;
  readonly #waiters = new Set<Waiter<TransportChannel>>();
  #state: ManagedChannelState = 'idle';
  #inner: TransportChannel | undefined;
  /** Ends the opening or the pause at hand. */
  #step = new AbortController();
  #openedAt = 0;
  /** Openings in a row that failed or did not last. */
  #failures = 0;
  /** Handed to the user and not open yet. */
  #candidate: TransportChannel | undefined;
  /** The step of the reopening under way. */
  #reopening: AbortController | undefined;

  constructor(host: ChannelHost, role: ChannelRole, user: ChannelUser) {
    this.#host = host;
    this.#role = role;
    this.#user = user;
  }

  get state(): ManagedChannelState {
    return this.#state;
  }

  /** An incarnation is being opened, or will be as soon as there is a connection. */
  get isComing(): boolean {
    if (this.#state === 'opening') return true;
    return this.#state === 'recovering' && (this.#reopening !== undefined || this.#host.incarnation?.state !== 'open');
  }

  /** The open incarnation, for hot paths. */
  get current(): TransportChannel | undefined {
    const inner = this.#inner;
    // The news of its end comes in a turn of its own.
    return inner?.state === 'open' ? inner : undefined;
  }

  /**
   * The open incarnation; connects, opens or waits for recovery as needed. Rejects with what refused the first opening,
   * CONNECTION_CLOSED, TIMEOUT, or the reason of `signal`.
   */
  open(options: WaitOptions = {}): Promise<TransportChannel> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    const { current } = this;
    if (current !== undefined) return Promise.resolve(current);
    if (this.#state === 'closed') return Promise.reject(new ConnectionClosedError('the channel was closed'));
    const waiter: Waiter<TransportChannel> = new Waiter(
      'channel',
      options.timeout ?? DEFAULTS.operationTimeout,
      options,
      () => {
        this.#waiters.delete(waiter);
        // Nobody waits for a first opening any more.
        if (this.#state === 'opening' && this.#waiters.size === 0) this.#giveUp();
      },
      () => this.#host.lastError,
    );
    this.#waiters.add(waiter);
    if (this.#state === 'idle') {
      this.#state = 'opening';
      this.#step = new AbortController();
      void this.#openFirst(this.#step.signal);
    }
    return waiter.promise;
  }

  /**
   * Makes the channel be there from now on, without waiting for it: failures are problems, and it is tried again.
   */
  persist(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'recovering';
    this.#host.channels.add(this);
    void this.#reopen();
  }

  /**
   * Runs `operation` on the open incarnation. Each run of it may take the RPC timeout, and all of it `timeout` (30 s).
   *
   * When the incarnation ends meanwhile for a reason that is not this operation's, an idempotent one is run again on the next;
   * another rejects.
   */
  async run<T>(operation: (inner: TransportChannel) => Promise<T>, options: RunOptions = {}): Promise<T> {
    const deadline = new Deadline(options.timeout ?? DEFAULTS.operationTimeout);
    for (;;) {
      const inner = await this.open({ timeout: deadline.remaining, signal: options.signal });
      try {
        return await this.#call(inner, operation, deadline, options.signal);
      } catch (error) {
        const mayRepeat = this.#mayRepeat(inner, error);
        if (!mayRepeat || options.idempotent !== true || deadline.passed) throw error;
      }
    }
  }

  /** Gives up an incarnation that does not answer; the next one is opened. */
  discard(inner: TransportChannel, error: MessagingError): void {
    if (this.#inner !== inner) return;
    void inner.close();
    this.#ended(inner, error);
  }

  /** Closes for good. Unsettled deliveries go back. Never rejects. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    const inner = this.#inner;
    this.#state = 'closed';
    this.#inner = undefined;
    this.#host.channels.delete(this);
    const error = new ConnectionClosedError('the channel was closed');
    this.#step.abort(error);
    for (const waiter of this.#takeWaiters()) waiter.reject(error);
    if (inner === undefined) return;
    await inner.close();
    this.#user.lost?.(inner, undefined);
  }

  /** For the Connection: its incarnation is gone, and with it that of this channel. */
  connectionLost(error: MessagingError): void {
    this.#step.abort(error);
    const inner = this.#inner ?? this.#candidate;
    this.#inner = undefined;
    this.#candidate = undefined;
    if (this.#state === 'open') this.#state = 'recovering';
    if (inner !== undefined) this.#user.lost?.(inner, error);
  }

  /** For the Connection: there is a new incarnation. Resolves when the first try is over. Never rejects. */
  restore(connection: TransportConnection): Promise<void> {
    if (this.#state !== 'recovering') return Promise.resolve();
    this.#failures = 0;
    return this.#reopen(connection);
  }

  async #call<T>(
    inner: TransportChannel,
    operation: (inner: TransportChannel) => Promise<T>,
    deadline: Deadline,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { rpcTimeout } = this.#host;
    const limit = deadline.atMost(rpcTimeout);
    try {
      return await withDeadline(operation(inner), 'request to the broker', { timeout: limit, signal });
    } catch (error) {
      // A caller in a hurry proves nothing against the channel.
      if (error instanceof TimeoutError && limit === rpcTimeout) this.discard(inner, error);
      throw error;
    }
  }

  /** Whether the incarnation ended, and not by what this operation asked for. */
  #mayRepeat(inner: TransportChannel, error: unknown): boolean {
    if (inner === this.current) return false;
    return this.#state !== 'closed' && isCollateral(error);
  }

  /** Opens for the first time: errors go to those who wait. */
  async #openFirst(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let connection: TransportConnection | undefined;
      try {
        // A first connect has a deadline of its own; else the waiters have theirs. One that seems open may have ended this moment.
        const { state } = this.#host;
        const timeout = state === 'open' || state === 'recovering' ? Number.POSITIVE_INFINITY : undefined;
        connection = await this.#host.ready({ timeout, signal });
        await this.#incarnate(connection, signal);
        return;
      } catch (error) {
        if (signal.aborted || this.#state !== 'opening') return;
        const connectionGone = connection !== undefined && !this.#isLive(connection);
        if (!connectionGone || !(error instanceof ConnectionError && error.recoverable)) return this.#giveUp(error);
      }
    }
  }

  #giveUp(thrown?: unknown): void {
    const error = withRemedy(thrown);
    this.#state = 'idle';
    this.#step.abort(error);
    for (const waiter of this.#takeWaiters()) waiter.reject(error);
  }

  #takeWaiters(): Waiter<TransportChannel>[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }

  #isLive(connection: TransportConnection): boolean {
    return connection.state === 'open' && this.#host.incarnation === connection;
  }

  /** Opens again for as long as this incarnation of the connection lasts. Resolves after one try; goes on by itself. */
  async #reopen(connection = this.#host.incarnation): Promise<void> {
    if (connection === undefined || !this.#isLive(connection)) return;
    const step = new AbortController();
    const { signal } = step;
    this.#step = step;
    this.#reopening = step;
    // The first time at once: most often one request was at fault.
    if (this.#failures > 1) {
      const pause = jitteredBackoff(this.#failures - 2, DEFAULTS.reopen);
      await sleep(pause, { signal }).catch(noop);
    }
    try {
      signal.throwIfAborted();
      await this.#incarnate(connection, signal);
    } catch (thrown) {
      if (signal.aborted || !this.#isLive(connection)) return;
      const error = asMessagingError(thrown);
      this.#failures++;
      for (const waiter of this.#waiters) waiter.failed(error);
      this.#host.problem(error);
      void this.#reopen(connection);
    } finally {
      if (this.#reopening === step) this.#reopening = undefined;
    }
  }

  /** One try. Rejects when the incarnation could not be made or its user could not use it. */
  async #incarnate(connection: TransportConnection, signal: AbortSignal): Promise<void> {
    let handed: TransportChannel | undefined;
    let ended: MessagingError | undefined;
    const events: ChannelEvents = {
      onReturned: (returned) => this.#user.returned?.(returned),
      onClose: (error) => {
        ended = error ?? new RecoverableConnectionError('the channel was closed');
        if (handed !== undefined) this.#ended(handed, ended);
      },
    };
    const opening = connection.openChannel(this.#role, events, { signal });
    const inner = await withDeadline(opening, 'opening a channel', { timeout: this.#host.rpcTimeout, signal }).catch(
      (error: unknown) => {
        opening.then((late) => late.close(), noop);
        throw error;
      },
    );
    try {
      if (ended !== undefined) throw ended;
      handed = inner;
      this.#candidate = inner;
      await this.#user.opened?.(inner);
      if (ended !== undefined) throw ended;
      signal.throwIfAborted();
    } catch (error) {
      // The news of its end, which says why, comes in a turn of its own.
      if (ended === undefined && inner.state !== 'open') await setImmediate();
      const reason = ended ?? error;
      this.#ended(inner, asMessagingError(reason));
      void inner.close();
      throw reason;
    }
    this.#candidate = undefined;
    this.#inner = inner;
    this.#state = 'open';
    this.#openedAt = performance.now();
    this.#host.channels.add(this);
    if (this.#host.channels.size >= MANY_CHANNELS)
      warnOnce('many-channels', `${MANY_CHANNELS} channels are open; ${REMEDY}`);
    for (const waiter of this.#takeWaiters()) waiter.resolve(inner);
  }

  /** An incarnation that its user knows is over. */
  #ended(inner: TransportChannel, error: MessagingError): void {
    if (this.#candidate === inner) {
      this.#candidate = undefined;
      this.#user.lost?.(inner, error);
    } else if (this.#inner === inner) {
      debug('a channel that can %s ended: %s', this.#role, error.message);
      this.#inner = undefined;
      this.#state = 'recovering';
      const lasted = performance.now() - this.#openedAt >= SHORT_LIFE;
      this.#failures = lasted ? 0 : Math.min(this.#failures + 1, MOST_SHORT_LIVES);
      this.#user.lost?.(inner, error);
      void this.#reopen();
    }
  }
}

/** The error of a connection that has no channel left, with what to do about it. */
function withRemedy(error: unknown): unknown {
  if (!(error instanceof ResourceError) || error.code !== 'CHANNEL_LIMIT') return error;
  return new ResourceError(`${error.message}; ${REMEDY}`, {
    code: error.code,
    cause: error,
    recoverable: error.recoverable,
  });
}
