/**
 * The Driver contract: a store behind small batch methods. The virtual transport makes AMQP's model of it: exchanges,
 * routing, fairness, credit, timers, dead letters. A driver knows neither channels nor consumers.
 *
 * - One driver per Connection. Everything comes in arrays, so that a driver can pipeline: what the application did in one tick
 *   is one call.
 * - A client library beneath a driver never reconnects, queues or resends on its own: a loss is reported once, by `lost`,
 *   and every call under way rejects. `open` may be called again after a loss. A call that the store does not answer in the driver's own time
 *   limit is a loss too: nobody above waits with a clock.
 * - Calls may overlap; they take effect in the order in which they were made, as far as they touch the same queue. A driver rejects (or
 *   throws) the store's own errors; `classify` turns them into typed ones.
 * - What may answer at once says `MaybePromise`. A driver for which that is the rule sets `features.synchronous`.
 * - Messages handed to `send` stay the caller's: a driver copies what it keeps. Messages that `take` gives are the taker's alone.
 *
 * ```
 *        send                 take (lease)               settle ack
 *  ──────────────▶  ready  ──────────────▶  held by a holder  ──────▶  gone
 *   notBefore: later  ▲  ▲                        │
 *                     │  └ release abandon requeue┤
 *                     └──────── lease lost ───────┘   (holder died: sweep)
 * ```
 */
import type { MessagingError } from '../../errors.js';
import type { Arguments, BasicProperties, ConnectionParameters, DeliveryTag } from '../../transport/contract.js';

/** A driver in the same process may answer within the call. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * What is stored of a message. Kombu's envelope (`wire/envelope`) is this with a delivery tag, a UUID for each copy, which the driver
 * adds when it writes one.
 */
export interface StoredMessage {
  readonly body: Uint8Array;
  readonly properties: BasicProperties;
  readonly exchange: string;
  readonly routingKey: string;
  /** Properties that AMQP does not have, by their names on the wire. A driver keeps them. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** Who takes messages: one per Connection, the same over all of its incarnations. */
export interface Holder {
  /** A UUID. */
  readonly id: string;
  /** For people: host and process. */
  readonly name: string;
}

/** What the store does itself. A flag is false only where the store makes it impossible; the virtual transport emulates the rest. */
export interface DriverFeatures {
  /**
   * `send`, `take`, `settle`, `stat` and the table answer within the call, and nothing is won by collecting calls: each is made on
   * the spot, not at the end of the tick.
   */
  readonly synchronous: boolean;
  /** Serves messages by priority, and in which order; `none`: the virtual transport cannot help either. */
  readonly priority: 'highest-first' | 'lowest-first' | 'none';
  /** Where `requeue` puts a message. `release` and `abandon` always put it back to its place, as near as the store can. */
  readonly requeuePosition: 'original' | 'front' | 'back';
  /** Holds a message back until its `notBefore`. Otherwise the virtual transport keeps a timer, and the message a lease. */
  readonly delay: boolean;
  /** Applies `expiresAt` and the queue's `messageTtl`, whichever ends first: what has expired is never served as if it had not. */
  readonly messageTtl: boolean;
  /** Deletes a queue that nobody used (declared, consumed, took from) for `expires`. */
  readonly queueTtl: boolean;
  /** Enforces `maxLength`, `maxLengthBytes` and `overflow` atomically. Without it the bytes are refused: nobody could count them. */
  readonly maxLength: boolean;
  /** Serves a queue with `singleActiveConsumer` to the holder of its first consumer only. */
  readonly singleActiveConsumer: boolean;
  /** A batch of `send` is stored whole or not at all. */
  readonly atomicSend: boolean;
  /** `send` can be part of a transaction of the user's. */
  readonly transactions: boolean;
  /** Messages survive a restart of the store. */
  readonly persistent: boolean;
  readonly multiProcess: boolean;
  /** Leases must be renewed, at least every third of this, in milliseconds. Undefined: the store knows a dead holder by itself. */
  readonly lease: number | undefined;
  /** `take` can wait in the store for a first message (`waitMs`). */
  readonly longPoll: boolean;
  /**
   * How often, in milliseconds, to ask for messages that no hint told of, while there is somebody to give them to. Undefined: `watch` tells
   * of every message. (The transport option `polling_interval`, in seconds, takes its place.)
   */
  readonly pollInterval: number | undefined;
  /** How often, in milliseconds, somebody should `sweep`. Undefined: the driver calls `due` when there is something to do. */
  readonly sweepInterval: number | undefined;
  readonly maxMessageBytes: number | undefined;
  /** Messages of one `send` at most: several at a time are quicker. Absent: all that were published in a tick go together. */
  readonly sendBatch?: number | undefined;
  /** Longest name of a queue in characters; absent: AMQP's 255 bytes. A driver refuses longer ones with INVALID_ARGUMENT. */
  readonly maxQueueName?: number | undefined;
}

/** Options of a queue that the store must know. Absent: none. All in milliseconds or counts. */
export interface QueueOptions {
  /** It outlives a restart of the store. */
  readonly durable: boolean;
  /** Only this holder may use it; it goes when the holder does. */
  readonly exclusiveTo?: string | undefined;
  /** It goes when its last consumer does. */
  readonly autoDelete: boolean;
  /** Messages expire after so long. */
  readonly messageTtl?: number | undefined;
  /** Deleted when nobody used it for so long. */
  readonly expires?: number | undefined;
  /** At most so many messages ready; `overflow` says what happens to more. */
  readonly maxLength?: number | undefined;
  /** The same for the bytes of their bodies. */
  readonly maxLengthBytes?: number | undefined;
  /** Default `drop-head`. */
  readonly overflow?: 'drop-head' | 'reject-publish' | 'reject-publish-dlx' | undefined;
  /** The highest priority that counts; what is above counts as that. */
  readonly maxPriority?: number | undefined;
  /** One consumer at a time is served, the first. */
  readonly singleActiveConsumer?: boolean | undefined;
  /** Messages that expire or overflow have somewhere to go: they are handed to `sweep`, or to `take` as `expired`. Otherwise they are dropped. */
  readonly deadLetter: boolean;
  /** As declared; compared when it is declared again. */
  readonly arguments: Arguments;
}

/** What is known of a queue. */
export interface QueueStat {
  readonly name: string;
  /** Messages ready to be taken (not those held, not those delayed). */
  readonly messageCount: number;
  /** Of all clients. */
  readonly consumerCount: number;
  /** Absent when another client (Python) made the queue and left no options. */
  readonly options: QueueOptions | undefined;
}

/** A queue to delete, and on what condition. */
export interface RemoveRequest {
  readonly queue: string;
  /** Only when it has no consumer. */
  readonly ifUnused?: boolean | undefined;
  /** Only when no message is ready. */
  readonly ifEmpty?: boolean | undefined;
}

/** The number of messages that were ready, or why the queue still stands (in one step with the deletion where the store can), or did not. */
export type RemoveResult = number | 'used' | 'not-empty' | 'missing';

/** A message to store. */
export interface Outbound {
  readonly queue: string;
  readonly message: StoredMessage;
  /** Clock time (ms since the epoch) when it expires by its own `expiration`. The queue's TTL is the driver's to add. */
  readonly expiresAt?: number | undefined;
  /** Clock time (ms since the epoch) before which nobody may take it. */
  readonly notBefore?: number | undefined;
}

/** What became of one message of a batch. `full`: refused by the queue's overflow rule. `missing`: no such queue. */
export type SendResult = 'stored' | 'full' | 'missing';

/** How a batch is sent. */
export interface SendOptions {
  /** The user's own transaction on the same store (an outbox). */
  readonly transaction?: unknown;
}

/** One queue's share of a take. */
export interface TakeRequest {
  readonly queue: string;
  /** At most this many. */
  readonly credit: number;
  /** The message is gone when taken. */
  readonly noAck: boolean;
}

/** How a take is carried out. */
export interface TakeOptions {
  /**
   * Names the attempt among those of this holder; grows from one to the next. Kept with the lease: a take with no requests gives what
   * the former one of this id took and was not settled since, for a taker that never saw the answer.
   */
  readonly requestId: number;
  /** At most this many messages in all. */
  readonly limit: number;
  /**
   * How the limit is shared. `fair`: as equally as the queues' messages and credits allow, what is left over going to the first named.
   * `strict`: the first named queue first, until it is empty or its credit is used.
   */
  readonly order: 'fair' | 'strict';
  /** Up to this long a driver with `longPoll` may wait for a first message. 0: answer at once. */
  readonly waitMs: number;
  /** Ends the wait, never a take: what was taken is returned. */
  readonly signal?: AbortSignal | undefined;
}

/** A message taken, with its lease. */
export interface Taken {
  readonly queue: string;
  readonly message: StoredMessage;
  /**
   * The driver's handle for `settle` and `extend`. Opaque. Valid for every incarnation of this holder, and for this taking alone: when the message came
   * back and was taken again, the former one is not ours any more. Undefined when `noAck` took it.
   */
  readonly lease: DeliveryTag;
  readonly redelivered: boolean;
  /** How often it was handed out before and came back, releases apart, when the store counts it. */
  readonly deliveryCount?: number | undefined;
  /** It had expired: to be dead-lettered, not delivered. Held also when the take said `noAck`. */
  readonly expired?: boolean | undefined;
}

/**
 * What becomes of a message held.
 *
 * | outcome   | the message goes                  | marked redelivered, counted |
 * | --------- | --------------------------------- | --------------------------- |
 * | `ack`     | away                              |                             |
 * | `reject`  | away (dead letters are sent before) |                           |
 * | `requeue` | to where the features say         | yes: somebody decided so    |
 * | `abandon` | back to its place                 | yes: its channel closed, as if the lease were lost |
 * | `release` | back to its place                 | no: nobody saw it           |
 */
export type Outcome = 'ack' | 'reject' | 'requeue' | 'abandon' | 'release';

/** What is to become of one message held. */
export interface Settlement {
  readonly lease: DeliveryTag;
  readonly outcome: Outcome;
}

/** What `sweep` found: messages to dead-letter (held by the sweeper now), queues that ended, leases returned. */
export interface SweepResult {
  /** Messages of dead holders that are ready again. */
  readonly returned: number;
  /** Only from queues with `deadLetter`. */
  readonly expired: readonly Taken[];
  /** Messages that `drop-head` pushed out of queues with `deadLetter`. */
  readonly overflowed: readonly Taken[];
  readonly deletedQueues: readonly string[];
}

/** An exchange, as the table has it. */
export interface ExchangeRecord {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: Arguments;
  /** Everything bound to it as a source. */
  readonly bindings: readonly BindingRecord[];
  /** Changes whenever the record or its bindings do. */
  readonly version: string;
  /** Somebody (Python) bound to this name and left no settings: these are a guess, and `put-exchange` stores others. */
  readonly guessed?: boolean | undefined;
}

/** What is declared of an exchange. */
export type ExchangeSettings = Omit<ExchangeRecord, 'bindings' | 'version' | 'guessed'>;

/** A binding, as the table has it. */
export interface BindingRecord {
  readonly source: string;
  readonly destinationType: 'queue' | 'exchange';
  readonly destination: string;
  readonly routingKey: string;
  readonly arguments: Arguments;
}

/**
 * A change of the shared table. Putting what stands, or removing what does not, changes nothing: an exchange that stands keeps its
 * settings (the caller reads it again and compares), a binding is the same when all five members are. Deleting an exchange takes its bindings with it, on
 * both sides. An auto-delete exchange goes with its last binding as a source, however that was removed.
 */
export type TableChange =
  | { readonly kind: 'put-exchange'; readonly exchange: ExchangeSettings }
  | { readonly kind: 'delete-exchange'; readonly name: string; readonly ifUnused?: boolean | undefined }
  | { readonly kind: 'bind'; readonly binding: BindingRecord }
  | { readonly kind: 'unbind'; readonly binding: BindingRecord };

/**
 * The shared table: exchanges and bindings that all clients of the store see. Clients cache what they read for at most a
 * second; the version makes looking again cheap. The exchanges that AMQP predeclares (`amq.direct` …) are never put, yet may be
 * bound as any other.
 */
export interface RoutingTable {
  /** `watch` tells of every change before the call that made it is answered: what was read holds until then, however long. */
  readonly coherent: boolean;
  /** `known` is the version the caller has: `unchanged` when it still holds. Undefined: no such exchange, and nothing bound to that name. */
  exchange(name: string, known?: string): MaybePromise<ExchangeRecord | 'unchanged' | undefined>;
  /** Bindings that end in this queue or exchange. */
  bindingsTo(destinationType: 'queue' | 'exchange', destination: string): MaybePromise<readonly BindingRecord[]>;
  /** Names of all exchanges. */
  exchanges(): MaybePromise<readonly string[]>;
  /**
   * Applies the changes in order, atomically where the store can. For each: whether the table is so now; `false` only for a
   * `delete-exchange` with `ifUnused` that found bindings.
   */
  apply(changes: readonly TableChange[]): MaybePromise<readonly boolean[]>;
  /** Calls `changed` after a change by anybody, where the store can tell. Returns how to stop. */
  watch(changed: (exchange: string) => void): () => void;
}

/** Fanout by the store itself (Redis's pub/sub): not stored, at most once, received only while subscribed. */
export interface Broadcast {
  /** For each: how many subscribers got it, when the store tells (0 is unroutable). */
  publish(
    messages: readonly StoredMessage[],
    exchanges: readonly string[],
  ): MaybePromise<readonly (number | undefined)[]>;
  /** Gives what is published to `exchange` with a key that the binding's takes. Resolves when subscribed, with how to end it. */
  subscribe(
    exchange: string,
    routingKey: string,
    receive: (message: StoredMessage) => void,
  ): Promise<() => Promise<void>>;
}

/**
 * Tells clients that are not Wakame's of what is published to fanout exchanges, where they know of no stored copies (Python on Redis). Queues
 * of ours get theirs as from any exchange.
 */
export interface Herald {
  /** For each: how many heard it, when the store tells. 0, and no queue, is unroutable. */
  publish(
    messages: readonly StoredMessage[],
    exchanges: readonly string[],
  ): MaybePromise<readonly (number | undefined)[]>;
}

/** Hints about the queues watched. Cheap; called as often as needed, also from within a call of the driver's. */
export interface QueueHints {
  /** It may have a message. After this, a driver may keep silent about the queue until a take came back with less than was asked for. */
  ready(queue: string): void;
  /** It was deleted. */
  gone(queue: string): void;
}

/** What a driver is opened with. */
export interface OpenDriver {
  readonly parameters: ConnectionParameters;
  readonly holder: Holder;
  /**
   * Called once when the store is gone, which may be before who called `open` has seen that it resolved. A loss while the driver opens is not told:
   * `open` rejects with it.
   */
  readonly lost: (error: unknown) => void;
  /** `sweep` would find something now. Only a hint; needed where `features.sweepInterval` is undefined. */
  readonly due: () => void;
  /** Something is wrong that breaks nothing; the application is told of the classified error. */
  readonly problem: (error: unknown) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A consumer as the store knows it. The tag is unique for its holder. */
export interface ConsumerRecord {
  readonly queue: string;
  readonly tag: string;
  readonly exclusive: boolean;
}

/**
 * The number of consumers that the queue has now, or why this one was not added: `refused` since an exclusive consumer stands in the way (or others stand
 * in the way of this exclusive one), `locked` since the queue is exclusive to another holder.
 */
export type AttachResult = number | 'refused' | 'locked' | 'missing';

/** A store: queues that hand out leases, and the shared table. docs/guides/writing-a-transport.md leads through it. */
export interface Driver {
  readonly features: DriverFeatures;
  /**
   * Rejects with a typed error (CONNECT_FAILED, AUTH_FAILED, VHOST_NOT_FOUND …) or what `classify` makes one of. What a former incarnation of
   * the holder attached is forgotten. Once the signal is aborted it gives up soon: another try waits for the end of this one.
   */
  open(options: OpenDriver): Promise<void>;
  /** Ends this incarnation, its consumers with it. Held messages stay held: the holder may open again. Never rejects. */
  close(): Promise<void>;
  /** The holder is gone for good: what it holds is returned (`abandon`), what is exclusive to it deleted. Never rejects. */
  retire(): Promise<void>;
  /** Product and version of the store. */
  info(): Promise<Readonly<Record<string, unknown>>>;
  /** The typed error for one of the store's. Not asked about errors that are MessagingErrors already. */
  classify(error: unknown): MessagingError;

  /**
   * Creates the queues that are absent. For each: its state. One that stands keeps its options (the caller compares); one that stands
   * without options gets these.
   */
  declare(
    queues: readonly { readonly name: string; readonly options: QueueOptions }[],
  ): MaybePromise<readonly QueueStat[]>;
  /** Deletes the queues with their messages and bindings. */
  remove(requests: readonly RemoveRequest[]): MaybePromise<readonly RemoveResult[]>;
  /** For each queue its state, or undefined when it is absent. */
  stat(queues: readonly string[]): MaybePromise<readonly (QueueStat | undefined)[]>;
  /** Removes the messages that nobody holds, delayed ones too. For each: how many. */
  purge(queues: readonly string[]): MaybePromise<readonly number[]>;
  /** Names of all queues. */
  list(): MaybePromise<readonly string[]>;
  /** The next messages of a queue, not taken. */
  peek(queue: string, limit: number): MaybePromise<readonly StoredMessage[]>;

  /** Rejects ENCODE_FAILED, and has stored nothing, when a message of the batch cannot be written: they are sent again one by one. */
  send(messages: readonly Outbound[], options?: SendOptions): MaybePromise<readonly SendResult[]>;
  /** Nothing from a queue that is absent or exclusive to another holder. */
  take(requests: readonly TakeRequest[], options: TakeOptions): MaybePromise<readonly Taken[]>;
  /** Whose hints to give from now on; replaces the former set of queues. A queue may be watched that does not exist. */
  watch(queues: readonly string[], hints: QueueHints): MaybePromise<void>;
  /** For each: whether the lease was still ours. */
  settle(settlements: readonly Settlement[]): MaybePromise<readonly boolean[]>;
  /**
   * Renews leases, and the life of the holder: its consumers and exclusive queues. Called every third of `features.lease`, also with
   * nothing held. For each lease: whether it was still ours.
   */
  extend(leases: readonly DeliveryTag[]): MaybePromise<readonly boolean[]>;
  /** Returns messages of dead holders, finds the expired, deletes queues past their time. At most `limit` of each. */
  sweep(limit: number): MaybePromise<SweepResult>;

  /** Tells the store who consumes, for consumer counts, exclusive consumers and auto-delete. */
  attach(consumers: readonly ConsumerRecord[]): MaybePromise<readonly AttachResult[]>;
  /** For each: how many consumers the queue still has, of all clients. An auto-delete queue goes with its last one. */
  detach(consumers: readonly ConsumerRecord[]): MaybePromise<readonly number[]>;

  /** Usable while the driver is open. */
  readonly table: RoutingTable;
  readonly broadcast?: Broadcast | undefined;
  /** Beside stored copies; not together with `broadcast`. */
  readonly herald?: Herald | undefined;
}

/** Makes the driver of one Connection. */
export type DriverFactory = () => Driver;
