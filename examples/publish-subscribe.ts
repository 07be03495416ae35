/** Publish and subscribe: everybody who listens gets a copy. */
import { Broadcast, Connection, Exchange } from 'wakame';
import { url } from './url.ts';

const news = new Exchange('examples.news', { type: 'fanout', durable: false });

await using connection = new Connection(url);

const subscribers = ['Ada', 'Grace'].map((name) => {
  const heard = Promise.withResolvers<string>();
  // A queue of its own for each subscriber; it goes when the subscriber does.
  const consumer = connection.consumer(new Broadcast<string>(news), {
    settle: 'auto',
    onMessage: (message) => heard.resolve(`${name} heard: ${message.payload}`),
  });
  return { consumer, heard: heard.promise };
});
for (const { consumer } of subscribers) await consumer.consume();

await connection.producer({ exchange: news }).publish('kelp is in season');
for (const { consumer, heard } of subscribers) {
  console.log(await heard);
  await consumer.close();
}
await news.bind(connection).delete();

// Prints:
// Ada heard: kelp is in season
// Grace heard: kelp is in season
