import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/**
 * What is sent disappears and nobody is told, as behind a router that has forgotten the connection. At the end the connections that
 * lost bytes are reset: a TCP that goes on after a gap does not exist.
 */
export function halfOpen(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'half-open', weight: 1, longest: 10_000 },
    prepare: (draw) =>
      linkFault(chooseLinks(links, draw), {
        detail: direction(draw),
        begin: ({ proxy }) => proxy.set(direction(draw), { kind: 'swallow' }),
        end: async ({ proxy }) => {
          const closed = proxy.reset();
          proxy.clear();
          await closed;
        },
      }),
  };
}
