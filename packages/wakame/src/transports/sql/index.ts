import type { TransportModule } from '../../transport/contract.js';
import { defineVirtualTransport } from '../virtual/index.js';
import { SqlDriver } from './driver.js';
import { DURATION_OPTIONS, IGNORED_OPTIONS, SQL_OPTIONS } from './options.js';

export { SqlDriver } from './driver.js';

function define(name: string, defaultPort: number | undefined): TransportModule {
  return defineVirtualTransport({
    name,
    createDriver: () => new SqlDriver(),
    defaultPort,
    transportOptions: SQL_OPTIONS,
    durationOptions: DURATION_OPTIONS,
    ignoredOptions: IGNORED_OPTIONS,
  });
}

/**
 * `sqlite:orders.db`, `sqlite:///orders.db`: a file is the broker, shared by the processes that open it. See docs/guides/sql.md for this and the others.
 */
export const sqliteModule = define('sqlite', undefined);
/** Kombu's `sqla+sqlite:///orders.db`: the database is told by what follows. */
export const sqlalchemyModule = define('sqla', undefined);
