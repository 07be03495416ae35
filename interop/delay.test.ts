/** Delayed delivery by RabbitMQ itself, with the queues that Celery declares for it. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Connection, Exchange, Queue } from 'wakame';
import { workerMailbox } from '../examples/celery/celery.ts';
import { type Bench, inEachColumn, pack, take } from './support/bench.ts';
import { CeleryWorker } from './support/celery.ts';
import { cell, type Unless } from './support/matrix.ts';
import type { PeerMessage } from './support/peer.ts';

const unless: Unless = ({ transport, peer }) => {
  if (!transport.native) return 'Only RabbitMQ delays messages itself';
  return peer === 'old' ? 'Kombu before 5.5 does not know it' : undefined;
};
const withCelery: Unless = (column) =>
  unless(column) ?? (column.peer === 'current' ? undefined : 'Celery 5.6 is installed beside the current py-amqp');

inEachColumn('Delayed delivery', define, unless);

function define(bench: Bench): void {
  const { column } = bench;

  /** A queue as Celery has it: of type quorum, on a topic exchange. */
  async function celeryQueue(routingKey: string) {
    const exchange = { name: bench.exchangeName(), type: 'topic' };
    const name = bench.queueName();
    const queue_arguments = { 'x-queue-type': 'quorum' };
    await bench.peer.call('delay_topology', { queue: { name, exchange, routing_key: routingKey, queue_arguments } });
    return { name, exchange: new Exchange(exchange.name, { type: 'topic' }) };
  }

  cell(
    column,
    'Node → Python',
    'to a queue that Celery declared',
    async () => {
      const { name, exchange } = await celeryQueue('orders.new');
      const consumer = await bench.peer.call<number>('consume', { queue: { name, no_declare: true } });
      const due = Date.now() + 1500;
      await bench.publish('orders.new', 'later', { exchange, delay: 1500, headers: { kept: 1 } });
      await bench.publish('orders.new', 'now', { exchange });
      const [now] = await bench.peer.call<PeerMessage[]>('next', { consumer });
      expect(now?.body).toEqual(pack('now'));
      const [later] = await bench.peer.call<PeerMessage[]>('next', { consumer });
      expect(Date.now()).toBeGreaterThanOrEqual(due);
      expect([later?.body, later?.routing_key]).toEqual([pack('later'), 'orders.new']);
      for (const message of [now, later]) await bench.peer.call('settle', { tag: message?.tag, how: 'ack' });
      await bench.peer.call('cancel', { consumer });
      expect(await bench.bodiesIn(name, 0)).toEqual([]);
    },
    unless,
  );
  cell(
    column,
    'Python → Node',
    'to a queue that Celery declared',
    async () => {
      const { name } = await celeryQueue('orders.new');
      const due = Date.now() + 2000;
      await bench.peer.call('publish_delayed', { body: pack('later'), seconds: 2, routing_key: 'orders.new' });
      const [message] = await take(bench.connection, name);
      expect(Date.now()).toBeGreaterThanOrEqual(due - 50);
      expect(message?.payload).toBe('later');
      // What Kombu delays keeps the delay before its key.
      expect(message?.deliveryInfo.routingKey).toMatch(/^([01]\.){28}orders\.new$/);
    },
    unless,
  );
  cell(
    column,
    'both',
    'a task for a Celery worker with quorum queues, delayed by Node',
    async () => {
      const queue = `interop.quorum.${randomUUID().slice(0, 8)}`;
      bench.deleteLater(queue);
      await using connection = new Connection(bench.url);
      const worker = new CeleryWorker(column.peer, bench, queue, { CELERY_QUEUE_TYPE: 'quorum' });
      try {
        await worker.ready(workerMailbox(connection));
        const replies = await bench.queue({ durable: false, autoDelete: true });
        const id = randomUUID();
        const due = Date.now() + 1500;
        await bench.publish(queue, [[20, 22], {}, {}], {
          ...{
            exchange: new Exchange(queue, { type: 'topic' }),
            delay: 1500,
            correlationId: id,
            replyTo: replies.name,
          },
          headers: { task: 'tasks.add', id },
        });
        const [answer] = await take(connection, new Queue(replies.name, { noDeclare: true }));
        expect(Date.now()).toBeGreaterThanOrEqual(due);
        expect(answer?.payload).toMatchObject({ task_id: id, status: 'SUCCESS', result: 42 });
      } finally {
        await worker.stop();
      }
    },
    withCelery,
  );
}
