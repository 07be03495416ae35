/** Stores that are files of this machine: no server, and no network to it. What can go wrong are the processes, and the locks. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Crew } from '../crew/crew.ts';
import type { Place } from '../crew/place.ts';
import { foreignLock, type HoldLock } from '../faults/foreign-lock.ts';
import { workerPause } from '../faults/worker-pause.ts';
import type { ConsumerTask } from '../workers/task.ts';
import { nodeConsumer, nodeProducer } from './node-workers.ts';
import { pythonWorkers } from './python-workers.ts';
import type { Stand, StandOptions } from './stand.ts';
import { ordered, storeConsumer, storeRules, work } from './stores.ts';

export interface LocalStore {
  /** As a Connection takes them. */
  readonly url: string;
  readonly transportOptions: Readonly<Record<string, unknown>>;
  /** The same as Kombu takes it. */
  readonly python: { readonly url: string; readonly transportOptions: Readonly<Record<string, unknown>> };
  readonly hold: HoldLock;
}

/** @param make Of a new folder. */
export async function openLocal(
  { folder, perSecond }: StandOptions,
  make: (folder: string) => LocalStore | Promise<LocalStore>,
): Promise<Stand> {
  const place = join(folder, 'store');
  mkdirSync(place);
  const { url, transportOptions, python, hold } = await make(place);
  const { producer: kombuProducer, consumer: kombuConsumer } = await pythonWorkers();
  const way = { url, options: { connectTimeout: 3000, transportOptions } };
  const kombuWay = { url: python.url, options: { transportOptions: python.transportOptions } };
  const producer = (name: string) =>
    nodeProducer(name, { ...way, queues: [work, ordered], perSecond: (perSecond * 2) / 5 });
  const consumer = (name: string, task: Pick<ConsumerTask, 'queue' | 'style'>) =>
    nodeConsumer(name, { ...way, ...storeConsumer, ...task });
  // What dies with Kombu's consumer is lost; a file that its producer was writing stays as it is; and where a lock is not to be had in time that one
  // forgets the message and says nothing. So nothing is done to them.
  const places: Place[] = [
    producer('producer-1'),
    producer('producer-2'),
    {
      ...{ name: 'producer-3', role: 'producer', ...kombuProducer, fragile: true },
      // Kombu's consumers take the files that it is still writing, and lose them. Ours do not.
      task: { ...kombuWay, queues: [ordered], perSecond: perSecond / 5 },
    },
    consumer('consumer-1', { queue: work, style: 'handler' }),
    consumer('consumer-2', { queue: work, style: 'loop' }),
    consumer('consumer-3', { queue: ordered, style: 'handler' }),
    {
      ...{ name: 'consumer-4', role: 'consumer', ...kombuConsumer, fragile: true },
      task: { ...kombuWay, queue: work, style: 'handler', prefetch: 20, side: undefined },
    },
  ];
  return {
    rules: storeRules,
    places,
    faults: (crew: Crew) => [
      foreignLock(hold),
      // One that stands still may hold the lock that all others wait for.
      { ...workerPause(crew.robust, (name) => crew.at(name), 12_000, 'all'), weight: 2 },
    ],
    // It lies in the folder of the run.
    close: async () => {},
  };
}
