import { rmSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { startRedis } from '../../../../scripts/lib/brokers/redis.ts';
import { startFaultProxy, through } from '../support/fault-proxy.js';
import { faultsOf, REDIS_CASES } from './redis-support.js';

const broker = await startRedis({ name: `conformance-sockets-${process.pid}` });
const { hostname, port } = new URL(broker.tlsUrl);
const proxy = await startFaultProxy({ host: hostname, port: Number(port) });

afterAll(async () => {
  await proxy.close();
  await broker.stop();
  rmSync(broker.folder, { recursive: true, force: true });
});

// The load is the same over every kind of socket.
const options = { ...REDIS_CASES, restartBroker: () => broker.restart(), scale: 0.05 };

const { lease } = REDIS_CASES.connection.transportOptions;

await transportConformance(
  { describe, it },
  { ...options, name: 'Redis with TLS', url: broker.tlsUrl, disrupt: faultsOf(proxy, through(proxy, broker.tlsUrl)) },
);
await transportConformance(
  { describe, it },
  {
    ...options,
    name: 'Redis through a Unix socket, with a prefix and AMQP’s order of priorities',
    url: `redis+socket://${broker.socket}`,
    connection: { transportOptions: { lease, global_keyprefix: '{app}:', priority_order: 'amqp' } },
    unsupported: { ...options.unsupported, disrupt: 'no network can fail between a process and its Unix socket' },
  },
);
