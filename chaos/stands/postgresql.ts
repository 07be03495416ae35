/** One PostgreSQL. Its machine stays, so it need not wait for the disk: what a killed server has committed, the system still writes. */
import type { DatabaseServer } from '../../scripts/lib/brokers/database.ts';
import { psql, startPostgresql } from '../../scripts/lib/brokers/postgresql.ts';
import type { Crew } from '../crew/crew.ts';
import { brokerKill } from '../faults/broker-kill.ts';
import { brokerPause } from '../faults/broker-pause.ts';
import { brokerStop } from '../faults/broker-stop.ts';
import { type ClientList, clientKill } from '../faults/client-kill.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { networkFaults } from './kinds.ts';
import { Links } from './links.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import type { Stand, StandOptions } from './stand.ts';
import { ordered, storeConsumer, storeRules, work } from './stores.ts';

/** In seconds. Short, so that what is lost is noticed, and what was held by the dead comes back, within the patience of the account. */
const transportOptions = { lease: 6, read_timeout: 3 };

export async function openPostgresql({ name, perSecond }: StandOptions): Promise<Stand> {
  const server = await startPostgresql({ name });
  const links = new Links();
  const close = async () => {
    await links.close();
    await server.kill();
    server.remove();
  };
  try {
    const way = async (place: string) => {
      const { url } = await links.add(place, server.url);
      return { url, options: { connectTimeout: 3000, transportOptions } };
    };
    const producer = async (place: string) =>
      nodeProducer(place, { ...(await way(place)), queues: [work, ordered], perSecond: perSecond / 2 });
    const consumer = async (place: string, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
      nodeConsumer(place, { ...(await way(place)), ...storeConsumer, ...task });
    return {
      rules: storeRules,
      places: [
        await producer('producer-1'),
        await producer('producer-2'),
        await consumer('consumer-1', { queue: work, style: 'handler' }),
        await consumer('consumer-2', { queue: work, style: 'loop' }),
        await consumer('consumer-3', { queue: ordered, style: 'handler' }),
      ],
      faults: (crew: Crew) => [
        ...networkFaults(links.all),
        ...[brokerStop, brokerKill, brokerPause].map((kind) => kind(server)),
        clientKill(clientsOf(server)),
        // Longer than the lease. One that stands still may hold rows that others wait for.
        workerPause(crew.robust, (place) => crew.at(place), 12_000, 'all'),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function clientsOf(server: DatabaseServer): ClientList {
  return {
    ids: async () =>
      (await psql(server, "SELECT pid FROM pg_stat_activity WHERE application_name = 'wakame'"))
        .split('\n')
        .filter(Boolean),
    kill: (id) => psql(server, `SELECT pg_terminate_backend(${Number(id)})`),
  };
}
