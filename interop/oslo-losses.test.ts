/** What becomes of calls between Node and oslo.messaging when the broker loses something. */
import { rmSync } from 'node:fs';
import { MessagingTimeout, RpcClient, RpcServer, Transport } from '@wakame/oslo';
import { afterAll, beforeAll, expect } from 'vitest';
import { deferred } from 'wakame/util';
import { type RabbitmqServer, startRabbitmq } from '../scripts/lib/brokers/rabbitmq.ts';
import { eventually } from './support/bench.ts';
import type { Column } from './support/columns.ts';
import { cell, type Direction } from './support/matrix.ts';
import { newestOnly, openPeer, osloUrl, unique, withEachOslo } from './support/oslo.ts';
import type { Peer } from './support/peer.ts';

// A broker of its own has to be worth it.
withEachOslo('Losses with oslo.messaging', define, newestOnly);

/** A broker starts anew, beneath many calls. */
const RESTART = 90_000;
/** Calls each way. */
const MANY = 500;

function define(column: Column): void {
  const test = (direction: Direction, feature: string, run: () => Promise<void>, timeout?: number) =>
    cell(column, direction, feature, run, newestOnly, timeout);

  let broker: RabbitmqServer;
  let serving: Transport;
  let asking: Transport;
  let peer: Peer;
  const pythonTopic = unique('python');
  const nodeTopic = unique('node');
  const gates: ReturnType<typeof deferred<void>>[] = [];
  const held = async ({ value }: { value: number }) => {
    const gate = deferred<void>();
    gates.push(gate);
    await gate.promise;
    return value;
  };
  const release = () => {
    for (const gate of gates.splice(0)) gate.resolve();
  };

  beforeAll(async () => {
    broker = await startRabbitmq({ name: `oslo-losses-${process.pid}` });
    // Requests outlive the broker.
    const settings = { amqp_durable_queues: true, amqp_auto_delete: false };
    const url = osloUrl(settings, broker.url);
    serving = new Transport(url);
    asking = new Transport(url);
    peer = await openPeer(column, settings, [], url);
    await new RpcServer(serving, { topic: nodeTopic, server: 's' }, [{ held }], { concurrency: MANY }).start();
    await peer.call('serve', { topic: pythonTopic, server: 'one' });
  });
  afterAll(async () => {
    await peer?.kill();
    await Promise.all([serving, asking].map((transport) => transport?.close()));
    await broker?.kill();
    if (broker !== undefined) rmSync(broker.folder, { recursive: true, force: true });
  });

  test('Node → Python', 'a reply queue that is lost, and restored, during a call', async () => {
    const slow = new RpcClient(asking, { topic: pythonTopic }, { timeout: 15_000 }).call('held', { value: 1 });
    await eventually(async () => peer.call('received')).toEqual([1]);
    await serving.connection.channel().queueDelete(asking.replies.queue.name);
    await peer.call('release', { server: 'one' });
    expect(await slow).toBe(1);
  });

  test('Python → Node', 'a reply queue that is lost, and restored, during a call', async () => {
    await peer.call('begin', { topic: nodeTopic, method: 'held', count: 1 });
    await eventually(() => gates.length).toBe(1);
    await serving.connection.channel().queueDelete(await peer.call<string>('reply_queue'));
    release();
    expect(await peer.call('ends')).toEqual(['own']);
  });

  test(
    'both',
    'a broker restarted in the middle of 1,000 calls: each gets its own answer or times out',
    async () => {
      await peer.call('hold', { server: 'one' });
      const client = new RpcClient(asking, { topic: pythonTopic }, { timeout: 40_000 });
      const calls = Array.from({ length: MANY }, async (_, value) => {
        try {
          return (await client.call('held', { value })) === value ? 'own' : 'wrong';
        } catch (error) {
          return error instanceof MessagingTimeout ? 'timeout' : error;
        }
      });
      await peer.call('begin', { topic: nodeTopic, method: 'held', count: MANY, timeout: 40 });
      await eventually(() => gates.length).toBeGreaterThan(MANY / 2);
      await eventually(async () => (await peer.call<unknown[]>('received')).length).toBeGreaterThan(60);
      const restarted = broker.restart();
      await peer.call('release', { server: 'one' });
      const releasing = setInterval(release, 50);
      await restarted;
      const ends = [...(await Promise.all(calls)), ...(await peer.call<unknown[]>('ends'))];
      clearInterval(releasing);
      expect(ends.filter((end) => end !== 'own' && end !== 'timeout')).toEqual([]);
      // A broker that is slow to come back costs more of them.
      expect(ends.filter((end) => end === 'own').length).toBeGreaterThan(MANY / 10);
      // And all goes on.
      expect(await client.call('add', { a: 1, b: 2 })).toBe(3);
      const again = peer.call('begin', { topic: nodeTopic, method: 'held', count: 1 });
      await again;
      await eventually(() => gates.length).toBe(1);
      release();
      expect(await peer.call('ends')).toEqual(['own']);
      expect(asking.replies.waiting).toBe(0);
    },
    RESTART,
  );
}
