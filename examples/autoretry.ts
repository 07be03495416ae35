/** autoretry: a function of yours is run again after a connection was lost, with a live channel. */
import { type Channel, Connection, OperationalError, Queue, RecoverableConnectionError } from 'wakame';
import { url } from './url.ts';

const queue = new Queue('examples.retried');
await using connection = new Connection(url);

let tries = 0;
async function countMessages(channel: Channel): Promise<number> {
  tries += 1;
  const { messageCount } = await queue.bind(channel).queueDeclare();
  // Stands for a loss in the middle of the work.
  if (tries < 3) throw new RecoverableConnectionError('the wire was cut');
  return messageCount;
}

const [count] = await connection.autoretry(countMessages, {
  maxRetries: 5,
  intervalStart: 0,
  errback: (error) => console.log(`trying again: ${error.message}`),
})();
console.log(`${count} messages, at try ${tries}`);

try {
  await connection.autoretry(
    () => {
      throw new RecoverableConnectionError('cut for good');
    },
    { maxRetries: 1, intervalStart: 0 },
  )();
} catch (error) {
  console.log(error instanceof OperationalError ? `given up: ${error.message}` : error);
}
await queue.bind(connection).delete();

// Prints:
// trying again: the wire was cut
// trying again: the wire was cut
// 0 messages, at try 3
// given up: cut for good
