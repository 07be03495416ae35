/**
 * One of several processes on one queue:
 *
 *     node fleet-child.ts <url> publish <first> <count>
 *     node fleet-child.ts <url> consume [<prefetch> [told]]
 *
 * With `told`, a consumer says that it is connected, and begins when it is told so. It tells of each message that it acknowledged, and of nothing else.
 */
import { once } from 'node:events';
import { Connection } from 'wakame';

const [url = '', role, first, count] = process.argv.slice(2);
const connection = new Connection(url);

if (role === 'publish') {
  const producer = connection.producer({ routingKey: 'fleet' });
  const end = Number(first) + Number(count);
  for (let n = Number(first); n < end; n++) {
    await producer.ready();
    void producer.publish(n);
    if (n % 200 === 0) await producer.flush();
  }
  await producer.flush();
  await connection.close();
  process.send?.('done');
  process.disconnect();
} else {
  if (count === 'told') {
    await connection.connect();
    const told = once(process, 'message');
    process.send?.([]);
    await told;
  }
  const handled: unknown[] = [];
  const tell = () => handled.length > 0 && process.send?.(handled.splice(0));
  const timer = setInterval(tell, 50);
  const consumer = connection.consumer('fleet', {
    prefetch: Number(first ?? 100),
    onMessage: async (message) => {
      if (await message.ack()) handled.push(message.payload);
    },
    concurrency: 100,
  });
  await consumer.consume();
  process.once('message', async () => {
    clearInterval(timer);
    await connection.close();
    tell();
    process.disconnect();
  });
}
