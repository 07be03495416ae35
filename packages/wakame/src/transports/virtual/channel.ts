import { randomUUID } from 'node:crypto';
import {
  ChannelError,
  ConsumerCancelled,
  InvalidArgumentError,
  type MessagingError,
  NotSupportedError,
} from '../../errors.js';
import type {
  ChannelEvents,
  ConsumeOptions,
  Delivery,
  DeliverySink,
  DeliveryTag,
  ExchangeBinding,
  ExchangeDeclareOptions,
  OutgoingMessage,
  PublishMode,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
  Receipt,
  Returned,
  TransportChannel,
} from '../../transport/contract.js';
import { checkInteger, show } from '../../util/check.js';
import { noop } from '../../util/noop.js';
import type { VirtualConnection } from './connection.js';
import { type ConsumingChannel, LocalConsumer, type QueueRules, rulesOf, toUnsettled } from './consumer.js';
import type { MaybePromise, Outcome, Taken } from './driver.js';
import { isPromise } from './maybe-promise.js';
import { checkName } from './outgoing.js';
import type { PublishingChannel } from './publisher.js';
import { accessRefused, connectionGone, locked, notFound, precondition, typed } from './refusals.js';
import { Unsettled, UnsettledList } from './unsettled.js';

const MOST_PREFETCH = 65_535;

/**
 * A channel of a virtual connection. Its operations run one after another; publishes and settlements go in between, in batches of their own, and
 * an operation waits for those made before it. An error rejects the call that caused it and nothing else.
 *
 * What it delivered can be settled after it has ended too, as long as the lease lasts.
 */
export class VirtualChannel implements TransportChannel, ConsumingChannel, PublishingChannel {
  readonly id: number;
  readonly connection: VirtualConnection;
  readonly unsettled = new UnsettledList();
  flowing = true;
  prefetch = 0;
  reserved = 0;
  bufferedBytes = 0;
  publishing = 0;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #loss: MessagingError | undefined;
  #closing: Promise<void> | undefined;
  readonly #events: ChannelEvents;
  readonly #consumers = new Map<string, LocalConsumer>();
  /** Prefetch of consumers to come. */
  #consumerPrefetch = 0;
  /** The last operation under way. */
  #tail: Promise<unknown> | undefined;
  /** Declared last: what AMQP means by a queue without a name. */
  #lastQueue: string | undefined;

  constructor(id: number, connection: VirtualConnection, events: ChannelEvents) {
    this.id = id;
    this.connection = connection;
    this.#events = events;
  }

  get state(): 'open' | 'closing' | 'closed' {
    return this.#state;
  }

  // Entities ───────────────────────────────────────────────────────────────────────────────────────────────────────

  exchangeDeclare(exchange: string, type: string, options: ExchangeDeclareOptions = {}): Promise<void> {
    return this.#run(() => this.connection.entities.exchangeDeclare(exchange, type, options));
  }

  exchangeDelete(exchange: string, options: { readonly ifUnused?: boolean | undefined } = {}): Promise<void> {
    return this.#run(() => this.connection.entities.exchangeDelete(exchange, options.ifUnused ?? false));
  }

  exchangeBind(binding: ExchangeBinding): Promise<void> {
    return this.#run(() => this.connection.entities.exchangeBind(binding));
  }

  exchangeUnbind(binding: ExchangeBinding): Promise<void> {
    return this.#run(() => this.connection.entities.exchangeUnbind(binding));
  }

  queueDeclare(queue: string, options: QueueDeclareOptions = {}): Promise<QueueDeclareOk> {
    return this.#run(async () => {
      const name = options.passive === true ? this.#named(queue) : queue;
      const declared = await this.connection.entities.queueDeclare(name, options);
      this.#lastQueue = declared.queue;
      return declared;
    });
  }

  queueBind(binding: QueueBinding): Promise<void> {
    return this.#run(() => this.connection.entities.queueBind({ ...binding, queue: this.#named(binding.queue) }));
  }

  queueUnbind(binding: QueueBinding): Promise<void> {
    return this.#run(() => this.connection.entities.queueUnbind({ ...binding, queue: this.#named(binding.queue) }));
  }

  queuePurge(queue: string): Promise<number> {
    return this.#run(() => this.connection.entities.queuePurge(this.#named(queue)));
  }

  queueDelete(
    queue: string,
    options: { readonly ifUnused?: boolean | undefined; readonly ifEmpty?: boolean | undefined } = {},
  ): Promise<number> {
    const { ifUnused = false, ifEmpty = false } = options;
    return this.#run(() => this.connection.entities.queueDelete(this.#named(queue), ifUnused, ifEmpty));
  }

  // Publishing ─────────────────────────────────────────────────────────────────────────────────────────────────────

  publish(message: OutgoingMessage, mode: PublishMode): Promise<void> {
    if (mode === 'confirmed') {
      return new Promise((confirmed, failed) => this.send(message, { confirmed, failed }));
    }
    if (this.#state !== 'open') return Promise.reject(this.#ended('not-sent'));
    if (this.#tail === undefined) return this.connection.publisher.write(this, message);
    let answer: Promise<void> | undefined;
    const start = this.#run(() => {
      answer = this.connection.publisher.write(this, message);
      answer.catch(noop);
    });
    return start.then(() => answer);
  }

  send(message: OutgoingMessage, receipt: Receipt): void {
    if (this.#state !== 'open') return receipt.failed(this.#ended('not-sent'));
    const { publisher } = this.connection;
    if (this.#tail === undefined) return publisher.publish(this, message, receipt);
    // Behind the operations under way; but the next operation or publish need not wait for its answer.
    const start = this.#run(() => publisher.publish(this, message, receipt));
    start.catch((error: MessagingError) => receipt.failed(error));
  }

  /** A message reached no queue. */
  returned(returned: Returned): void {
    queueMicrotask(() => {
      if (this.#state !== 'closed') this.#events.onReturned(returned);
    });
  }

  // Consuming ──────────────────────────────────────────────────────────────────────────────────────────────────────

  consume(queue: string, options: ConsumeOptions, sink: DeliverySink): Promise<string> {
    return this.#run(() => this.#consume(queue, options, sink));
  }

  async #consume(given: string, options: ConsumeOptions, sink: DeliverySink): Promise<string> {
    if (options.noLocal === true) {
      throw new NotSupportedError('noLocal: only an AMQP broker knows whose message it is');
    }
    const tag = options.consumerTag === '' ? `amq.ctag-${randomUUID()}` : checkName('consumerTag', options.consumerTag);
    if (this.#consumers.has(tag)) throw new InvalidArgumentError(`consumer tag '${tag}' is in use on this channel`);
    const { driver, dispatcher, virtualHost } = this.connection;
    const queue = this.#named(queue_(given));
    const priority = consumerPriority(options.arguments?.['x-priority']);
    // Channels number their own tags; for the store the holder's are one set.
    const record = { queue, tag: `${this.id}/${tag}`, exclusive: options.exclusive ?? false };
    const [[attached], [stat]] = await Promise.all([driver.attach([record]), driver.stat([queue])]);
    if (attached === 'missing' || attached === undefined) throw notFound('queue', queue, virtualHost);
    if (attached === 'locked') throw locked(queue, virtualHost);
    if (attached === 'refused') throw accessRefused(`queue '${queue}' in vhost '${virtualHost}' in exclusive use`);
    const prefetch = this.#consumerPrefetch;
    if (this.#loss !== undefined) throw this.#ended();
    const consumer = new LocalConsumer({
      tag,
      record,
      channel: this,
      sink,
      noAck: options.noAck ?? false,
      prefetch,
      priority,
    });
    this.#consumers.set(tag, consumer);
    try {
      await dispatcher.add(consumer, rulesOf(stat));
    } catch (error) {
      this.#consumers.delete(tag);
      await dispatcher.remove(consumer).catch(noop);
      // What went wrong first says more.
      await Promise.resolve()
        .then(() => driver.detach([record]))
        .catch(noop);
      throw error;
    }
    return tag;
  }

  cancel(consumerTag: string): Promise<void> {
    if (this.#state !== 'open') return Promise.reject(this.#ended());
    const consumer = this.#consumers.get(consumerTag);
    // From this moment, whatever is under way.
    const removed = consumer === undefined ? undefined : this.connection.dispatcher.remove(consumer);
    removed?.catch(noop);
    return this.#run(async () => {
      await removed;
      const late = this.#consumers.get(consumerTag);
      if (late === undefined) return;
      await this.connection.dispatcher.remove(late);
      this.#consumers.delete(consumerTag);
      await this.connection.driver.detach([late.record]);
    });
  }

  /** The broker deleted the queue of these. */
  cancelled(consumers: readonly LocalConsumer[]): void {
    for (const consumer of consumers) {
      if (!this.#consumers.delete(consumer.tag)) continue;
      consumer.sink.onCancel(
        new ConsumerCancelled(`consumer '${consumer.tag}' was cancelled: queue '${consumer.queue}' was deleted`),
      );
    }
  }

  credited(consumer: LocalConsumer): void {
    if (this.#state !== 'open') return;
    if (this.prefetch === 0) this.connection.dispatcher.credited(consumer);
    else for (const other of this.#consumers.values()) this.connection.dispatcher.credited(other);
  }

  async qos({ prefetch, scope }: { readonly prefetch: number; readonly scope: 'consumer' | 'channel' }): Promise<void> {
    checkInteger('prefetch', prefetch, { max: MOST_PREFETCH });
    await this.#run(() => {
      if (scope === 'consumer') {
        this.#consumerPrefetch = prefetch;
      } else {
        this.prefetch = prefetch;
        this.connection.dispatcher.creditedAll();
      }
    });
  }

  async flow(active: boolean): Promise<void> {
    await this.#run(() => {
      this.flowing = active;
      if (active) this.connection.dispatcher.creditedAll();
    });
  }

  pause(): void {
    // Messages are taken as there is room for them, and so many in a turn of the event loop.
  }

  resume(): void {
    // See above.
  }

  get(queue: string, options: { readonly noAck?: boolean | undefined } = {}): Promise<Delivery | undefined> {
    return this.#run(() => this.#get(this.#named(queue_(queue)), options.noAck ?? false));
  }

  async #get(queue: string, noAck: boolean): Promise<Delivery | undefined> {
    const { ledger, mortician, entities } = this.connection;
    // One more take after each message that died instead.
    for (;;) {
      const takenAt = performance.now();
      const [take, look] = await Promise.allSettled([this.#takeOne(queue, noAck), entities.queue(queue)]);
      if (take.status === 'rejected') throw take.reason;
      const [taken] = take.value;
      if (look.status === 'rejected' || this.#state === 'closed') {
        if (taken?.lease !== undefined) await ledger.settleLease(taken.lease, 'release');
        throw look.status === 'rejected' ? look.reason : this.#ended();
      }
      if (taken === undefined) return undefined;
      const rules = rulesOf(look.value);
      const reason = mortician.causeOfDeath(taken, rules);
      if (reason === undefined) {
        return { ...this.#toDelivery(taken, noAck, rules, takenAt), messageCount: look.value.messageCount };
      }
      await mortician.bury(taken, reason, rules);
    }
  }

  async #takeOne(queue: string, noAck: boolean): Promise<readonly Taken[]> {
    const { ledger, driver } = this.connection;
    const requestId = ledger.nextRequest();
    try {
      return await driver.take([{ queue, credit: 1, noAck }], { requestId, limit: 1, order: 'fair', waitMs: 0 });
    } catch (error) {
      ledger.unanswered(requestId);
      throw error;
    }
  }

  #toDelivery(taken: Taken, noAck: boolean, rules: QueueRules, takenAt: number): Delivery {
    const { message, redelivered, deliveryCount } = taken;
    const { body, properties, exchange, routingKey } = message;
    const delivery = { body, properties, exchange, routingKey, redelivered, deliveryCount };
    if (noAck) return { ...delivery, deliveryTag: ++this.unsettled.lastNumber };
    const item = toUnsettled(taken, this.unsettled, undefined, rules, takenAt);
    this.unsettled.add(item);
    this.connection.ledger.track(item);
    return { ...delivery, deliveryTag: item };
  }

  // Settling ───────────────────────────────────────────────────────────────────────────────────────────────────────

  ack(tag: DeliveryTag, options?: { readonly multiple?: boolean | undefined }): boolean | Promise<boolean> {
    return this.#settle(tag, 'ack', options?.multiple ?? false);
  }

  reject(
    tag: DeliveryTag,
    options: { readonly requeue: boolean; readonly multiple?: boolean | undefined },
  ): boolean | Promise<boolean> {
    return this.#settle(tag, options.requeue ? 'requeue' : 'reject', options.multiple ?? false);
  }

  async release(tags: readonly DeliveryTag[]): Promise<void> {
    const items = tags.map((tag) => {
      const item = this.#known(tag);
      if (item === undefined) throw unknownTag(tag);
      return item;
    });
    await this.#settleAll(items, 'release');
  }

  recover(): Promise<void> {
    return this.#run(async () => {
      await this.#giveBack();
    });
  }

  #settle(tag: DeliveryTag, outcome: Outcome, multiple: boolean): MaybePromise<boolean> {
    const item = this.#known(tag);
    if (item === undefined) return Promise.reject(unknownTag(tag));
    if (!multiple) return this.#settleOne(item, outcome);
    return this.#settleAll(this.unsettled.upTo(item), outcome);
  }

  #settleOne(item: Unsettled, outcome: Outcome): MaybePromise<boolean> {
    const { ledger, mortician } = this.connection;
    const { listed, state } = item;
    this.unsettled.remove(item);
    if (state === 'held') item.state = 'settled';
    const answer = outcome === 'reject' ? mortician.reject(item) : ledger.settle(item, outcome);
    item.state = 'settled';
    if (listed) item.consumer?.settled();
    return answer;
  }

  /** True when all of them were still ours. */
  #settleAll(items: readonly Unsettled[], outcome: Outcome): MaybePromise<boolean> {
    const answers = items.map((item) => this.#settleOne(item, outcome));
    if (!answers.some(isPromise)) return answers.every((ours) => ours === true);
    return Promise.all(answers).then((all) => all.every(Boolean));
  }

  /** All that is unsettled goes back to its place; whoever settles it afterwards is told that it is stale. */
  async #giveBack(): Promise<void> {
    const items = this.unsettled.upTo();
    await Promise.all(
      items.map((item) => {
        const answer = this.#settleOne(item, 'abandon');
        item.state = 'stale';
        return answer;
      }),
    );
  }

  /** The delivery of this channel's that a tag means, while it is unsettled. */
  #known(tag: DeliveryTag): Unsettled | undefined {
    return tag instanceof Unsettled && tag.owner === this.unsettled && tag.state !== 'settled' ? tag : undefined;
  }

  // End ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#state !== 'open') return;
    const earlier = this.#run(noop);
    this.#state = 'closing';
    this.flowing = false;
    const { dispatcher, driver, ledger } = this.connection;
    try {
      await earlier;
      const consumers = [...this.#consumers.values()];
      await Promise.all(consumers.map((consumer) => dispatcher.remove(consumer)));
      if (consumers.length > 0) await driver.detach(consumers.map((consumer) => consumer.record));
      await this.#giveBack();
      await ledger.flushed();
    } catch (error) {
      // The connection went meanwhile, or the store has trouble: both are told elsewhere, and leases run out by themselves.
      this.connection.problem(typed(driver, error));
    }
    this.end(undefined);
  }

  /** It is over; what it delivered may be settled still. */
  end(loss: MessagingError | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#loss = loss;
    for (const consumer of this.#consumers.values()) consumer.state = 'ended';
    this.#consumers.clear();
    this.connection.forget(this);
    queueMicrotask(() => this.#events.onClose(loss));
  }

  // Order ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs an operation after those before it, and after the publishes made before it. */
  #run<T>(operation: () => MaybePromise<T>): Promise<T> {
    if (this.#state !== 'open') return Promise.reject(this.#ended());
    const before = this.#tail ?? (this.publishing > 0 ? this.connection.publisher.idle(this) : undefined);
    const run = before === undefined ? this.#attempt(operation) : before.then(() => this.#attempt(operation));
    const tail: Promise<void> = run.then(
      () => this.#passed(tail),
      () => this.#passed(tail),
    );
    this.#tail = tail;
    return run;
  }

  async #attempt<T>(operation: () => MaybePromise<T>): Promise<T> {
    if (this.#state === 'closed') throw this.#ended();
    try {
      return await operation();
    } catch (error) {
      throw typed(this.connection.driver, error);
    }
  }

  #passed(tail: Promise<unknown>): void {
    if (this.#tail === tail) this.#tail = undefined;
  }

  #named(queue: string): string {
    if (queue !== '') return queue;
    if (this.#lastQueue === undefined) throw notFound('queue', '', this.connection.virtualHost);
    return this.#lastQueue;
  }

  #ended(outcome?: 'not-sent'): MessagingError {
    if (this.connection.state !== 'open') return connectionGone(this.#loss, outcome);
    return new ChannelError('the channel is closed', { outcome });
  }
}

function unknownTag(tag: unknown): MessagingError {
  return precondition(`unknown delivery tag ${tag instanceof Unsettled ? tag.number : show(tag)}`);
}

function consumerPriority(value: unknown): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value)) return value as number;
  throw precondition(`invalid arg 'x-priority': ${show(value)} is not an integer`);
}

/** Guards against what JavaScript callers may hand in. */
function queue_(name: string): string {
  return checkName('queue', name);
}
