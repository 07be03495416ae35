import type { ManagementApi } from '../../scripts/lib/brokers/rabbitmq-management.ts';
import type { FaultKind } from './fault.ts';

/** A queue is deleted beneath its consumer: a side queue, as what was in it is lost. It has to be declared and consumed again. */
export function deleteQueue(api: ManagementApi, queues: ReadonlyMap<string, string>): FaultKind {
  return {
    ...{ name: 'queue deleted', weight: 1, longest: 0, side: true },
    prepare: ({ target }) => {
      const [place, queue] = [...queues][Math.floor(target * queues.size)] as [string, string];
      return { targets: [place], detail: queue, begin: () => api.deleteQueue(queue), end: () => undefined };
    },
  };
}
