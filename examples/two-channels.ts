/** Two consumers of one connection, each on a channel of its own, as one: started and stopped together. */
import { Connection, Consumer, nested, Queue } from 'wakame';
import { url } from './url.ts';

const mail = new Queue<string>('examples.mail');
const parcels = new Queue<string>('examples.parcels');

await using connection = new Connection(url);
await using producer = connection.producer();
await producer.publish('a postcard', { routingKey: mail.name, declare: [mail] });
await producer.publish('a piano', { routingKey: parcels.name, declare: [parcels] });

const received: string[] = [];
const done = Promise.withResolvers<void>();
const consumer = (queue: Queue<string>) =>
  new Consumer(connection.channel(), {
    queues: [queue],
    settle: 'auto',
    onMessage: (message) => {
      received.push(`${queue.name}: ${message.payload}`);
      if (received.length === 2) done.resolve();
    },
  });

const both = nested(consumer(mail), consumer(parcels));
await both.consume();
await done.promise;
await both.close();
console.log(received.sort().join('\n'));
for (const queue of [mail, parcels]) await queue.bind(connection).delete();

// Prints:
// examples.mail: a postcard
// examples.parcels: a piano
