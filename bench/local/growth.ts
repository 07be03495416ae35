/** `memory://` with more and more bindings, and stores with longer and longer queues. */
import { Connection, Exchange, Queue } from 'wakame';
import { type Budget, repeat, type Sample } from '../lib/sample.ts';

const BATCH = 256;

/** Publishes to a topic exchange with so many bindings, two of which match: a word for word one, and one with a wildcard. */
export async function topicBindings(count: number, budget: Budget): Promise<Sample> {
  const connection = await new Connection('memory://bench').connect();
  const exchange = new Exchange('bench', { type: 'topic' }).bind(connection);
  await exchange.declare();
  const queue = new Queue('bench', { maxLength: 1 }).bind(connection);
  await queue.declare();
  for (let i = 0; i < count; i++) {
    await queue.bindTo(exchange, { routingKey: i % 2 === 0 ? `order.${i}.paid` : `order.${i - 1}.*` });
  }
  const producer = connection.producer({ exchange });
  let next = 0;
  return repeat(budget, async () => {
    let last: Promise<unknown> | undefined;
    for (let i = 0; i < BATCH; i++) {
      next = (next + 7919) % count;
      last = producer.publish('x', { routingKey: `order.${next - (next % 2)}.paid` });
    }
    await last;
    return BATCH;
  });
}

/** Publishes, takes and acknowledges, with so many messages waiting in a queue of the store at `url`. */
export async function queueLength(url: string, count: number, budget: Budget): Promise<Sample> {
  const connection = await new Connection(url).connect();
  const queue = new Queue(`bench-${process.pid}`, { durable: true });
  await queue.bind(connection).declare();
  const producer = connection.producer({ routingKey: queue.name });
  for (let left = count; left > 0; left -= BATCH) {
    await Promise.all(Array.from({ length: Math.min(left, BATCH) }, () => producer.publish('x')));
  }
  let handled = 0;
  let done: ((error?: unknown) => void) | undefined;
  const consumer = connection.consumer(queue, {
    prefetch: BATCH,
    onMessage(message) {
      void message.ack();
      producer.publish('x').catch((error: unknown) => done?.(error));
      if (++handled % BATCH === 0) done?.();
    },
  });
  await consumer.consume();
  const sample = await repeat(budget, async () => {
    const before = handled;
    await new Promise<void>((resolve, reject) => {
      done = (error) => (error === undefined ? resolve() : reject(error));
    });
    return handled - before;
  });
  await consumer.cancel();
  await producer.flush();
  await queue.bind(connection).delete();
  await connection.close();
  return sample;
}
