import type { FaultKind } from './fault.ts';
import type { ServerControl } from './server.ts';

/** The server stands still (SIGSTOP): its connections stay, and nothing answers. */
export function brokerPause(server: ServerControl): FaultKind {
  return {
    ...{ name: 'broker pause', weight: 1, longest: 10_000 },
    prepare: () => ({
      targets: 'all',
      begin: () => server.pause(),
      end: () => {
        server.resume();
        return undefined;
      },
    }),
  };
}
