import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type Channel, ConsumerCancelled, type Delivery } from '../src/index.js';
import type { FakePeer, Handlers } from './support/fake-broker.js';
import { pair, rejection } from './support/index.js';

async function channelOn(handlers: Handlers = {}): Promise<{ channel: Channel; peer: FakePeer }> {
  const { connection, peer } = await pair(async (fake) => {
    await fake.handshake();
    await fake.serve(handlers);
  });
  return { channel: await connection.channel(), peer };
}

/** Sends `count` messages when a consumer starts. */
const delivering = (count: number): Handlers => ({
  'basic.consume': ({ channel, arguments: { consumerTag } }, peer) => {
    peer.send(channel, 'basic.consume-ok', { consumerTag });
    for (let tag = 1; tag <= count; tag += 1) peer.deliver(channel, consumerTag, tag, `${tag}`);
  },
});

const named = (peer: FakePeer, name: string) => peer.log.filter((method) => method.name === name);

describe('Channel.consume', () => {
  it('starts with the loop, with prefetch; leaving it cancels and gives back in order what was not yielded', async () => {
    const { channel, peer } = await channelOn(delivering(5));
    const iterator = channel.consume('q', { prefetch: 10, exclusive: true, arguments: { 'x-a': 1 } });
    expect(named(peer, 'basic.consume')).toEqual([]);
    const bodies: string[] = [];
    let held: Delivery | undefined;
    for await (const delivery of iterator) {
      bodies.push(delivery.body.toString());
      held = delivery;
      if (bodies.length === 2) break;
      channel.basicAck(delivery.deliveryTag);
    }
    expect(bodies).toEqual(['1', '2']);
    expect(named(peer, 'basic.qos')[0]?.arguments).toMatchObject({ prefetchCount: 10, global: false });
    expect(named(peer, 'basic.consume')[0]?.arguments).toMatchObject({ exclusive: true, arguments: { 'x-a': 1 } });
    expect(named(peer, 'basic.cancel')).toHaveLength(1);
    // The one in hand is still the caller's.
    channel.basicAck(held?.deliveryTag ?? 0);
    await channel.queueDeclare('q');
    expect(named(peer, 'basic.reject').map((method) => method.arguments)).toEqual(
      [3, 4, 5].map((deliveryTag) => ({ deliveryTag, requeue: true })),
    );
    expect(named(peer, 'basic.ack').map((method) => method.arguments)).toMatchObject([
      { deliveryTag: 1 },
      { deliveryTag: 2 },
    ]);
  });

  it('a prefetch of its own choosing is 100; noAck needs none and settles nothing', async () => {
    const { channel, peer } = await channelOn(delivering(3));
    for await (const _ of channel.consume('q')) break;
    for await (const _ of channel.consume('q', { noAck: true })) break;
    await channel.queueDeclare('q');
    expect(named(peer, 'basic.qos').map((method) => method.arguments)).toMatchObject([{ prefetchCount: 100 }]);
    expect(named(peer, 'basic.reject')).toHaveLength(2);
  });

  it('ends after idleTimeout without a message, counted anew for each', async () => {
    const { channel, peer } = await channelOn(delivering(1));
    setTimeout(() => peer.deliver(1, 'tag', 2, '2'), 200);
    const started = performance.now();
    const bodies: string[] = [];
    for await (const { body } of channel.consume('q', { idleTimeout: 500, consumerTag: 'tag' })) {
      bodies.push(body.toString());
    }
    expect(bodies).toEqual(['1', '2']);
    expect(performance.now() - started).toBeGreaterThan(650);
    expect(named(peer, 'basic.cancel')).toHaveLength(1);
    expect(channel.state).toBe('open');
  });

  it('throws signal.reason, waiting or not, and cancels', async () => {
    const { channel, peer } = await channelOn(delivering(1));
    const controller = new AbortController();
    const loop = async () => {
      for await (const _ of channel.consume('q', { signal: controller.signal })) {
        setTimeout(() => controller.abort('enough'), 5);
      }
    };
    expect(await rejection(loop())).toBe('enough');
    expect(named(peer, 'basic.cancel')).toHaveLength(1);
    expect(await rejection(loop())).toBe('enough');
    expect(named(peer, 'basic.consume')).toHaveLength(1);
  });

  it('throws CONSUMER_CANCELLED when the broker ends it, after what came before', async () => {
    const { channel } = await channelOn({
      'basic.consume': ({ channel: id, arguments: { consumerTag } }, peer) => {
        peer.send(id, 'basic.consume-ok', { consumerTag });
        peer.deliver(id, consumerTag, 1);
        peer.deliver(id, consumerTag, 2);
        peer.send(id, 'basic.cancel', { consumerTag, nowait: true });
      },
    });
    const tags: number[] = [];
    const loop = async () => {
      for await (const { deliveryTag } of channel.consume('q')) tags.push(deliveryTag);
    };
    expect(await rejection(loop())).toBeInstanceOf(ConsumerCancelled);
    expect(tags).toEqual([1, 2]);
  });

  it('throws the reason when the channel dies; ends when this program closes it', async () => {
    const { channel, peer } = await channelOn(delivering(3));
    const tags: number[] = [];
    const dying = async () => {
      for await (const { deliveryTag } of channel.consume('q')) {
        tags.push(deliveryTag);
        const told = once(channel, 'close');
        peer.send(1, 'channel.close', { replyCode: 406, replyText: 'unknown tag', classId: 60, methodId: 80 });
        await told;
      }
    };
    expect(await rejection(dying())).toMatchObject({ code: 'PRECONDITION_FAILED', method: 'basic.ack' });
    // The others could not be settled any more.
    expect(tags).toEqual([1]);

    const next = await channel.connection.channel();
    let turns = 0;
    let closing: Promise<void> | undefined;
    for await (const _ of next.consume('q')) {
      turns += 1;
      closing = next.close();
    }
    await closing;
    expect(turns).toBe(1);
    expect(next.state).toBe('closed');
  });

  it('fails at its first turn when the queue does not exist', async () => {
    const { channel } = await channelOn({
      'basic.consume': ({ channel: id }, peer) =>
        peer.send(id, 'channel.close', { replyCode: 404, replyText: 'no queue', classId: 60, methodId: 20 }),
    });
    expect(await rejection(channel.consume('q').next())).toMatchObject({ code: 'NOT_FOUND', method: 'basic.consume' });
  });

  it('refuses bad options before anything is sent', async () => {
    const { channel, peer } = await channelOn();
    expect(await rejection(channel.consume('q', { idleTimeout: -1 }).next())).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(await rejection(channel.consume('q', { prefetch: 70_000 }).next())).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(named(peer, 'basic.consume')).toEqual([]);
  });

  it('two loops on one channel share it', async () => {
    const { channel } = await channelOn(delivering(3));
    const take = async () => {
      const tags: number[] = [];
      for await (const { deliveryTag } of channel.consume('q')) if (tags.push(deliveryTag) === 3) break;
      return tags;
    };
    expect(await Promise.all([take(), take()])).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it('keeps up with many messages', async () => {
    const { channel } = await channelOn(delivering(5000));
    let count = 0;
    for await (const { deliveryTag } of channel.consume('q')) {
      count += 1;
      expect(deliveryTag).toBe(count);
      if (count === 5000) break;
    }
    expect(count).toBe(5000);
  });
});
