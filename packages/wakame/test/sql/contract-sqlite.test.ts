import { SqlDriver } from '../../src/transports/sql/index.js';
import { driverContract } from '../virtual/driver-contract.js';
import { sqliteParameters, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let files = 0;

for (const library of ['node:sqlite', 'better-sqlite3']) {
  driverContract(`sqlite with ${library}`, {
    createDriver: () => new SqlDriver(),
    emptyStore: () =>
      sqliteParameters(`${folder}/${++files}.db`, { lease: 0.6, synchronous: 'OFF', sqlite_driver: library }),
    lacks: { lease: 600 },
  });
}
