/** Routing: a direct exchange sends each message to the queues bound with its key. */
import { binding, Connection, Exchange, Queue } from 'wakame';
import { url } from './url.ts';

const logs = new Exchange('examples.logs', { type: 'direct' });
const everything = new Queue<string>('examples.logs.all', {
  bindings: [binding(logs, { routingKey: 'info' }), binding(logs, { routingKey: 'error' })],
});
const errors = new Queue<string>('examples.logs.errors', { exchange: logs, routingKey: 'error' });

await using connection = new Connection(url);
const producer = connection.producer({ exchange: logs });
const declare = [everything, errors];
await producer.publish('started', { routingKey: 'info', declare });
await producer.publish('disk full', { routingKey: 'error', declare });

for (const queue of [everything, errors]) {
  // Ends when nothing has come for a while.
  for await (const message of connection.consumer(queue, { settle: 'auto', idleTimeout: 300 })) {
    console.log(`${queue.name}: ${message.payload}`);
  }
  await queue.bind(connection).delete();
}
await logs.bind(connection).delete();

// Prints:
// examples.logs.all: started
// examples.logs.all: disk full
// examples.logs.errors: disk full
