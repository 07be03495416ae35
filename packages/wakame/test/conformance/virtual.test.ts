import { describe, it } from 'vitest';
import { registerTransport } from 'wakame';
import { memoryBroker, resetMemory } from 'wakame/memory';
import { transportConformance } from 'wakame/testing';
import { defineVirtualTransport } from 'wakame/virtual';
import { RemoteDriver } from '../virtual/doubles.js';

/** The virtual transport over a store that is less obliging than memory: its answers take time, as those of real ones do. */
const stores = { remote: () => new RemoteDriver() };

for (const [scheme, createDriver] of Object.entries(stores)) {
  const name = `conformance-${scheme}`;
  const url = `${scheme}://${name}`;
  const broker = memoryBroker(name);
  registerTransport(scheme, () => defineVirtualTransport({ name: scheme, createDriver }));

  await transportConformance(
    { describe, it },
    {
      name: `virtual, ${scheme} store`,
      url,
      unsupported: {
        heartbeats: 'there is no network to watch',
        persistent: 'it lives and dies with the process',
        multiProcess: 'it lives in one process',
        mute: 'the store beneath answers within the call',
        processes: 'its transport is registered in this file',
      },
      disrupt: {
        url,
        drop: async () => broker.disconnect(),
        outage: async () => {
          broker.stop();
          return async () => broker.start();
        },
      },
      restartBroker: async () => resetMemory(name),
    },
  );
}
