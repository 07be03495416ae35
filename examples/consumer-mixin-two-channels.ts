/** ConsumerMixin over two channels: every consumer has one of its own, so a slow queue takes nothing from a fast one's prefetch. */
import { Connection, type ConsumerFactory, ConsumerMixin, Queue } from 'wakame';
import { url } from './url.ts';

const fast = new Queue<number>('examples.fast');
const slow = new Queue<number>('examples.slow');

class Worker extends ConsumerMixin {
  readonly seen: string[] = [];

  override getConsumers(consumer: ConsumerFactory) {
    return [
      consumer(fast, { prefetch: 100, settle: 'auto', onMessage: ({ payload }) => this.#note(`fast ${payload}`) }),
      consumer(slow, { prefetch: 1, settle: 'auto', onMessage: ({ payload }) => this.#note(`slow ${payload}`) }),
    ];
  }

  #note(what: string): void {
    this.seen.push(what);
    if (this.seen.length === 4) this.shouldStop = true;
  }
}

await using connection = new Connection(url);
const producer = connection.producer();
for (const queue of [fast, slow]) {
  for (const n of [1, 2]) await producer.publish(n, { routingKey: queue.name, declare: [queue] });
}

const worker = new Worker(connection);
await worker.run();
console.log(worker.seen.sort().join(', '));
for (const queue of [fast, slow]) await queue.bind(connection).delete();

// Prints:
// fast 1, fast 2, slow 1, slow 2
