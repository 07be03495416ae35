/** Queue arguments (`x-…`) as RabbitMQ understands them, checked when a queue is declared. */
import { type MessagingError, NotSupportedError } from '../../errors.js';
import type { Arguments, QueueDeclareOptions } from '../../transport/contract.js';
import { canonical } from '../../util/canonical.js';
import { show } from '../../util/check.js';
import type { QueueOptions } from './driver.js';
import { inequivalent, precondition } from './refusals.js';

type Check = (value: unknown) => string | undefined;

const integer =
  (min: number, max = Number.MAX_SAFE_INTEGER): Check =>
  (value) => {
    const number = typeof value === 'bigint' ? Number(value) : value;
    if (Number.isSafeInteger(number) && (number as number) >= min && (number as number) <= max) return undefined;
    return max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`;
  };
const string: Check = (value) => (typeof value === 'string' ? undefined : 'a string');
const boolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const oneOf =
  (...allowed: string[]): Check =>
  (value) =>
    allowed.includes(value as string) ? undefined : `one of ${allowed.join(', ')}`;

/** The arguments that mean something, to us or to RabbitMQ. Others are kept and compared by nobody, as there. */
const KNOWN: ReadonlyMap<string, Check> = new Map([
  ['x-message-ttl', integer(0)],
  ['x-expires', integer(1)],
  ['x-max-length', integer(0)],
  ['x-max-length-bytes', integer(0)],
  ['x-max-priority', integer(0, 255)],
  ['x-overflow', oneOf('drop-head', 'reject-publish', 'reject-publish-dlx')],
  ['x-dead-letter-exchange', string],
  ['x-dead-letter-routing-key', string],
  ['x-dead-letter-strategy', string],
  ['x-delivery-limit', integer(0)],
  ['x-single-active-consumer', boolean],
  ['x-queue-type', oneOf('classic', 'quorum', 'stream')],
  ['x-queue-mode', string],
]);

/** What a queue's arguments say about its dead letters. */
export interface DeadLetterPolicy {
  /** `''` is the default exchange. */
  readonly exchange: string;
  /** Undefined: each message keeps its own. */
  readonly routingKey: string | undefined;
}

/**
 * The store's options of a queue to be declared.
 *
 * @throws MessagingError PRECONDITION_FAILED for an argument with a value it cannot have; NOT_SUPPORTED for a stream.
 */
export function queueOptions(name: string, vhost: string, options: QueueDeclareOptions, holder: string): QueueOptions {
  const args = options.arguments ?? {};
  checkArguments(name, vhost, args);
  return {
    durable: options.durable ?? false,
    exclusiveTo: options.exclusive === true ? holder : undefined,
    autoDelete: options.autoDelete ?? false,
    messageTtl: number(args['x-message-ttl']),
    expires: number(args['x-expires']),
    maxLength: number(args['x-max-length']),
    maxLengthBytes: number(args['x-max-length-bytes']),
    overflow: args['x-overflow'] as QueueOptions['overflow'],
    maxPriority: number(args['x-max-priority']),
    singleActiveConsumer: args['x-single-active-consumer'] as boolean | undefined,
    deadLetter: args['x-dead-letter-exchange'] !== undefined,
    arguments: args,
  };
}

/** Where a queue's dead letters go; undefined: nowhere. */
export function deadLetterPolicy(options: QueueOptions | undefined): DeadLetterPolicy | undefined {
  const exchange = options?.arguments['x-dead-letter-exchange'];
  if (typeof exchange !== 'string') return undefined;
  const routingKey = options?.arguments['x-dead-letter-routing-key'];
  return { exchange, routingKey: typeof routingKey === 'string' ? routingKey : undefined };
}

/** How often a message may come back before it is a dead letter. */
export function deliveryLimit(options: QueueOptions | undefined): number | undefined {
  return number(options?.arguments['x-delivery-limit']);
}

/** The refusal of a declaration that differs from the queue that stands; undefined when they mean the same. */
export function queueDifference(
  name: string,
  vhost: string,
  received: QueueOptions,
  current: QueueOptions,
): MessagingError | undefined {
  const differs = (setting: string, a: unknown, b: unknown) =>
    canonical(a) === canonical(b) ? undefined : inequivalent(setting, 'queue', name, vhost, a, b);
  let difference =
    differs('durable', received.durable, current.durable) ??
    differs('auto_delete', received.autoDelete, current.autoDelete) ??
    differs('exclusive', received.exclusiveTo !== undefined, current.exclusiveTo !== undefined);
  for (const key of KNOWN.keys()) difference ??= differs(key, received.arguments[key], current.arguments[key]);
  return difference;
}

function checkArguments(name: string, vhost: string, args: Arguments): void {
  for (const [key, check] of KNOWN) {
    const given = args[key];
    if (given === undefined) continue;
    const wanted = check(given);
    if (wanted === undefined) continue;
    throw precondition(`invalid arg '${key}' for queue '${name}' in vhost '${vhost}': ${show(given)} is not ${wanted}`);
  }
  if (args['x-dead-letter-routing-key'] !== undefined && args['x-dead-letter-exchange'] === undefined) {
    throw precondition(
      `invalid arg 'x-dead-letter-routing-key' for queue '${name}' in vhost '${vhost}': needs 'x-dead-letter-exchange'`,
    );
  }
  if (args['x-queue-type'] === 'stream') {
    throw new NotSupportedError(`queue '${name}': streams exist on RabbitMQ only`);
  }
}

function number(value: unknown): number | undefined {
  return value === undefined ? undefined : Number(value);
}
