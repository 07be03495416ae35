/** What goes wrong with brokers, queues and neighbours, and what becomes of calls then. */
import { rmSync } from 'node:fs';
import {
  MessageDeliveryFailure,
  MessagingTimeout,
  NotificationListener,
  Notifier,
  RpcClient,
  RpcServer,
  Transport,
} from '@wakame/oslo';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Exchange, type MessagingError } from 'wakame';
import { deferred } from 'wakame/util';
import { brokerUrl } from '../../../scripts/lib/brokers/environment.ts';
import { type RabbitmqServer, startRabbitmq } from '../../../scripts/lib/brokers/rabbitmq.ts';
import { startFaultProxy } from '../../../scripts/lib/network/fault-proxy.ts';
import { buses, eventually, open, rabbitUrl, unique } from './support/bus.ts';

describe.each(buses)('over $name', ({ url }) => {
  test('a reply queue that is deleted under a call comes back, and so does the answer', async () => {
    await using serving = open(url());
    await using asking = open(url());
    const topic = unique('lost');
    const begun = deferred();
    const gate = deferred<string>();
    const slow = () => {
      begun.resolve();
      return gate.promise;
    };
    await new RpcServer(serving, { topic, server: 's' }, [{ slow }]).start();
    const call = new RpcClient(asking, { topic }, { timeout: 15_000 }).call('slow');
    await begun.promise;
    await serving.connection.channel().queueDelete(asking.replies.queue.name);
    gate.resolve('after all');
    expect(await call).toBe('after all');
  });

  test('a caller that is gone is given up', async () => {
    await using serving = open(url(), { conf: { kombu_missing_consumer_retry_timeout: 0.4 } });
    const asking = open(url());
    const topic = unique('gone');
    const begun = deferred();
    const gate = deferred();
    const slow = () => {
      begun.resolve();
      return gate.promise;
    };
    const server = new RpcServer(serving, { topic, server: 's' }, [{ slow }]);
    await server.start();
    const lost = new Promise<Error>((resolve) => server.once('answerLost', resolve));
    const call = new RpcClient(asking, { topic }).call('slow');
    const rejected = expect(call).rejects.toThrow('closed');
    await begun.promise;
    const { queue } = asking.replies;
    await asking.close();
    await rejected;
    await serving.connection.channel().queueDelete(queue.name);
    gate.resolve();
    expect(await lost).toMatchObject({ code: 'UNROUTABLE' });
  });
});

test('answers whose acks were lost with the connection come again, and are known', async () => {
  const { username, password, hostname, port } = new URL(brokerUrl('rabbitmq'));
  await using proxy = await startFaultProxy({ host: hostname, port: Number(port) });
  await using serving = open(rabbitUrl());
  await using asking = open(`rabbit://${username}:${password}@127.0.0.1:${proxy.port}//`);
  const late: string[] = [];
  asking.on('lateReply', (msgId) => late.push(msgId));
  const topic = unique('again');
  const all = deferred();
  const gate = deferred();
  let begun = 0;
  const echo = async ({ value }: { value: number }) => {
    if (++begun === 12) all.resolve();
    await gate.promise;
    return value;
  };
  await new RpcServer(serving, { topic, server: 's' }, [{ echo }]).start();
  const client = new RpcClient(asking, { topic }, { timeout: 20_000 });
  const values = Array.from({ length: 12 }, (_, value) => value);
  const calls = values.map((value) => client.call('echo', { value }));
  await all.promise;
  const { name } = asking.replies.queue;
  proxy.set('toBroker', { kind: 'swallow' });
  gate.resolve();
  expect(await Promise.all(calls)).toEqual(values);
  proxy.clear();
  await proxy.reset();
  // It stands behind all that came again.
  expect(await client.call('echo', { value: 12 })).toBe(12);
  expect(asking.replies.queue.name).toBe(name);
  expect(late).toEqual([]);
});

test('nobody at that address: sending is given up after so many tries, or in time', async () => {
  await using transport = new Transport(
    'rabbit://127.0.0.1:1/?rabbit_retry_interval=0.01&rabbit_retry_backoff=0.01&kombu_reconnect_delay=0',
  );
  const client = new RpcClient(transport, { topic: 't' }, { retry: 0, timeout: 300 });
  await expect(client.cast('m')).rejects.toThrow(MessageDeliveryFailure);
  await expect(client.prepare({ retry: 2 }).cast('m')).rejects.toThrow(MessageDeliveryFailure);
  await expect(client.prepare({ retry: -1 }).call('m')).rejects.toThrow(MessagingTimeout);
  const controller = new AbortController();
  const aborted = client.prepare({ retry: -1 }).cast('m', {}, { signal: controller.signal });
  controller.abort(new Error('never mind'));
  await expect(aborted).rejects.toThrow('never mind');
  const server = new RpcServer(transport, { topic: 't', server: 's' }, []);
  await expect(server.start({ timeout: 100 })).rejects.toMatchObject({ code: 'TIMEOUT' });
});

test('rabbit_max_retries is how often it is tried to connect; 0 and less are for ever', async () => {
  const conf = {
    rabbit_retry_interval: 0.01,
    rabbit_retry_backoff: 0,
    kombu_reconnect_delay: 0,
    rabbit_max_retries: 2,
  };
  await using transport = new Transport('rabbit://127.0.0.1:1/', { conf });
  const client = new RpcClient(transport, { topic: 't' }, { timeout: 10_000 });
  await expect(client.cast('m')).rejects.toThrow(MessageDeliveryFailure);
  await expect(client.call('m')).rejects.toThrow(MessageDeliveryFailure);
  const server = new RpcServer(transport, { topic: 't', server: 's' }, []);
  await expect(server.start()).rejects.toThrow(MessageDeliveryFailure);
  await using patient = new Transport('rabbit://127.0.0.1:1/', { conf: { ...conf, rabbit_max_retries: -1 } });
  const call = new RpcClient(patient, { topic: 't' }, { timeout: 300 }).call('m');
  await expect(call).rejects.toThrow(MessagingTimeout);
});

test('neighbours who declare otherwise: their exchange is used as it is', async () => {
  const exchange = unique('exchange');
  const topic = unique('topic');
  await using theirs = open(rabbitUrl(), { conf: { control_exchange: exchange } });
  await using ours = open(rabbitUrl(), { conf: { control_exchange: exchange, amqp_durable_queues: true } });
  const problems: MessagingError[] = [];
  ours.connection.on('problem', (error) => problems.push(error));
  const heard: unknown[] = [];
  const info = ({ payload }: { payload: unknown }) => void heard.push(payload);
  await new RpcServer(theirs, { topic, server: 'theirs' }, [{ who: () => 'theirs' }]).start();
  await new NotificationListener(theirs, [{ topic }], [{ info }]).start();
  expect(await new RpcClient(ours, { topic }).call('who')).toBe('theirs');
  await new Notifier(ours, { topics: topic }).info('e', 1);
  await new RpcServer(ours, { topic, server: 'ours' }, [{ who: () => 'ours' }]).start();
  expect(await new RpcClient(theirs, { topic, server: 'ours' }).call('who')).toBe('ours');
  await eventually(() => heard).toEqual([1]);
  expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining('with other options')]);
});

test('an exchange that somebody deleted is made again', async () => {
  const exchange = unique('exchange');
  await using transport = open(rabbitUrl(), { conf: { control_exchange: exchange, amqp_auto_delete: false } });
  const client = new RpcClient(transport, { topic: unique('t') });
  await client.cast('m');
  await using other = open(rabbitUrl());
  await new Exchange(exchange).bind(other.connection).delete();
  await client.cast('m');
  await new Exchange(exchange).bind(other.connection).delete();
});

describe('a broker', () => {
  let broker: RabbitmqServer;
  beforeAll(async () => {
    broker = await startRabbitmq({ name: `oslo-${process.pid}` });
  });
  afterAll(async () => {
    await broker?.kill();
    if (broker !== undefined) rmSync(broker.folder, { recursive: true, force: true });
  });

  test('restarted under a thousand calls: each gets its own answer or times out, and all goes on', async () => {
    const { username, password, hostname, port } = new URL(broker.url);
    const url = `rabbit://${username}:${password}@${hostname}:${port}//`;
    // The requests outlive the broker; the reply queue does not, and is made again.
    const conf = { amqp_durable_queues: true, amqp_auto_delete: false };
    await using serving = open(url, { conf });
    await using asking = open(url, { conf });
    const topic = unique('restart');
    const gate = deferred();
    let begun = 0;
    const all = deferred();
    const echo = async ({ value }: { value: number }) => {
      begun += 1;
      if (begun === 500) all.resolve();
      await gate.promise;
      return value;
    };
    const server = new RpcServer(serving, { topic, server: 's' }, [{ echo }], { concurrency: 500 });
    await server.start();
    const client = new RpcClient(asking, { topic }, { timeout: 60_000 });
    const calls = Array.from({ length: 1000 }, async (_, value) => {
      try {
        return (await client.call('echo', { value })) === value ? 'own' : 'wrong';
      } catch (error) {
        return error instanceof MessagingTimeout ? 'timeout' : error;
      }
    });
    await all.promise;
    const restarted = broker.restart();
    gate.resolve();
    await restarted;
    const ends = await Promise.all(calls);
    expect(ends.filter((end) => end !== 'own' && end !== 'timeout')).toEqual([]);
    // Those at work when it happened are answered when the broker is back.
    expect(ends.filter((end) => end === 'own').length).toBeGreaterThanOrEqual(500);
    expect(await client.call('echo', { value: 7 })).toBe(7);
    expect(asking.replies.waiting).toBe(0);
    for (const { connection } of [serving, asking]) {
      expect(connection.subscriptions.filter(({ state }) => state === 'forgotten')).toEqual([]);
    }
  }, 90_000);
});
