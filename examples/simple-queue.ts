/** A queue as a data structure: put, and get with a timeout. */
import { Connection, Empty, Queue } from 'wakame';
import { url } from './url.ts';

const thumbnails = new Queue<{ path: string }>('examples.thumbnails');

await using connection = new Connection(url);
await using queue = connection.simpleQueue(thumbnails);

for (const path of ['a.png', 'b.png']) await queue.put({ path });
console.log(`${await queue.qsize()} to do`);

for (;;) {
  try {
    const message = await queue.get({ timeout: 300 });
    console.log(`scaling ${message.payload.path}`);
    await message.ack();
  } catch (error) {
    if (!(error instanceof Empty)) throw error;
    console.log('nothing more');
    break;
  }
}
await queue.queue.delete();

// Prints:
// 2 to do
// scaling a.png
// scaling b.png
// nothing more
