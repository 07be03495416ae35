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
/** `postgresql://user:password@host/database`. Needs the package `pg`. */
export const postgresqlModule = define('postgresql', 5432);
/** `mysql://user:password@host/database`, also `mariadb://`: MariaDB and MySQL. Needs the package `mysql2`. */
export const mysqlModule = define('mysql', 3306);
/** Kombu's `sqla+sqlite:///orders.db`, `sqla+postgresql+psycopg2://…`: the database is told by what follows. */
export const sqlalchemyModule = define('sqla', undefined);
