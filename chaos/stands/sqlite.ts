/** One SQLite file. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type LocalStore, openLocal } from './local.ts';
import type { Stand, StandOptions } from './stand.ts';

export function openSqlite(options: StandOptions): Promise<Stand> {
  return openLocal(options, (folder) => store(join(folder, 'chaos.db')));
}

function store(file: string): LocalStore {
  return {
    url: `sqlite:${encodeURI(file)}`,
    // In seconds. Short, so that a lock is taken for a loss, and what was held by the dead comes back, within the patience of the account.
    transportOptions: { lease: 6, read_timeout: 3 },
    python: { url: `sqla+sqlite:///${file}`, transportOptions: {} },
    hold: async () => {
      const database = new DatabaseSync(file, { timeout: 5000 });
      database.exec('BEGIN IMMEDIATE');
      return () => {
        database.exec('ROLLBACK');
        database.close();
      };
    },
  };
}
