/** Streams of a real RabbitMQ. */
import { afterEach, expect, test, vi } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.js';
import { Connection, type ConsumerOptions, type Message, Queue } from '../../src/index.js';

const open: Connection[] = [];
const names: string[] = [];

function connect(): Connection {
  const connection = new Connection(brokerUrl('rabbitmq'));
  open.push(connection);
  return connection;
}

function stream(offset: unknown): Queue<number> {
  const name = `wakame.stream.${process.pid}.${Date.now().toString(36)}.${names.length}`;
  names.push(name);
  return new Queue(name, {
    queueArguments: { 'x-queue-type': 'stream' },
    consumerArguments: { 'x-stream-offset': offset },
  });
}

async function publish(connection: Connection, queue: Queue<number>, ...numbers: number[]): Promise<void> {
  const producer = connection.producer({ routingKey: queue.name });
  for (const number of numbers) await producer.publish(number, { declare: [queue] });
  await producer.close();
}

const seen = (messages: readonly Message<number>[]) => messages.map(({ payload }) => payload);

afterEach(async () => {
  const [connection] = open;
  for (const name of names.splice(0)) await connection?.channel().queueDelete(name);
  await Promise.all(open.splice(0).map((one) => one.close()));
});

test('after a loss it goes on at the first message that is not settled', async () => {
  const connection = connect();
  const queue = stream('first');
  await publish(connect(), queue, 0, 1, 2, 3, 4);
  const messages: Message<number>[] = [];
  const options: ConsumerOptions<number> = { prefetch: 10, onMessage: (message) => void messages.push(message) };
  const consumer = connection.consumer(queue, options);
  await consumer.consume();
  await vi.waitFor(() => expect(seen(messages)).toEqual([0, 1, 2, 3, 4]), { timeout: 10_000 });
  for (const i of [0, 1, 3]) expect(await messages[i]?.ack()).toBe(true);
  messages.length = 0;
  connection.collect();
  await publish(connect(), queue, 5);
  await vi.waitFor(() => expect(seen(messages)).toEqual([2, 3, 4, 5]), { timeout: 10_000 });
  // Also when it is stopped and started.
  for (const message of messages.splice(0)) await message.ack();
  await consumer.cancel();
  await publish(connect(), queue, 6);
  await consumer.consume();
  await vi.waitFor(() => expect(seen(messages)).toEqual([6]), { timeout: 10_000 });
});

test('a stream that was deleted is another one when it is there again: its consumer begins as it was told to', async () => {
  const connection = connect();
  const queue = stream('first');
  await publish(connect(), queue, 0, 1, 2);
  const numbers: number[] = [];
  const callback = async (message: Message<number>) => {
    numbers.push(message.payload);
    await message.ack();
  };
  connection.on('problem', () => undefined);
  const channel = connection.channel();
  await channel.qos({ prefetch: 10, scope: 'consumer' });
  await queue.bind(channel).consume({ callback });
  await vi.waitFor(() => expect(numbers).toEqual([0, 1, 2]), { timeout: 10_000 });
  const other = connect();
  await other.channel().queueDelete(queue.name);
  await publish(other, queue, 7);
  await vi.waitFor(() => expect(numbers).toEqual([0, 1, 2, 7]), { timeout: 10_000 });
});
