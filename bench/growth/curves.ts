/** What grows, and whose cost is looked at: a measurement for each point, in a process of its own as everywhere. */
import { fileURLToPath } from 'node:url';
import type { Case, Figure } from '../lib/run.ts';
import type { Times } from '../suites/suite.ts';

const programs = {
  amqp: fileURLToPath(new URL('../amqp/measure.ts', import.meta.url)),
  local: fileURLToPath(new URL('../local/measure.ts', import.meta.url)),
} as const;

export interface Curve {
  /** The scenario, and the name of the plot's file. */
  readonly id: string;
  readonly title: string;
  readonly x: string;
  readonly figure: Extract<Figure, 'cpu' | 'bytes' | 'rate'>;
  readonly program: keyof typeof programs;
  readonly adapters: readonly string[];
  readonly counts: readonly number[];
  /** Where filling takes longer than the time there is: the most, by participant. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
}

const AMQP = { program: 'amqp', figure: 'cpu' } as const;
const LOCAL = { program: 'local', figure: 'cpu', adapters: ['wakame'] } as const;
/** Whose queues may be long; RabbitMQ's are its own affair. */
export const STORES = ['memory', 'sqlite', 'filesystem', 'redis', 'postgresql'] as const;

/** The URL of each participant: of the null broker, or of a store. */
export type UrlOf = (adapter: string) => string;
const clients = ['wakame-amqp', 'wakame', 'amqplib'] as const;

export const curves: readonly Curve[] = [
  {
    ...{ ...AMQP, id: 'publish-size', title: 'Publish, by size of the body', x: 'bytes' },
    ...{ adapters: clients, counts: [10, 100, 1000, 10_000, 100_000, 1_000_000] },
  },
  {
    ...{ ...AMQP, id: 'consume-size', title: 'Consume and ack, by size of the body', x: 'bytes' },
    ...{ adapters: clients, counts: [10, 100, 1000, 10_000, 100_000, 1_000_000] },
  },
  {
    ...{ ...AMQP, id: 'headers', title: 'Publish 100 B, by number of headers', x: 'headers' },
    ...{ adapters: clients, counts: [1, 4, 16, 64, 256] },
  },
  {
    ...{
      ...AMQP,
      id: 'channels',
      title: 'Publish with confirms, 1,000 in flight, by number of channels',
      x: 'channels',
    },
    ...{ adapters: clients, counts: [1, 10, 100, 1000] },
  },
  {
    ...{
      ...AMQP,
      id: 'consumers',
      title: 'Consume and ack, prefetch 1,000 in all, by number of consumers',
      x: 'consumers',
    },
    ...{ adapters: clients, counts: [1, 10, 100, 1000] },
  },
  {
    ...{ ...AMQP, id: 'unconfirmed', title: 'Memory of messages in flight, 100 B each', x: 'messages in flight' },
    ...{ figure: 'bytes', adapters: clients, counts: [1000, 10_000, 100_000] },
  },
  {
    ...{
      ...LOCAL,
      id: 'bindings',
      title: 'memory://: publish to a topic exchange, by number of bindings',
      x: 'bindings',
    },
    counts: [10, 100, 1000, 10_000, 100_000],
  },
  {
    ...{ ...LOCAL, id: 'queue-length', title: 'Publish, consume, ack, by messages that wait', figure: 'rate' },
    ...{ x: 'messages in the queue', adapters: STORES, counts: [10, 100, 1000, 10_000, 100_000] },
    limits: { filesystem: 10_000 },
  },
];

/** The cases of a curve. */
export function curveCases(curve: Curve, urlOf: UrlOf, { warmUp, measure }: Times): Case[] {
  const { id, program, adapters, counts, limits } = curve;
  return counts.flatMap((count) =>
    adapters
      .filter((adapter) => count <= (limits?.[adapter] ?? count))
      .map((adapter) => {
        const scenario = `${id}@${count}`;
        const spans = [warmUp, measure].map(String);
        const url = urlOf(adapter);
        const args =
          program === 'amqp' ? [adapter, scenario, url, ...spans, '1e12'] : [adapter, scenario, ...spans, url];
        return {
          suite: 'growth',
          scenario,
          adapter,
          command: [process.execPath, '--expose-gc', programs[program], ...args],
        };
      }),
  );
}
