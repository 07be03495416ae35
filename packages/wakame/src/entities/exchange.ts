import type { WaitOptions } from '../connection/managed-channel.js';
import type { PublishOptions, PublishResult } from '../messaging/publish-options.js';
import { sharedProducer } from '../messaging/shared-producer.js';
import type { Arguments, ExchangeBinding } from '../transport/contract.js';
import { checkBoolean, checkKeys, checkString } from '../util/check.js';
import { Binding } from './binding.js';
import { checkArguments, checkDeliveryMode, checkName, type DeliveryMode, sameArguments } from './checks.js';
import { declareExchange, nameOf } from './declare.js';
import { boundTarget, type ChannelOrConnection, checkTarget } from './target.js';

/** What an exchange is like; all of it has to be the same wherever it is declared. */
export interface ExchangeOptions {
  /** `direct`, `fanout`, `topic`, `headers`, or a type that the broker has beside these. Default `direct`. */
  readonly type?: string | undefined;
  /** Survives a restart of the broker. Default `true`. */
  readonly durable?: boolean | undefined;
  /** Deleted when the last queue or exchange is unbound from it. Default `false`. */
  readonly autoDelete?: boolean | undefined;
  /** Only other exchanges can publish to it. Default `false`. */
  readonly internal?: boolean | undefined;
  /** Declaring only checks that it exists (NOT_FOUND otherwise). Default `false`. */
  readonly passive?: boolean | undefined;
  /** Default of messages published to it: `transient` or `persistent`. Default: persistent. */
  readonly deliveryMode?: DeliveryMode | undefined;
  /** Arguments of the declaration (`alternate-exchange`). */
  readonly arguments?: Arguments | undefined;
  /** Never declared: others see to it. Default `false`. */
  readonly noDeclare?: boolean | undefined;
}

/** How {@link Exchange.declare} goes about it. */
export interface DeclareOptions extends WaitOptions {
  /** Only check that it exists. */
  readonly passive?: boolean | undefined;
  /** Return at once; what fails later is a `problem` of the connection. */
  readonly nowait?: boolean | undefined;
}

/** How an exchange or queue is bound to an exchange. */
export interface BindOptions extends WaitOptions {
  /** Default `''`. */
  readonly routingKey?: string | undefined;
  /** Of the binding: what a headers exchange matches. */
  readonly arguments?: Arguments | undefined;
}

/** An exchange as a plain object: what `toObject` gives and `Exchange.fromObject` takes. */
export interface ExchangeObject extends Omit<ExchangeOptions, 'deliveryMode'> {
  readonly name: string;
  readonly deliveryMode?: 1 | 2 | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...['type', 'durable', 'autoDelete', 'internal', 'passive', 'deliveryMode', 'arguments', 'noDeclare'],
]);

/**
 * The description of an exchange (`kombu.Exchange`): where messages are published to. It never changes. {@link Exchange.bind}
 * gives a copy that belongs to a connection and can declare, delete, bind and publish; on an unbound one these throw
 * NOT_BOUND.
 *
 * The empty name is the default exchange, which routes by queue name.
 */
export class Exchange {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly passive: boolean;
  /** 1 transient, 2 persistent; undefined: not chosen here, so persistent. */
  readonly deliveryMode: 1 | 2 | undefined;
  readonly arguments: Arguments | undefined;
  readonly noDeclare: boolean;
  /** What it is bound to. */
  readonly channel: ChannelOrConnection | undefined;

  /** Throws INVALID_ARGUMENT for a name above 255 bytes, an unknown option or a value of the wrong kind. */
  constructor(name = '', options: ExchangeOptions = {}) {
    checkKeys('Exchange', options, OPTIONS);
    this.name = checkName('exchange name', name);
    this.type = checkString('type', options.type ?? 'direct');
    this.durable = checkBoolean('durable', options.durable ?? true);
    this.autoDelete = checkBoolean('autoDelete', options.autoDelete ?? false);
    this.internal = checkBoolean('internal', options.internal ?? false);
    this.passive = checkBoolean('passive', options.passive ?? false);
    this.deliveryMode =
      options.deliveryMode === undefined ? undefined : checkDeliveryMode('deliveryMode', options.deliveryMode);
    this.arguments = checkArguments('arguments', options.arguments);
    this.noDeclare = checkBoolean('noDeclare', options.noDeclare ?? false);
    this.channel = undefined;
  }

  /** The exchange of {@link Exchange.toObject}. */
  static fromObject(object: ExchangeObject): Exchange {
    const { name, ...options } = object;
    return new Exchange(name, options);
  }

  /** Everything but what it is bound to, as JSON can hold it. */
  toObject(): ExchangeObject {
    const { name, type, durable, autoDelete, internal, passive, deliveryMode, noDeclare } = this;
    return { name, type, durable, autoDelete, internal, passive, deliveryMode, arguments: this.arguments, noDeclare };
  }

  /** A copy that works on this connection (or the channel's). */
  bind(target: ChannelOrConnection): this {
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, { channel: checkTarget(target) });
  }

  /** Whether this is a copy that is bound to a channel or connection, and can act. */
  get isBound(): boolean {
    return this.channel !== undefined;
  }

  /** Whether both describe the same exchange, bound or not. */
  equals(other: unknown): boolean {
    return (
      other instanceof Exchange &&
      this.name === other.name &&
      this.type === other.type &&
      this.durable === other.durable &&
      this.autoDelete === other.autoDelete &&
      this.internal === other.internal &&
      this.deliveryMode === other.deliveryMode &&
      sameArguments(this.arguments, other.arguments)
    );
  }

  /** The binding of a queue or exchange to this one, for {@link Queue}'s `bindings`. */
  binding(options: Omit<BindOptions, keyof WaitOptions> = {}): Binding {
    return new Binding(this, options);
  }

  /**
   * Declares it. Does nothing for the default exchange, the broker's own (`amq.…`) and those with `noDeclare`. Rejects
   * PRECONDITION_FAILED when one of that name exists with other properties, NOT_FOUND when `passive` and it does not exist,
   * ACCESS_REFUSED, NOT_SUPPORTED for a type the transport lacks, TIMEOUT.
   */
  async declare(options: DeclareOptions = {}): Promise<void> {
    const { connection } = target(this);
    const { nowait, ...rest } = options;
    const done = declareExchange(this, connection.topology, rest);
    if (nowait === true) done.catch((error) => connection.problem(error));
    else await done;
  }

  /** Deletes it, with its bindings. `ifUnused`: rejects PRECONDITION_FAILED while anything is bound to it. */
  async delete(options: WaitOptions & { readonly ifUnused?: boolean | undefined } = {}): Promise<void> {
    await target(this).connection.topology.deleteExchange(this.name, options);
  }

  /** Makes `exchange` pass on to this one what matches. Not every transport can: see `transport.features.exchangeBindings`. */
  async bindTo(exchange: Exchange | string, options: BindOptions = {}): Promise<void> {
    const { routingKey, arguments: args, ...wait } = options;
    await target(this).connection.topology.bindExchange(edge(this, exchange, routingKey, args), wait);
  }

  /** Undoes `bindTo`. */
  async unbindFrom(exchange: Exchange | string, options: BindOptions = {}): Promise<void> {
    const { routingKey, arguments: args, ...wait } = options;
    await target(this).connection.topology.unbindExchange(edge(this, exchange, routingKey, args), wait);
  }

  /**
   * Publishes to it, by a producer that all entities of the connection share. Options and errors are those of
   * {@link Producer.publish}.
   */
  publish(body: unknown, options: Omit<PublishOptions, 'exchange'> = {}): Promise<PublishResult> {
    return sharedProducer(target(this).connection).publish(body, { ...options, exchange: this });
  }
}

function target(exchange: Exchange): ChannelOrConnection {
  return boundTarget(exchange, `exchange '${exchange.name}'`);
}

function edge(to: Exchange, from: Exchange | string, routingKey = '', args?: Arguments): ExchangeBinding {
  return {
    destination: to.name,
    source: nameOf(from),
    routingKey: checkName('routingKey', routingKey),
    arguments: checkArguments('arguments', args),
  };
}
