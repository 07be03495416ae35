/** ConsumerMixin with a second channel: a slow queue and a fast one do not share a prefetch count. */
import { type Channel, Connection, Consumer, type ConsumerFactory, ConsumerMixin, Queue } from 'wakame';
import { url } from './url.ts';

const fast = new Queue<number>('examples.fast');
const slow = new Queue<number>('examples.slow');

class Worker extends ConsumerMixin {
  readonly seen: string[] = [];
  #second: Channel | undefined;

  override getConsumers(consumer: ConsumerFactory, channel: Channel): Consumer<unknown>[] {
    this.#second = channel.connection.channel();
    return [
      consumer(fast, { prefetch: 100, settle: 'auto', onMessage: (message) => this.#note('fast', message.payload) }),
      new Consumer(this.#second, {
        queues: [slow],
        prefetch: 1,
        settle: 'auto',
        onMessage: (message) => this.#note('slow', message.payload),
      }),
    ];
  }

  override async onConsumeEnd(): Promise<void> {
    await this.#second?.close();
  }

  #note(kind: string, n: number): void {
    this.seen.push(`${kind} ${n}`);
    if (this.seen.length === 4) this.shouldStop = true;
  }
}

await using connection = new Connection(url);
await using producer = connection.producer();
for (const queue of [fast, slow])
  for (const n of [1, 2]) await producer.publish(n, { routingKey: queue.name, declare: [queue] });

const worker = new Worker(connection);
await worker.run();
console.log(worker.seen.sort().join(', '));
for (const queue of [fast, slow]) await queue.bind(connection).delete();

// Prints:
// fast 1, fast 2, slow 1, slow 2
