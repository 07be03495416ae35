/** Topics: `*` stands for one word of the routing key, `#` for any number of them, none included. */
import { Connection, Exchange, Queue } from 'wakame';
import { url } from './url.ts';

const weather = new Exchange('examples.weather', { type: 'topic' });
const queues = ['*.rain', 'north.#', '#'].map(
  (routingKey, i) => new Queue<string>(`examples.weather.${i}`, { exchange: weather, routingKey }),
);

await using connection = new Connection(url);
const producer = connection.producer({ exchange: weather });
for (const routingKey of ['south.rain', 'north.rain', 'north.sea.fog', 'north'])
  await producer.publish(routingKey, { routingKey, declare: queues });

for (const queue of queues) {
  const bound = queue.bind(connection);
  const heard: string[] = [];
  for (
    let message = await bound.get({ noAck: true });
    message !== undefined;
    message = await bound.get({ noAck: true })
  )
    heard.push(String(message.payload));
  console.log(`${queue.routingKey.padEnd(8)} ${heard.join(', ')}`);
  await bound.delete();
}
await weather.bind(connection).delete();

// Prints:
// *.rain   south.rain, north.rain
// north.#  north.rain, north.sea.fog, north
// #        south.rain, north.rain, north.sea.fog, north
