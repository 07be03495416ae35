import { SqlDriver } from '../../src/transports/sql/index.js';
import { behindProxy, driverContract } from '../virtual/driver-contract.js';
import { mysqlDatabases } from './support.js';

const databases = mysqlDatabases('mariadb');

driverContract('mariadb', {
  createDriver: () => new SqlDriver(),
  emptyStore: () => databases.emptyStore({ lease: 0.6 }),
  fragileStore: async () => behindProxy(await databases.emptyStore({ lease: 0.6 }), [0, 60, 200, 400, 800, 1200]),
  lacks: { lease: 600 },
});
