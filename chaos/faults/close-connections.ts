import type { FaultKind } from './fault.ts';

/** An administrator closes all connections. */
export function closeConnections(ctl: (...args: string[]) => Promise<string>): FaultKind {
  return {
    ...{ name: 'connections closed', weight: 1, longest: 0 },
    prepare: () => ({
      targets: 'all',
      begin: async () => {
        await ctl('close_all_connections', 'chaos');
      },
      end: () => undefined,
    }),
  };
}
