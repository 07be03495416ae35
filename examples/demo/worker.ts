/** A worker: takes orders, computes invoices, reports each, and only then acknowledges it. */
import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import type { Connection, Message } from 'wakame';
import { invoice, type OrderMessage } from './orders.ts';
import { orders, type Result } from './topology.ts';

const derive = promisify(pbkdf2);

/** Rounds of hashing that seal an invoice: stands for work that takes a while. */
const SEAL_ROUNDS = 600;

async function handle(message: Message<OrderMessage>, worker: string): Promise<Result> {
  const report = { line: message.payload.line, worker, redelivered: message.redelivered };
  try {
    const { total } = invoice(message.payload);
    await derive(message.payload.text, 'demo', SEAL_ROUNDS, 16, 'sha256');
    return { ...report, outcome: { total } };
  } catch (error) {
    return { ...report, outcome: { error: error instanceof Error ? error.message : String(error) } };
  }
}

/** Starts a worker. Resolves once it is consuming; `close()` of the connection ends it. */
export async function startWorker(connection: Connection, name: string): Promise<void> {
  const producer = connection.producer<Result>({ exchange: 'demo', routingKey: 'result' });
  const consumer = connection.consumer(orders, {
    prefetch: 64,
    concurrency: 16,
    onMessage: async (message) => {
      const result = await handle(message, name);
      // First the report, confirmed; then the ack. A worker that dies in between does the record again: at least once.
      await producer.publish(result);
      if ('error' in result.outcome) await message.reject({ requeue: false });
      else await message.ack();
    },
  });
  await consumer.consume();
}
