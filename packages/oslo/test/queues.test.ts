/** Queues of RabbitMQ as options ask for them: streams, and names that a process has again. */
import { RpcClient, RpcServer, type Transport } from '@wakame/oslo';
import { expect, test } from 'vitest';
import { eventually, open, rabbitUrl, unique } from './support/bus.ts';

const lasting = { amqp_durable_queues: true, rabbit_transient_quorum_queue: true };

async function serve(transport: Transport, topic: string, server: string, notes: number[]): Promise<RpcServer> {
  const note = ({ value }: { value: number }) => void notes.push(value);
  const made = new RpcServer(transport, { topic, server }, [{ note }]);
  await made.start();
  return made;
}

test('a stream for all servers of a topic: each hears everything, once, a loss of the connection or not', async () => {
  const topic = unique('stream');
  const control_exchange = unique('exchange');
  const conf = { ...lasting, control_exchange, rabbit_stream_fanout: true, rabbit_qos_prefetch_count: 10 };
  await using one = open(rabbitUrl(), { conf });
  await using two = open(rabbitUrl(), { conf });
  await using asking = open(rabbitUrl(), { conf });
  const notes: { readonly one: number[]; readonly two: number[] } = { one: [], two: [] };
  await serve(one, topic, 'one', notes.one);
  await serve(two, topic, 'two', notes.two);
  const all = new RpcClient(asking, { topic, fanout: true });
  for (const value of [1, 2, 3]) await all.cast('note', { value });
  await eventually(() => [notes.one, notes.two]).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  one.connection.collect();
  await all.cast('note', { value: 4 });
  await eventually(() => [notes.one, notes.two]).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 4],
  ]);
  // It is there for the others when a server stops.
  await two.close();
  await all.cast('note', { value: 5 });
  await eventually(() => notes.one).toEqual([1, 2, 3, 4, 5]);
  const channel = asking.connection.channel();
  const queues = [topic, `${topic}.one`, `${topic}.two`, `${topic}_fanout`];
  await one.close();
  for (const queue of queues) await channel.queueDelete(queue);
});

test('a queue manager: a service that starts anew has its queues again, with what came meanwhile', async () => {
  const topic = unique('managed');
  const processname = unique('process');
  const conf = { use_queue_manager: true, hostname: 'host', processname };
  await using asking = open(rabbitUrl());
  const all = new RpcClient(asking, { topic, fanout: true });
  const notes: number[] = [];
  const first = open(rabbitUrl(), { conf });
  const server = await serve(first, topic, 's', notes);
  await all.cast('note', { value: 1 });
  await eventually(() => notes).toEqual([1]);
  expect(await new RpcClient(first, { topic }).call('note', { value: 2 })).toBeNull();
  expect(first.replies.queue.name).toBe(`reply_host:${processname}:2`);
  await server.close();
  await first.close();
  await all.cast('note', { value: 3 });
  await using second = open(rabbitUrl(), { conf });
  await serve(second, topic, 's', notes);
  await eventually(() => notes).toEqual([1, 2, 3]);
  const channel = asking.connection.channel();
  expect((await channel.queueDeclare(`${topic}_fanout_host:${processname}:1`, { passive: true })).consumerCount).toBe(
    1,
  );
});
