/**
 * `ensure` and `autoretry` (`kombu.connection.Connection`): a function run again when the connection or channel beneath it failed.
 * They wait for the connection; they do not connect.
 */
import {
  ChannelError,
  ConnectionClosedError,
  ConnectionError,
  InvalidArgumentError,
  type MessagingError,
  OperationalError,
  TimeoutError,
} from '../errors.js';
import type { TransportConnection } from '../transport/contract.js';
import { sleep } from '../util/abort.js';
import { fxrange } from '../util/backoff.js';
import { checkFunction, show } from '../util/check.js';
import { Deadline } from '../util/deadline.js';
import type { Channel } from './channel.js';
import { DEFAULTS } from './defaults.js';
import { checkRetry, givenIntervals, type RetryOptions } from './retry-options.js';
import { asMessagingError, type ReadyOptions, type WaitOptions } from './waiters.js';

/** A class of errors. */
export type ErrorClass = abstract new (...args: never[]) => unknown;

/** How `ensure` and `autoretry` go on. Without `maxRetries` and `timeout`, for ever. */
export interface EnsureOptions extends RetryOptions, WaitOptions {
  /** Called with the connection's default channel when the connection is back, before the function runs again. */
  readonly onRevive?: ((channel: Channel) => unknown) | undefined;
  /** Further errors after which the function is simply run again. */
  readonly retryErrors?: readonly ErrorClass[] | undefined;
}

/** What can be told of a new channel: entities, producers, consumers. */
export interface Revivable {
  /** Told of the new channel. */
  revive?(channel: Channel): unknown;
}

/** What is needed of the Connection. */
export interface RetryHost {
  ready(options: ReadyOptions): Promise<TransportConnection>;
  defaultChannel(): Channel;
}

/** See `Connection.ensure`. Throws INVALID_ARGUMENT at once for options of the wrong kind. */
export function ensured<A extends unknown[], R>(
  host: RetryHost,
  target: Revivable | undefined,
  fn: (...args: A) => R | Promise<R>,
  options: EnsureOptions,
): (...args: A) => Promise<R> {
  checkFunction('fn', fn);
  checkRetry(options);
  if (options.onRevive !== undefined) checkFunction('onRevive', options.onRevive);
  for (const type of options.retryErrors ?? []) {
    if (typeof type !== 'function') throw new InvalidArgumentError(`retryErrors must be classes, not ${show(type)}`);
  }
  return (...args) => new Attempts(host, target, options).run(() => fn(...args));
}

/** One call of an ensured function, with its budget. */
class Attempts {
  readonly #host: RetryHost;
  readonly #target: Revivable | undefined;
  readonly #options: EnsureOptions;
  readonly #deadline: Deadline;
  readonly #pauses: Generator<number, never>;
  #retries = 0;

  constructor(host: RetryHost, target: Revivable | undefined, options: EnsureOptions) {
    this.#host = host;
    this.#target = target;
    this.#options = options;
    this.#deadline = new Deadline(options.timeout);
    this.#pauses = fxrange(givenIntervals(options, DEFAULTS.ensure) ?? DEFAULTS.ensure);
  }

  async run<R>(fn: () => R | Promise<R>): Promise<R> {
    for (;;) {
      this.#options.signal?.throwIfAborted();
      try {
        return await fn();
      } catch (error) {
        await this.#recover(error);
        this.#retries++;
      }
    }
  }

  /** Resolves when the function may run again; throws when it may not. */
  async #recover(error: unknown): Promise<void> {
    const plain = this.#options.retryErrors?.some((type) => error instanceof type) === true;
    if (!plain && !isConnectionTrouble(error) && !isChannelTrouble(error)) throw error;
    const { maxRetries } = this.#options;
    if ((maxRetries !== undefined && this.#retries >= maxRetries) || this.#deadline.passed) {
      throw plain ? error : OperationalError.from(error);
    }
    // The first time at once. Where the function goes on failing on a sound connection, not in a busy loop.
    const pause = this.#retries === 0 ? 0 : this.#deadline.atMost(this.#pauses.next().value);
    if (!plain) this.#options.errback?.(asMessagingError(error), pause);
    if (pause > 0) await sleep(pause, { signal: this.#options.signal });
    if (!plain && isConnectionTrouble(error)) await this.#revive();
  }

  async #revive(): Promise<void> {
    const { maxRetries, intervalStart, intervalStep, intervalMax, errback, callback, onRevive, signal } = this.#options;
    try {
      await this.#host.ready({
        ...{ intervalStart, intervalStep, intervalMax, errback, callback, signal },
        timeout: this.#deadline.remaining,
        maxRetries: maxRetries === undefined ? undefined : Math.max(maxRetries - this.#retries, 1),
      });
    } catch (error) {
      throw isConnectionTrouble(error) ? OperationalError.from(error) : error;
    }
    const channel = this.#host.defaultChannel();
    await this.#target?.revive?.(channel);
    await onRevive?.(channel);
  }
}

/** Whether an error is of a connection, and connecting again may help. */
export function isConnectionTrouble(error: unknown): error is MessagingError {
  if (error instanceof ConnectionClosedError) return false;
  return (error instanceof ConnectionError || error instanceof TimeoutError) && error.recoverable;
}

function isChannelTrouble(error: unknown): boolean {
  return error instanceof ChannelError && error.recoverable;
}
