import { defineVirtualTransport } from '../virtual/index.js';
import { MemoryDriver } from './driver.js';

export { MemoryDriver, type MemoryDriverOptions } from './driver.js';
export { type MemoryBrokerControl, memoryBroker, resetMemory } from './registry.js';

/**
 * `memory://`, `memory://name`, `memory://name/virtual-host`: a broker in this process, shared by all its connections of that name. What is stored stays
 * until the process ends or `resetMemory` is called. The user name and password of such a URL mean nothing.
 *
 * A message is copied when it is published and when it is delivered, its body and headers too: nothing that a publisher or a consumer does
 * with its own is seen by anybody else. (Values in headers that are instances of classes, such as decimals, are taken for immutable.)
 */
export const transportModule = defineVirtualTransport({
  name: 'memory',
  createDriver: () => new MemoryDriver(),
  ignoredOptions: { polling_interval: 'consumers are told of each message' },
});
