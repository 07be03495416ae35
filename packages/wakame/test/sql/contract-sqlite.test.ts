import { DatabaseSync } from 'node:sqlite';
import BetterSqlite from 'better-sqlite3';
import { onTestFinished } from 'vitest';
import { SqlDriver } from '../../src/transports/sql/index.js';
import { driverContract } from '../virtual/driver-contract.js';
import { sqliteParameters, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let files = 0;

const libraries = { 'node:sqlite': DatabaseSync, 'better-sqlite3': BetterSqlite };

for (const [library, Database] of Object.entries(libraries)) {
  const options = { lease: 0.6, synchronous: 'OFF', sqlite_driver: library };
  driverContract(`sqlite with ${library}`, {
    createDriver: () => new SqlDriver(),
    emptyStore: () => sqliteParameters(`${folder}/${++files}.db`, options),
    fragileStore: () => {
      const file = `${folder}/${++files}.db`;
      // Two libraries in one process do not see each other's locks.
      const other = new Database(file);
      onTestFinished(() => void other.close());
      const lose = () => void other.exec('BEGIN IMMEDIATE');
      const parameters = sqliteParameters(file, { ...options, read_timeout: 0.1 });
      return { parameters, lose, breaks: [lose], restore: () => void other.exec('ROLLBACK') };
    },
    lacks: { lease: 600 },
  });
}
