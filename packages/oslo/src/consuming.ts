import {
  type BindingObject,
  type Connection,
  type Consumer,
  MessagingError,
  PreconditionFailed,
  Queue,
  type WaitOptions,
} from 'wakame';
import type { Transport } from './transport.js';

/**
 * Starts a consumer of queues that others may have declared already, otherwise than we would. A broker keeps what it has: then they are used as they are, and
 * the connection tells of the problem. Rejects as `consume`, when the consumer is closed, and as {@link Transport.connecting}.
 *
 * @param make Makes the consumer of these queues.
 */
export async function consumeShared(
  transport: Transport,
  wait: WaitOptions,
  queues: readonly Queue[],
  make: (queues: readonly Queue[]) => Consumer,
): Promise<void> {
  const { connection } = transport;
  await transport.connecting(wait);
  const endless = { timeout: Number.POSITIVE_INFINITY, ...wait };
  try {
    await started(make(queues), endless);
  } catch (error) {
    if (!(error instanceof PreconditionFailed)) throw error;
    const adapted: Queue[] = [];
    for (const queue of queues) adapted.push(await asItIs(connection, queue, endless));
    await started(make(adapted), endless);
    const text = `others have declared an exchange or a queue with other options, and it is used so: ${error.message}`;
    connection.problem(new MessagingError(text, { code: 'PRECONDITION_FAILED', cause: error }));
  }
}

async function started(consumer: Consumer, wait: WaitOptions): Promise<void> {
  try {
    await consumer.consume(wait);
  } catch (error) {
    await consumer.close();
    throw error;
  }
}

/** The queue, bound; what is declared otherwise is not declared by it. */
async function asItIs(connection: Connection, queue: Queue, wait: WaitOptions): Promise<Queue> {
  const bindings: BindingObject[] = [];
  for (const binding of queue.bindings) {
    const { exchange, routingKey } = binding;
    const noDeclare = await isOtherwise(exchange.bind(connection).declare(wait));
    bindings.push({ exchange: { ...exchange.toObject(), noDeclare }, routingKey });
  }
  const shared = Queue.fromObject({ ...queue.toObject(), bindings });
  if (!(await isOtherwise(shared.bind(connection).declare(wait)))) return shared;
  for (const binding of shared.bindings) await binding.bind(shared.bind(connection), wait);
  return Queue.fromObject({ ...shared.toObject(), noDeclare: true });
}

/** Whether it is there with other options than ours. Rejects with any other trouble. */
async function isOtherwise(declared: Promise<unknown>): Promise<boolean> {
  try {
    await declared;
    return false;
  } catch (error) {
    if (error instanceof PreconditionFailed) return true;
    throw error;
  }
}
