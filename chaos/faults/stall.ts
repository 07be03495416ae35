import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/** Nothing gets through, then everything: a network that is away for a while. */
export function stall(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'stall', weight: 1, longest: 10_000 },
    prepare: (draw) =>
      linkFault(chooseLinks(links, draw), {
        detail: direction(draw),
        begin: ({ proxy }) => proxy.set(direction(draw), { kind: 'stall' }),
        end: ({ proxy }) => proxy.clear(),
      }),
  };
}
