/** Routing: a direct exchange sends each message to the queues bound with its key. */
import { binding, Connection, Exchange, Queue } from 'wakame';
import { url } from './url.ts';

const logs = new Exchange('examples.logs', { type: 'direct' });
const everything = new Queue('examples.logs.all', {
  bindings: [binding(logs, { routingKey: 'info' }), binding(logs, { routingKey: 'error' })],
});
const errors = new Queue('examples.logs.errors', { exchange: logs, routingKey: 'error' });

await using connection = new Connection(url);
const producer = connection.producer({ exchange: logs });
const declare = [everything, errors];
await producer.publish('started', { routingKey: 'info', declare });
await producer.publish('disk full', { routingKey: 'error', declare });

for (const queue of [everything, errors]) {
  const bound = queue.bind(connection);
  for (
    let message = await bound.get({ noAck: true });
    message !== undefined;
    message = await bound.get({ noAck: true })
  )
    console.log(`${queue.name}: ${message.payload}`);
  await bound.delete();
}
await logs.bind(connection).delete();

// Prints:
// examples.logs.all: started
// examples.logs.all: disk full
// examples.logs.errors: disk full
