/** The driver that the guide shows. */
import { describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { loseConnections } from '../../../../examples/driver/shelf.ts';

await transportConformance(
  { describe, it },
  {
    name: 'shelf',
    url: 'shelf://conformance',
    unsupported: {
      heartbeats: 'there is no network to watch',
      priority: 'a shelf has one order',
      persistent: 'it lives and dies with the process',
      multiProcess: 'it lives in one process',
      maxLengthBytes: 'nobody counts them',
    },
    disrupt: { url: 'shelf://conformance', drop: async () => loseConnections('conformance') },
    // The rest of the way has been gone by the memory driver.
    scale: Number(process.env.WAKAME_TEST_SCALE ?? 1) / 5,
  },
);
