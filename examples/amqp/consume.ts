/** The AMQP client by itself: a consumer, as one writes it with pika. RabbitMQ only. Run `publish.ts` before it. */
import { connect } from '@wakame/amqp';

const connection = await connect(process.argv[2] ?? 'amqp://guest:guest@localhost:5672//');
const channel = await connection.channel();
await channel.basicQos({ prefetchCount: 1 });

let seen = 0;
for await (const message of channel.consume('examples.pair', { idleTimeout: 5_000 })) {
  console.log(`${message.routingKey}: ${message.body.toString()}`);
  channel.basicAck(message.deliveryTag);
  seen += 1;
  if (seen === 2) break;
}
await channel.queueDelete('examples.pair');
await connection.close();

// Prints:
// key: first
// key: second
