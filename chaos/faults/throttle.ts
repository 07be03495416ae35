import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/** A slow line: 2 to 100 kB a second. */
export function throttle(links: readonly Link[]): FaultKind {
  return {
    ...{ name: 'throttle', weight: 1, longest: 5000 },
    prepare: (draw) => {
      const bytesPerSecond = Math.floor(2000 * 50 ** draw.amount);
      return linkFault(chooseLinks(links, draw), {
        detail: `${bytesPerSecond} B/s ${direction(draw)}`,
        begin: ({ proxy }) => proxy.set(direction(draw), { kind: 'throttle', bytesPerSecond }),
        end: ({ proxy }) => proxy.clear(),
      });
    },
  };
}
