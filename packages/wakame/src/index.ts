/**
 * Messaging: one API over many brokers, chosen by a URL; Kombu's model and wire formats.
 *
 * @packageDocumentation
 */

export * from './clock/index.js';
export {
  type Compressed,
  type CompressionRegistry,
  type Compressor,
  compression,
  type DecompressOptions,
} from './compression/index.js';
export * from './connection/index.js';
export * from './entities/index.js';
export * from './errors.js';
export { type Matcher, type MatcherRegistry, matcher } from './matcher/index.js';
export * from './messaging/index.js';
export * from './patterns/index.js';
export * from './pidbox/index.js';
export {
  type AcceptList,
  type JsonOptions,
  jsonSerializer,
  MsgpackExt,
  type Serialized,
  type Serializer,
  type SerializerRegistry,
  serialization,
} from './serialization/index.js';
export {
  type BrokerAddress,
  type ConnectContext,
  type ProcessContext,
  type PublishContext,
  type ReceiveContext,
  type SettleContext,
  tracing,
} from './tracing.js';
export type {
  BindingEntry,
  Catalog,
  CatalogOptions,
  ExchangeEntry,
  QueueEntry,
} from './transport/catalog.js';
export * from './transport/contract.js';
export type * from './transport/management.js';
export {
  type RegisterOptions,
  registerTransport,
  type TransportLoader,
  transportNames,
} from './transport/registry.js';
export {
  Decimal,
  PyDate,
  PyDateTime,
  PyTime,
  Uuid,
} from './transports/virtual/wire/json/index.js';
export {
  asUrl,
  maybeSanitizeUrl,
  type ParsedUrl,
  parseUrl,
  sanitizeUrl,
  type UrlFormat,
  type UrlParts,
  type UrlRules,
  type UrlSsl,
} from './url/index.js';
export { TokenBucket } from './util/token-bucket.js';
export { uuid } from './util/uuid.js';
