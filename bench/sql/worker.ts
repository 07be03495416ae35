/** One of several processes on one file: `worker.ts <url> publish|consume <first> <count>`. Tells its parent of what it has done. */
import { Connection } from 'wakame';

const [url = '', role, first, count] = process.argv.slice(2);
const connection = await new Connection(url).connect();
process.send?.('ready');
process.once('message', role === 'publish' ? publish : consume);

async function publish(): Promise<void> {
  const producer = connection.producer({ routingKey: 'bench' });
  const end = Number(first) + Number(count);
  for (let n = Number(first); n < end; n++) {
    await producer.ready();
    producer.publish(n).catch(fail);
  }
  await producer.flush();
  await connection.close();
  process.disconnect?.();
}

async function consume(): Promise<void> {
  const handled: unknown[] = [];
  const tell = () => process.send?.(handled.splice(0));
  const timer = setInterval(() => handled.length > 0 && tell(), 20);
  const consumer = connection.consumer('bench', {
    prefetch: 500,
    onMessage: (message) => {
      message.ack().then((isOurs) => isOurs && handled.push(message.payload), fail);
    },
  });
  await consumer.consume();
  process.once('message', async () => {
    clearInterval(timer);
    await connection.close();
    tell();
    process.disconnect?.();
  });
}

function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}
