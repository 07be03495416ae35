import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/** The connection that passes the n-th byte from now on ends there, in the middle of whatever that is: up to 64 KiB. */
export function cutAfter(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'cut after n bytes', weight: 1, longest: 3000 },
    prepare: (draw) => {
      const way = direction(draw) === 'toBroker' ? 'toBroker' : 'toClient';
      const after = Math.floor(draw.amount * 65_536);
      return linkFault(chooseLinks(links, draw), {
        detail: `${after} bytes ${way}`,
        begin: ({ proxy }) => proxy.trigger(way, { kind: draw.amount < 0.5 ? 'cut' : 'reset', after }),
        end: ({ proxy }) => proxy.clear(),
      });
    },
  };
}
