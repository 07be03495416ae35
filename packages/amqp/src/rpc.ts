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

/**
 * Calls that RabbitMQ's queues answer, and not its channels: the answers may overtake, and be overtaken by, those of other calls. They
 * name the consumer.
 */
const ANSWERED_BY_QUEUE: ReadonlySet<string> = new Set(['basic.consume', 'basic.cancel']);

interface Waiter {
  readonly method: SynchronousMethodName;
  /** Of a call in {@link ANSWERED_BY_QUEUE}; empty when the server chooses it. */
  readonly consumerTag: string | undefined;
  /** Undefined once the caller was told of a deadline or abort: the answer is then dropped, or given to `late`. */
  settlement: { resolve(value: unknown): void; reject(error: unknown): void } | undefined;
  readonly late: ((reply: unknown) => void) | undefined;
  readonly site: CallSite;
  release(): void;
}

/**
 * The calls of one channel that wait for their answers. AMQP answers the synchronous methods of a channel in the order in
 * which they were sent (0-9-1 section 2.2.2), so the answers are matched by a queue; but for `basic.consume` and `basic.cancel`, see
 * {@link ANSWERED_BY_QUEUE}.
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
        consumerTag: ANSWERED_BY_QUEUE.has(method) ? tagOf(args) : undefined,
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
   * @throws UnexpectedFrame (505) when it is not the answer to a call that is due
   */
  settle(name: string, reply: unknown): void {
    const waiter = this.#waiters.find(({ method, consumerTag }) => {
      if (consumerTag === undefined) return !QUEUE_ANSWERS.has(name);
      if (!answers(method, name)) return false;
      return consumerTag === '' || consumerTag === tagOf(reply);
    });
    if (waiter === undefined || !answers(waiter.method, name)) {
      const due = waiter ?? this.#waiters[0];
      const problem = due === undefined ? 'nothing was asked' : `the answer to ${due.method} is due`;
      throw new UnexpectedFrame(`the server sent ${name}, but ${problem}`, { replyCode: 505 });
    }
    this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
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

const QUEUE_ANSWERS: ReadonlySet<string> = new Set(['basic.consume-ok', 'basic.cancel-ok']);

function answers(method: SynchronousMethodName, name: string): boolean {
  const expected: readonly string[] = METHODS[method].replies;
  return expected.includes(name);
}

function tagOf(fields: unknown): string {
  return (fields as { readonly consumerTag?: string | undefined } | undefined)?.consumerTag ?? '';
}
