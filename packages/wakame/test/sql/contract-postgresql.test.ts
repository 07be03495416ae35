import { SqlDriver } from '../../src/transports/sql/index.js';
import { driverContract } from '../virtual/driver-contract.js';
import { postgresqlDatabases } from './support.js';

const databases = postgresqlDatabases();

driverContract('postgresql', {
  createDriver: () => new SqlDriver(),
  emptyStore: () => databases.emptyStore({ lease: 0.6 }),
  lacks: { lease: 600 },
});
