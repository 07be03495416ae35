import { InvalidArgumentError } from '../errors.js';
import { isSchema, type StandardSchemaV1 } from '../messaging/schema.js';
import type { Arguments, QueueDeclareOk } from '../transport/contract.js';
import { checkInteger, checkKeys, show } from '../util/check.js';
import { Binding, type BindingOptions } from './binding.js';
import { checkArguments } from './checks.js';
import { Exchange, type ExchangeObject } from './exchange.js';

/** What a queue is like; what the broker stores of it has to be the same wherever it is declared. Durations in milliseconds. */
export interface QueueOptions<T = unknown> {
  /** Where its messages come from: an exchange, or the name of one that exists. Default: only the default exchange, by the queue's name. */
  readonly exchange?: Exchange | string | undefined;
  /** Of the binding to `exchange`. Default `''`. */
  readonly routingKey?: string | undefined;
  /** Several bindings in the place of `exchange` and `routingKey`. */
  readonly bindings?: readonly Binding[] | undefined;
  /** Survives a restart of the broker. Default `true`. */
  readonly durable?: boolean | undefined;
  /** Only this connection may use it, and it goes when the connection does. Includes `autoDelete`. Default `false`. */
  readonly exclusive?: boolean | undefined;
  /** Deleted when its last consumer is gone. Default `false`. */
  readonly autoDelete?: boolean | undefined;
  /** Default of consumers and `get`: the broker forgets messages when it sends them. Default `false`. */
  readonly noAck?: boolean | undefined;
  /** Never declared: others see to it. Default `false`. */
  readonly noDeclare?: boolean | undefined;
  /** Milliseconds (at least 1) without use after which the broker deletes it (`x-expires`). */
  readonly expires?: number | undefined;
  /** Milliseconds after which a message is dropped or dead-lettered (`x-message-ttl`). */
  readonly messageTtl?: number | undefined;
  /** Messages at most; the oldest give way (`x-max-length`). */
  readonly maxLength?: number | undefined;
  /** Bytes of bodies at most (`x-max-length-bytes`). */
  readonly maxLengthBytes?: number | undefined;
  /** The highest priority, up to 255 (`x-max-priority`). */
  readonly maxPriority?: number | undefined;
  /** Further arguments of the declaration (`x-queue-type`, `x-dead-letter-exchange`). */
  readonly queueArguments?: Arguments | undefined;
  /** Arguments of the binding to `exchange`. */
  readonly bindingArguments?: Arguments | undefined;
  /** Arguments of consumers (`x-priority`). `x-stream-offset` says where the first consumer begins; after a loss it goes on where it was. */
  readonly consumerArguments?: Arguments | undefined;
  /** Called after each declaration. An exception rejects the call that declared. */
  readonly onDeclared?: ((declared: QueueDeclareOk) => void) | undefined;
  /** Another name, for the application's own use. */
  readonly alias?: string | undefined;
  /** Validates and types the payloads of messages from this queue. */
  readonly schema?: StandardSchemaV1<unknown, T> | undefined;
}

/** A binding as a plain object. */
export interface BindingObject extends BindingOptions {
  readonly exchange: ExchangeObject;
}

/** A queue as a plain object: what `toObject` gives and `Queue.fromObject` takes. JSON can hold it. */
export interface QueueObject extends Omit<QueueOptions, 'exchange' | 'bindings' | 'onDeclared' | 'schema'> {
  readonly name?: string | undefined;
  readonly exchange?: ExchangeObject | string | undefined;
  readonly bindings?: readonly BindingObject[] | undefined;
  /** With `exchange` as a name: its type, so that it is declared (Kombu's `exchange_type`). */
  readonly exchangeType?: string | undefined;
  /** The same as `routingKey` (Kombu's `binding_key`). */
  readonly bindingKey?: string | undefined;
  /** `durable` of the exchange alone. Default: that of the queue. */
  readonly exchangeDurable?: boolean | undefined;
  /** `autoDelete` of the exchange alone. Default: that of the queue. */
  readonly exchangeAutoDelete?: boolean | undefined;
  readonly exchangeArguments?: Arguments | undefined;
  readonly deliveryMode?: 1 | 2 | 'transient' | 'persistent' | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...['exchange', 'routingKey', 'bindings', 'durable', 'exclusive', 'autoDelete', 'noAck', 'noDeclare', 'expires'],
  ...['messageTtl', 'maxLength', 'maxLengthBytes', 'maxPriority', 'queueArguments', 'bindingArguments'],
  ...['consumerArguments', 'onDeclared', 'alias', 'schema'],
]);
const OBJECT_MEMBERS: ReadonlySet<string> = new Set([
  ...[...OPTIONS].filter((key) => key !== 'onDeclared' && key !== 'schema'),
  ...[
    'name',
    'exchangeType',
    'bindingKey',
    'exchangeDurable',
    'exchangeAutoDelete',
    'exchangeArguments',
    'deliveryMode',
  ],
]);

/** The options that are arguments of the declaration, with the limits of their values. */
const ARGUMENTS = [
  { option: 'expires', argument: 'x-expires', min: 1 },
  { option: 'messageTtl', argument: 'x-message-ttl', min: 0 },
  { option: 'maxLength', argument: 'x-max-length', min: 0 },
  { option: 'maxLengthBytes', argument: 'x-max-length-bytes', min: 0 },
  { option: 'maxPriority', argument: 'x-max-priority', min: 0, max: 255 },
] as const;

/** Refuses unknown options, naming the nearest, and a schema that is none. Throws INVALID_ARGUMENT. */
export function checkQueueOptions(options: QueueOptions): void {
  checkKeys('Queue', options, OPTIONS);
  if (options.schema !== undefined && !isSchema(options.schema)) {
    throw new InvalidArgumentError(`schema must be a Standard Schema, not ${show(options.schema)}`);
  }
}

/**
 * `queueArguments` with `expires`, `messageTtl` … under their names on the wire, as Kombu writes them. Throws
 * INVALID_ARGUMENT when an option and an argument contradict each other.
 */
export function declarationArguments(options: QueueOptions): Arguments | undefined {
  const given = checkArguments('queueArguments', options.queueArguments);
  const extra: Record<string, number> = {};
  for (const { option, argument, ...limits } of ARGUMENTS) {
    const value = options[option];
    if (value === undefined) continue;
    extra[argument] = checkInteger(option, value, limits);
    if (given !== undefined && argument in given && given[argument] !== value) {
      throw new InvalidArgumentError(
        `${option} is ${value} and queueArguments['${argument}'] is ${show(given[argument])}`,
      );
    }
  }
  return Object.keys(extra).length === 0 ? given : Object.freeze({ ...given, ...extra });
}

/** The options that a plain object stands for. Throws INVALID_ARGUMENT. */
export function optionsFromObject(object: QueueObject): QueueOptions {
  checkKeys('queue object', object, OBJECT_MEMBERS);
  const { name: _, exchange, bindings, exchangeType, bindingKey, routingKey, ...rest } = object;
  const { exchangeDurable, exchangeAutoDelete, exchangeArguments, deliveryMode, ...options } = rest;
  const parts = {
    type: exchangeType,
    durable: exchangeDurable,
    autoDelete: exchangeAutoDelete,
    arguments: exchangeArguments,
  };
  const described = [...Object.values(parts), deliveryMode].some((value) => value !== undefined);
  if (described && typeof exchange !== 'string') {
    throw new InvalidArgumentError('exchangeType and the like describe an exchange that is given by its name');
  }
  if (routingKey !== undefined && bindingKey !== undefined && routingKey !== bindingKey) {
    throw new InvalidArgumentError(
      `routingKey is ${show(routingKey)} and bindingKey, its other name, ${show(bindingKey)}`,
    );
  }
  return {
    ...options,
    routingKey: routingKey ?? bindingKey,
    bindings: bindings?.map(({ exchange: source, ...binding }) => new Binding(Exchange.fromObject(source), binding)),
    exchange:
      typeof exchange !== 'string'
        ? exchange && Exchange.fromObject(exchange)
        : described
          ? new Exchange(exchange, {
              ...parts,
              durable: exchangeDurable ?? options.durable,
              autoDelete: exchangeAutoDelete ?? options.autoDelete,
              deliveryMode,
            })
          : exchange,
  };
}
