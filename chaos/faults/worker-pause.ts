import type { WorkerProcess } from '../crew/worker-process.ts';
import type { FaultKind } from './fault.ts';

/**
 * A worker stands still (SIGSTOP): its sockets stay open, and nobody reads them.
 *
 * @param hits Whom else it hits.
 */
export function workerPause(
  places: readonly string[],
  at: (place: string) => WorkerProcess | undefined,
  longest: number,
  hits?: 'all',
): FaultKind {
  return {
    ...{ name: 'worker pause', weight: 1, longest },
    prepare: ({ target }) => {
      const place = places[Math.floor(target * places.length)] as string;
      let worker: WorkerProcess | undefined;
      return {
        targets: hits ?? [place],
        detail: place,
        begin: () => {
          worker = at(place);
          worker?.signal('SIGSTOP');
        },
        end: () => {
          worker?.signal('SIGCONT');
          return undefined;
        },
      };
    },
  };
}
