import { defineVirtualTransport } from '../virtual/index.js';
import { MemoryDriver } from './driver.js';

export { MemoryDriver, type MemoryDriverOptions } from './driver.js';
export { type MemoryBrokerControl, memoryBroker, resetMemory } from './registry.js';

/**
 * `memory://`, `memory://name`, `memory://name/virtual-host`: a broker in this process, shared by all its connections of that name. Nothing is kept
 * beyond the process. The user name and password of such a URL mean nothing.
 */
export const transportModule = defineVirtualTransport({
  name: 'memory',
  createDriver: () => new MemoryDriver(),
  ignoredOptions: { polling_interval: 'consumers are told of each message' },
});
