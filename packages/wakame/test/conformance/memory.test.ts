import { describe, it } from 'vitest';
import { memoryBroker, resetMemory } from 'wakame/memory';
import { transportConformance } from 'wakame/testing';

const url = 'memory://conformance';
const broker = memoryBroker('conformance');

await transportConformance(
  { describe, it },
  {
    name: 'memory',
    url,
    unsupported: {
      heartbeats: 'there is no network to watch',
      persistent: 'it lives and dies with the process',
      multiProcess: 'it lives in one process',
      mute: 'it answers within the call',
    },
    disrupt: {
      url,
      drop: async () => broker.disconnect(),
      outage: async () => {
        broker.stop();
        return async () => broker.start();
      },
    },
    restartBroker: async () => resetMemory('conformance'),
    processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
  },
);
