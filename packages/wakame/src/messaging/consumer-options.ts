import { DEFAULTS } from '../connection/defaults.js';
import { Queue } from '../entities/queue.js';
import { InvalidArgumentError } from '../errors.js';
import { type AcceptList, serialization } from '../serialization/index.js';
import {
  checkBoolean,
  checkDuration,
  checkFunction,
  checkInteger,
  checkKeys,
  checkOneOf,
  checkString,
  show,
} from '../util/check.js';
import type { FailurePolicy, SettleMode } from './handling.js';
import type { Message } from './message.js';
import { isSchema, type StandardSchemaV1 } from './schema.js';

/** What a consumer reads from. A name alone stands for a queue that exists: it is not declared. */
export type QueueInput<T = unknown> = Queue<T> | string | readonly (Queue<T> | string)[];

/** What the messages of these queues hold: of any of them. */
export type PayloadOf<Q> = Q extends Queue<infer T> ? T : Q extends readonly (infer Each)[] ? PayloadOf<Each> : unknown;

/** Called with each message's payload, in Kombu's order of arguments. What it returns is waited for. */
export type ConsumerCallback<T> = (body: T, message: Message<T>) => unknown;

/** Options of a {@link Consumer} that do not depend on where its type comes from. */
interface BaseOptions<T> extends FailurePolicy<T> {
  /** Called in turn with each message: `(payload, message)`. */
  readonly callbacks?: ConsumerCallback<T> | readonly ConsumerCallback<T>[] | undefined;
  /** Called with each message, instead of `callbacks`. */
  readonly onMessage?: ((message: Message<T>) => unknown) | undefined;
  /**
   * Serializers or MIME types whose bodies are read, beside `application/data`; others go to `onDecodeError`. Default: JSON,
   * `text/plain` and `application/data`.
   */
  readonly accept?: Iterable<string> | undefined;
  /** The broker forgets each message when it sends it. Default: as the queue says (`false`). */
  readonly noAck?: boolean | undefined;
  /** Unsettled messages at most, for each queue; 0: no limit. Default 100. No effect with `noAck`. */
  readonly prefetch?: number | undefined;
  /** Handlers at work at one time. Default 1: messages are handled in order, one by one. */
  readonly concurrency?: number | undefined;
  /** Beginning of the consumer tags; a number is added. Default: unique to the process. */
  readonly tagPrefix?: string | undefined;
  /** Who settles. Default `manual`, as in Kombu. */
  readonly settle?: SettleMode | undefined;
  /** Declare the queues, with their exchanges and bindings, before consuming. Default `true`. */
  readonly autoDeclare?: boolean | undefined;
  /** Aborting it closes the consumer; a loop over it ends with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the consumption when no message has come for this long, in milliseconds. Default: never. */
  readonly idleTimeout?: number | undefined;
}

/** Options of a {@link Consumer} whose payloads are typed by its queues. */
export interface ConsumerOptions<T = unknown> extends BaseOptions<T> {
  /** One, or several, which are served fairly. */
  readonly queues?: QueueInput<T> | undefined;
  /** Validates and types the payload of every message; one that fails goes to `onDecodeError`. */
  readonly schema?: undefined;
}

/** Options of a {@link Consumer} whose payloads are validated and typed by a schema of its own, whatever its queues say. */
export interface SchemaConsumerOptions<T> extends BaseOptions<T> {
  /** One, or several, which are served fairly. */
  readonly queues?: QueueInput | undefined;
  /** Validates and types the payload of every message; one that fails goes to `onDecodeError`. */
  readonly schema: StandardSchemaV1<unknown, T>;
}

/** Options, checked, with their defaults. */
export interface ConsumerSettings<T> extends FailurePolicy<T> {
  readonly queues: readonly Queue<T>[];
  readonly callbacks: readonly ConsumerCallback<T>[];
  readonly onMessage: ((message: Message<T>) => unknown) | undefined;
  readonly accept: AcceptList | undefined;
  readonly noAck: boolean | undefined;
  readonly prefetch: number;
  readonly concurrency: number;
  readonly tagPrefix: string | undefined;
  readonly settle: SettleMode;
  readonly autoDeclare: boolean;
  readonly schema: StandardSchemaV1<unknown, T> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly idleTimeout: number | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...['queues', 'callbacks', 'onMessage', 'onDecodeError', 'accept', 'noAck', 'prefetch', 'concurrency', 'tagPrefix'],
  ...['settle', 'onHandlerError', 'maxAttempts', 'backoff', 'autoDeclare', 'schema', 'signal', 'idleTimeout'],
]);
const BACKOFF_OPTIONS: ReadonlySet<string> = new Set(['start', 'max', 'factor']);

/** AMQP counts prefetched messages in 16 bits (0-9-1, basic.qos). */
const MOST_PREFETCH = 65_535;

/** Checks options and fills in the defaults. Throws INVALID_ARGUMENT. */
export function consumerSettings<T>(options: ConsumerOptions<T> | SchemaConsumerOptions<T>): ConsumerSettings<T> {
  checkKeys('Consumer', options, OPTIONS);
  const { onMessage, onDecodeError, onHandlerError, schema, signal, idleTimeout, noAck, tagPrefix } = options;
  if (onMessage !== undefined) checkFunction('onMessage', onMessage);
  if (onDecodeError !== undefined) checkFunction('onDecodeError', onDecodeError);
  if (onHandlerError !== undefined) checkFunction('onHandlerError', onHandlerError);
  const callbacks = list(options.callbacks).map((callback) => checkFunction('callbacks', callback));
  if (onMessage !== undefined && callbacks.length > 0) {
    throw new InvalidArgumentError('onMessage and callbacks exclude each other: onMessage gets every message');
  }
  if (schema !== undefined && !isSchema(schema)) {
    throw new InvalidArgumentError(`schema must be a Standard Schema, not ${show(schema)}`);
  }
  return {
    // With a schema of the consumer's own, the queues' types say nothing about T.
    queues: list(options.queues as QueueInput<T> | undefined).map(asQueue),
    ...{ callbacks, onMessage, onDecodeError, onHandlerError, schema, signal },
    accept: serialization.prepareAccept(options.accept),
    noAck: noAck === undefined ? undefined : checkBoolean('noAck', noAck),
    prefetch: checkPrefetch(options.prefetch ?? DEFAULTS.prefetch),
    concurrency: checkCount('concurrency', options.concurrency ?? DEFAULTS.concurrency),
    maxAttempts: checkCount('maxAttempts', options.maxAttempts ?? DEFAULTS.maxAttempts),
    backoff: checkBackoff(options.backoff),
    tagPrefix: tagPrefix === undefined ? undefined : checkString('tagPrefix', tagPrefix),
    settle: checkOneOf('settle', options.settle ?? 'manual', ['manual', 'auto']),
    autoDeclare: checkBoolean('autoDeclare', options.autoDeclare ?? true),
    idleTimeout:
      idleTimeout === undefined ? undefined : checkDuration('idleTimeout', idleTimeout, { allowInfinity: true }),
  };
}

export function checkPrefetch(prefetch: number): number {
  return checkInteger('prefetch', prefetch, { max: MOST_PREFETCH });
}

/** A queue given as an object, or the name of one that is not ours to declare. */
export function asQueue<T>(queue: Queue<T> | string): Queue<T> {
  if (queue instanceof Queue) return queue;
  if (typeof queue === 'string') return new Queue<T>(queue, { noDeclare: true });
  throw new InvalidArgumentError(`a queue must be a Queue or the name of one, not ${show(queue)}`);
}

function list<T>(input: T | readonly T[] | undefined): readonly T[] {
  if (input === undefined) return [];
  return Array.isArray(input) ? input : [input as T];
}

/** A number of at least 1, `Infinity` included. */
function checkCount(name: string, value: number): number {
  return value === Number.POSITIVE_INFINITY ? value : checkInteger(name, value, { min: 1 });
}

function checkBackoff(backoff: FailurePolicy<unknown>['backoff']): FailurePolicy<unknown>['backoff'] {
  if (backoff === undefined) return undefined;
  checkKeys('backoff', backoff, BACKOFF_OPTIONS);
  const { start, max, factor } = backoff;
  if (start !== undefined) checkDuration('backoff.start', start);
  if (max !== undefined) checkDuration('backoff.max', max);
  if (factor !== undefined && !(factor >= 1)) {
    throw new InvalidArgumentError(`backoff.factor must be at least 1, not ${show(factor)}`);
  }
  return backoff;
}
