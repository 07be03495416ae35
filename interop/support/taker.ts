/**
 * A process that takes messages from a queue, says so, and never settles them: a test kills it.
 *
 *     node taker.ts <url> <queue>
 */
import { Connection } from 'wakame';

const [url = '', queue = ''] = process.argv.slice(2);
const connection = new Connection(url);
const consumer = connection.consumer(queue, { onMessage: (message) => console.log(JSON.stringify(message.payload)) });
await consumer.consume();
console.log('ready');
