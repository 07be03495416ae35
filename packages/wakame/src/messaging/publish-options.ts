import type { RetryOptions } from '../connection/retry-options.js';
import { checkRetry } from '../connection/retry-options.js';
import { checkDeliveryMode, checkName, type DeliveryMode } from '../entities/checks.js';
import { type Entity, isEntity, nameOf } from '../entities/declare.js';
import type { Exchange } from '../entities/exchange.js';
import type { Queue } from '../entities/queue.js';
import { InvalidArgumentError, NotBoundError, NotSupportedError } from '../errors.js';
import type { Serializer } from '../serialization/index.js';
import type { BasicProperties, Returned } from '../transport/message.js';
import {
  checkBoolean,
  checkDuration,
  checkFunction,
  checkInteger,
  checkKeys,
  checkString,
  show,
} from '../util/check.js';
import { isSchema, type StandardSchemaV1 } from './schema.js';

/** What becomes of a publish after a loss: see {@link PublishOptions.retry}. */
export type Retry = boolean | number;

/** Options of a {@link Producer}; most are defaults of its publishes. `T` is what may be published. */
export interface ProducerOptions<T = unknown> {
  /** Where to publish to: an exchange, declared before it is first used, or the name of one that exists. Default: the default exchange. */
  readonly exchange?: Exchange | string | undefined;
  /** Default `''`. */
  readonly routingKey?: string | undefined;
  /** The format of bodies: its name or MIME type, or itself. Default: by the body, see {@link PublishOptions.serializer}. */
  readonly serializer?: string | Serializer | undefined;
  /** Name of the compression of bodies (`zlib`, `zstd` …). Default: none. */
  readonly compression?: string | undefined;
  /** Declare `exchange`, given as an object, before publishing to it. Default `true`. */
  readonly autoDeclare?: boolean | undefined;
  /** Called with each message that reached no queue. Having it makes every publish ask for this. */
  readonly onReturn?: ((returned: Returned) => void) | undefined;
  /** Default of {@link PublishOptions.confirm}: `true`, unless the transport option `confirm_publish` is false. */
  readonly confirm?: boolean | undefined;
  /** Default of {@link PublishOptions.retry}: `true`. */
  readonly retry?: Retry | undefined;
  /** Of every publish that does not give its own. */
  readonly retryPolicy?: RetryOptions | undefined;
  /** Unsettled bytes past which publishes reject BUFFER_FULL. Default 128 MiB. */
  readonly maxBufferedBytes?: number | undefined;
  /** Checks and types what is published. The body is sent as it is given, not as the schema would give it back. */
  readonly schema?: StandardSchemaV1<T, unknown> | undefined;
}

/** How one message is published. */
export interface PublishOptions {
  /** Default: that of the Producer, or `''`. With the default exchange, the queue's name. */
  readonly routingKey?: string | undefined;
  /** Default: the producer's. */
  readonly exchange?: Exchange | string | undefined;
  /** `persistent` (2, the default) or `transient` (1). */
  readonly deliveryMode?: DeliveryMode | undefined;
  /** A message that reaches no queue rejects UNROUTABLE. Default `false`: it is dropped, and the connection emits `unroutable`. */
  readonly mandatory?: boolean | undefined;
  /** RabbitMQ closes the connection for it: `true` is refused with NOT_SUPPORTED. */
  readonly immediate?: boolean | undefined;
  /** 0 (the default) to 255; higher is served first (on Redis the order is the broker's). */
  readonly priority?: number | undefined;
  /** The body is encoded by the caller: a string (sent in `contentEncoding`) or bytes, of this MIME type. Excludes `serializer`. */
  readonly contentType?: string | undefined;
  /** With `contentType`: default `utf-8` for a string, `binary` for bytes. */
  readonly contentEncoding?: string | undefined;
  /**
   * The body's format: its name or MIME type, or itself (`jsonSerializer({ typed: true })`). Default: `text/plain` for a string,
   * `application/data` for bytes, JSON for all else.
   */
  readonly serializer?: string | Serializer | undefined;
  /** Application headers. Default: none. */
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** Name of a compression, such as `zlib`. Default: that of the Producer. */
  readonly compression?: string | undefined;
  /** Exchanges and queues to declare before, unless the connection knows them. */
  readonly declare?: readonly Entity[] | undefined;
  /** Milliseconds after which the message is dropped or dead-lettered if nobody has got it. */
  readonly expiration?: number | undefined;
  /** Milliseconds before which nobody gets it. Excludes `deliverAt`. */
  readonly delay?: number | undefined;
  /** The time before which nobody gets it: a date, or milliseconds since the epoch. */
  readonly deliverAt?: Date | number | undefined;
  /** Settle when the broker has taken responsibility (`true`), or when the message has been handed to the transport and fewer than 16 MiB wait (`false`). */
  readonly confirm?: boolean | undefined;
  /** Send again what was in flight at a loss of the connection: as often as it takes (`true`), so many times, or never. */
  readonly retry?: Retry | undefined;
  /** Bounds and tells of the tries (`maxRetries`, `errback` …), as for `connection.ensure`. Makes `retry` true. */
  readonly retryPolicy?: RetryOptions | undefined;
  /** Milliseconds in all, waiting for the connection included; then it rejects TIMEOUT. Default 30 s. */
  readonly timeout?: number | undefined;
  /** Aborting rejects with its reason. What has been sent already may still arrive. */
  readonly signal?: AbortSignal | undefined;
  /** Property of the message: what this is the answer to, or is to be answered with. */
  readonly correlationId?: string | undefined;
  /** The name of the queue that replies go to; or that queue, declared. */
  readonly replyTo?: string | Queue | undefined;
  /** Property of the message. Default: none. */
  readonly messageId?: string | undefined;
  /** Seconds since the epoch, or a date. */
  readonly timestamp?: number | bigint | Date | undefined;
  /** Property of the message. */
  readonly type?: string | undefined;
  /** RabbitMQ refuses one that is not the connection's user. */
  readonly userId?: string | undefined;
  /** Property of the message. */
  readonly appId?: string | undefined;
  /** Property of the message, deprecated by AMQP. */
  readonly clusterId?: string | undefined;
  /**
   * The application's own transaction on the same database, as the handle on which it was begun: the message is sent if and only if it
   * commits. Await the publish before the commit. Nothing is declared in it, and nothing sent again: it excludes `declare`, `retry`
   * and `confirm: false`. NOT_SUPPORTED where the transport has no transactions.
   */
  readonly transaction?: unknown;
}

/** What a publish resolves with. */
export interface PublishResult {
  /** How often the message was sent. Above 1, it may be in the queue more than once. */
  readonly attempts: number;
}

const PRODUCER_OPTIONS: ReadonlySet<string> = new Set([
  ...['exchange', 'routingKey', 'serializer', 'compression', 'autoDeclare', 'onReturn', 'confirm', 'retry'],
  ...['retryPolicy', 'maxBufferedBytes', 'schema'],
]);
const PUBLISH_OPTIONS: ReadonlySet<string> = new Set([
  ...['routingKey', 'exchange', 'deliveryMode', 'mandatory', 'immediate', 'priority', 'contentType', 'contentEncoding'],
  ...['serializer', 'headers', 'compression', 'declare', 'expiration', 'delay', 'deliverAt', 'confirm', 'retry'],
  ...['retryPolicy', 'timeout', 'signal', 'correlationId', 'replyTo', 'messageId', 'timestamp', 'type', 'userId'],
  ...['appId', 'clusterId', 'transaction'],
]);

/** Seconds since the epoch beyond which a timestamp is taken for milliseconds: the year 5138. */
const LATEST_TIMESTAMP = 1e11;

/** Throws INVALID_ARGUMENT for options of a producer that cannot be used. */
export function checkProducerOptions<T>(options: ProducerOptions<T>): void {
  checkKeys('Producer', options, PRODUCER_OPTIONS);
  const { exchange, routingKey, serializer, compression, autoDeclare, onReturn, confirm, schema } = options;
  if (exchange !== undefined) nameOf(exchange);
  if (routingKey !== undefined) checkName('routingKey', routingKey);
  if (serializer !== undefined) checkSerializer(serializer);
  if (compression !== undefined) checkString('compression', compression);
  if (autoDeclare !== undefined) checkBoolean('autoDeclare', autoDeclare);
  if (onReturn !== undefined) checkFunction('onReturn', onReturn);
  if (confirm !== undefined) checkBoolean('confirm', confirm);
  if (options.maxBufferedBytes !== undefined) checkInteger('maxBufferedBytes', options.maxBufferedBytes, { min: 1 });
  if (schema !== undefined && !isSchema(schema)) {
    throw new InvalidArgumentError(`schema must be a Standard Schema, not ${show(schema)}`);
  }
  retryOptions(options.retry, options.retryPolicy);
}

/** A format may be named, or given as it is. Throws INVALID_ARGUMENT. */
function checkSerializer(serializer: string | Serializer): void {
  if (typeof serializer === 'object' && serializer !== null) checkString('serializer.name', serializer.name);
  else checkString('serializer', serializer);
}

/** Throws for unknown options and for those that are not about the message's properties. */
export function checkPublishOptions(options: PublishOptions): void {
  for (const key in options) {
    if (!PUBLISH_OPTIONS.has(key)) checkKeys('publish', options, PUBLISH_OPTIONS);
  }
  const { mandatory, immediate, confirm, timeout, declare, serializer } = options;
  if (serializer !== undefined) checkSerializer(serializer);
  if (declare !== undefined && !(Array.isArray(declare) && declare.every(isEntity))) {
    throw new InvalidArgumentError(`declare must be an array of exchanges and queues, not ${show(declare)}`);
  }
  if (options.transaction !== undefined) checkTransactional(options);
  if (mandatory !== undefined) checkBoolean('mandatory', mandatory);
  if (confirm !== undefined) checkBoolean('confirm', confirm);
  if (timeout !== undefined) checkDuration('timeout', timeout, { allowInfinity: true });
  if (immediate !== undefined && checkBoolean('immediate', immediate)) {
    throw new NotSupportedError('immediate is not supported: RabbitMQ closes the connection for it');
  }
}

/** What is published in a transaction has its outcome before that ends, changes nothing outside of it, and is not sent again when it may be over. */
function checkTransactional({ confirm, declare, retry }: PublishOptions): void {
  const refusals = [
    confirm === false && 'confirm: false: its outcome has to be awaited before the commit',
    declare !== undefined && declare.length > 0 && 'declare: declare before, for that is no part of the transaction',
    (retry === true || (typeof retry === 'number' && retry > 0)) && 'retry: roll back, and begin the transaction anew',
  ];
  const refusal = refusals.find((text) => text !== false);
  if (refusal !== undefined) throw new InvalidArgumentError(`transaction excludes ${refusal}`);
}

/** `retry` and `retryPolicy` as one: undefined when nothing is sent again. Throws INVALID_ARGUMENT. */
export function retryOptions(retry: Retry | undefined, policy: RetryOptions | undefined): RetryOptions | undefined {
  if (policy !== undefined) checkRetry(policy);
  if (typeof retry === 'number') return { ...policy, maxRetries: checkInteger('retry', retry) };
  if (retry !== undefined && !checkBoolean('retry', retry)) return undefined;
  return policy ?? ALWAYS;
}

const ALWAYS: RetryOptions = Object.freeze({});

/** Clock time before which nobody shall get the message; undefined: at once. */
export function notBefore({ delay, deliverAt }: PublishOptions): number | undefined {
  if (delay === undefined && deliverAt === undefined) return undefined;
  if (delay !== undefined && deliverAt !== undefined) {
    throw new InvalidArgumentError('delay and deliverAt exclude each other');
  }
  if (delay !== undefined) return checkDuration('delay', delay) === 0 ? undefined : Date.now() + delay;
  const time = deliverAt instanceof Date ? deliverAt.getTime() : deliverAt;
  if (typeof time !== 'number' || !Number.isFinite(time)) {
    throw new InvalidArgumentError(`deliverAt must be a date or milliseconds since the epoch, not ${show(deliverAt)}`);
  }
  return time > Date.now() ? time : undefined;
}

/** What encoding the body adds to a message. */
export interface EncodedBody {
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/**
 * The properties of a message, as Kombu sends them: with `priority` 0 and empty `headers` when nothing else is said. Throws
 * INVALID_ARGUMENT.
 */
export function propertiesFor(
  options: PublishOptions,
  encoded: EncodedBody,
  deliveryMode: 1 | 2 | undefined,
): BasicProperties {
  const { priority } = options;
  const properties: { -readonly [K in keyof BasicProperties]: BasicProperties[K] } = {
    contentType: encoded.contentType,
    contentEncoding: encoded.contentEncoding,
    headers: encoded.headers,
    deliveryMode:
      options.deliveryMode === undefined
        ? (deliveryMode ?? 2)
        : checkDeliveryMode('deliveryMode', options.deliveryMode),
    priority: priority === undefined ? 0 : checkInteger('priority', priority, { max: 255 }),
  };
  // Most messages have none of these, and then need no room for them.
  const { expiration, correlationId, replyTo, messageId, timestamp, type, userId, appId, clusterId } = options;
  if (correlationId !== undefined) properties.correlationId = checkName('correlationId', correlationId);
  if (replyTo !== undefined) properties.replyTo = queueName(replyTo);
  if (expiration !== undefined) properties.expiration = String(Math.trunc(checkDuration('expiration', expiration)));
  if (messageId !== undefined) properties.messageId = checkName('messageId', messageId);
  if (timestamp !== undefined) properties.timestamp = checkTimestamp(timestamp);
  if (type !== undefined) properties.type = checkName('type', type);
  if (userId !== undefined) properties.userId = checkName('userId', userId);
  if (appId !== undefined) properties.appId = checkName('appId', appId);
  if (clusterId !== undefined) properties.clusterId = checkName('clusterId', clusterId);
  return properties;
}

function queueName(queue: string | Queue): string {
  if (typeof queue !== 'object' || queue === null) return checkName('replyTo', queue);
  if (queue.name !== '') return checkName('replyTo', queue.name);
  throw new NotBoundError('the queue in replyTo has no name yet: bind it to the connection and declare it first');
}

function checkTimestamp(value: number | bigint | Date): number | bigint {
  if (value instanceof Date) {
    const time = value.getTime();
    if (Number.isNaN(time)) throw new InvalidArgumentError('timestamp is an invalid date');
    return Math.trunc(time / 1000);
  }
  if (typeof value === 'bigint') {
    if (value >= 0n && value <= BigInt(LATEST_TIMESTAMP)) return value;
  } else if (Number.isSafeInteger(value) && value >= 0 && value <= LATEST_TIMESTAMP) return value;
  const hint = Number(value) > LATEST_TIMESTAMP ? ': these look like milliseconds; a Date would do' : '';
  throw new InvalidArgumentError(
    `timestamp must be whole seconds since the epoch or a date, not ${show(value)}${hint}`,
  );
}
