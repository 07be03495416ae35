/** A message published, and consumed. */
import { Connection, Exchange, Queue } from 'wakame';
import { url } from './url.ts';

interface Video {
  name: string;
  size: number;
}

const media = new Exchange('examples.media', { type: 'direct' });
const video = new Queue<Video>('examples.video', { exchange: media, routingKey: 'video' });

await using connection = new Connection(url);

const producer = connection.producer({ exchange: media });
await producer.publish({ name: 'lolcat.avi', size: 1301013 }, { routingKey: 'video', declare: [video] });

for await (const message of connection.consumer(video)) {
  console.log(`${message.payload.name}: ${message.payload.size} bytes`);
  await message.ack();
  break;
}
await video.bind(connection).delete();
await media.bind(connection).delete();

// Prints:
// lolcat.avi: 1301013 bytes
