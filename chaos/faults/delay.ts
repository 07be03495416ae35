import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/** Everything arrives late, by up to 800 ms. */
export function delay(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'delay', weight: 1, longest: 5000 },
    prepare: (draw) => {
      const ms = Math.ceil(draw.amount * 800);
      return linkFault(chooseLinks(links, draw), {
        detail: `${ms} ms ${direction(draw)}`,
        begin: ({ proxy }) => proxy.set(direction(draw), { kind: 'delay', ms }),
        end: ({ proxy }) => proxy.clear(),
      });
    },
  };
}
