import type { FaultKind } from './fault.ts';

/** The server ends the connections of its clients (CLIENT KILL), of some of them or of all. */
export function clientKill(cli: (...args: string[]) => Promise<string>): FaultKind {
  return {
    ...{ name: 'client kill', weight: 3, longest: 0 },
    prepare: ({ amount, direction }) => ({
      targets: 'all',
      detail: amount < 0.7 ? 'some' : 'all',
      begin: async () => {
        const ids = [...(await cli('client', 'list')).matchAll(/^id=(\d+) /gm)].map(([, id]) => id as string);
        const some = amount < 0.7 ? ids.filter((_, i) => (i + direction) % 3 < 1) : ids;
        // One that has gone by itself is no error: the answer says so.
        for (const id of some) await cli('client', 'kill', 'id', id);
      },
      end: () => undefined,
    }),
  };
}
