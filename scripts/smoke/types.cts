// What a user's compiler makes of the packages, in a CommonJS module.
import amqp = require('@wakame/amqp');
import wakame = require('wakame');

export async function main(): Promise<unknown> {
  const client = await amqp.connect('amqp://localhost');
  await client.close();
  const connection = new wakame.Connection('memory://types');
  const queue = connection.simpleQueue('types');
  await queue.put({ a: 1 });
  const message = await queue.get({ timeout: 1000 });
  await connection.close();
  return message.payload;
}
