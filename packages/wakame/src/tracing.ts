/**
 * What the library tells about its work: `diagnostics_channel` tracing channels for programs, and a trace for people with
 * `NODE_DEBUG=wakame`. Both cost one test when nobody listens. No other logging is done.
 *
 * | tracing channel | spans | context |
 * | --- | --- | --- |
 * | `wakame:connect` | one try to connect | {@link ConnectContext} |
 * | `wakame:publish` | a publish, until its outcome | {@link PublishContext} |
 * | `wakame:receive` | the reading of a delivery: decompressing, decoding, schema | {@link ReceiveContext} |
 * | `wakame:process` | a handler at work on a message | {@link ProcessContext} |
 * | `wakame:settle` | an ack, reject or requeue, until its answer | {@link SettleContext} |
 *
 * Each is a `TracingChannel` of Node's: subscribe with `diagnostics_channel.tracingChannel('wakame:publish').subscribe({ start,
 * end, asyncStart, asyncEnd, error })`. Contexts never hold passwords.
 */
import { tracingChannel } from 'node:diagnostics_channel';
import { debuglog } from 'node:util';
import type { Delivery, DeliveryTag } from './transport/message.js';

/** Where a connection leads: to the present host, or the one that is tried. */
export interface BrokerAddress {
  /** The transport's scheme, such as `amqp`. */
  readonly transport: string;
  readonly host: string | undefined;
  /** As given; undefined: the scheme's own. */
  readonly port: number | undefined;
  readonly virtualHost: string | undefined;
}

/** One try to connect to one host. */
export interface ConnectContext extends BrokerAddress {
  /** Set when it failed. */
  error?: unknown;
}

/** A message on its way from `publish()` to its outcome. */
export interface PublishContext {
  readonly broker: BrokerAddress;
  readonly exchange: string;
  readonly routingKey: string;
  /**
   * The message's headers, a copy of the caller's. A subscriber of `start` may add to them (a `traceparent`): the message is
   * encoded afterwards.
   */
  readonly headers: Record<string, unknown>;
  readonly messageId: string | undefined;
  readonly correlationId: string | undefined;
  /** Once encoded: bytes of the body. */
  bodySize?: number | undefined;
  /** `{ attempts }`, set when it was taken. */
  result?: unknown;
  error?: unknown;
}

/** A delivery being made a message. */
export interface ReceiveContext {
  readonly broker: BrokerAddress;
  readonly queue: string;
  /** Who gets it: a handler, which `wakame:process` tells of next, or whoever asked for it: a loop, `get`. */
  readonly recipient: 'handler' | 'caller';
  readonly delivery: Delivery;
  error?: unknown;
}

/** A handler at work on a message. (The body of a `for await` loop is the application's own code: not traced.) */
export interface ProcessContext {
  readonly broker: BrokerAddress;
  readonly queue: string;
  readonly delivery: Delivery;
  /**
   * The handler is called within this. A subscriber of `start` may set it, for contexts that `start.bindStore` does not reach, and goes on
   * with the one that it finds.
   */
  within?: (<R>(run: () => R) => R) | undefined;
  error?: unknown;
}

/** A message being settled. */
export interface SettleContext {
  readonly broker: BrokerAddress;
  readonly queue: string;
  readonly delivery: Delivery;
  readonly deliveryTag: DeliveryTag;
  readonly outcome: 'ack' | 'reject' | 'requeue';
  /** Whether the broker still had the delivery for us. */
  result?: unknown;
  error?: unknown;
}

/**
 * The tracing channels, all of them. Test `hasSubscribers` before making a context. (Node's types took the types of context and store in one order,
 * later in the other: here they are the same.)
 */
export const tracing = {
  connect: tracingChannel<ConnectContext, ConnectContext>('wakame:connect'),
  publish: tracingChannel<PublishContext, PublishContext>('wakame:publish'),
  receive: tracingChannel<ReceiveContext, ReceiveContext>('wakame:receive'),
  process: tracingChannel<ProcessContext, ProcessContext>('wakame:process'),
  settle: tracingChannel<SettleContext, SettleContext>('wakame:settle'),
} as const;

/**
 * Prints a line for people when `NODE_DEBUG=wakame` is set. Test `debug.enabled` before computing arguments on a hot path.
 */
export const debug = debuglog('wakame');
