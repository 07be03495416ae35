import type { ManagementApi } from '../../scripts/lib/brokers/rabbitmq-management.ts';
import type { FaultKind } from './fault.ts';

/**
 * The user may do nothing any more, and everybody has to connect anew to notice at once: RabbitMQ asks again only at some
 * operations. Then all is as before.
 */
export function permissions(api: ManagementApi, ctl: (...args: string[]) => Promise<string>): FaultKind {
  return {
    ...{ name: 'permissions withdrawn', weight: 1, longest: 4000 },
    prepare: ({ amount }) => ({
      targets: 'all',
      detail: amount < 0.5 ? 'and connections closed' : '',
      begin: async () => {
        await api.setPermissions('');
        if (amount < 0.5) await ctl('close_all_connections', 'chaos');
      },
      end: async () => {
        await api.setPermissions('.*');
        return undefined;
      },
    }),
  };
}
