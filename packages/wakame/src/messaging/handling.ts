import { DEFAULTS } from '../connection/defaults.js';
import type { MessagingError } from '../errors.js';
import { debug, type ProcessContext, type ReceiveContext, tracing } from '../tracing.js';
import { type BackoffOptions, jitteredBackoff } from '../util/backoff.js';
import { checkOneOf, show } from '../util/check.js';
import { Attempts, countedByBroker } from './attempts.js';
import { type Decoding, decodeMessage } from './decode.js';
import { deliveryOf, type Message, tracedDelivery } from './message.js';

/** `manual`: handlers settle. `auto`: acknowledged when the handler resolves, or the iterator is asked for the next. */
export type SettleMode = 'manual' | 'auto';

/** What becomes of a message whose handler failed. */
export type FailureDecision = (typeof DECISIONS)[number];
const DECISIONS = ['requeue', 'reject', 'ack'] as const;

/** What is known of a failure, for `onHandlerError`. */
export interface FailureInfo {
  /** How often a handler has failed on this message, this time included. */
  readonly attempts: number;
  /** The attempt after which it is rejected for good. */
  readonly maxAttempts: number;
}

/** What to do about messages that could not be read or handled. */
export interface FailurePolicy<T> {
  /**
   * Decides about a message that cannot be decoded, is not accepted or does not fit the schema. It settles the message
   * itself; one left unsettled when it returns (or its promise resolves) is rejected without requeue. Without it: event
   * `decodeError`, and rejected without requeue.
   */
  readonly onDecodeError?: ((message: Message, error: MessagingError) => unknown) | undefined;
  /**
   * Decides about a message whose handler failed: returns (or resolves with) `requeue` (after the back-off), `reject`
   * (without requeue) or `ack`, or settles the message itself. Nothing returned: requeue while `attempts` is below `maxAttempts`, then reject.
   */
  readonly onHandlerError?:
    | ((
        message: Message<T>,
        error: unknown,
        info: FailureInfo,
      ) => FailureDecision | undefined | void | Promise<FailureDecision | undefined | void>)
    | undefined;
  /** Failed attempts after which a message is rejected without requeue; `Infinity`: never. Default 10. */
  readonly maxAttempts?: number | undefined;
  /** Pause in milliseconds before a message whose handler failed is requeued: `start` 250, times `factor` 2, at most `max` 30 000. */
  readonly backoff?: Omit<BackoffOptions, 'random'> | undefined;
}

/** Who hears of failures. None may throw. */
export interface FailureReports<T> {
  decodeError(error: MessagingError, message: Message): void;
  /** `isUnforeseen`: there is no `onHandlerError` to deal with it, or it is that which failed. */
  handlerError(error: unknown, message: Message<T>, info: FailureInfo, isUnforeseen: boolean): void;
}

/**
 * Takes one message through decoding and its handler to its settling, whatever happens on the way:
 *
 * ```
 *  delivery ─▶ decode ─▶ handler ─▶ resolved: ack when `auto`
 *                │          └─────▶ failed: report, ask, then  requeue (after a back-off) ⋅ reject ⋅ ack
 *                └─▶ failed: report or ask, then reject
 * ```
 *
 * Nothing here rejects or throws: a handler's exception reaches neither the transport nor the process.
 */
export class Handling<T> {
  readonly #auto: boolean;
  readonly #policy: FailurePolicy<T>;
  readonly #maxAttempts: number;
  readonly #reports: FailureReports<T>;
  readonly #attempts = new Attempts();
  /** Messages that wait to be requeued. */
  readonly #waiting = new Map<Message<T>, NodeJS.Timeout>();
  #hurried = false;

  constructor(settle: SettleMode, policy: FailurePolicy<T>, reports: FailureReports<T>) {
    this.#auto = settle === 'auto';
    this.#policy = policy;
    this.#maxAttempts = policy.maxAttempts ?? DEFAULTS.maxAttempts;
    this.#reports = reports;
  }

  /** Decodes the message. False: it could not be read, and has been dealt with. */
  read(
    message: Message<T>,
    decoding: Decoding<T>,
    recipient: ReceiveContext['recipient'],
    before: number = this.#attempts.take(deliveryOf(message)),
  ): boolean | Promise<boolean> {
    const failure = decodeMessage(message, decoding, recipient);
    if (failure === undefined) return true;
    if (!(failure instanceof Promise)) return this.#unreadable(message, failure, before);
    return failure.then((error) => (error === undefined ? true : this.#unreadable(message, error, before)));
  }

  /** Decodes and handles the message. A promise while anything is at work, undefined when all is done. */
  run(
    message: Message<T>,
    decoding: Decoding<T>,
    handler: (message: Message<T>) => unknown,
  ): Promise<void> | undefined {
    const before = this.#attempts.take(deliveryOf(message));
    const readable = this.read(message, decoding, 'handler', before);
    if (readable === true) return this.#handle(message, handler, before);
    if (readable === false) return undefined;
    return readable.then((ok) => (ok ? this.#handle(message, handler, before) : undefined));
  }

  /** No more back-offs: what waits is requeued now, and what fails from now on at once. */
  hurry(): void {
    this.#hurried = true;
    for (const [message, timer] of this.#waiting) {
      clearTimeout(timer);
      if (message.state === 'RECEIVED') void message.requeue();
    }
    this.#waiting.clear();
  }

  /** Back-offs are kept again. */
  resume(): void {
    this.#hurried = false;
  }

  #handle(message: Message<T>, handler: (message: Message<T>) => unknown, before: number): Promise<void> | undefined {
    let result: unknown;
    try {
      result = tracing.process.hasSubscribers ? traced(message, handler) : handler(message);
    } catch (error) {
      return this.#failed(message, error, before);
    }
    if (!isThenable(result)) return this.#done(message);
    // Not every thenable is a promise: an exception in its `then` is the handler's failure too.
    return Promise.resolve(result).then(
      () => this.#done(message),
      (error: unknown) => this.#failed(message, error, before),
    );
  }

  #done(message: Message<T>): undefined {
    // Not waited for: the next message need not wait for the answer, and `ack` cannot reject here.
    if (this.#auto && message.state === 'RECEIVED') void message.ack();
    return undefined;
  }

  async #failed(message: Message<T>, error: unknown, before: number): Promise<void> {
    const delivery = deliveryOf(message);
    const attempts = Math.max(before, countedByBroker(delivery)) + 1;
    const info: FailureInfo = { attempts, maxAttempts: this.#maxAttempts };
    if (debug.enabled)
      debug('handler failed on message of queue %s, attempt %d: %s', message.queue, attempts, show(error));
    this.#reports.handlerError(error, message, info, this.#policy.onHandlerError === undefined);
    const decision = (await this.#ask(message, error, info)) ?? (attempts >= this.#maxAttempts ? 'reject' : 'requeue');
    if (message.state !== 'RECEIVED') return;
    switch (decision) {
      case 'ack':
        void message.ack();
        return;
      case 'reject':
        void message.reject();
        return;
      case 'requeue':
        this.#attempts.requeued(delivery, attempts);
        this.#requeueLater(message, attempts);
    }
  }

  async #ask(message: Message<T>, error: unknown, info: FailureInfo): Promise<FailureDecision | undefined> {
    const { onHandlerError } = this.#policy;
    if (onHandlerError === undefined) return undefined;
    try {
      const answer = await onHandlerError(message, error, info);
      return typeof answer === 'string' ? checkOneOf('the answer of onHandlerError', answer, DECISIONS) : undefined;
    } catch (hookError) {
      this.#reports.handlerError(hookError, message, info, true);
      return undefined;
    }
  }

  #requeueLater(message: Message<T>, attempts: number): void {
    if (this.#hurried) {
      void message.requeue();
      return;
    }
    const timer = setTimeout(
      () => {
        this.#waiting.delete(message);
        if (message.state === 'RECEIVED') void message.requeue();
      },
      jitteredBackoff(attempts - 1, this.#policy.backoff),
    );
    // Whoever keeps the process alive to receive keeps it alive for this as well.
    timer.unref();
    this.#waiting.set(message, timer);
  }

  #unreadable(message: Message<T>, error: MessagingError, before: number): false | Promise<false> {
    const { onDecodeError } = this.#policy;
    if (debug.enabled) debug('cannot read message of queue %s: %s', message.queue, error.message);
    if (onDecodeError !== undefined) return this.#askAboutUnreadable(message, error, onDecodeError, before);
    this.#reports.decodeError(error, message);
    if (message.state === 'RECEIVED') void message.reject();
    return false;
  }

  async #askAboutUnreadable(
    message: Message<T>,
    error: MessagingError,
    onDecodeError: (message: Message, error: MessagingError) => unknown,
    before: number,
  ): Promise<false> {
    try {
      await onDecodeError(message, error);
    } catch (hookError) {
      // The one who was to keep the message somewhere could not: that is a handler's failure, to be tried again.
      await this.#failed(message, hookError, before);
      return false;
    }
    if (message.state === 'RECEIVED') void message.reject();
    return false;
  }
}

/** Calls the handler, and tells `wakame:process`. */
export function traced<T, R>(message: Message<T>, handler: (message: Message<T>) => R | PromiseLike<R>): Promise<R> {
  const context: ProcessContext = tracedDelivery(message);
  return tracing.process.tracePromise(async () => {
    return await (context.within === undefined ? handler(message) : context.within(() => handler(message)));
  }, context);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
