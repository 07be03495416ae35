/** BullMQ: jobs added in bulk, a worker with many at a time, which removes what is done. */
import { loadPeer } from '../lib/peers.ts';
import { repeat, timed } from '../lib/sample.ts';
import { type RedisAdapter, text, WINDOW } from './adapter.ts';

interface Job {
  readonly name: string;
  readonly data: unknown;
  readonly opts: { readonly removeOnComplete: boolean };
}
interface Connected {
  readonly connection: { host: string; port: number; password: string | undefined; maxRetriesPerRequest: null };
}
interface BullMq {
  readonly Queue: new (name: string, options: Connected) => { addBulk(jobs: readonly Job[]): Promise<unknown> };
  readonly Worker: new (
    name: string,
    handler: () => Promise<void>,
    options: Connected & { concurrency: number },
  ) => { on(event: 'error', listener: (error: Error) => void): void };
}

const { Queue, Worker } = await loadPeer<BullMq>('bullmq');

function options(url: string): Connected {
  const { hostname, port, password } = new URL(url);
  return {
    connection: { host: hostname, port: Number(port), password: password || undefined, maxRetriesPerRequest: null },
  };
}

const jobs: readonly Job[] = Array.from({ length: WINDOW }, () => ({
  ...{ name: 'bench', data: text, opts: { removeOnComplete: true } },
}));

export const bullmq: RedisAdapter = {
  async enqueue(url, budget) {
    const queue = new Queue('bench', options(url));
    return repeat(budget, async () => {
      await queue.addBulk(jobs);
      return jobs.length;
    });
  },

  async take(url, budget) {
    const queue = new Queue('bench', options(url));
    for (let i = 0; i < budget.most; i += jobs.length) await queue.addBulk(jobs);
    return timed(budget, false, (more, finished) => {
      let going = true;
      const handler = async () => {
        if (!going || more()) return;
        going = false;
        finished();
      };
      const worker = new Worker('bench', handler, { ...options(url), concurrency: WINDOW });
      worker.on('error', finished);
    });
  },
};
