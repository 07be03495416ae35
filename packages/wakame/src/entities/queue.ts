import type { WaitOptions } from '../connection/managed-channel.js';
import type { Topology } from '../connection/topology.js';
import { InvalidArgumentError, NotBoundError } from '../errors.js';
import { fetchMessage, type GetOptions } from '../messaging/get.js';
import type { Message } from '../messaging/message.js';
import type { StandardSchemaV1 } from '../messaging/schema.js';
import { type SubscribeOptions, subscribe } from '../messaging/subscribe.js';
import type { Arguments, QueueBinding, QueueDeclareOk } from '../transport/contract.js';
import { checkBoolean, checkFunction, checkString, show } from '../util/check.js';
import { warnOnce } from '../util/warnings.js';
import { Binding } from './binding.js';
import { checkArguments, checkName, sameArguments } from './checks.js';
import { declareExchange, nameOf } from './declare.js';
import { type BindOptions, type DeclareOptions, Exchange } from './exchange.js';
import {
  checkQueueOptions,
  declarationArguments,
  optionsFromObject,
  type QueueObject,
  type QueueOptions,
} from './queue-options.js';
import { boundTarget, type ChannelOrConnection, channelOf, checkTarget } from './target.js';

/**
 * The description of a queue (`kombu.Queue`). It never changes. {@link Queue.bind} gives a copy that belongs to a connection
 * and can declare, fetch, consume and delete; on an unbound one these throw NOT_BOUND.
 *
 * `T` is the type of its messages' payloads: inferred from `schema`, or stated (`new Queue<Video>('video')`), else `unknown`.
 *
 * With the empty name the broker chooses one when it is declared; the bound copy then has it as `name`, also after a
 * recovery has changed it.
 */
export class Queue<T = unknown> {
  readonly exchange: Exchange | undefined;
  readonly routingKey: string;
  readonly bindings: readonly Binding[];
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly noAck: boolean;
  readonly noDeclare: boolean;
  /** Arguments of the declaration, with `expires`, `messageTtl` … among them. */
  readonly queueArguments: Arguments | undefined;
  readonly bindingArguments: Arguments | undefined;
  readonly consumerArguments: Arguments | undefined;
  readonly onDeclared: ((declared: QueueDeclareOk) => void) | undefined;
  readonly alias: string | undefined;
  readonly schema: StandardSchemaV1<unknown, T> | undefined;
  /** What it is bound to. */
  readonly channel: ChannelOrConnection | undefined;

  /** As given: empty when the broker chooses. */
  private readonly givenName: string;
  /** What the broker chose; each bound copy has its own. */
  private readonly chosen: { name: string };

  /**
   * Throws INVALID_ARGUMENT for a name or key above 255 bytes, an unknown option, a value of the wrong kind.
   *
   * With `bindings`, `exchange` and `routingKey` have no part, as in Kombu; giving both is warned of.
   */
  constructor(name = '', options: QueueOptions<T> = {}) {
    checkQueueOptions(options);
    this.givenName = checkName('queue name', name);
    this.chosen = { name: '' };
    this.bindings = Object.freeze([...(options.bindings ?? [])]);
    for (const item of this.bindings) {
      if (!(item instanceof Binding)) throw new InvalidArgumentError(`bindings must hold bindings, not ${show(item)}`);
    }
    this.exchange = this.bindings.length > 0 ? undefined : asExchange(options.exchange);
    if (this.bindings.length > 0 && options.exchange !== undefined) {
      const text = `queue '${name}' is not bound to exchange '${nameOf(options.exchange)}', because it has bindings`;
      warnOnce(`queue-exchange-and-bindings:${name}`, `${text}: add binding(exchange, { routingKey }) to them`);
    }
    this.routingKey = checkName('routingKey', options.routingKey ?? '');
    this.durable = checkBoolean('durable', options.durable ?? true);
    this.exclusive = checkBoolean('exclusive', options.exclusive ?? false);
    this.autoDelete = checkBoolean('autoDelete', options.autoDelete ?? false) || this.exclusive;
    this.noAck = checkBoolean('noAck', options.noAck ?? false);
    this.noDeclare = checkBoolean('noDeclare', options.noDeclare ?? false);
    this.queueArguments = declarationArguments(options);
    this.bindingArguments = checkArguments('bindingArguments', options.bindingArguments);
    this.consumerArguments = checkArguments('consumerArguments', options.consumerArguments);
    this.onDeclared = options.onDeclared === undefined ? undefined : checkFunction('onDeclared', options.onDeclared);
    this.alias = options.alias === undefined ? undefined : checkString('alias', options.alias);
    this.schema = options.schema;
    this.channel = undefined;
  }

  /**
   * The queue that a plain object describes: one of {@link Queue.toObject}, or a configuration in Kombu's manner (an exchange by
   * its name, with `exchangeType` and the like). The name may come first, as in Kombu.
   */
  static fromObject(object: QueueObject): Queue;
  static fromObject(name: string, object?: QueueObject): Queue;
  static fromObject(first: QueueObject | string, second: QueueObject = {}): Queue {
    const object = typeof first === 'string' ? { ...second, name: first } : first;
    return new Queue(object.name, optionsFromObject(object));
  }

  /** Everything but functions, the schema and what it is bound to, as JSON can hold it. */
  toObject(): QueueObject {
    const { exchange, routingKey, durable, exclusive, autoDelete, noAck, noDeclare, alias } = this;
    const { queueArguments, bindingArguments, consumerArguments } = this;
    return {
      name: this.givenName,
      exchange: exchange?.toObject(),
      bindings: this.bindings.map((item) => ({
        exchange: item.exchange.toObject(),
        routingKey: item.routingKey,
        arguments: item.arguments,
        unbindArguments: item.unbindArguments,
      })),
      ...{ routingKey, durable, exclusive, autoDelete, noAck, noDeclare, alias },
      ...{ queueArguments, bindingArguments, consumerArguments },
    };
  }

  /** The present name; empty as long as the broker has not chosen one. */
  get name(): string {
    if (this.givenName !== '' || this.chosen.name === '') return this.givenName;
    // A recovery makes a new queue in its place, with a new name.
    return this.channel?.connection.topology.currentName(this.chosen.name) ?? this.chosen.name;
  }

  /** A copy that works on this channel, or on the connection's default channel. */
  bind(target: ChannelOrConnection): this {
    const own = { channel: checkTarget(target), chosen: { name: this.name } };
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, own);
  }

  /** Whether this is a copy that is bound to a channel or connection, and can act. */
  get isBound(): boolean {
    return this.channel !== undefined;
  }

  /** Whether both describe the same queue with the same bindings, bound or not. */
  equals(other: unknown): boolean {
    return (
      other instanceof Queue &&
      this.givenName === other.givenName &&
      (this.exchange === undefined ? other.exchange === undefined : this.exchange.equals(other.exchange)) &&
      this.routingKey === other.routingKey &&
      this.bindings.length === other.bindings.length &&
      this.bindings.every((item) => other.bindings.some((its) => item.equals(its))) &&
      this.durable === other.durable &&
      this.exclusive === other.exclusive &&
      this.autoDelete === other.autoDelete &&
      sameArguments(this.queueArguments, other.queueArguments) &&
      sameArguments(this.bindingArguments, other.bindingArguments) &&
      sameArguments(this.consumerArguments, other.consumerArguments)
    );
  }

  /**
   * Declares the exchange and the queue, binds the one to the other, then declares and binds `bindings`. Resolves with the
   * queue's name. Does nothing with `noDeclare`. Rejects PRECONDITION_FAILED when a queue or exchange of that name exists with
   * other properties, RESOURCE_LOCKED when it is exclusive to another connection, ACCESS_REFUSED, NOT_FOUND, TIMEOUT.
   */
  async declare(options: DeclareOptions = {}): Promise<string> {
    const { connection } = this.target();
    const { nowait, passive, ...wait } = options;
    const declaring = async () => {
      if (passive === true) await this.queueDeclare({ passive, ...wait });
      else await this.ensureDeclared(connection.topology, wait, true);
    };
    if (nowait === true) declaring().catch((error) => connection.problem(error));
    else await declaring();
    return this.name;
  }

  /**
   * {@link declare}, but only what the connection does not know to exist. True when anything was declared now. For what
   * declares on behalf of others: producers, consumers, `maybeDeclare`.
   *
   * @param fresh Ask the broker for the queue in any case.
   */
  async ensureDeclared(topology: Topology, wait: WaitOptions = {}, fresh = false): Promise<boolean> {
    if (this.noDeclare) return false;
    let news = this.exchange !== undefined && (await declareExchange(this.exchange, topology, wait));
    const answer = await this.askForQueue(topology, { ...wait, fresh });
    news = answer.declared || news;
    if (this.exchange !== undefined && this.exchange.name !== '') {
      const { exchange, routingKey, bindingArguments } = this;
      const binding = { queue: this.name, exchange: exchange.name, routingKey, arguments: bindingArguments };
      news = (await topology.bindQueue(binding, wait)) || news;
    }
    for (const item of this.bindings) {
      news = (await declareExchange(item.exchange, topology, wait)) || news;
      const { exchange, routingKey } = item;
      const binding = { queue: this.name, exchange: exchange.name, routingKey, arguments: item.arguments };
      news = (await topology.bindQueue(binding, wait)) || news;
    }
    return news;
  }

  /** Declares the queue alone. `passive`: only asks for it; NOT_FOUND when there is none. Resolves with its name and counts. */
  async queueDeclare(options: WaitOptions & { readonly passive?: boolean | undefined } = {}): Promise<QueueDeclareOk> {
    const { queue, messageCount, consumerCount } = await this.askForQueue(this.target().connection.topology, {
      ...options,
      fresh: true,
    });
    return { queue, messageCount, consumerCount };
  }

  /** Binds it to its own exchange. */
  async queueBind(wait: WaitOptions = {}): Promise<void> {
    await this.target().connection.topology.bindQueue(this.ownBinding(), wait);
  }

  /** Unbinds it from its own exchange. */
  async queueUnbind(wait: WaitOptions = {}): Promise<void> {
    await this.target().connection.topology.unbindQueue(this.ownBinding(), wait);
  }

  /** Binds it to another exchange as well. */
  async bindTo(exchange: Exchange | string, options: BindOptions = {}): Promise<void> {
    const { routingKey, arguments: args, ...wait } = options;
    await this.target().connection.topology.bindQueue(this.edge(exchange, routingKey, args), wait);
  }

  /** Undoes `bindTo`. */
  async unbindFrom(exchange: Exchange | string, options: BindOptions = {}): Promise<void> {
    const { routingKey, arguments: args, ...wait } = options;
    await this.target().connection.topology.unbindQueue(this.edge(exchange, routingKey, args), wait);
  }

  /**
   * Fetches one message, or `undefined` when the queue has none ready.
   *
   * What cannot be decoded, is not accepted or does not fit the schema is rejected without requeue, and the call rejects
   * DECODE_FAILED or CONTENT_DISALLOWED; `onDecodeError` may settle the message otherwise. Rejects NOT_FOUND without a queue.
   */
  get(options: GetOptions = {}): Promise<Message<T> | undefined> {
    const target = this.target();
    this.mustHaveName();
    return fetchMessage(this, channelOf(target), options);
  }

  /**
   * Starts a consumer that calls `callback` with each message, as many at a time as the channel's `qos` lets through.
   * Resolves with its tag, for {@link cancel}. It survives losses of the connection.
   */
  consume(options: SubscribeOptions<T>): Promise<string> {
    const target = this.target();
    this.mustHaveName();
    return subscribe(this, channelOf(target), options);
  }

  /** Ends a consumer that {@link consume} started. Its unsettled messages stay so. */
  async cancel(consumerTag: string, wait: WaitOptions = {}): Promise<void> {
    await channelOf(this.target()).consumers.unsubscribe(consumerTag, wait);
  }

  /** Removes the messages that nobody holds. Resolves with their number. */
  async purge(wait: WaitOptions = {}): Promise<number> {
    const { connection } = this.target();
    this.mustHaveName();
    return connection.topology.purgeQueue(this.name, wait);
  }

  /**
   * Deletes it with its messages; resolves with their number. `ifUnused`: rejects PRECONDITION_FAILED while it has consumers;
   * `ifEmpty`: while it has messages.
   */
  async delete(
    options: WaitOptions & { readonly ifUnused?: boolean | undefined; readonly ifEmpty?: boolean | undefined } = {},
  ): Promise<number> {
    const { connection } = this.target();
    this.mustHaveName();
    return connection.topology.deleteQueue(this.name, options);
  }

  private target(): ChannelOrConnection {
    return boundTarget(this, `queue '${this.givenName}'`);
  }

  /** Operations on the empty name would reach whatever queue the channel declared last (0-9-1, queue.declare). */
  private mustHaveName(): void {
    if (this.name === '') throw new NotBoundError('the queue has no name yet: declare it first');
  }

  private async askForQueue(
    topology: Topology,
    options: WaitOptions & { readonly passive?: boolean | undefined; readonly fresh?: boolean | undefined },
  ): Promise<QueueDeclareOk & { readonly declared: boolean }> {
    if (this.name === '' && this.channel === undefined) {
      throw new NotBoundError(
        'a queue whose name the broker chooses is declared by its bound copy: queue.bind(connection)',
      );
    }
    const { durable, exclusive, autoDelete, queueArguments, chosen } = this;
    // What the broker named cannot be declared again under that name, only asked for.
    const passive = options.passive === true || (this.givenName === '' && chosen.name !== '');
    const answer = await topology.declareQueue({
      ...options,
      ...{ name: this.name, durable, exclusive, autoDelete, arguments: queueArguments, passive },
    });
    if (this.givenName === '') chosen.name = answer.queue;
    if (answer.declared) this.onDeclared?.(answer);
    return answer;
  }

  private ownBinding(): QueueBinding {
    return this.edge(this.exchange ?? '', this.routingKey, this.bindingArguments);
  }

  private edge(exchange: Exchange | string, routingKey = '', args?: Arguments): QueueBinding {
    this.mustHaveName();
    return {
      queue: this.name,
      exchange: nameOf(exchange),
      routingKey: checkName('routingKey', routingKey),
      arguments: checkArguments('arguments', args),
    };
  }
}

/** An exchange given by name exists already: it is not declared. */
function asExchange(exchange: Exchange | string | undefined): Exchange | undefined {
  if (exchange === undefined || exchange instanceof Exchange) return exchange;
  return new Exchange(nameOf(exchange), { noDeclare: true });
}
