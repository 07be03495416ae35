import { MessageNacked, type MessagingError, UnroutableError } from '../../errors.js';
import type { OutgoingMessage, Receipt, Returned } from '../../transport/contract.js';
import { type Deferred, deferred } from '../../util/deferred.js';
import { type DeathReason, deadLetter, isCycle } from './dead-letters/death.js';
import type { Driver, MaybePromise, Outbound, QueueStat, SendResult, StoredMessage } from './driver.js';
import { isPromise } from './maybe-promise.js';
import { checkOutgoing, expiryOf } from './outgoing.js';
import { type DeadLetterPolicy, deadLetterPolicy } from './queue-arguments.js';
import { accessRefused, connectionGone, notFound, typed, withOutcome } from './refusals.js';
import type { Route, Router } from './routing/router.js';
import { nextTurn, TURN } from './turn.js';

/** `written` publishes wait while more bytes than this are on their way to the store. */
const WINDOW = 16 * 1024 * 1024;
const DONE = Promise.resolve();

/** What the publisher keeps for the channel that a message was published on. */
export interface PublishingChannel {
  /** Bytes on their way to the store. */
  bufferedBytes: number;
  /** Messages on their way to the store. */
  publishing: number;
  returned(returned: Returned): void;
}

/** A message on its way. */
interface Item {
  /** Undefined: a dead letter. */
  readonly channel: PublishingChannel | undefined;
  readonly message: StoredMessage;
  readonly unroutable: OutgoingMessage['unroutable'];
  readonly notBefore: number | undefined;
  readonly transaction: unknown;
  /** Set for a dead letter. */
  readonly death: DeathReason | undefined;
  /** Undefined when its publish was answered already (`written`). */
  readonly receipt: Receipt | undefined;
  /** It found no queue, and the shared table was asked again. */
  lookedAgain: boolean;
}

/** An item's part of a batch: the results from `start` on. */
interface Part {
  readonly item: Item;
  readonly queues: readonly string[];
  readonly broadcasts: readonly string[];
  readonly start: number;
  readonly broadcastStart: number;
}

interface Batch {
  readonly transaction: unknown;
  readonly parts: Part[];
  readonly outbounds: Outbound[];
  readonly broadcasts: StoredMessage[];
  readonly broadcastTo: string[];
}

interface Waiter {
  readonly channel: PublishingChannel;
  readonly answer: Deferred<void>;
}

export interface PublisherOptions {
  readonly driver: Driver;
  readonly router: Router;
  readonly virtualHost: string;
  /** Kombu's `deadletter_queue`: takes what no queue takes. */
  readonly deadletterQueue: string | undefined;
  /** Told of what goes wrong with messages that nobody waits for any more. */
  readonly problem: (error: MessagingError) => void;
}

/**
 * Brings messages to the store: routes them, sends what was published in one tick as one batch, and answers each publish. Where the
 * driver is synchronous and nothing is on its way, it happens within the call.
 *
 * ```
 *   publish ─▶ outbox ─(end of tick)─▶ routes known? ─▶ send ─▶ answers
 *                ▲                         │ no: ask the table       │ no queue: ask the table again, once
 *                └── later ones wait ◀─────┘                         └─▶ unroutable: reject, report or ignore
 * ```
 */
export class Publisher {
  readonly #driver: Driver;
  readonly #router: Router;
  readonly #options: PublisherOptions;
  #outbox: Item[] = [];
  #flushScheduled = false;
  /** A batch waits for the table. */
  #routing = false;
  #gone = false;
  #loss: MessagingError | undefined;
  #idleWaiters: Waiter[] = [];
  #windowWaiters: Waiter[] = [];
  #deadletterQueueStands = false;
  /** Published on the spot since the event loop had its last turn. */
  #sinceTurn = 0;
  /** Those who hear of it in the next turn of the event loop. */
  #inNextTurn: Receipt[] = [];

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#driver = options.driver;
    this.#router = options.router;
  }

  /** See `TransportChannel.send`. */
  publish(channel: PublishingChannel, message: OutgoingMessage, receipt: Receipt): void {
    const refusal = this.#refusalToSend(message);
    if (refusal !== undefined) return receipt.failed(refusal);
    if (this.#driver.features.synchronous && this.#outbox.length === 0 && !this.#routing) {
      let isDone: boolean;
      try {
        isDone = this.#publishNow(channel, message, receipt);
      } catch (error) {
        return receipt.failed(this.#typed(error, 'not-sent'));
      }
      if (isDone) return;
    }
    this.#enqueue(toItem(channel, message, receipt));
  }

  /** See `TransportChannel.publish`, mode `written`. */
  write(channel: PublishingChannel, message: OutgoingMessage): Promise<void> {
    const refusal = this.#refusalToSend(message);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#enqueue(toItem(channel, message, undefined));
    if (channel.bufferedBytes <= WINDOW) return DONE;
    const answer = deferred();
    this.#windowWaiters.push({ channel, answer });
    return answer.promise;
  }

  /** Sends a dead letter to where its queue's policy says. Resolves when it is there, or has nowhere to go. */
  bury(message: StoredMessage, queue: string, reason: DeathReason, policy: DeadLetterPolicy): Promise<void> {
    if (this.#gone) return Promise.reject(connectionGone(this.#loss, 'not-sent'));
    const answer = deferred();
    this.#enqueue({
      channel: undefined,
      message: deadLetter(message, queue, reason, policy, new Date()),
      unroutable: 'ignore',
      notBefore: undefined,
      transaction: undefined,
      death: reason,
      receipt: { confirmed: answer.resolve, failed: answer.reject },
      lookedAgain: false,
    });
    return answer.promise;
  }

  /** Resolves when nothing of this channel's is on its way. */
  idle(channel: PublishingChannel): Promise<void> {
    if (channel.publishing === 0) return DONE;
    const answer = deferred();
    this.#idleWaiters.push({ channel, answer });
    return answer.promise;
  }

  /** The incarnation has ended: what was not handed to the store never will be. */
  end(loss: MessagingError | undefined): void {
    this.#gone = true;
    this.#loss = loss;
    const outbox = this.#outbox;
    this.#outbox = [];
    for (const { answer } of this.#windowWaiters.splice(0)) answer.reject(connectionGone(loss, 'unknown'));
    this.#rejectAll(outbox, connectionGone(loss, 'not-sent'));
  }

  #refusalToSend(message: OutgoingMessage): MessagingError | undefined {
    return (
      checkOutgoing(message, this.#driver.features) ?? (this.#gone ? connectionGone(this.#loss, 'not-sent') : undefined)
    );
  }

  /** Within the call, when all that is needed is known; false: it must go the long way. */
  #publishNow(channel: PublishingChannel, message: OutgoingMessage, receipt: Receipt): boolean {
    const route = this.#router.route(message);
    if (route === undefined || isPromise(route) || route.internal || route.broadcasts.length > 0) return false;
    const { queues } = route;
    const [queue] = queues;
    if (queue === undefined || message.transaction !== undefined) return false;
    const outbounds =
      queues.length === 1
        ? [toOutbound(queue, message, message.notBefore)]
        : queues.map((name) => toOutbound(name, message, message.notBefore));
    const results = this.#driver.send(outbounds) as readonly SendResult[];
    for (const result of results) {
      if (result === 'stored') continue;
      const item = toItem(channel, message, receipt);
      this.#begin(item);
      this.#answerOne({ item, queues, broadcasts: [], start: 0, broadcastStart: 0 }, results, []);
      return true;
    }
    if (++this.#sinceTurn < TURN) receipt.confirmed();
    else this.#confirmLater(receipt);
    return true;
  }

  /** Answers later than need be, so that a loop of awaited publishes is not all that happens in the process. */
  #confirmLater(receipt: Receipt): void {
    this.#inNextTurn.push(receipt);
    if (this.#inNextTurn.length > 1) return;
    nextTurn(() => {
      this.#sinceTurn = 0;
      const receipts = this.#inNextTurn;
      this.#inNextTurn = [];
      for (const one of receipts) one.confirmed();
    });
  }

  #enqueue(item: Item): void {
    this.#begin(item);
    this.#outbox.push(item);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      if (!this.#routing) this.#flush();
    });
  }

  #begin({ channel, message }: Item): void {
    if (channel === undefined) return;
    channel.publishing++;
    channel.bufferedBytes += message.body.length;
  }

  // Routing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #flush(): void {
    while (this.#outbox.length > 0) {
      const items = this.#outbox;
      this.#outbox = [];
      const routes = items.map((item) => this.#routeOf(item));
      if (!routes.some(isPromise)) {
        this.#sendRouted(items, routes as (Route | undefined | Failure)[]);
        continue;
      }
      this.#routing = true;
      void Promise.all(routes).then((known) => {
        this.#routing = false;
        this.#sendRouted(items, known);
        this.#flush();
      });
      return;
    }
  }

  #routeOf(item: Item): MaybePromise<Route | undefined | Failure> {
    try {
      const route = this.#router.route(item.message, item.lookedAgain);
      return isPromise(route) ? route.catch((error: unknown) => new Failure(error)) : route;
    } catch (error) {
      return new Failure(error);
    }
  }

  /** Those that found no queue, or lost it meanwhile: once more, with what the shared table says now. */
  #lookAgain(items: readonly Item[]): void {
    if (items.length === 0) return;
    for (const item of items) item.lookedAgain = true;
    void Promise.all(items.map((item) => this.#routeOf(item))).then((routes) => this.#sendRouted(items, routes));
  }

  #sendRouted(items: readonly Item[], routes: readonly (Route | undefined | Failure)[]): void {
    if (this.#gone) return this.#rejectAll(items, connectionGone(this.#loss, 'not-sent'));
    const { sendBatch = Number.POSITIVE_INFINITY } = this.#driver.features;
    const again: Item[] = [];
    let batch: Batch | undefined;
    for (const [i, item] of items.entries()) {
      const route = routes[i];
      if (route instanceof Failure) {
        this.#reject(item, this.#typed(route.error, 'not-sent'));
        continue;
      }
      const queues = queuesOf(item, route);
      const isLost = queues.length === 0 && (route?.broadcasts.length ?? 0) === 0;
      if (isLost && canLookAgain(item)) {
        again.push(item);
        continue;
      }
      const refusal = this.#refusalOf(item, route);
      if (refusal !== undefined || isLost) {
        if (refusal !== undefined) this.#reject(item, refusal);
        else this.#unroutable(item);
        continue;
      }
      if (batch === undefined || batch.transaction !== item.transaction || batch.outbounds.length >= sendBatch) {
        if (batch !== undefined) this.#send(batch);
        batch = emptyBatch(item.transaction);
      }
      addTo(batch, item, queues, route?.broadcasts ?? []);
    }
    if (batch !== undefined) this.#send(batch);
    this.#lookAgain(again);
  }

  #refusalOf(item: Item, route: Route | undefined): MessagingError | undefined {
    const { exchange } = item.message;
    // A dead letter without a way is dropped, as RabbitMQ does; and it may go to an internal exchange.
    if (item.death !== undefined) return undefined;
    const { virtualHost } = this.#options;
    if (route === undefined) return refused(notFound('exchange', exchange, virtualHost));
    if (!route.internal) return undefined;
    return refused(accessRefused(`cannot publish to internal exchange '${exchange}' in vhost '${virtualHost}'`));
  }

  // Sending ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #send(batch: Batch): void {
    let results: MaybePromise<readonly SendResult[]>;
    let receivers: MaybePromise<readonly (number | undefined)[]> = [];
    try {
      results = batch.outbounds.length === 0 ? [] : this.#sendStored(batch);
      if (batch.broadcasts.length > 0) {
        const { broadcast, herald } = this.#driver;
        receivers = (broadcast ?? herald)?.publish(batch.broadcasts, batch.broadcastTo) ?? [];
      }
    } catch (error) {
      return this.#failed(batch, this.#typed(error, 'not-sent'));
    }
    if (!isPromise(results) && !isPromise(receivers)) return this.#answerAll(batch, results, receivers);
    Promise.all([results, receivers]).then(
      ([stored, received]) => this.#answerAll(batch, stored, received),
      (error: unknown) => this.#failed(batch, this.#typed(error, 'unknown')),
    );
  }

  #failed({ parts, transaction }: Batch, error: MessagingError): void {
    // Which of them cannot be written, nobody says: it shall be that one alone.
    if (error.code === 'ENCODE_FAILED' && parts.length > 1) {
      for (const { item, queues, broadcasts } of parts) {
        const alone = emptyBatch(transaction);
        addTo(alone, item, queues, broadcasts);
        this.#send(alone);
      }
      return;
    }
    error.outcome = error.code === 'ENCODE_FAILED' ? 'not-sent' : error.outcome;
    for (const { item } of parts) this.#reject(item, error);
  }

  #sendStored({ outbounds, transaction }: Batch): MaybePromise<readonly SendResult[]> {
    return transaction === undefined ? this.#driver.send(outbounds) : this.#driver.send(outbounds, { transaction });
  }

  #answerAll(batch: Batch, results: readonly SendResult[], receivers: readonly (number | undefined)[]): void {
    for (const part of batch.parts) this.#answerOne(part, results, receivers);
  }

  #answerOne(part: Part, results: readonly SendResult[], receivers: readonly (number | undefined)[]): void {
    const { item, queues, broadcasts } = part;
    if (queues.length === 1 && results[part.start] === 'stored') return this.#finish(item);
    const full = queues.filter((_, i) => results[part.start + i] === 'full');
    if (full.length > 0 && item.death === undefined) return void this.#refuse(item, full);
    const reached =
      queues.some((_, i) => results[part.start + i] !== 'missing') ||
      broadcasts.some((_, i) => receivers[part.broadcastStart + i] !== 0);
    if (reached) this.#finish(item);
    else if (canLookAgain(item)) this.#lookAgain([item]);
    else this.#unroutable(item);
  }

  /** A queue is at its limit: the message is nacked. With `reject-publish-dlx` it is a dead letter too. */
  async #refuse(item: Item, full: readonly string[]): Promise<void> {
    const names = full.map((name) => `'${name}'`).join(', ');
    try {
      const stats = await this.#driver.stat(full);
      for (const stat of stats) await this.#buryRefused(item, stat);
    } catch (error) {
      this.#options.problem(this.#typed(error, undefined));
    }
    this.#reject(item, new MessageNacked(`refused by queue ${names}: at its maximum length`, { outcome: 'refused' }));
  }

  #buryRefused({ message }: Item, stat: QueueStat | undefined): Promise<void> {
    const policy = deadLetterPolicy(stat?.options);
    if (stat?.options?.overflow !== 'reject-publish-dlx' || policy === undefined) return DONE;
    return this.bury(message, stat.name, 'maxlen', policy);
  }

  /** No queue took it. */
  #unroutable(item: Item): void {
    const { deadletterQueue } = this.#options;
    const { exchange, routingKey, body, properties } = item.message;
    if (item.death === undefined && deadletterQueue !== undefined) {
      return void this.#sendToDeadletterQueue(item, deadletterQueue);
    }
    const returned = { replyCode: 312, replyText: 'NO_ROUTE', exchange, routingKey };
    if (item.unroutable === 'reject' && item.receipt !== undefined) {
      return this.#reject(item, new UnroutableError(returned));
    }
    if (item.unroutable !== 'ignore') item.channel?.returned({ ...returned, body, properties });
    this.#finish(item);
  }

  /** Kombu's `deadletter_queue`, which is made when first needed. */
  async #sendToDeadletterQueue(item: Item, queue: string): Promise<void> {
    try {
      if (!this.#deadletterQueueStands) {
        const options = { durable: true, autoDelete: false, deadLetter: false, arguments: {} };
        await this.#driver.declare([{ name: queue, options }]);
        this.#deadletterQueueStands = true;
      }
      await this.#driver.send([toOutbound(queue, item.message, item.notBefore)]);
    } catch (error) {
      return this.#reject(item, this.#typed(error, 'unknown'));
    }
    this.#finish(item);
  }

  // Answers ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #finish(item: Item): void {
    this.#leave(item);
    item.receipt?.confirmed();
  }

  #reject(item: Item, error: MessagingError): void {
    this.#leave(item);
    if (item.receipt !== undefined) item.receipt.failed(error);
    else if (!this.#gone) this.#options.problem(error);
  }

  #rejectAll(items: readonly Item[], error: MessagingError): void {
    for (const item of items) this.#reject(item, error);
  }

  #leave({ channel, message }: Item): void {
    if (channel === undefined) return;
    channel.publishing--;
    channel.bufferedBytes -= message.body.length;
    if (this.#idleWaiters.length > 0 && channel.publishing === 0) {
      this.#idleWaiters = release(this.#idleWaiters, channel);
    }
    if (this.#windowWaiters.length > 0 && channel.bufferedBytes <= WINDOW) {
      this.#windowWaiters = release(this.#windowWaiters, channel);
    }
  }

  #typed(error: unknown, outcome: MessagingError['outcome']): MessagingError {
    const reason = typed(this.#driver, error);
    // A driver that says what became of the message knows better.
    return withOutcome(reason, reason.outcome ?? outcome);
  }
}

/** What came of a look at the table instead of a route. */
class Failure {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

function toItem(channel: PublishingChannel, message: OutgoingMessage, receipt: Receipt | undefined): Item {
  const { unroutable, notBefore, transaction } = message;
  return { channel, message, unroutable, notBefore, transaction, death: undefined, receipt, lookedAgain: false };
}

function toOutbound(queue: string, message: StoredMessage, notBefore: number | undefined): Outbound {
  return { queue, message, expiresAt: expiryOf(message.properties, notBefore), notBefore };
}

function emptyBatch(transaction: unknown): Batch {
  return { transaction, parts: [], outbounds: [], broadcasts: [], broadcastTo: [] };
}

function addTo(batch: Batch, item: Item, queues: readonly string[], broadcasts: readonly string[]): void {
  const { outbounds, broadcasts: messages } = batch;
  batch.parts.push({ item, queues, broadcasts, start: outbounds.length, broadcastStart: messages.length });
  for (const queue of queues) outbounds.push(toOutbound(queue, item.message, item.notBefore));
  for (const exchange of broadcasts) {
    messages.push(item.message);
    batch.broadcastTo.push(exchange);
  }
}

/** A dead letter does not go where it would go round for ever. */
function queuesOf(item: Item, route: Route | undefined): readonly string[] {
  if (route === undefined) return [];
  const { death, message } = item;
  return death === undefined ? route.queues : route.queues.filter((queue) => !isCycle(message, queue, death));
}

/** The default exchange has nothing to look up. */
function canLookAgain(item: Item): boolean {
  return !item.lookedAgain && item.message.exchange !== '';
}

function refused(error: MessagingError): MessagingError {
  error.outcome = 'refused';
  return error;
}

/** Lets go those who wait for this channel; gives the others. */
function release(waiters: readonly Waiter[], channel: PublishingChannel): Waiter[] {
  for (const waiter of waiters) if (waiter.channel === channel) waiter.answer.resolve();
  return waiters.filter((waiter) => waiter.channel !== channel);
}
