/** What a driver does in the database, without the driver: for tests that look at single statements. */
import type { Session } from '../../src/transports/sql/backend.js';
import { backendOf } from '../../src/transports/sql/backends.js';
import { Effects } from '../../src/transports/sql/context.js';
import type { Dialect } from '../../src/transports/sql/dialect.js';
import { tableNames } from '../../src/transports/sql/names.js';
import { Operations } from '../../src/transports/sql/operations/index.js';
import { sqlOptions } from '../../src/transports/sql/options.js';
import { targetOf } from '../../src/transports/sql/target.js';
import { serverParameters } from './support.js';

export function operationsOf(dialect: Dialect): Operations {
  const holder = '6f1f9a0e-0f7e-4f5c-9d0e-4f0c5a2f7a11';
  const clock = { offset: 0 };
  return new Operations({ dialect, names: tableNames(), holder, lease: 30_000, clock, effects: new Effects() });
}

/** A database server's, as a Connection opens it. The tables have to be there. */
export async function openSession(url: string): Promise<{ session: Session; operations: Operations }> {
  const parsed = new URL(url);
  const target = targetOf(serverParameters(parsed.protocol.slice(0, -1), parsed, parsed.pathname.slice(1), {}));
  const backend = backendOf(target);
  const session = await backend.open({
    target,
    options: sqlOptions({}),
    names: tableNames(),
    connectTimeout: 10_000,
    signal: undefined,
    lost: () => undefined,
    notified: () => undefined,
  });
  return { session, operations: operationsOf(session.dialect) };
}
