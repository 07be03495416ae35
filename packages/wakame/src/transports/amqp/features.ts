import type { TransportFeatures } from '../../transport/contract.js';

/** What RabbitMQ does. Exchange types of plug-ins can be declared beside these. */
export const FEATURES: TransportFeatures = {
  exchangeTypes: new Set(['direct', 'topic', 'fanout', 'headers']),
  heartbeats: true,
  // A return costs the broker a copy of the message: only those who ask get it.
  reportsUnroutable: false,
  deliveriesOutliveConnection: false,
  requeuePosition: 'original',
  priority: 'highest-first',
  messageTtl: true,
  queueTtl: true,
  maxLength: true,
  maxLengthBytes: true,
  deadLetter: true,
  delay: true,
  exclusive: true,
  autoDelete: true,
  exchangeBindings: true,
  alternateExchange: true,
  multipleAck: true,
  recover: true,
  persistent: true,
  multiProcess: true,
  maxMessageBytes: undefined,
};
