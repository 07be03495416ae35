import type { FaultKind } from './fault.ts';
import { type ServerControl, startAgain } from './server.ts';

/** The server is killed with SIGKILL, as by a power cut, and started again. */
export function brokerKill(server: ServerControl): FaultKind {
  return {
    ...{ name: 'broker kill -9', weight: 1, longest: 3000, crash: true },
    prepare: () => ({ targets: 'all', begin: () => server.kill(), end: () => startAgain(server) }),
  };
}
