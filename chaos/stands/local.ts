/** Stores that are files of this machine: no server, and no network to it. What can go wrong are the processes, and the locks. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Crew } from '../crew/crew.ts';
import { foreignLock, type HoldLock } from '../faults/foreign-lock.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import type { Stand, StandOptions } from './stand.ts';
import { ordered, storeConsumer, storeRules, work } from './stores.ts';

export interface LocalStore {
  /** As a Connection takes them. */
  readonly url: string;
  readonly transportOptions: Readonly<Record<string, unknown>>;
  readonly hold: HoldLock;
}

/** @param make Of a new folder. */
export async function openLocal(
  { folder, perSecond }: StandOptions,
  make: (folder: string) => LocalStore | Promise<LocalStore>,
): Promise<Stand> {
  const place = join(folder, 'store');
  mkdirSync(place);
  const { url, transportOptions, hold } = await make(place);
  const way = { url, options: { connectTimeout: 3000, transportOptions } };
  const producer = (name: string) => nodeProducer(name, { ...way, queues: [work, ordered], perSecond: perSecond / 2 });
  const consumer = (name: string, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
    nodeConsumer(name, { ...way, ...storeConsumer, ...task });
  return {
    rules: storeRules,
    places: [
      producer('producer-1'),
      producer('producer-2'),
      consumer('consumer-1', { queue: work, style: 'handler' }),
      consumer('consumer-2', { queue: work, style: 'loop' }),
      consumer('consumer-3', { queue: ordered, style: 'handler' }),
    ],
    faults: (crew: Crew) => [
      foreignLock(hold),
      // One that stands still may hold the lock that all others wait for.
      { ...workerPause(crew.robust, (name) => crew.at(name), 12_000, 'all'), weight: 2 },
    ],
    // It lies in the folder of the run.
    close: async () => {},
  };
}
