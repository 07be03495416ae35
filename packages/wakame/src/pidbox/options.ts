import { LamportClock } from '../clock/index.js';
import { Connection } from '../connection/connection.js';
import { DEFAULTS } from '../connection/defaults.js';
import type { ChannelOrConnection } from '../entities/target.js';
import { InvalidArgumentError } from '../errors.js';
import { isSchema, type StandardSchemaV1 } from '../messaging/schema.js';
import { serialization } from '../serialization/index.js';
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
import type { ProducerSource } from './publishing.js';
import type { CommandArguments, Reply } from './wire.js';

/** How nodes are reached: by a direct exchange, or by a fanout exchange. Either way every node gets every command, and heeds those for it. */
export type MailboxType = (typeof TYPES)[number];
const TYPES = ['direct', 'fanout'] as const;

/** What a mailbox is like. `type`, and what concerns queues, have to be the same for all who use it. */
export interface MailboxOptions {
  /** Type of the exchange; all who use the mailbox say the same. Default `direct`, as Kombu's. */
  readonly type?: MailboxType | undefined;
  /** The same as {@link Mailbox.bind}. */
  readonly connection?: Connection | undefined;
  /** Serializers or MIME types of commands and replies that are read. Default `['json']`. */
  readonly accept?: Iterable<string> | undefined;
  /** The format of commands and replies. Default JSON. */
  readonly serializer?: string | undefined;
  /** Milliseconds after which a command that its node has not taken is dropped (`x-message-ttl`). Default: never. */
  readonly queueTtl?: number | undefined;
  /** Milliseconds (at least 1) after which a node's queue is deleted when nobody uses it (`x-expires`). Default: never. */
  readonly queueExpires?: number | undefined;
  /** The same as `queueTtl`, of replies. */
  readonly replyQueueTtl?: number | undefined;
  /** The same as `queueExpires`, of the reply queue. Default 10 000: a reply queue never stays behind. */
  readonly replyQueueExpires?: number | undefined;
  /**
   * The queues belong to their connections: nobody else can consume from them, and they go when the connection does. Default: `true`
   * unless they are durable, as in Kombu 5.7. RabbitMQ 4.3 refuses queues that are neither exclusive nor durable.
   */
  readonly queueExclusive?: boolean | undefined;
  /** The queues outlive connections and restarts of the broker: commands wait for a node that is away. Default `false`. Excludes `queueExclusive`. */
  readonly queueDurable?: boolean | undefined;
  /** Default: a clock of the mailbox's own, which its bound copies share. */
  readonly clock?: LamportClock | undefined;
  /** Where to borrow producers. Default: one that everything bound to the connection shares. */
  readonly producerPool?: ProducerSource | undefined;
  /** Names the reply queue: unique to a connection. Default: a UUID for each. */
  readonly oid?: string | undefined;
}

/** How commands are sent. */
export interface SendOptions {
  /** Another connection than the mailbox's own: that of this channel. */
  readonly channel?: ChannelOrConnection | undefined;
  /** Default: the mailbox's. */
  readonly serializer?: string | undefined;
  /** Ends the wait: rejects with its reason. What has been sent stays sent. */
  readonly signal?: AbortSignal | undefined;
}

/** Which nodes a command is for, by their names. */
export interface PatternOptions {
  /** Only for nodes whose hostnames match, such as `worker-*`. */
  readonly pattern?: string | undefined;
  /** How nodes are to read `pattern`: `glob` (default), or one that they have registered. */
  readonly matcher?: string | undefined;
}

/** How replies are collected. */
export interface ReplyOptions<T = unknown> {
  /**
   * Milliseconds to wait for the first reply, and after each for the next; `Infinity`: no end. Nodes drop a command when it comes later
   * than that.
   */
  readonly timeout?: number | undefined;
  /** Enough replies. Default: as many as there are destinations; without any, no limit. */
  readonly limit?: number | undefined;
  /** Called with each reply as it comes. What it throws, the call rejects with. */
  readonly callback?: ((reply: Reply<T>) => void) | undefined;
  /** Validates and types the values of replies. One that does not fit becomes the reply's `error`. */
  readonly schema?: StandardSchemaV1<unknown, T> | undefined;
}

/** Options of {@link Mailbox.cast}. */
export interface CastOptions extends SendOptions {
  /** Milliseconds after which nodes drop the command. Default: never. */
  readonly timeout?: number | undefined;
}

/** Options of {@link Mailbox.call}. */
export interface CallOptions<T = unknown> extends SendOptions, ReplyOptions<T> {}

/** Options of {@link Mailbox.abcast}. */
export interface AbcastOptions extends CastOptions, PatternOptions {}

/** Options of {@link Mailbox.multiCall}. */
export interface MultiCallOptions<T = unknown> extends CallOptions<T>, PatternOptions {}

/** Options of {@link Mailbox.broadcast}. */
export interface BroadcastCommandOptions<T = unknown> extends MultiCallOptions<T> {
  /** Handed to the handler, by name. Default: none. */
  readonly arguments?: CommandArguments | undefined;
  /** The nodes it is for. Default: all. */
  readonly destination?: readonly string[] | undefined;
  /** Whether to wait for replies. Default `false`. */
  readonly reply?: boolean | undefined;
}

/** What sending a command needs to know: all but what becomes of the replies. */
export type Sending = Omit<BroadcastCommandOptions, 'callback' | 'schema'>;

/** Options of a {@link Mailbox}, checked, with their defaults. */
export interface MailboxSettings {
  readonly type: MailboxType;
  readonly accept: readonly string[];
  readonly serializer: string | undefined;
  readonly queueTtl: number | undefined;
  readonly queueExpires: number | undefined;
  readonly replyQueueTtl: number | undefined;
  readonly replyQueueExpires: number;
  readonly queueExclusive: boolean;
  readonly queueDurable: boolean;
  readonly producerPool: ProducerSource | undefined;
  readonly oid: string | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...['type', 'connection', 'accept', 'serializer', 'queueTtl', 'queueExpires', 'replyQueueTtl', 'replyQueueExpires'],
  ...['queueExclusive', 'queueDurable', 'clock', 'producerPool', 'oid'],
]);
const BROADCAST_OPTIONS: ReadonlySet<string> = new Set([
  ...['arguments', 'destination', 'reply', 'timeout', 'limit', 'callback', 'channel', 'serializer', 'pattern'],
  ...['matcher', 'schema', 'signal'],
]);

/** Throws INVALID_ARGUMENT. */
export function mailboxSettings(options: MailboxOptions): MailboxSettings {
  checkKeys('Mailbox', options, OPTIONS);
  const { connection, clock, serializer, producerPool, oid, queueDurable = false } = options;
  if (connection !== undefined && !(connection instanceof Connection)) {
    throw new InvalidArgumentError(`connection must be a Connection, not ${show(connection)}`);
  }
  if (clock !== undefined && !(clock instanceof LamportClock)) {
    throw new InvalidArgumentError(`clock must be a LamportClock, not ${show(clock)}`);
  }
  if (producerPool !== undefined) checkFunction('producerPool.acquire', producerPool.acquire);
  const accept = [...(options.accept ?? ['json'])];
  serialization.prepareAccept(accept);
  const queueExclusive = checkBoolean('queueExclusive', options.queueExclusive ?? !queueDurable);
  if (checkBoolean('queueDurable', queueDurable) && queueExclusive) {
    throw new InvalidArgumentError(
      'queueExclusive and queueDurable exclude each other: an exclusive queue goes with its connection',
    );
  }
  return {
    type: checkOneOf('type', options.type ?? 'direct', TYPES),
    accept,
    serializer: serializer === undefined ? undefined : checkString('serializer', serializer),
    queueTtl: optional('queueTtl', options.queueTtl, 0),
    queueExpires: optional('queueExpires', options.queueExpires, 1),
    replyQueueTtl: optional('replyQueueTtl', options.replyQueueTtl, 0),
    replyQueueExpires: checkInteger('replyQueueExpires', options.replyQueueExpires ?? DEFAULTS.replyQueueExpires, {
      min: 1,
    }),
    ...{ queueExclusive, queueDurable, producerPool },
    oid: oid === undefined ? undefined : checkFilled('oid', oid),
  };
}

/** Refuses what {@link Mailbox.broadcast} cannot do. Throws INVALID_ARGUMENT. */
export function checkBroadcast<T>(command: string, options: BroadcastCommandOptions<T>): void {
  checkFilled('command', command);
  checkKeys('broadcast', options, BROADCAST_OPTIONS);
  const { destination, pattern, matcher, reply, timeout, limit, callback, serializer, schema } = options;
  const args: unknown = options.arguments;
  if (args !== undefined && (typeof args !== 'object' || args === null || Array.isArray(args))) {
    throw new InvalidArgumentError(`arguments must be an object, not ${show(args)}`);
  }
  if (destination !== undefined) checkDestination(destination);
  if (pattern !== undefined) checkString('pattern', pattern);
  if (matcher !== undefined) checkString('matcher', matcher);
  if (matcher !== undefined && pattern === undefined) {
    throw new InvalidArgumentError(`matcher is ${show(matcher)}, and there is no pattern`);
  }
  if (destination !== undefined && pattern !== undefined) {
    throw new InvalidArgumentError('destination and pattern exclude each other: nodes look at destination alone');
  }
  if (timeout !== undefined) checkDuration('timeout', timeout, { min: 1, allowInfinity: true });
  if (serializer !== undefined) checkString('serializer', serializer);
  if (reply !== undefined && checkBoolean('reply', reply)) {
    if (limit !== undefined) checkInteger('limit', limit, { min: 1 });
    if (callback !== undefined) checkFunction('callback', callback);
    if (schema !== undefined && !isSchema(schema)) {
      throw new InvalidArgumentError(`schema must be a Standard Schema, not ${show(schema)}`);
    }
  } else if (limit !== undefined || callback !== undefined || schema !== undefined) {
    throw new InvalidArgumentError('limit, callback and schema are for replies: reply must be true');
  }
}

/** Returns a string that is not empty. Throws INVALID_ARGUMENT. */
export function checkFilled(name: string, value: unknown): string {
  if (checkString(name, value) !== '') return value as string;
  throw new InvalidArgumentError(`${name} must not be empty`);
}

/** Throws INVALID_ARGUMENT for what names no nodes. In Kombu a text stands for all names that are part of it, and an empty list for all nodes. */
export function checkDestination(destination: unknown): void {
  if (!Array.isArray(destination)) {
    throw new InvalidArgumentError(`destination must be an array of hostnames, not ${show(destination)}`);
  }
  if (destination.length === 0) {
    throw new InvalidArgumentError('destination must name a node; without it the command is for all of them');
  }
  for (const name of destination) checkFilled('destination', name);
}

function optional(name: string, value: number | undefined, min: number): number | undefined {
  return value === undefined ? undefined : checkInteger(name, value, { min });
}
