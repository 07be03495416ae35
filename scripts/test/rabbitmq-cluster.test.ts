import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isListening, waitUntil } from '../lib/brokers/processes.ts';
import { type RabbitmqCluster, startRabbitmqCluster } from '../lib/brokers/rabbitmq-cluster.ts';

/** The nodes that one of them sees running. */
async function seenBy(cluster: RabbitmqCluster, index: number): Promise<string[]> {
  const status = JSON.parse((await cluster.servers[index]?.ctl('cluster_status', '--formatter', 'json')) ?? '{}');
  return (status as { running_nodes: string[] }).running_nodes.sort();
}

describe('a cluster of a test’s own', () => {
  let cluster: RabbitmqCluster;
  let all: string[];

  beforeAll(async () => {
    cluster = await startRabbitmqCluster({ name: `cluster-test-${process.pid}`, nodes: 3 });
    all = cluster.servers.map(({ node }) => node).sort();
  }, 180_000);

  afterAll(async () => {
    await cluster?.close();
  });

  it('has three nodes that see each other', async () => {
    for (const index of [0, 1, 2]) expect(await seenBy(cluster, index)).toEqual(all);
  });

  it('goes on when a node is killed, and takes it back', async () => {
    const [first, second] = cluster.servers as [(typeof cluster.servers)[number], (typeof cluster.servers)[number]];
    await second.kill();
    await waitUntil('the others noticing', 20_000, async () => (await seenBy(cluster, 0)).length === 2);
    expect(await isListening(first.port)).toBe(true);
    await second.start();
    await waitUntil('the node coming back', 20_000, async () => (await seenBy(cluster, 0)).length === 3);
  });

  it('parts a node from the others, which stops serving until that is over', async () => {
    const { port } = cluster.servers[2] as (typeof cluster.servers)[number];
    const heal = cluster.isolate(2, { silently: false });
    await waitUntil('the others noticing', 20_000, async () => (await seenBy(cluster, 0)).length === 2);
    await waitUntil('the node stopping', 20_000, async () => !(await isListening(port)));
    await heal();
    await waitUntil('the node serving', 40_000, () => isListening(port));
    await waitUntil('the node coming back', 20_000, async () => (await seenBy(cluster, 0)).length === 3);
  });
}, 180_000);
