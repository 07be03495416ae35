/**
 * An AMQP 0-9-1 client: the whole protocol and RabbitMQ's extensions.
 *
 * @packageDocumentation
 */

export { Channel, type ChannelEvents, type QueueDeclared } from './channel.js';
export type { ChannelState } from './channel-engine.js';
export type * from './channel-options.js';
export { type ConnectOptions, type ConnectTarget, connect } from './connect.js';
export { type ChannelOptions, Connection, type ConnectionEvents } from './connection.js';
export type { ConnectionState } from './connection-engine.js';
export * from './errors.js';
export type { Delivery, FetchedMessage, ReceivedMessage, ReturnedDelivery } from './messages.js';
export type { ConnectionParameters, TlsOptions } from './parameters.js';
export type { DecodedProperties } from './protocol/properties.js';
export type { FieldTable, FieldValue, ReceivedTable, ReceivedValue } from './protocol/tables.js';
export { type AnyTypedValue, type Decimal, type TypeCode, TypedValue, typed } from './protocol/typed.js';
export type { BasicProperties, ReceivedProperties } from './protocol/types.js';
export type { OutgoingMessage, Settlement } from './publisher.js';
export type { CallOptions } from './rpc.js';
export type { SaslCredentials, SaslMechanism } from './sasl.js';
export { parseUrl } from './url.js';
