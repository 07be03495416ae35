export { Consumer, type ConsumerEvents, type ConsumeStartOptions } from './consumer.js';
export type {
  ConsumerCallback,
  ConsumerOptions,
  PayloadOf,
  QueueInput,
  SchemaConsumerOptions,
} from './consumer-options.js';
export type { GetOptions } from './get.js';
export type { FailureDecision, FailureInfo, FailurePolicy, SettleMode } from './handling.js';
export { type DeliveryInfo, Message, type MessageState } from './message.js';
export { type Nestable, type NestedConsumers, nested } from './nested.js';
export { type LostMessage, Producer, type ProducerEvents } from './producer.js';
export type { ProducerOptions, PublishOptions, PublishResult, Retry } from './publish-options.js';
export type { SchemaIssue, SchemaResult, StandardSchemaV1 } from './schema.js';
export type { SubscribeOptions } from './subscribe.js';
