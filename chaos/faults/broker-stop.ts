import type { FaultKind } from './fault.ts';
import { type ServerControl, startAgain } from './server.ts';

/** The server is stopped in order, and started again. */
export function brokerStop(server: ServerControl): FaultKind {
  return {
    ...{ name: 'broker stop', weight: 1, longest: 3000 },
    prepare: () => ({ targets: 'all', begin: () => server.stop(), end: () => startAgain(server) }),
  };
}
