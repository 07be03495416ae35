import { MemoryDriver } from '../../src/transports/memory/index.js';
import { driverContract } from '../virtual/driver-contract.js';
import { freshBroker, parametersOf } from '../virtual/harness.js';

const emptyStore = () => parametersOf(freshBroker());

driverContract('memory', { createDriver: () => new MemoryDriver(), emptyStore });
driverContract('memory with leases', { createDriver: () => new MemoryDriver({ lease: 600 }), emptyStore });
