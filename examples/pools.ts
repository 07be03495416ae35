/** Pools: code that does not know each other shares connections and producers, bounded. */
import { Connection, connections, pools, producers, Queue } from 'wakame';
import { url } from './url.ts';

const queue = new Queue<string>('examples.pooled');
const connection = new Connection(url); // Only names the broker; the pools open connections of their own.

async function record(event: string): Promise<void> {
  await using producer = await producers.of(connection).acquire();
  await producer.publish(event, { routingKey: queue.name, declare: [queue] });
}

await Promise.all(['in', 'out', 'in'].map(record));

{
  await using pooled = await connections.of(connection).acquire({ timeout: 1_000 });
  const { messageCount } = await queue.bind(pooled).queueDeclare({ passive: true });
  console.log(`${messageCount} events`);
  await queue.bind(pooled).delete();
}
await pools.reset();
await connection.close();

// Prints:
// 3 events
