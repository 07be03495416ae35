/** RPC and notifications with services of OpenStack's Mitaka release, either side being the server. */
import { type Notification, NotificationListener, Notifier, RpcClient, RpcServer, type Transport } from '@wakame/oslo';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { brokerUrl } from '../scripts/lib/brokers/environment.ts';
import { eventually } from './support/bench.ts';
import { mitakaColumn as column } from './support/columns.ts';
import { cell, type Direction } from './support/matrix.ts';
import { openTransport, unique } from './support/oslo.ts';
import { Peer } from './support/peer.ts';

const test = (direction: Direction, feature: string, run: () => Promise<void>) => cell(column, direction, feature, run);

describe(`OpenStack's Mitaka: ${column.key}`, () => {
  let transport: Transport;
  let peer: Peer;
  let client: RpcClient;
  const pythonTopic = unique('mitaka');
  const nodeTopic = unique('node');
  const notes: unknown[] = [];

  const endpoint = (name: string) => ({
    add: ({ a, b }: { a: number; b: number }) => a + b,
    context: (_args: object, { context }: { context: object }) => ({ ...context }),
    who: () => name,
    note: ({ value }: { value: unknown }) => void notes.push(value),
    fails: () => {
      throw new TypeError('wrong type');
    },
  });

  beforeAll(async () => {
    transport = openTransport();
    client = new RpcClient(transport, { topic: pythonTopic }, { timeout: 10_000 });
    peer = new Peer(column.peer, 'mitaka_peer.py');
    await peer.call('open', { url: brokerUrl('rabbitmq') });
    await peer.call('serve', { topic: pythonTopic, server: 'one' });
    await peer.call('serve', { topic: pythonTopic, server: 'two', two_parts: true });
    for (const server of ['one', 'two']) {
      await new RpcServer(transport, { topic: nodeTopic, server }, [endpoint(server)]).start();
    }
  });
  afterAll(async () => {
    await peer?.call('close');
    await peer?.[Symbol.asyncDispose]();
    await transport?.close();
  });

  test('Node → Python', 'a call, the context', async () => {
    expect(await client.prepare({ server: 'one' }).call('add', { a: 2, b: 3 })).toBe(5);
    const context = { user: 'demo', roles: ['admin'] };
    expect(await client.call('context', {}, { context })).toEqual(context);
  });

  test('Python → Node', 'a call, the context', async () => {
    const call = (method: string, options: object) => peer.call('call', { topic: nodeTopic, method, ...options });
    expect(await call('add', { args: { a: 2, b: 3 } })).toEqual({ result: 5 });
    const context = { user: 'demo', roles: ['admin'] };
    expect(await call('context', { context })).toEqual({ result: context });
  });

  test('Node → Python', 'an answer in two parts', async () => {
    const two = client.prepare({ server: 'two' });
    expect(await two.call('who')).toBe('two');
    expect(await two.call('note', { value: 'nothing to tell' })).toBeNull();
  });

  test('Node → Python', 'failures', async () => {
    await expect(client.call('refuse')).rejects.toMatchObject({ className: 'ValueError', module: 'exceptions' });
  });

  test('Python → Node', 'failures', async () => {
    expect(await peer.call('call', { topic: nodeTopic, method: 'fails' })).toMatchObject({
      failure: { class: 'TypeError', module: 'node', message: 'wrong type' },
    });
  });

  test('Node → Python', 'a cast; one server; all servers', async () => {
    await client.cast('note', { value: 'cast' });
    await client.prepare({ server: 'two' }).cast('note', { value: 'second' });
    await client.prepare({ fanout: true }).cast('note', { value: 'all' });
    const heard = async () => (await peer.call<string[]>('received')).toSorted();
    await eventually(heard).toEqual(['all', 'all', 'cast', 'nothing to tell', 'second']);
  });

  test('Python → Node', 'a cast; one server; all servers', async () => {
    const cast = (value: string, options: object = {}) =>
      peer.call('cast', { topic: nodeTopic, method: 'note', args: { value }, ...options });
    await cast('cast');
    await cast('second', { server: 'two' });
    await cast('all', { fanout: true });
    await eventually(() => notes.toSorted()).toEqual(['all', 'all', 'cast', 'second']);
  });

  test('Node → Python', 'a reply queue that is lost while the server works', async () => {
    const slow = client.prepare({ server: 'one' }).call('slow', { seconds: 0.5 });
    const { name } = transport.replies.queue;
    // With its queue goes the exchange that is bound to nothing else.
    await using other = openTransport();
    const channel = other.connection.channel();
    await channel.queueDelete(name);
    expect(await slow).toBe('done');
    await channel.exchangeDeclare(name, 'direct', { passive: true });
  });

  test('Node → Python', 'a notification', async () => {
    const topic = unique('notes');
    await peer.call('listen', { name: topic, topic });
    await new Notifier(transport, { topics: topic, publisherId: 'node' }).info('to mitaka', 1);
    await eventually(async () => peer.call('received')).toContain('to mitaka');
    await peer.call('stop', { server: topic });
  });

  test('Python → Node', 'a notification, kept until there is a listener', async () => {
    const topic = unique('notes');
    await peer.call('notify', { topic, event_type: 'from mitaka', payload: { a: 1 } });
    const heard: Notification[] = [];
    const info = (notification: Notification) => void heard.push(notification);
    await using listener = new NotificationListener(transport, [{ topic }], [{ info }]);
    await listener.start();
    await eventually(() => heard).toMatchObject([{ eventType: 'from mitaka', payload: { a: 1 } }]);
  });
});
