/** A service as a class: ConsumerMixin starts its consumers, keeps them through losses of the connection, and ends in good order. */
import { Connection, type ConsumerFactory, ConsumerMixin, type Message, Queue } from 'wakame';
import { url } from './url.ts';

interface Order {
  id: number;
}

const orders = new Queue<Order>('examples.mixin');

class Worker extends ConsumerMixin {
  readonly seen: number[] = [];

  override getConsumers(consumer: ConsumerFactory) {
    return [consumer(orders, { prefetch: 10, onMessage: (message) => this.#handle(message) })];
  }

  override onConsumeReady(): void {
    console.log('ready');
  }

  async #handle(message: Message<Order>): Promise<void> {
    this.seen.push(message.payload.id);
    await message.ack();
    // A service would go on until it is told to stop: see graceful-stop.ts.
    if (this.seen.length === 3) this.shouldStop = true;
  }
}

await using connection = new Connection(url);
const producer = connection.producer({ routingKey: orders.name });
for (const id of [1, 2, 3]) await producer.publish({ id }, { declare: [orders] });

const worker = new Worker(connection);
await worker.run();
console.log(`seen ${worker.seen.join(', ')}`);
await orders.bind(connection).delete();

// Prints:
// ready
// seen 1, 2, 3
