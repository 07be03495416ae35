export { Broadcast, type BroadcastOptions } from './broadcast.js';
export {
  collectReplies,
  type DrainOptions,
  drainConsumer,
  type EventLoopOptions,
  eventLoop,
  type IterMessagesOptions,
  ignoreErrors,
  insured,
  itermessages,
  type MaybeDeclareOptions,
  maybeDeclare,
  sendReply,
} from './common.js';
export { type ConsumerFactory, ConsumerMixin, ConsumerProducerMixin, type RunOptions } from './mixins.js';
export {
  ChannelPool,
  ConnectionPool,
  connections,
  type PooledChannel,
  type PooledProducer,
  type PoolGroup,
  type PoolOptions,
  ProducerPool,
  pools,
  producers,
} from './pools.js';
export { QoS, type QoSOptions } from './qos.js';
export type { AcquireOptions, ResourcePool } from './resource-pool.js';
export {
  SimpleBuffer,
  type SimpleDefaults,
  type SimpleGetOptions,
  SimpleQueue,
  type SimpleQueueOptions,
} from './simple.js';
