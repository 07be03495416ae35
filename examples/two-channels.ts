/** Two consumers of one connection, each on a channel of its own, started and stopped together. */
import { Connection, nested, Queue } from 'wakame';
import { url } from './url.ts';

const mail = new Queue<string>('examples.mail');
const parcels = new Queue<string>('examples.parcels');

await using connection = new Connection(url);
const producer = connection.producer();
await producer.publish('a postcard', { routingKey: mail.name, declare: [mail] });
await producer.publish('a piano', { routingKey: parcels.name, declare: [parcels] });

const received: string[] = [];
const done = Promise.withResolvers<void>();
const consumers = [mail, parcels].map((queue) =>
  connection.consumer(queue, {
    settle: 'auto',
    onMessage: (message) => {
      received.push(`${queue.name}: ${message.payload}`);
      if (received.length === 2) done.resolve();
    },
  }),
);

{
  await using both = nested(...consumers);
  await both.consume();
  await done.promise;
}
console.log(received.sort().join('\n'));
for (const queue of [mail, parcels]) await queue.bind(connection).delete();

// Prints:
// examples.mail: a postcard
// examples.parcels: a piano
