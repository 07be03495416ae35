import { SqlDriver } from '../../src/transports/sql/index.js';
import { behindProxy, driverContract } from '../virtual/driver-contract.js';
import { postgresqlDatabases } from './support.js';

const databases = postgresqlDatabases();

driverContract('postgresql', {
  createDriver: () => new SqlDriver(),
  emptyStore: () => databases.emptyStore({ lease: 0.6 }),
  fragileStore: async () => behindProxy(await databases.emptyStore({ lease: 0.6 }), [0, 100, 400, 700, 900]),
  lacks: { lease: 600 },
});
