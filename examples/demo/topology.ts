/** The demo's queues. */
import { Exchange, Queue } from 'wakame';
import type { OrderMessage } from './orders.ts';

/** A worker's report on one record. */
export interface Result {
  readonly line: number;
  readonly worker: string;
  readonly redelivered: boolean;
  /** What the customer pays, or why the record failed. */
  readonly outcome: { readonly total: number } | { readonly error: string };
}

const exchange = new Exchange('demo', { type: 'direct' });

/** Where rejected records go: nothing is dropped. */
export const damaged = new Queue<OrderMessage>('demo.damaged', { exchange, routingKey: 'damaged' });

export const orders = new Queue<OrderMessage>('demo.orders', {
  exchange,
  routingKey: 'order',
  queueArguments: { 'x-dead-letter-exchange': 'demo', 'x-dead-letter-routing-key': 'damaged' },
});

export const results = new Queue<Result>('demo.results', { exchange, routingKey: 'result' });
