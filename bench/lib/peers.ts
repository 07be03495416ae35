/** The clients that Wakame is compared with: exact versions, fetched once into .cache/tools and not part of the workspace. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { tool } from '../../scripts/lib/tools.ts';

/** The newest versions when the figures in docs/performance.md were taken. */
export const peers = {
  amqplib: '2.3.1',
  'rabbitmq-client': '5.0.8',
  '@cloudamqp/amqp-client': '4.1.1',
  bullmq: '6.7.0',
  ioredis: '6.0.0',
} as const;

export type Peer = keyof typeof peers;

/** Fetches what is missing. */
export async function fetchPeers(): Promise<void> {
  for (const [name, version] of Object.entries(peers)) await tool(name, version);
}

/** What the package exports. `T` is as much of that as is used here. */
export async function loadPeer<T>(name: Peer): Promise<T> {
  const folder = await tool(name, peers[name]);
  return createRequire(join(folder, 'package.json'))(name) as T;
}
