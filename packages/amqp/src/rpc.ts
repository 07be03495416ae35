import { blame, type CallSite, callSite, copyError } from './error-copies.js';
import { type MessagingError, TimeoutError, UnexpectedFrame } from './errors.js';
import { duration } from './parameters.js';
import { METHODS } from './protocol/spec.js';
import type { MethodArguments, MethodInput, ReplyName, SynchronousMethodName } from './protocol/types.js';

/** What every method that has an answer takes. */
export interface CallOptions {
  /**
   * Deadline in milliseconds for the answer; 0: none. Default: the connection's `rpcTimeout`. A call that is over its
   * deadline, or aborted, is not undone: the broker may still do what was asked. Its late answer is taken off the
   * channel unseen, so the channel stays usable.
   */
  timeout?: number | undefined;
  /** Ends the wait: the call rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
}

/** The value that a call resolves with: the fields of its answer. */
export type Reply<N extends SynchronousMethodName> = MethodArguments<ReplyName<N>>;

interface Waiter {
  readonly method: SynchronousMethodName;
  /** Undefined once the caller was told of a deadline or abort: the answer is then dropped, or given to `late`. */
  settlement: { resolve(value: unknown): void; reject(error: unknown): void } | undefined;
  readonly late: ((reply: unknown) => void) | undefined;
  readonly site: CallSite;
  release(): void;
}

/**
 * The calls of one channel that wait for their answers. AMQP answers the synchronous methods of a channel in the order in
 * which they were sent (0-9-1 section 2.2.2), so the answers are matched by a queue.
 */
export class RpcQueue {
  readonly #defaultTimeout: number;
  #waiters: Waiter[] = [];
  readonly #idle: (() => void)[] = [];

  constructor(defaultTimeout: number) {
    this.#defaultTimeout = defaultTimeout;
  }

  /**
   * Sends a method and waits for its answer.
   *
   * @param send encodes the method; what it throws rejects the call, and nothing is queued
   * @param late gets the answer that came after the caller was told that it did not
   */
  call<N extends SynchronousMethodName>(
    method: N,
    args: MethodInput<N>,
    send: (method: N, args: MethodInput<N>) => void,
    { timeout = this.#defaultTimeout, signal }: CallOptions = {},
    late?: ((reply: unknown) => void) | undefined,
  ): Promise<unknown> {
    const site = callSite(this.call);
    return new Promise<unknown>((resolve, reject) => {
      duration('timeout', timeout);
      signal?.throwIfAborted();
      send(method, args);
      const giveUp = (error: unknown): void => {
        waiter.release();
        waiter.settlement = undefined;
        reject(error);
        this.#tellIdle();
      };
      const onAbort = (): void => giveUp(signal?.reason);
      const timer =
        timeout === 0
          ? undefined
          : setTimeout(
              () => giveUp(blame(new TimeoutError(`no answer to ${method} within ${timeout} ms`), site)),
              timeout,
            ).unref();
      const waiter: Waiter = {
        method,
        settlement: { resolve, reject },
        late,
        site,
        release: () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /**
   * An answer came.
   *
   * @throws UnexpectedFrame (505) when it is not the answer to the oldest call
   */
  settle(name: string, reply: unknown): void {
    const waiter = this.#waiters[0];
    const expected: readonly string[] = waiter === undefined ? [] : METHODS[waiter.method].replies;
    if (waiter === undefined || !expected.includes(name)) {
      const problem = waiter === undefined ? 'nothing was asked' : `the answer to ${waiter.method} is due`;
      throw new UnexpectedFrame(`the server sent ${name}, but ${problem}`, { replyCode: 505 });
    }
    this.#waiters.shift();
    waiter.release();
    if (waiter.settlement === undefined) waiter.late?.(reply);
    else waiter.settlement.resolve(reply);
    this.#tellIdle();
  }

  /** The channel is over: every call rejects, with its caller's stack. */
  failAll(error: MessagingError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { settlement, release, site } of waiters) {
      release();
      settlement?.reject(blame(copyError(error), site));
    }
    this.#tellIdle();
  }

  /** Resolves when nobody waits for an answer; answers that nobody waits for any more may still be due. */
  idle(): Promise<void> {
    if (!this.#busy()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #busy(): boolean {
    return this.#waiters.some(({ settlement }) => settlement !== undefined);
  }

  #tellIdle(): void {
    if (this.#idle.length === 0 || this.#busy()) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
