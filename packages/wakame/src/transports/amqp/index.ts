/**
 * AMQP 0-9-1, by the client `@wakame/amqp`: RabbitMQ and its like.
 */
import type { Transport, TransportModule } from '../../transport/contract.js';
import { AmqpConnection } from './connection.js';
import { FEATURES } from './features.js';
import { RabbitManagement } from './management.js';
import { DURATION_OPTIONS, IGNORED_OPTIONS, TRANSPORT_OPTIONS } from './options.js';

export const transportModule: TransportModule = {
  createTransport,
  defaultPort: 5672,
  takesAddresses: true,
  transportOptions: TRANSPORT_OPTIONS,
  durationOptions: DURATION_OPTIONS,
  ignoredOptions: IGNORED_OPTIONS,
};

function createTransport(): Transport {
  return {
    name: 'amqp',
    features: FEATURES,
    open: (parameters, events, options) => AmqpConnection.open(parameters, events, options),
    // Nothing of AMQP outlives a connection.
    dispose: () => Promise.resolve(),
    createManagement: (parameters) => new RabbitManagement(parameters),
  };
}
