import type { Backend } from './backend.js';
import { mysqlBackend } from './mysql/index.js';
import { postgresqlBackend } from './postgresql/index.js';
import { sqliteBackend } from './sqlite/index.js';
import type { DatabaseKind, Target } from './target.js';

const BACKENDS: Readonly<Record<DatabaseKind, Backend>> = {
  sqlite: sqliteBackend,
  postgresql: postgresqlBackend,
  mysql: mysqlBackend,
};

/** What knows the database of this target. Its client library is loaded when it is first opened. */
export function backendOf({ kind }: Target): Backend {
  return BACKENDS[kind];
}
