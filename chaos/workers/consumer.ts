/** Consumes one queue, writes down each delivery and each ack, and keeps a side queue of its own going. */
import { type Connection, type Consumer, type Message, Queue } from 'wakame';
import { Random } from '../random.ts';
import { type ConsumerTask, type Numbered, padding } from './task.ts';
import { connect, lastCall, say, taskOf, watchMemory, write } from './worker.ts';

const task = taskOf<ConsumerTask>();
const { by } = task;
const random = new Random(task.seed);
const stopMemory = watchMemory(by);
let deliveries = 0;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function handle(message: Message<Numbered>): Promise<void> {
  const { payload, queue, redelivered } = message;
  const { producer, number } = payload;
  if (typeof producer !== 'string' || !Number.isInteger(number) || payload.padding !== padding(number)) {
    write({ event: 'damaged', by, queue, text: JSON.stringify(payload).slice(0, 200) });
    await message.ack();
    return;
  }
  deliveries += 1;
  const delivery = deliveries;
  write({ event: 'delivered', by, queue, delivery, producer, number, redelivered });
  // Some work: mostly none, sometimes some milliseconds, so that there is something to be killed in.
  if (random.next() < 0.1) await sleep(random.between(1, 20));
  write({ event: 'acked', by, delivery, live: await message.ack() });
}

async function consume(connection: Connection): Promise<Consumer<Numbered>> {
  const queue = new Queue<Numbered>(task.queue.name, { queueArguments: task.queue.arguments ?? {} });
  const { prefetch, concurrency } = task;
  if (task.style === 'handler') {
    const consumer = connection.consumer(queue, { prefetch, concurrency, onMessage: handle });
    await persist(() => consumer.consume());
    return consumer;
  }
  const consumer = connection.consumer(queue, { prefetch });
  void persist(async () => {
    for await (const message of consumer) await handle(message);
  });
  return consumer;
}

/** The side queue: what is published to it comes back, as often as somebody deletes it. */
async function runSideQueue(connection: Connection, name: string): Promise<{ stop(): Promise<void> }> {
  // It goes away with the last who looks after it.
  const queue = new Queue<number>(name, { expires: 300_000, durable: true });
  const consumer = connection.consumer(queue, {
    onMessage: async (message) => {
      write({ event: 'side', by });
      await message.ack();
    },
  });
  consumer.on('cancelled', (_, error) => say(`side queue cancelled: ${error.message}`));
  await persist(() => consumer.consume());
  const producer = connection.producer({ retry: false });
  const timer = setInterval(() => {
    producer.publish(0, { routingKey: name, timeout: 2000 }).catch((error: Error) => say(`side: ${error.message}`));
  }, 250);
  return {
    stop: async () => {
      clearInterval(timer);
      await consumer.close();
      await queue.bind(connection).delete();
    },
  };
}

/** Tries until it works, as a supervisor would: the broker may be away, or refuse, when the worker starts. */
async function persist(action: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await action();
      return;
    } catch (error) {
      say(`trying again: ${error instanceof Error ? error.message : error}`);
      await sleep(300);
    }
  }
}

const connection = connect(task);
const told = lastCall();
const consumer = await consume(connection);
const side = task.side === undefined ? undefined : await runSideQueue(connection, task.side);
write({ event: 'ready', by });
await told;
await side?.stop();
await consumer.close();
write({ event: 'finished', by });
await connection.close();
stopMemory();
// Nothing is open any more: the process ends by itself.
