/** What the stands of all stores have in common: the queues, and what their runs are held to. */
import type { Rules } from '../ledger/records.ts';
import type { TaskQueue } from '../workers/task.ts';

export const work: TaskQueue = { name: 'chaos.work' };
export const ordered: TaskQueue = { name: 'chaos.ordered' };

/** Of every consumer. Its acks have answers, and so they are worth being under way together. */
export const storeConsumer = { prefetch: 20, concurrency: 10, side: undefined };

export const storeRules: Rules = {
  queues: [
    { name: work.name, single: false },
    { name: ordered.name, single: true },
  ],
  // An ack has an answer.
  ackGrace: 0,
  // Twenty messages, while connections are made anew.
  waiting: 15_000,
  returnsUnmarked: true,
  patience: 30_000,
};
