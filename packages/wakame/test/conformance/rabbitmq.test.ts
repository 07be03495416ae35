import { rmSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { startRabbitmq } from '../../../../scripts/lib/brokers/rabbitmq.ts';
import { startFaultProxy, through } from '../support/fault-proxy.js';

// A broker of its own: the suite restarts it. One for each run, so that two may run at the same time.
const broker = await startRabbitmq({ name: `conformance-${process.pid}` });
const proxy = await startFaultProxy(broker);

afterAll(async () => {
  await proxy.close();
  await broker.stop();
  rmSync(broker.folder, { recursive: true, force: true });
});

await transportConformance(
  { describe, it },
  {
    name: 'RabbitMQ',
    url: broker.url,
    connection: { transportOptions: { managerPort: Number(new URL(broker.managementUrl).port) } },
    unsupported: {
      reportsUnroutable: 'a message comes back only when its publisher asked for that',
      deliveriesOutliveConnection: 'the broker gives what was unsettled to others when a channel ends',
    },
    disrupt: {
      url: through(proxy, broker.url),
      drop: async () => {
        const dropped = proxy.reset();
        proxy.clear(); // What was withheld is gone with its connection.
        await dropped;
      },
      outage: async () => {
        proxy.refuse();
        await proxy.reset();
        return () => proxy.accept();
      },
      mute: async () => {
        proxy.set('toClient', { kind: 'stall' });
        return async () => proxy.clear();
      },
    },
    restartBroker: () => broker.restart(),
    processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
  },
);
