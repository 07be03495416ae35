import type { FaultKind } from './fault.ts';

/** What a server knows of its clients. */
export interface ClientList {
  /** Those that are connected now. */
  ids(): Promise<readonly string[]>;
  /** Ends a connection. One that has gone by itself is no error. */
  kill(id: string): Promise<unknown>;
}

/** The server ends the connections of its clients, of some of them or of all. */
export function clientKill(clients: ClientList): FaultKind {
  return {
    ...{ name: 'client kill', weight: 3, longest: 0 },
    prepare: ({ amount, direction }) => ({
      targets: 'all',
      detail: amount < 0.7 ? 'some' : 'all',
      begin: async () => {
        const ids = await clients.ids();
        const some = amount < 0.7 ? ids.filter((_, i) => (i + direction) % 3 < 1) : ids;
        for (const id of some) await clients.kill(id);
      },
      end: () => undefined,
    }),
  };
}
