import { RedisDriver } from '../../src/transports/redis/index.js';
import { behindProxy, driverContract } from '../virtual/driver-contract.js';
import { emptyStore } from './support.js';

// All steps, since the contract tells priorities apart that Kombu's four steps do not.
const options = { priority_steps: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };

driverContract('redis', {
  createDriver: () => new RedisDriver({ lease: 900 }),
  emptyStore: () => emptyStore(options),
  fragileStore: () => behindProxy(emptyStore(options), [0, 100, 400, 700]),
});
