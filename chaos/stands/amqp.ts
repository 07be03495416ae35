/** One RabbitMQ. */
import { rmSync } from 'node:fs';
import { startRabbitmq } from '../../scripts/lib/brokers/rabbitmq.ts';
import { ManagementApi } from '../../scripts/lib/brokers/rabbitmq-management.ts';
import type { Crew } from '../crew/crew.ts';
import { brokerKill } from '../faults/broker-kill.ts';
import { brokerPause } from '../faults/broker-pause.ts';
import { brokerStop } from '../faults/broker-stop.ts';
import { closeConnections } from '../faults/close-connections.ts';
import { deleteQueue } from '../faults/delete-queue.ts';
import { memoryAlarm } from '../faults/memory-alarm.ts';
import { permissions } from '../faults/permissions.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { networkFaults } from './kinds.ts';
import { Links } from './links.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import type { Stand, StandOptions } from './stand.ts';

const work = { name: 'chaos.work' };
const ordered = { name: 'chaos.ordered' };

export async function openAmqp({ name, perSecond }: StandOptions): Promise<Stand> {
  const broker = await startRabbitmq({ name });
  const links = new Links();
  const close = async () => {
    await links.close();
    await broker.kill();
    rmSync(broker.folder, { recursive: true, force: true });
  };
  try {
    const connection = async (place: string, tls: boolean) => {
      const { url, ssl } = await links.add(place, broker.url, { tls });
      return { url, options: { heartbeat: 2000, connectTimeout: 3000, ssl } };
    };
    const producer = async (place: string, tls: boolean) =>
      nodeProducer(place, { ...(await connection(place, tls)), queues: [work, ordered], perSecond: perSecond / 2 });
    const consumer = async (place: string, tls: boolean, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
      nodeConsumer(place, { ...(await connection(place, tls)), ...task, prefetch: 20, side: `chaos.side.${place}` });
    const places = [
      await producer('producer-1', false),
      await producer('producer-2', true),
      await consumer('consumer-1', false, { queue: work, style: 'handler' }),
      await consumer('consumer-2', true, { queue: work, style: 'loop' }),
      await consumer('consumer-3', false, { queue: ordered, style: 'handler' }),
    ];
    const ctl = broker.ctl.bind(broker);
    const api = new ManagementApi(broker.managementUrl);
    const producers = places.filter(({ role }) => role === 'producer').map((place) => place.name);
    const sideQueues = new Map(
      places.flatMap(({ name: at, role, task }) => (role === 'consumer' ? [[at, task.side]] : [])),
    );
    return {
      rules: {
        queues: [
          { ...work, single: false },
          { ...ordered, single: true },
        ],
        ackGrace: 2000,
        waiting: 0,
        returnsUnmarked: false,
        patience: 30_000,
      },
      places,
      faults: (crew: Crew) => [
        ...networkFaults(links.all),
        ...[brokerStop, brokerKill, brokerPause].map((kind) => kind(broker)),
        memoryAlarm(ctl, producers),
        closeConnections(ctl),
        permissions(api, ctl),
        deleteQueue(api, sideQueues as Map<string, string>),
        workerPause(crew.robust, (place) => crew.at(place), 6000),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
