/** Publish and subscribe: everybody who listens gets a copy. */
import { Broadcast, Connection, Exchange } from 'wakame';
import { url } from './url.ts';

const news = new Exchange('examples.news', { type: 'fanout', durable: false });

await using connection = new Connection(url);

async function subscribe(name: string): Promise<() => Promise<string>> {
  // A queue of its own for each subscriber; it goes when the subscriber does.
  const consumer = connection.consumer(new Broadcast(news), { settle: 'auto' });
  const first = new Promise<string>((resolve) => {
    consumer.registerCallback((body) => resolve(`${name} heard: ${body}`));
  });
  await consumer.consume();
  return async () => {
    const heard = await first;
    await consumer.close();
    return heard;
  };
}

const subscribers = [await subscribe('Ada'), await subscribe('Grace')];
await connection.producer({ exchange: news }).publish('kelp is in season');
for (const hear of subscribers) console.log(await hear());
await news.bind(connection).delete();

// Prints:
// Ada heard: kelp is in season
// Grace heard: kelp is in season
