import { describe, it } from 'vitest';
import { registerTransport } from 'wakame';
import { memoryBroker, resetMemory } from 'wakame/memory';
import { transportConformance } from 'wakame/testing';
import { defineVirtualTransport } from 'wakame/virtual';
import { BareDriver, RemoteDriver } from '../virtual/doubles.js';

/** The virtual transport over stores that are less obliging than memory: each a kind that real drivers will be of. */
const stores = {
  /** Does all by itself, and its answers take time. */
  remote: { createDriver: () => new RemoteDriver(), lacks: {} },
  /** Can do as little as the contract allows, the rest is emulated; leases have to be renewed. */
  bare: {
    createDriver: () => new BareDriver({}, { lease: 600 }),
    lacks: { maxLengthBytes: 'the store cannot count them' },
  },
};

for (const [scheme, { createDriver, lacks }] of Object.entries(stores)) {
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
        ...lacks,
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
