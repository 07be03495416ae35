/**
 * A cluster of RabbitMQ nodes on this machine. Each finds the others by a directory of its own, which leads it through proxies, so that any
 * two nodes can be parted:
 *
 * ```
 *   node 1 ── proxy 1→2 ──▶ node 2        (and the five others)
 * ```
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type FaultProxy, startFaultProxy } from '../network/fault-proxy.ts';
import { NodeDirectory } from '../network/node-directory.ts';
import { freePorts } from './processes.ts';
import { RabbitmqServer } from './rabbitmq.ts';
import { stateFolder } from './state.ts';

/** A node on the smaller side of a partition stops serving, and goes on by itself when it sees the others again. */
const CONFIG = 'cluster_partition_handling = pause_minority';
/** Seconds of silence after which a node takes another one for dead; 60 by default. */
const ERLANG_OPTIONS = '-kernel net_ticktime 8';

interface Member {
  readonly server: RabbitmqServer;
  readonly directory: NodeDirectory;
}

/** Starts a cluster of a test's own, empty. The test stops it; `scripts/brokers down` stops one that a test left behind. */
export async function startRabbitmqCluster(options: { name: string; nodes: number }): Promise<RabbitmqCluster> {
  const cluster = new RabbitmqCluster();
  try {
    await cluster.start(options.name, options.nodes);
    return cluster;
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

export class RabbitmqCluster {
  readonly #members: Member[] = [];
  /** From one node to another. */
  readonly #links = new Map<string, FaultProxy>();

  get servers(): readonly RabbitmqServer[] {
    return this.#members.map(({ server }) => server);
  }

  /** For {@link startRabbitmqCluster}. */
  async start(name: string, nodes: number): Promise<void> {
    const cookie = randomBytes(15).toString('hex').toUpperCase();
    for (let i = 0; i < nodes; i++) {
      const folder = join(stateFolder, `rabbitmq-${name}-${i + 1}`);
      const [port] = (await freePorts(`${folder} directory`, 1)) as [number];
      const directory = await NodeDirectory.start(
        port,
        (other) => this.#links.get(`${i} ${this.#indexOf(other)}`)?.port,
      );
      const membership = { cookie, epmd: directory.port, erlangOptions: ERLANG_OPTIONS };
      const server = await RabbitmqServer.open(folder, { config: CONFIG, membership });
      this.#members.push({ server, directory });
      await server.kill();
      await server.start({ fresh: true });
      // Their ports stay: so do the ways.
      for (let j = 0; j < i; j++)
        for (const [from, to] of [[i, j] as const, [j, i] as const]) await this.#link(from, to);
    }
    const [first, ...others] = this.servers as [RabbitmqServer, ...RabbitmqServer[]];
    for (const server of others) {
      await server.ctl('stop_app');
      await server.ctl('join_cluster', first.node);
      await server.ctl('start_app');
    }
  }

  /** Parts a node from the others: they are refused and reset, or, `silently`, hear nothing any more. Returns how to end it. */
  isolate(index: number, options: { silently: boolean }): () => Promise<void> {
    const links = [...this.#links].filter(([ways]) => ways.split(' ').includes(String(index))).map(([, link]) => link);
    for (const link of links) {
      if (options.silently) link.set('both', { kind: 'stall' });
      else {
        link.refuse();
        void link.reset();
      }
    }
    return async () => {
      for (const link of links) link.clear();
      await Promise.all(links.map((link) => link.accept()));
    };
  }

  /** Ends all nodes and removes what they wrote. */
  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await Promise.all(this.#members.map(({ directory }) => directory.close()));
    for (const { folder } of this.servers) rmSync(folder, { recursive: true, force: true });
  }

  async #link(from: number, to: number): Promise<void> {
    const member = this.#members[to];
    const port = member?.directory.portOf(nameOf(member.server));
    if (port === undefined) throw new Error(`node ${to + 1} has not registered`);
    this.#links.set(`${from} ${to}`, await startFaultProxy({ host: '127.0.0.1', port }));
  }

  #indexOf(node: string): number {
    return this.servers.findIndex((server) => nameOf(server) === node);
  }
}

/** Without the host. */
function nameOf(server: RabbitmqServer): string {
  return server.node.replace(/@.*/, '');
}
