/** The driver beneath RPC and notifications: connections that send, and connections that listen. */
import {
  DriverConnection,
  type DriverMessage,
  MessageDeliveryFailure,
  MessageUndeliverable,
  RpcClient,
  RpcServer,
  Transport,
} from '@wakame/oslo';
import { describe, expect, test } from 'vitest';
import { RecoverableConnectionError } from 'wakame';
import { buses, eventually, open, rabbitUrl, unique } from './support/bus.ts';

const exchange = 'openstack';

describe.each(buses)('over $name', ({ url }) => {
  test('what is sent to a topic, a queue of answers and all of a topic arrives', async () => {
    await using transport = open(url());
    const sending = new DriverConnection(transport, 'send');
    const listening = new DriverConnection(transport, 'listen');
    const [topic, reply] = [unique('topic'), `reply_${unique('r')}`];
    const seen: (readonly [where: string, n: unknown])[] = [];
    const hear = (where: string) => async (message: DriverMessage) => {
      seen.push([where, message.body['n']]);
      expect(await message.acknowledge()).toBe(true);
    };
    listening.declareTopicConsumer(exchange, topic, hear('topic'));
    listening.declareDirectConsumer(reply, hear('direct'));
    await listening.declareFanoutConsumer(topic, hear('fanout'));
    listening.declareTopicConsumer(exchange, `${topic}.info`, hear('pool'), { queue: `${topic}-pool` });
    await sending.notifySend(exchange, `${topic}.info`, { n: 0 });
    await listening.consume();
    await sending.topicSend(exchange, topic, { n: 1 }, { timeout: 60_000 });
    await sending.directSend(reply, { n: 2 });
    await sending.fanoutSend(topic, { n: 3 }, { retry: 2 });
    await sending.notifySend(exchange, `${topic}.info`, { n: 4 });
    const all = [
      ['direct', 2],
      ['fanout', 3],
      ['pool', 4],
      ['topic', 1],
    ];
    await eventually(() => seen.toSorted()).toEqual(all);
    // The notification that came before its listener is in the queue that was declared for it.
    const late = new DriverConnection(transport, 'listen');
    late.declareTopicConsumer(exchange, `${topic}.info`, hear('late'));
    await late.consume();
    await eventually(() => seen.filter(([where]) => where === 'late').toSorted()).toEqual([
      ['late', 0],
      ['late', 4],
    ]);
    await listening.reset();
    await expect(sending.directSend(unique('reply_'), { n: 5 })).rejects.toThrow(MessageUndeliverable);
    await sending.directSend(unique('reply_'), { n: 5 }, { mandatory: false });
    const nobody = sending.topicSend(exchange, unique('nobody'), { n: 6 }, { mandatory: true });
    await expect(nobody).rejects.toThrow(MessageUndeliverable);
  });

  test('a message comes again when it is given back, and is rejected when it cannot be handled', async () => {
    await using transport = open(url());
    const topic = unique('topic');
    const sending = new DriverConnection(transport, 'send');
    await using listening = new DriverConnection(transport, 'listen');
    const problems: string[] = [];
    listening.on('problem', (error) => problems.push(error.message));
    const seen: unknown[] = [];
    listening.declareTopicConsumer(exchange, topic, async ({ body, requeue, acknowledge }) => {
      seen.push(body['n']);
      if (body['n'] === 'bad') throw new Error('not this one');
      await (seen.length === 1 ? requeue() : acknowledge());
    });
    await listening.consume();
    await sending.topicSend(exchange, topic, { n: 'again' });
    await eventually(() => seen).toEqual(['again', 'again']);
    await sending.topicSend(exchange, topic, { n: 'bad' });
    // What is not in an envelope that can be read.
    const producer = transport.connection.producer();
    await producer.publish({ 'oslo.version': '3.0', 'oslo.message': '{}' }, { routingKey: topic });
    await eventually(() => problems).toEqual(['not this one', expect.stringContaining('version 2.0')]);
    expect(seen).toEqual(['again', 'again', 'bad']);
  });
});

test('it speaks to clients and servers', async () => {
  await using transport = open(rabbitUrl());
  const topic = unique('rpc');
  const sending = new DriverConnection(transport, 'send');
  await using listening = new DriverConnection(transport, 'listen');
  listening.declareTopicConsumer(exchange, topic, async ({ body, acknowledge }) => {
    await acknowledge();
    const answer = { result: body['method'], failure: null, ending: true, _msg_id: body['_msg_id'] };
    await sending.directSend(String(body['_reply_q']), answer);
  });
  await listening.consume();
  expect(await new RpcClient(transport, { topic }).call('who')).toBe('who');
  const heard: unknown[] = [];
  const note = ({ value }: { value: unknown }) => void heard.push(value);
  await new RpcServer(transport, { topic: `${topic}-2`, server: 's' }, [{ note }]).start();
  await sending.topicSend(exchange, `${topic}-2`, { method: 'note', args: { value: 1 } });
  await eventually(() => heard).toEqual([1]);
});

test('ensure: -1 is for ever, 0 never again, N is N times more; everything else that is thrown is thrown', async () => {
  await using transport = open('fake:///ensure');
  const sending = new DriverConnection(transport, 'send');
  let runs = 0;
  const failing = (times: number) => () => {
    runs++;
    if (runs <= times) throw new RecoverableConnectionError('lost');
    return runs;
  };
  const tried = async (times: number, retry?: number) => {
    runs = 0;
    const result = await sending.ensure(failing(times), { retry }).catch((error: unknown) => error);
    return [runs, result];
  };
  expect(await tried(0, 0)).toEqual([1, 1]);
  expect(await tried(1, 0)).toEqual([1, expect.any(MessageDeliveryFailure)]);
  expect(await tried(1, 1)).toEqual([2, 2]);
  expect(await tried(2, 1)).toEqual([2, expect.any(MessageDeliveryFailure)]);
  expect(await tried(1)).toEqual([2, 2]);
  const missing = new MessageUndeliverable('', 'reply_x');
  await expect(sending.ensure(() => Promise.reject(missing))).rejects.toBe(missing);
  await expect(sending.ensure(() => 1, { retry: -2 })).rejects.toThrow('retry');
});

test('a connection does what it is for', async () => {
  await using transport = new Transport('fake:///purpose');
  const sending = new DriverConnection(transport, 'send');
  const listening = new DriverConnection(transport, 'listen');
  expect(() => new DriverConnection(transport, 'both' as never)).toThrow('purpose');
  expect(() => sending.declareTopicConsumer(exchange, 't', () => undefined)).toThrow("'send' does not listen");
  await expect(listening.topicSend(exchange, 't', {})).rejects.toThrow("'listen' does not send");
  expect(() => listening.declareDirectConsumer('answers', () => undefined)).toThrow('reply_');
  expect(() => listening.declareTopicConsumer(exchange, 't', 7 as never)).toThrow('callback');
  await expect(sending.topicSend(exchange, 't', {}, { retries: 1 } as never)).rejects.toThrow('retries');
  await expect(sending.topicSend(exchange, 't', {}, { timeout: -1 })).rejects.toThrow('timeout');
  await listening.close();
  expect(() => listening.declareTopicConsumer(exchange, 't', () => undefined)).toThrow('closed');
});
