// A program of a user, as an ES module: node esm.mjs URL…
import assert from 'node:assert/strict';
import { connect } from '@wakame/amqp';
import { MessagingError } from '@wakame/amqp/errors';
import { RpcClient, RpcServer, Transport } from '@wakame/oslo';
import { Connection, Exchange, Queue, MessagingError as SameError } from 'wakame';

assert.equal(MessagingError, SameError);

for (const url of process.argv.slice(2)) {
  const exchange = new Exchange('smoke.esm', { type: 'direct', autoDelete: true });
  const queue = new Queue('smoke.esm', { exchange, routingKey: 'key', autoDelete: true });
  const connection = new Connection(url);
  const { attempts } = await connection
    .producer({ exchange })
    .publish({ text: 'grüß Gott' }, { routingKey: 'key', declare: [queue] });
  assert.equal(attempts, 1);
  for await (const message of connection.consumer(queue)) {
    assert.deepEqual(message.payload, { text: 'grüß Gott' });
    assert.equal(await message.ack(), true);
    break;
  }
  await connection.close();

  const transport = new Transport(url, { conf: { amqp_auto_delete: true, control_exchange: 'smoke' } });
  const endpoint = { upper: ({ text }) => text.toUpperCase() };
  await new RpcServer(transport, { topic: 'smoke.oslo', server: 'one' }, [endpoint]).start();
  assert.equal(await new RpcClient(transport, { topic: 'smoke.oslo' }).call('upper', { text: 'grüß' }), 'GRÜSS');
  await transport.close();

  if (!url.startsWith('amqp:')) continue;
  const client = await connect(url);
  const channel = await client.channel();
  await channel.confirmSelect();
  const { queue: name } = await channel.queueDeclare('', { exclusive: true });
  await channel.basicPublish('', name, Buffer.from('by hand'));
  const got = await channel.basicGet(name, { noAck: true });
  assert.equal(got?.body.toString(), 'by hand');
  await client.close();
}
