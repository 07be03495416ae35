import type { FaultKind } from './fault.ts';

/** What this fault needs of a cluster. */
export interface Partitionable {
  readonly servers: readonly { readonly port: number }[];
  isolate(index: number, options: { readonly silently: boolean }): () => Promise<void>;
}

/** A node of a cluster is parted from the others; clients still reach all of them. */
export function partition(cluster: Partitionable, isBack: (index: number) => Promise<void>): FaultKind {
  return {
    ...{ name: 'network partition', weight: 2, longest: 15_000, side: true },
    prepare: ({ target, amount }) => {
      const index = Math.floor(target * cluster.servers.length);
      const silently = amount < 0.5;
      let heal: (() => Promise<void>) | undefined;
      return {
        targets: 'all',
        detail: `node ${index + 1}, ${silently ? 'silent' : 'refused'}`,
        begin: () => {
          heal = cluster.isolate(index, { silently });
        },
        end: async () => {
          await heal?.();
          // One at a time: with two nodes away nothing is promised.
          await isBack(index);
          return undefined;
        },
      };
    },
  };
}
