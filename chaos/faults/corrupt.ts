import type { Link } from '../crew/place.ts';
import { chooseLinks, direction, type FaultKind, linkFault } from './fault.ts';

/**
 * One byte is changed on the way. Only on links with TLS, which notices: AMQP and the Redis protocol have no checksums, and no client can
 * tell a damaged message, or a damaged number of a message, from a sound one.
 */
export function corrupt(links: readonly Link[]): FaultKind {
  const secure = links.filter(({ tls }) => tls);
  return {
    ...{ name: 'corrupt', weight: 1, longest: 3000 },
    prepare: (draw) => {
      const way = direction(draw) === 'toBroker' ? 'toBroker' : 'toClient';
      const after = Math.floor(draw.amount * 16_384);
      return linkFault(chooseLinks(secure, draw), {
        detail: `byte ${after} ${way}`,
        begin: ({ proxy }) => proxy.trigger(way, { kind: 'corrupt', after, mask: 1 << Math.floor(draw.amount * 8) }),
        end: ({ proxy }) => proxy.clear(),
      });
    },
  };
}
