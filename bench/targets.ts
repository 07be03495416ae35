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
];
