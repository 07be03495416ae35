/** Ported from Kombu: callbacks, and a loop that drains events until there are none. */
import { Connection, Consumer, Producer, Queue, TimeoutError } from 'wakame';
import { url } from './url.ts';

const queue = new Queue<string>('examples.drained');

await using connection = new Connection(url);
await using channel = connection.channel();
await using producer = new Producer(channel, { routingKey: queue.name });
for (const word of ['one', 'two', 'three']) await producer.publish(word, { declare: [queue] });

const consumer = new Consumer(channel, {
  queues: [queue],
  callbacks: [
    async (body, message) => {
      console.log(body);
      await message.ack();
    },
  ],
});
await consumer.consume();
for (;;) {
  try {
    await connection.drainEvents({ timeout: 300 });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    console.log('nothing more');
    break;
  }
}
await consumer.cancel();
await queue.bind(channel).delete();

// Prints:
// one
// two
// three
// nothing more
