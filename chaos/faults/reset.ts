import type { Link } from '../crew/place.ts';
import { chooseLinks, type FaultKind, linkFault } from './fault.ts';

/** The connections end at once (RST); what was on the way is lost. */
export function reset(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'reset', weight: 1, longest: 0 },
    prepare: (draw) => linkFault(chooseLinks(links, draw), { begin: ({ proxy }) => proxy.reset() }),
  };
}
