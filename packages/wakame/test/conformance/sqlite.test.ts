import { describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { temporaryFolder } from '../sql/support.js';

const folder = temporaryFolder();

await transportConformance(
  { describe, it },
  {
    name: 'SQLite',
    url: `sqlite:${folder}/conformance.db`,
    // A killed process holds its messages for the time of a lease. The machine is not going to lose its power.
    connection: { transportOptions: { lease: 5, synchronous: 'NORMAL' } },
    unsupported: {
      heartbeats: 'there is no network to watch',
      disrupt: 'there is no network to cut',
      restartBroker: 'there is no server to start again',
    },
    // Each process does the work of the database as well.
    scale: 0.3 * Number(process.env.WAKAME_TEST_SCALE ?? 1),
    processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
  },
);
