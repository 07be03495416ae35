/**
 * What spans and metrics say, in the words of OpenTelemetry's semantic conventions for messaging (1.45, in development there:
 * https://opentelemetry.io/docs/specs/semconv/messaging/). `messaging.system` is the former name of `messaging.system.name`, which most tools
 * still look for.
 */
import type { Attributes } from '@opentelemetry/api';
import { MessagingError } from '../errors.js';
import type { BrokerAddress } from '../tracing.js';

/** What is done, by the conventions' names and by ours. */
export type Operation =
  | { readonly type: 'send'; readonly name: 'publish' }
  | { readonly type: 'receive'; readonly name: 'receive' }
  | { readonly type: 'process'; readonly name: 'process' }
  | { readonly type: 'settle'; readonly name: 'ack' | 'reject' | 'requeue' };

/** Where a message goes, or where it comes from. */
export interface Destination {
  readonly exchange: string;
  readonly routingKey: string;
  /** The queue that a consumer got it from. */
  readonly queue?: string | undefined;
}

/** A name for many destinations, such as `orders.{id}`, in which no part differs from message to message. */
export type DestinationTemplate = (destination: Destination) => string | undefined;

/** Names that brokers and libraries make up: `amq.gen-…`, UUIDs, long hexadecimal numbers. */
const MADE_UP = /amq\.gen-|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|[0-9a-f]{20}/i;

/** The rule of the conventions for RabbitMQ: what is there of exchange, routing key and queue; the last two once, where they are the same. */
function nameOf({ exchange, routingKey, queue = '' }: Destination): string {
  const parts = [exchange, routingKey, queue === routingKey ? '' : queue].filter((part) => part !== '');
  return parts.length === 0 ? 'amq.default' : parts.join(':');
}

/** The attributes that metrics have, too: those with few values. */
export function commonAttributes(
  { type, name }: Operation,
  { transport, host, port }: BrokerAddress,
  destination: Destination,
  template: DestinationTemplate | undefined,
): Attributes {
  const system = SYSTEMS.get(transport) ?? transport;
  const attributes: Attributes = {
    'messaging.system': system,
    'messaging.system.name': system,
    'messaging.operation.type': type,
    'messaging.operation.name': name,
  };
  if (host !== undefined && host !== '') attributes['server.address'] = host;
  if (port !== undefined) attributes['server.port'] = port;
  const given = template?.(destination);
  if (given !== undefined) {
    attributes['messaging.destination.template'] = given;
    return attributes;
  }
  const full = nameOf(destination);
  if (MADE_UP.test(full)) attributes['messaging.destination.anonymous'] = true;
  else attributes['messaging.destination.name'] = full;
  return attributes;
}

/** The schemes of one broker are one system. */
const SYSTEMS: ReadonlyMap<string, string> = new Map([
  ...['amqp', 'amqps', 'pyamqp', 'librabbitmq'].map((scheme) => [scheme, 'rabbitmq'] as const),
  ...['rediss', 'redis+socket', 'sentinel'].map((scheme) => [scheme, 'redis'] as const),
]);

/** `publish orders`: what has few values of what is known. */
export function spanName({ name }: Operation, attributes: Attributes): string {
  const destination = attributes['messaging.destination.template'] ?? attributes['messaging.destination.name'];
  return destination === undefined ? name : `${name} ${String(destination)}`;
}

/** What one message has: for spans alone. */
export function messageAttributes(
  destination: Destination,
  message: {
    readonly messageId?: string | undefined;
    readonly correlationId?: string | undefined;
    readonly bodySize?: number | undefined;
  },
): Attributes {
  const attributes: Attributes = { 'messaging.destination.name': nameOf(destination) };
  if (destination.routingKey !== '') attributes['rabbitmq.destination.routing_key'] = destination.routingKey;
  if (message.messageId !== undefined) attributes['messaging.message.id'] = message.messageId;
  if (message.correlationId !== undefined) attributes['messaging.message.conversation_id'] = message.correlationId;
  if (message.bodySize !== undefined) attributes['messaging.message.body.size'] = message.bodySize;
  return attributes;
}

/** Few values: our codes, and the names of other errors' classes. */
export function errorType(error: unknown): string {
  if (error instanceof MessagingError) return error.code;
  return error instanceof Error ? error.name : '_OTHER';
}
