/** Topics: `*` stands for one word of the routing key, `#` for any number of them, none included. */
import { Connection, Exchange, itermessages, Queue } from 'wakame';
import { url } from './url.ts';

const weather = new Exchange('examples.weather', { type: 'topic' });
const interests = { '*.rain': 2, 'north.#': 3, '#': 4 };

await using connection = new Connection(url);
const queues = Object.keys(interests).map(
  (routingKey) => new Queue<string>(`examples.weather ${routingKey}`, { exchange: weather, routingKey }),
);
const producer = connection.producer({ exchange: weather });
for (const routingKey of ['south.rain', 'north.rain', 'north.sea.fog', 'north']) {
  await producer.publish(routingKey, { routingKey, declare: queues });
}

for (const queue of queues) {
  const limit = interests[queue.routingKey as keyof typeof interests];
  const heard: string[] = [];
  for await (const message of itermessages(connection, queue, { limit, settle: 'auto' })) heard.push(message.payload);
  console.log(`${queue.routingKey.padEnd(8)} ${heard.join(', ')}`);
  await queue.bind(connection).delete();
}
await weather.bind(connection).delete();

// Prints:
// *.rain   south.rain, north.rain
// north.#  north.rain, north.sea.fog, north
// #        south.rain, north.rain, north.sea.fog, north
