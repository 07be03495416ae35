/** The AMQP client by itself: a publisher, as one writes it with pika. RabbitMQ only. Run `consume.ts` after it. */
import { connect } from '@wakame/amqp';

const connection = await connect(
  process.argv[2] ?? {
    hostname: 'localhost',
    port: 5672,
    username: 'guest',
    password: 'guest',
    vhost: '/',
  },
);
const channel = await connection.channel();
await channel.confirmSelect();
await channel.exchangeDeclare('examples.pair', 'direct', { autoDelete: true });
await channel.queueDeclare('examples.pair', { durable: true });
await channel.queueBind({ queue: 'examples.pair', exchange: 'examples.pair', routingKey: 'key' });
for (const text of ['first', 'second'])
  await channel.basicPublish('examples.pair', 'key', Buffer.from(text), { contentType: 'text/plain', deliveryMode: 2 });
console.log('published and confirmed');
await connection.close();

// Prints:
// published and confirmed
