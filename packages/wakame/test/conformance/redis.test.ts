import { rmSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { startFaultProxy, through } from '../support/fault-proxy.js';
import { faultsOf, REDIS_CASES } from './redis-support.js';

// A server of its own: the suite restarts it. One for each run, so that two may run at the same time. What it answered is on disk.
const broker = await startRedis({ name: `conformance-${process.pid}`, config: 'appendfsync always' });
const proxy = await startFaultProxy({ host: broker.host, port: broker.port });

afterAll(async () => {
  await proxy.close();
  await broker.stop();
  rmSync(broker.folder, { recursive: true, force: true });
});

const options = { ...REDIS_CASES, restartBroker: () => broker.restart() };
const disrupt = faultsOf(proxy, through(proxy, broker.url));

await transportConformance(
  { describe, it },
  {
    ...options,
    name: 'Redis',
    url: broker.url,
    disrupt,
    // Every single step is written to the disk before it is answered.
    scale: 0.3 * Number(process.env.WAKAME_TEST_SCALE ?? 1),
  },
);
