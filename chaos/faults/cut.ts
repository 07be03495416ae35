import type { Link } from '../crew/place.ts';
import { chooseLinks, type FaultKind, linkFault } from './fault.ts';

/** The connections end in order (FIN), after what was on the way. */
export function cut(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'cut', weight: 1, longest: 0 },
    prepare: (draw) => linkFault(chooseLinks(links, draw), { begin: ({ proxy }) => proxy.cut() }),
  };
}
