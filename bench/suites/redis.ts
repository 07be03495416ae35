/** Clients of Redis. */
import { fileURLToPath } from 'node:url';
import { kombuCommand } from '../lib/kombu.ts';
import type { Case } from '../lib/run.ts';
import type { Suite, Times, Wanted } from './suite.ts';

const program = fileURLToPath(new URL('../redis/measure.ts', import.meta.url));

export const redis: Suite = {
  name: 'Redis',
  adapters: ['bare', 'wakame', 'bullmq', 'kombu'],
  titles: [
    ['enqueue', 'enqueue 100 B'],
    ['take', 'take + record + ack 100 B'],
  ],
};

/** Messages that lie in the queue before they are taken: what takes a second or two. */
const STOCK: Readonly<Record<string, number>> = { bare: 120_000, wakame: 120_000, bullmq: 15_000, kombu: 2_000 };

interface Options extends Times {
  readonly url: string;
  readonly wanted: Wanted;
  /** Forgets everything that the server holds. */
  readonly clear: () => Promise<void>;
}

export function redisCases({ url, wanted, clear, warmUp, measure }: Options): Case[] {
  return redis.titles.flatMap(([scenario]) =>
    redis.adapters
      .filter((adapter) => wanted(scenario, adapter))
      .map((adapter) => {
        const most = scenario === 'take' ? (STOCK[adapter] ?? 0) : 1e12;
        const command =
          adapter === 'kombu'
            ? kombuCommand(scenario, url, { warmUp, measure, most })
            : [
                process.execPath,
                '--expose-gc',
                program,
                adapter,
                scenario,
                url,
                ...[warmUp, measure, most].map(String),
              ];
        return { suite: redis.name, scenario, adapter, prepare: clear, command };
      }),
  );
}
