/** The faults of a single server, for one of several. */
import type { FaultKind } from './fault.ts';
import type { ServerControl } from './server.ts';

/** The fault of one of these servers, chosen by the draw. `isBack` waits until it is one of them again. */
export function oneOf(
  servers: readonly ServerControl[],
  kind: (server: ServerControl) => FaultKind,
  isBack: (index: number) => Promise<void>,
): FaultKind {
  const kinds = servers.map((server) => kind(server)) as [FaultKind, ...FaultKind[]];
  return {
    ...kinds[0],
    name: kinds[0].name.replace('broker', 'node'),
    side: true,
    prepare: (draw) => {
      const index = Math.floor(draw.target * kinds.length);
      const fault = (kinds[index] as FaultKind).prepare(draw);
      return {
        ...fault,
        detail: `node ${index + 1}`,
        end: async () => {
          const at = await fault.end();
          await isBack(index);
          return at;
        },
      };
    },
  };
}
