/** Publishes numbered messages at a steady pace, and writes down what becomes of each. */
import { Queue } from 'wakame';
import { now } from '../ledger/records.ts';
import { Random } from '../random.ts';
import { type Numbered, type ProducerTask, padding } from './task.ts';
import { connect, lastCall, say, taskOf, watchMemory, write } from './worker.ts';

/** Milliseconds between bursts. */
const BEAT = 20;
/** No more without an outcome: after an outage, the backlog is made up for as fast as the broker takes it. */
const WINDOW = 500;

const task = taskOf<ProducerTask>();
const { by } = task;
const random = new Random(task.seed);
const connection = connect(task);
const producer = connection.producer();
const queues = task.queues.map(
  ({ name, arguments: queueArguments }) => new Queue<Numbered>(name, { queueArguments: queueArguments ?? {} }),
);
const stopMemory = watchMemory(by);

let number = 0;
let inFlight = 0;
const start = now();

function burst(): void {
  const due = Math.floor(task.owed + ((now() - start) / 1000) * task.perSecond) - number;
  const count = Math.min(due, WINDOW - inFlight);
  if (count <= 0) return;
  const messages = Array.from({ length: count }, () => {
    number += 1;
    const queue = queues.length === 1 || random.next() < 0.75 ? queues[0] : queues[1];
    return { queue: queue as Queue<Numbered>, number };
  });
  write(
    ...messages.map((message) => ({
      event: 'publish' as const,
      by,
      queue: message.queue.name,
      number: message.number,
    })),
  );
  for (const message of messages) void publish(message.queue, message.number);
}

async function publish(queue: Queue<Numbered>, which: number): Promise<void> {
  inFlight += 1;
  try {
    const body: Numbered = { producer: by, number: which, padding: padding(which) };
    const { attempts } = await producer.publish(body, { routingKey: queue.name, declare: [queue] });
    write({ event: 'confirmed', by, number: which, attempts });
  } catch (error) {
    const { code, outcome, message } = error as {
      code: string;
      outcome?: 'not-sent' | 'refused' | 'unknown';
      message: string;
    };
    // Without an outcome it is no error of a publish: the worker dies of it, and the account tells.
    if (outcome === undefined) throw error;
    write({ event: 'rejected', by, number: which, outcome, code });
    say(`rejected (${outcome}): ${code} ${message}`);
  } finally {
    inFlight -= 1;
  }
}

write({ event: 'ready', by });
const beat = setInterval(burst, BEAT);
await lastCall();
clearInterval(beat);
await producer.flush();
write({ event: 'finished', by });
await connection.close();
stopMemory();
// Nothing is open any more: the process ends by itself.
