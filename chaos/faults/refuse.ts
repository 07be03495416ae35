import type { Link } from '../crew/place.ts';
import { chooseLinks, type FaultKind, linkFault } from './fault.ts';

/** The connections end, and for a while nobody answers at the port. */
export function refuse(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'refuse connections', weight: 1, longest: 5000 },
    prepare: (draw) =>
      linkFault(chooseLinks(links, draw), {
        begin: async ({ proxy }) => {
          proxy.refuse();
          await proxy.reset();
        },
        end: ({ proxy }) => proxy.accept(),
      }),
  };
}
