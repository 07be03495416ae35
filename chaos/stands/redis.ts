/**
 * One Redis, with an append-only file that is written and synchronized before each answer (`appendfsync always`): with the default,
 * once a second, a crash takes back what was confirmed within the last second, and no client could do anything about it.
 */
import { rmSync } from 'node:fs';
import { startRedis } from '../../scripts/lib/brokers/redis.ts';
import type { Crew } from '../crew/crew.ts';
import type { Place } from '../crew/place.ts';
import { brokerKill } from '../faults/broker-kill.ts';
import { brokerPause } from '../faults/broker-pause.ts';
import { brokerStop } from '../faults/broker-stop.ts';
import { clientKill } from '../faults/client-kill.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { networkFaults } from './kinds.ts';
import { Links } from './links.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import { pythonWorkers } from './python-workers.ts';
import type { Stand, StandOptions } from './stand.ts';
import { ordered, storeConsumer, storeRules, work } from './stores.ts';

/** In seconds. Short, so that what is lost is noticed, and what was held by the dead comes back, within the patience of the account. */
const transportOptions = { lease: 6, socket_timeout: 3, health_check_interval: 3, unacked_restore_interval: 2 };

export async function openRedis({ name, perSecond }: StandOptions): Promise<Stand> {
  const python = await pythonWorkers();
  const broker = await startRedis({ name, config: 'appendfsync always' });
  const links = new Links();
  const close = async () => {
    await links.close();
    await broker.kill();
    rmSync(broker.folder, { recursive: true, force: true });
  };
  try {
    const connection = async (place: string, tls: boolean) => {
      const { url, ssl } = await links.add(place, broker.url, { tls });
      return { url, options: { connectTimeout: 3000, ssl, transportOptions } };
    };
    /** Python's way has no proxy: no fault of the network hits it. */
    const direct = { url: broker.url, options: {} };
    const producer = async (place: string, tls: boolean) =>
      nodeProducer(place, {
        ...(await connection(place, tls)),
        ...{ queues: [work, ordered], perSecond: (perSecond * 2) / 5 },
      });
    const consumer = async (place: string, tls: boolean, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
      nodeConsumer(place, { ...(await connection(place, tls)), ...storeConsumer, ...task });
    const kombuConsumer = (place: string): Place => ({
      ...{ name: place, role: 'consumer', ...python.consumer },
      // Kombu takes a message out of its queue and records it in two steps. What dies in between takes the message along.
      fragile: true,
      task: { ...direct, queue: work, style: 'handler', prefetch: 20, side: undefined },
    });
    const places: Place[] = [
      await producer('producer-1', false),
      await producer('producer-2', true),
      {
        ...{ name: 'producer-3', role: 'producer', ...python.producer },
        task: { ...direct, queues: [work], perSecond: perSecond / 5 },
      },
      await consumer('consumer-1', false, { queue: work, style: 'handler' }),
      await consumer('consumer-2', true, { queue: work, style: 'loop' }),
      await consumer('consumer-3', false, { queue: ordered, style: 'handler' }),
      kombuConsumer('consumer-4'),
      kombuConsumer('consumer-5'),
    ];
    return {
      rules: storeRules,
      places,
      faults: (crew: Crew) => [
        ...networkFaults(links.all),
        ...[brokerStop, brokerKill, brokerPause].map((kind) => kind(broker)),
        clientKill({
          ids: async () =>
            [...(await broker.cli('client', 'list')).matchAll(/^id=(\d+) /gm)].map(([, id]) => id as string),
          kill: (id) => broker.cli('client', 'kill', 'id', id),
        }),
        // Longer than the lease.
        workerPause(crew.robust, (place) => crew.at(place), 12_000),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
