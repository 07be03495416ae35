import type { Backend } from './backend.js';
import { sqliteBackend } from './sqlite/index.js';
import type { DatabaseKind, Target } from './target.js';

const BACKENDS: Readonly<Record<DatabaseKind, Backend>> = {
  sqlite: sqliteBackend,
};

/** What knows the database of this target. Its client library is loaded when it is first opened. */
export function backendOf({ kind }: Target): Backend {
  return BACKENDS[kind];
}
