/** A service as a class: ConsumerMixin starts its consumers, keeps them through losses of the connection, and stops on a signal. */
import { Connection, type Consumer, type ConsumerFactory, ConsumerMixin, Queue } from 'wakame';
import { url } from './url.ts';

const queue = new Queue<{ id: number }>('examples.mixin');

class Worker extends ConsumerMixin {
  readonly seen: number[] = [];

  override getConsumers(consumer: ConsumerFactory): Consumer<unknown>[] {
    return [
      consumer(queue, {
        prefetch: 10,
        onMessage: async (message) => {
          await message.ack();
          this.seen.push(message.payload.id);
          if (this.seen.length === 3) this.shouldStop = true;
        },
      }),
    ];
  }

  override onConsumeReady(): void {
    console.log('ready');
  }
}

await using connection = new Connection(url);
await using producer = connection.producer({ routingKey: queue.name });
for (const id of [1, 2, 3]) await producer.publish({ id }, { declare: [queue] });

// A service would live until it is told to stop: `process.once('SIGTERM', () => stop.abort())`.
const stop = new AbortController();
const worker = new Worker(connection);
await worker.run({ signal: stop.signal });
console.log(`seen ${worker.seen.join(', ')}`);
await queue.bind(connection).delete();

// Prints:
// ready
// seen 1, 2, 3
