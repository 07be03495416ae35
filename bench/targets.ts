/** What Wakame promises of its speed: ratios within one run, of client CPU a message unless something else is said. */
import type { Figure } from './lib/run.ts';

/** A figure of ours against that of another in the same scenario. */
export interface Target {
  readonly suite: string;
  readonly scenario: string;
  readonly ours: string;
  /** With whom; undefined: the figure itself is bounded. */
  readonly than: string | undefined;
  readonly figure: Figure;
  /** The ratio (ours / theirs), or the figure itself. */
  readonly atMost?: number;
  readonly atLeast?: number;
}

const nullBroker = { suite: 'null broker', ours: 'wakame-amqp', figure: 'cpu' } as const;
const rabbitmq = { suite: 'RabbitMQ', ours: 'wakame-amqp' } as const;
const redis = { suite: 'Redis', ours: 'wakame' } as const;
const oslo = { suite: 'oslo', ours: 'wakame-oslo' } as const;
const sql = { suite: 'SQLite', ours: 'wakame', figure: 'rate' } as const;
const local = { suite: 'one process', ours: 'wakame' } as const;

function below(scenario: string, limits: Readonly<Record<string, number>>, figure: Figure = 'cpu'): Target[] {
  return Object.entries(limits).map(([than, atMost]) => ({ ...nullBroker, figure, scenario, than, atMost }));
}

export const targets: readonly Target[] = [
  ...below('publish-100', { amqplib: 1 / 10, 'raw-lib': 2 }),
  ...below('publish-1k', { amqplib: 1 / 7, 'raw-lib': 1.6 }),
  ...below('publish-64k', { 'raw-lib': 1.2 }),
  ...below('publish-celery', { amqplib: 1 / 3.5, 'raw-lib': 1.3 }),
  ...below('confirm-256', { amqplib: 1 / 7, 'raw-lib': 1.8 }),
  ...below('confirm-1', { raw: 1.1 }),
  ...below('consume-ack-100', { amqplib: 1 / 7, 'raw-lib': 1.8 }),
  ...below('consume-100', { amqplib: 1 / 3, 'raw-lib': 1.6 }),
  ...below('consume-64k', { 'raw-lib': 1.1 }),
  ...below('consume-celery', { amqplib: 1 / 8 }),
  ...below('consume-celery-read', { amqplib: 1 / 2 }),
  ...below('round-trip', { raw: 1.1 }, 'p50'),
  ...below('publish-1m', { amqplib: 1 / 5 }, 'rss'),
  ...(['confirm-json', 'consume-json'] as const).flatMap((scenario): Target[] => [
    { ...nullBroker, ours: 'wakame', scenario, than: 'amqplib', atMost: 1 / 2 },
    { ...nullBroker, ours: 'wakame', scenario, than: undefined, atMost: 2 },
  ]),
  { ...rabbitmq, figure: 'rate', scenario: 'publish-100', than: 'raw', atLeast: 0.95 },
  { ...rabbitmq, figure: 'rate', scenario: 'confirm-256', than: 'raw', atLeast: 0.95 },
  { ...rabbitmq, figure: 'rate', scenario: 'consume-ack-100', than: 'raw', atLeast: 0.95 },
  ...(['amqplib', 'rabbitmq-client', 'cloudamqp'] as const).flatMap((than): Target[] => [
    { ...rabbitmq, figure: 'cpu', scenario: 'confirm-256', than, atMost: 1 / 2 },
    { ...rabbitmq, figure: 'cpu', scenario: 'consume-ack-100', than, atMost: 1 / 2 },
  ]),
  { ...redis, figure: 'cpu', scenario: 'enqueue', than: 'bullmq', atMost: 1 / 4 },
  { ...redis, figure: 'rate', scenario: 'enqueue', than: undefined, atLeast: 250_000 },
  { ...redis, figure: 'cpu', scenario: 'take', than: undefined, atMost: 8 },
  { ...redis, figure: 'rate', scenario: 'take', than: 'bullmq', atLeast: 3 },
  { ...redis, figure: 'rate', scenario: 'take', than: 'kombu', atLeast: 30 },
  { ...oslo, figure: 'rate', scenario: 'calls-64', than: 'oslo.messaging', atLeast: 5 },
  { ...oslo, figure: 'p50', scenario: 'calls-1', than: 'bare', atMost: 1.25 },
  ...(['fleet-full', 'fleet-normal'] as const).map((scenario) => ({ ...sql, scenario, than: 'bare', atLeast: 1 / 2 })),
  { ...local, figure: 'cpu', scenario: 'memory-cycle', than: undefined, atMost: 2 },
  { ...local, figure: 'rate', scenario: 'memory-cycle', than: 'kombu', atLeast: 6 },
  { ...local, figure: 'cpu', scenario: 'envelope-encode-100', than: undefined, atMost: 0.7 },
  { ...local, figure: 'cpu', scenario: 'envelope-decode-100', than: undefined, atMost: 0.8 },
  { ...local, figure: 'cpu', scenario: 'envelope-encode-64k', than: undefined, atMost: 12 },
  { ...local, figure: 'cpu', scenario: 'envelope-decode-64k', than: undefined, atMost: 12 },
];
