/** What the tests of patterns share. */
import { onTestFinished } from 'vitest';
import { Connection, NotFound, type Queue, SimpleBuffer, SimpleQueue, type SimpleQueueOptions } from 'wakame';
import { type Bench, eventually } from '../messaging/support.js';

/** A SimpleQueue of a name that nobody else uses, and its exchange, which go with the test. */
export function simpleQueue<T = unknown>(
  bench: Bench,
  options?: SimpleQueueOptions<T>,
  kind: typeof SimpleQueue = SimpleQueue,
): SimpleQueue<T> {
  const { name } = bench.queue('simple');
  dropExchange(bench, name);
  return new kind<T>(bench.connection, name, options);
}

export function simpleBuffer<T = unknown>(bench: Bench, options?: SimpleQueueOptions<T>): SimpleQueue<T> {
  return simpleQueue(bench, options, SimpleBuffer);
}

/** Deletes an exchange when the test is over. What is in memory goes with its broker. */
export function dropExchange(bench: Bench, name: string): void {
  if (bench.url.startsWith('memory:')) return;
  onTestFinished(async () => {
    const tidy = new Connection(process.env.WAKAME_TEST_RABBITMQ_URL);
    await tidy.channel().exchangeDelete(name);
    await tidy.close();
  });
}

/** Waits until so many consumers of a queue are there: a `get` that waits is one. */
export async function untilConsumers(bench: Bench, queue: Pick<Queue, 'name'>, count: number): Promise<void> {
  const channel = bench.connection.defaultChannel();
  await eventually(`${count} consumers`, async () => {
    const declared = await channel.queueDeclare(queue.name, { passive: true }).catch((error: unknown) => {
      if (!(error instanceof NotFound)) throw error;
    });
    return declared?.consumerCount === count;
  });
}
