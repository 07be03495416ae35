import { rmSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { startRedisSentinels } from '../../../../scripts/lib/brokers/redis.ts';
import { REDIS_CASES } from './redis-support.js';

const group = await startRedisSentinels({ name: `conformance-sentinel-${process.pid}` });

afterAll(async () => {
  await group.stop();
  for (const { folder } of [...group.servers, ...group.sentinels]) rmSync(folder, { recursive: true, force: true });
});

await transportConformance(
  { describe, it },
  {
    ...REDIS_CASES,
    name: 'Redis through Sentinel',
    url: group.url,
    connection: {
      transportOptions: { ...REDIS_CASES.connection.transportOptions, master_name: group.masterName },
    },
    unsupported: {
      ...REDIS_CASES.unsupported,
      disrupt: 'the servers are where the sentinels say, which knows of no proxy',
    },
    // In mid-run, the replica takes the place of the master.
    restartBroker: async () => {
      await (await group.master()).cli('wait', '1', '5000');
      await group.failover();
      await group.settled();
    },
    scale: 0.05,
  },
);
