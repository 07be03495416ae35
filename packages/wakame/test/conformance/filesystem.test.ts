import { describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { storeOptions, temporaryFolder } from '../filesystem/support.js';

const folder = temporaryFolder();

await transportConformance(
  { describe, it },
  {
    name: 'filesystem',
    url: 'filesystem://',
    // A killed process holds its messages for the time of a lease. The machine is not going to lose its power.
    connection: { transportOptions: { ...storeOptions(folder), lease: 5, fsync: false } },
    unsupported: {
      heartbeats: 'there is no network to watch',
      disrupt: 'there is no network to cut',
      restartBroker: 'there is no server to start again',
    },
    // A message is three files' names, one after the other.
    scale: 0.15 * Number(process.env.WAKAME_TEST_SCALE ?? 1),
    processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
  },
);
