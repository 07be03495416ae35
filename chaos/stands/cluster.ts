/** Three RabbitMQ nodes with quorum queues. The workers know all three. */
import { isListening, waitUntil } from '../../scripts/lib/brokers/processes.ts';
import type { RabbitmqServer } from '../../scripts/lib/brokers/rabbitmq.ts';
import { startRabbitmqCluster } from '../../scripts/lib/brokers/rabbitmq-cluster.ts';
import type { Crew } from '../crew/crew.ts';
import { brokerKill } from '../faults/broker-kill.ts';
import { brokerPause } from '../faults/broker-pause.ts';
import { brokerStop } from '../faults/broker-stop.ts';
import { closeConnections } from '../faults/close-connections.ts';
import { memoryAlarm } from '../faults/memory-alarm.ts';
import { oneOf } from '../faults/nodes.ts';
import { partition } from '../faults/partition.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { networkFaults } from './kinds.ts';
import { Links } from './links.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import type { Stand, StandOptions } from './stand.ts';

const NODES = 3;
const quorum = { 'x-queue-type': 'quorum' };
const work = { name: 'chaos.work', arguments: quorum };
const ordered = { name: 'chaos.ordered', arguments: quorum };

export async function openCluster({ name, perSecond }: StandOptions): Promise<Stand> {
  const cluster = await startRabbitmqCluster({ name, nodes: NODES });
  const links = new Links();
  const close = async () => {
    await links.close();
    await cluster.close();
  };
  try {
    const { servers } = cluster;
    const [first] = servers as [RabbitmqServer];
    /** Each worker begins with another node. */
    const connection = async (place: string, begin: number) => {
      const url: string[] = [];
      for (let i = 0; i < NODES; i++) {
        const server = (begin + i) % NODES;
        url.push((await links.add(place, (servers[server] as RabbitmqServer).url, { server })).url);
      }
      return { url, options: { heartbeat: 2000, connectTimeout: 3000 } };
    };
    const producer = async (place: string, begin: number) =>
      nodeProducer(place, { ...(await connection(place, begin)), queues: [work, ordered], perSecond: perSecond / 2 });
    const consumer = async (place: string, begin: number, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
      // The side queue is a classic one: it is away with its node.
      nodeConsumer(place, { ...(await connection(place, begin)), ...task, prefetch: 20, side: `chaos.side.${place}` });
    const places = [
      await producer('producer-1', 0),
      await producer('producer-2', 1),
      await consumer('consumer-1', 2, { queue: work, style: 'handler' }),
      await consumer('consumer-2', 0, { queue: work, style: 'loop' }),
      await consumer('consumer-3', 1, { queue: ordered, style: 'handler' }),
    ];
    const isBack = async (index: number) => {
      const server = servers[index] as RabbitmqServer;
      await waitUntil(`node ${index + 1} serving`, 200_000, () => isListening(server.port));
      await waitUntil(`node ${index + 1} among the others`, 200_000, async () => {
        const status = JSON.parse(await first.ctl('cluster_status', '--formatter', 'json').catch(() => '{}'));
        return (status as { running_nodes?: string[] }).running_nodes?.length === NODES;
      });
    };
    const ctl = first.ctl.bind(first);
    return {
      rules: {
        queues: [
          { name: work.name, single: false },
          { name: ordered.name, single: true },
        ],
        ackGrace: 2000,
        waiting: 0,
        returnsUnmarked: false,
        patience: 30_000,
      },
      places,
      faults: (crew: Crew) => [
        ...networkFaults(links.all),
        { ...oneOf(servers, brokerStop, isBack), weight: 3 },
        { ...oneOf(servers, brokerKill, isBack), weight: 3 },
        oneOf(servers, brokerPause, isBack),
        partition(cluster, isBack),
        memoryAlarm(
          ctl,
          crew.places.filter((place) => place.startsWith('producer')),
        ),
        closeConnections(ctl),
        workerPause(crew.robust, (place) => crew.at(place), 6000),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
