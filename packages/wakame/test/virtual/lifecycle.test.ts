/** Incarnations: opening, losing, closing; what outlives them; what does not. */
import { describe, expect, test } from 'vitest';
import { ConnectionClosedError, RecoverableConnectionError } from '../../src/errors.js';
import type { Delivery, TransportChannel } from '../../src/transport/contract.js';
import { MemoryDriver, memoryBroker } from '../../src/transports/memory/index.js';
import type { OpenDriver } from '../../src/transports/virtual/driver.js';
import { RemoteDriver } from './doubles.js';
import {
  consume,
  drain,
  freshBroker,
  memoryModule,
  message,
  moduleOf,
  oneChannel,
  open,
  parametersOf,
  publish,
  settled,
  textOf,
} from './harness.js';

describe('opening', () => {
  test('tells what the store is', async () => {
    const { connection } = await open({ broker: freshBroker() });
    expect(connection.serverProperties).toMatchObject({ product: 'memory' });
    expect(connection).toMatchObject({ state: 'open', heartbeat: 0 });
  });

  test('two at a time is refused; one after another is not', async () => {
    const broker = freshBroker();
    const { transport, connection } = await open({ broker });
    await expect(open({ broker, transport })).rejects.toMatchObject({ recoverable: false });
    await connection.close({ timeout: 1000 });
    await open({ broker, transport });
  });

  test('within connectTimeout, or CONNECT_FAILED; what comes later is closed', async () => {
    const late: { finish?: () => void; closed: number } = { closed: 0 };
    class SlowDriver extends MemoryDriver {
      override async open(options: OpenDriver): Promise<void> {
        await new Promise<void>((resolve) => {
          late.finish = resolve;
        });
        await super.open(options);
      }
      override async close(): Promise<void> {
        late.closed++;
        await super.close();
      }
    }
    const broker = freshBroker();
    const failure = open({ broker, module: moduleOf(() => new SlowDriver()), connectTimeout: 20 });
    await expect(failure).rejects.toMatchObject({ code: 'CONNECT_FAILED', recoverable: true });
    late.finish?.();
    await settled();
    expect(late.closed).toBe(1);
    expect(memoryBroker(broker).connectionCount).toBe(0);
  });

  test('an aborted signal rejects with its reason', async () => {
    const transport = memoryModule().createTransport();
    const events = { onClose: () => {}, onBlocked: () => {}, onUnblocked: () => {}, onProblem: () => {} };
    const reason = new Error('changed my mind');
    const opening = transport.open(parametersOf(freshBroker()), events, { signal: AbortSignal.abort(reason) });
    await expect(opening).rejects.toBe(reason);
    await transport.dispose();
  });

  test('a store that does not tell what it is, is not left open', async () => {
    class MuteDriver extends MemoryDriver {
      override async info(): Promise<never> {
        throw new Error('no answer');
      }
    }
    const broker = freshBroker();
    await expect(open({ broker, module: moduleOf(() => new MuteDriver()) })).rejects.toMatchObject({
      code: 'STORE_ERROR',
    });
    expect(memoryBroker(broker).connectionCount).toBe(0);
  });

  test.each(['before', 'after'])(
    'a loss told %s the opening is done, and not yet seen to be, is its failure',
    async (when) => {
      class BriefDriver extends MemoryDriver {
        override async open(options: OpenDriver): Promise<void> {
          await super.open(options);
          if (when === 'before') options.lost(new Error('gone at once'));
          else queueMicrotask(() => options.lost(new Error('gone at once')));
        }
      }
      const broker = freshBroker();
      const told: unknown[] = [];
      const tell = (error?: unknown) => told.push(error);
      const transport = moduleOf(() => new BriefDriver()).createTransport();
      const events = { onClose: tell, onBlocked: () => {}, onUnblocked: () => {}, onProblem: tell };
      await expect(transport.open(parametersOf(broker), events)).rejects.toThrow('gone at once');
      await settled();
      expect([told, memoryBroker(broker).connectionCount]).toEqual([[], 0]);
      await transport.dispose();
    },
  );

  test('a problem on the way is told when it is open', async () => {
    class TroubledDriver extends MemoryDriver {
      override async open(options: OpenDriver): Promise<void> {
        options.problem(new Error('not as good as it might be'));
        await super.open(options);
      }
    }
    const told: string[] = [];
    const onProblem = (error: Error) => void told.push(error.message);
    const events = { onClose: () => {}, onBlocked: () => {}, onUnblocked: () => {}, onProblem };
    const transport = moduleOf(() => new TroubledDriver()).createTransport();
    await transport.open(parametersOf(freshBroker()), events);
    await settled();
    expect(told).toEqual(['not as good as it might be']);
    await transport.dispose();
  });

  test('a transport that is disposed of while it opens does not stay open', async () => {
    const broker = freshBroker();
    const transport = moduleOf(() => new RemoteDriver()).createTransport();
    const opening = open({ broker, transport });
    await transport.dispose();
    await expect(opening).rejects.toThrow('disposed');
    expect(memoryBroker(broker).connectionCount).toBe(0);
  });

  test('a disposed transport does not open again', async () => {
    const broker = freshBroker();
    const { transport } = await open({ broker });
    await transport.dispose();
    await expect(open({ broker, transport })).rejects.toThrow('disposed');
  });
});

describe('channels', () => {
  test('have the lowest free number', async () => {
    const { connection } = await open({ broker: freshBroker() });
    const events = { onClose: () => {}, onReturned: () => {} };
    const channels: TransportChannel[] = [];
    for (let i = 0; i < 3; i++) channels.push(await connection.openChannel('publish', events));
    await channels[1]?.close();
    channels.push(await connection.openChannel('consume', events), await connection.openChannel('consume', events));
    expect(channels.map(({ id }) => id)).toEqual([1, 2, 3, 2, 4]);
  });

  test('close once, with an event in a turn of its own; then everything rejects', async () => {
    const { channel, closed } = await oneChannel();
    await channel.queueDeclare('q');
    const inbox = await consume(channel, 'q');
    await Promise.all([channel.close(), channel.close()]);
    expect(await closed).toBeUndefined();
    expect(channel.state).toBe('closed');
    await channel.close();
    const gone = { code: 'CHANNEL_CLOSED' };
    await expect(channel.queueDeclare('q')).rejects.toMatchObject(gone);
    await expect(channel.cancel(inbox.tag)).rejects.toMatchObject(gone);
    await expect(publish(channel, 'm', { routingKey: 'q' })).rejects.toMatchObject({ ...gone, outcome: 'not-sent' });
  });

  test('closing carries out what was asked before', async () => {
    const { channel, opened } = await oneChannel(moduleOf(() => new RemoteDriver()));
    const calls = [
      channel.queueDeclare('q'),
      publish(channel, '1', { routingKey: 'q' }),
      consume(channel, 'q'),
      channel.close(),
    ];
    await Promise.all(calls);
    const { channel: next } = await opened.channel();
    expect(await next.queueDeclare('q', { passive: true })).toEqual({ queue: 'q', messageCount: 1, consumerCount: 0 });
  });
});

describe('closing a connection', () => {
  test('flushes what was published and settled, ends the channels, and tells once', async () => {
    const broker = freshBroker();
    const opened = await open({ broker, module: moduleOf(() => new RemoteDriver()) });
    const { channel, closed } = await opened.channel();
    await channel.queueDeclare('q');
    await publish(channel, '0', { routingKey: 'q' });
    await publish(channel, '1', { routingKey: 'q' });
    const [first] = [(await channel.get('q')) as Delivery, await channel.get('q')];
    const published = publish(channel, '2', { routingKey: 'q' });
    const acked = channel.ack(first.deliveryTag);
    await opened.connection.close({ timeout: 5000 });
    await published;
    expect(await acked).toBe(true);
    expect(await closed).toBeUndefined();
    expect(await opened.closed).toBeUndefined();
    expect(opened.connection.state).toBe('closed');
    const { channel: next } = await (await open({ broker })).channel();
    expect(await drain(next, 'q')).toEqual(['1', '2']);
  });

  test('drops at the timeout what does not answer', async () => {
    const driver = new RemoteDriver();
    const opened = await open({ broker: freshBroker(), module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    const release = driver.hold();
    const published = publish(channel, '1', { routingKey: 'q' }).catch((error: unknown) => error);
    await opened.connection.close({ timeout: 20 });
    expect(opened.connection.state).toBe('closed');
    release();
    await published;
  });

  test('afterwards everything rejects CONNECTION_CLOSED', async () => {
    const { channel, opened } = await oneChannel();
    await opened.connection.close({ timeout: 1000 });
    await expect(opened.channel()).rejects.toBeInstanceOf(ConnectionClosedError);
    await expect(channel.get('q')).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await expect(publish(channel, 'm')).rejects.toMatchObject({ code: 'CONNECTION_CLOSED', outcome: 'not-sent' });
  });

  test('abort: at once, with the error given', async () => {
    const { channel, closed, opened } = await oneChannel();
    const error = new RecoverableConnectionError('enough');
    opened.connection.abort(error);
    expect(opened.connection.state).toBe('closed');
    expect(channel.state).toBe('closed');
    expect(await closed).toBe(error);
    expect(await opened.closed).toBe(error);
  });
});

describe('a loss', () => {
  test('ends every channel and then the connection, once each, with a recoverable error', async () => {
    const broker = freshBroker();
    const opened = await open({ broker });
    const order: string[] = [];
    const a = await opened.channel();
    const b = await opened.channel();
    void a.closed.then(() => order.push('a'));
    void b.closed.then(() => order.push('b'));
    void opened.closed.then(() => order.push('connection'));
    memoryBroker(broker).disconnect();
    expect(order).toEqual([]);
    expect(await opened.closed).toMatchObject({ code: 'CONNECTION_LOST', recoverable: true });
    await settled();
    expect(order).toEqual(['a', 'b', 'connection']);
    await expect(a.channel.queueDeclare('q')).rejects.toMatchObject({ code: 'CONNECTION_LOST', recoverable: true });
  });

  test('publishes: not sent what the store never got, unknown what it did not answer', async () => {
    const driver = new RemoteDriver();
    const { channel, opened } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    driver.fail('send', { done: true, error: new RecoverableConnectionError('cut') });
    const sent = publish(channel, '1', { routingKey: 'q' });
    await Promise.resolve();
    const waiting = publish(channel, '2', { routingKey: 'q' });
    driver.cut(new RecoverableConnectionError('cut'));
    expect(await Promise.allSettled([sent, waiting])).toMatchObject([
      { reason: { outcome: 'unknown', recoverable: true } },
      { reason: { outcome: 'not-sent', recoverable: true } },
    ]);
    await opened.closed;
  });

  test('a written publish that waits for the window is told', async () => {
    const driver = new RemoteDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    const release = driver.hold();
    const large = { ...message('', { routingKey: 'q' }), body: Buffer.alloc(20 * 1024 * 1024) };
    const written = channel.publish(large, 'written');
    driver.cut(new RecoverableConnectionError('cut'));
    await expect(written).rejects.toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown' });
    release();
  });

  test('is recoverable, whatever the store calls it', async () => {
    const driver = new RemoteDriver();
    const { opened } = await oneChannel(moduleOf(() => driver));
    const error = new Error('ECONNRESET or so');
    driver.cut(error);
    expect(await opened.closed).toMatchObject({ code: 'CONNECTION_LOST', recoverable: true, cause: error });
  });

  test('the same transport opens again, and consumers can be started anew', async () => {
    const broker = freshBroker();
    const first = await open({ broker });
    const { channel } = await first.channel();
    await channel.queueDeclare('q');
    await consume(channel, 'q');
    memoryBroker(broker).disconnect();
    await first.closed;
    const second = await open({ broker, transport: first.transport });
    const { channel: next } = await second.channel();
    expect(await next.queueDeclare('q', { passive: true })).toMatchObject({ consumerCount: 0 });
    const inbox = await consume(next, 'q');
    await publish(next, 'm', { routingKey: 'q' });
    await inbox.count(1);
  });

  test('while the store is away nobody gets in, and nothing stored is lost', async () => {
    const broker = freshBroker();
    const first = await open({ broker });
    const { channel } = await first.channel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    memoryBroker(broker).stop();
    await expect(open({ broker, transport: first.transport })).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      recoverable: true,
    });
    memoryBroker(broker).start();
    const { channel: next } = await (await open({ broker, transport: first.transport })).channel();
    expect(await drain(next, 'q')).toEqual(['m']);
  });
});

describe('deliveries outlive the connection', () => {
  async function delivered(driver: RemoteDriver | undefined, broker: string) {
    const opened = await open(driver === undefined ? { broker } : { broker, module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    for (const text of ['1', '2', '3']) await publish(channel, text, { routingKey: 'q' });
    const inbox = await consume(channel, 'q');
    await inbox.count(3);
    return { opened, channel, tags: inbox.deliveries.map(({ deliveryTag }) => deliveryTag) };
  }

  test('they can be settled on their old channel once there is a new connection', async () => {
    const broker = freshBroker();
    const { opened, channel, tags } = await delivered(undefined, broker);
    memoryBroker(broker).disconnect();
    await opened.closed;
    const early = channel.ack(tags[0]);
    expect(early).toBeInstanceOf(Promise);
    const { channel: next } = await (await open({ broker, transport: opened.transport })).channel();
    expect(await early).toBe(true);
    expect(await channel.ack(tags[1])).toBe(true);
    expect(await channel.reject(tags[2], { requeue: true })).toBe(true);
    expect(await drain(next, 'q')).toEqual(['3']);
  });

  test('whoever else consumes does not get them meanwhile', async () => {
    const broker = freshBroker();
    const { opened } = await delivered(undefined, broker);
    memoryBroker(broker).disconnect();
    await opened.closed;
    const { channel: other } = await (await open({ broker })).channel();
    expect(await drain(other, 'q')).toEqual([]);
  });

  test('a settlement whose answer was lost with the connection is made good by the next', async () => {
    const driver = new RemoteDriver();
    const broker = freshBroker();
    const { opened, channel, tags } = await delivered(driver, broker);
    driver.fail('settle', { done: true });
    const acked = channel.ack(tags[0]);
    await Promise.resolve();
    driver.cut();
    await opened.closed;
    await open({ broker, transport: opened.transport });
    expect(await acked).toBe(true);
  });

  test('disposing of the transport gives them back and makes them stale', async () => {
    const broker = freshBroker();
    const { opened, channel, tags } = await delivered(undefined, broker);
    memoryBroker(broker).disconnect();
    await opened.closed;
    const waiting = channel.ack(tags[0]);
    await opened.transport.dispose();
    expect(await waiting).toBe(false);
    expect(await channel.ack(tags[1])).toBe(false);
    const { channel: other } = await (await open({ broker })).channel();
    expect(await drain(other, 'q')).toEqual(['1', '2', '3']);
  });
});

describe('a take whose answer was lost', () => {
  const flags = async (channel: TransportChannel) => {
    const all: [string, boolean][] = [];
    for (
      let got = await channel.get('q', { noAck: true });
      got !== undefined;
      got = await channel.get('q', { noAck: true })
    ) {
      all.push([textOf(got), got.redelivered]);
    }
    return all;
  };

  test('with the connection: what it took goes back, unmarked, after the next connect', async () => {
    const driver = new RemoteDriver();
    const broker = freshBroker();
    const opened = await open({ broker, module: moduleOf(() => driver) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    for (const text of ['1', '2']) await publish(channel, text, { routingKey: 'q' });
    driver.fail('take', { done: true });
    const inbox = await consume(channel, 'q');
    while (driver.callsOf('take').length === 0) await settled(1);
    driver.cut();
    await opened.closed;
    const { channel: next } = await (await open({ broker, transport: opened.transport })).channel();
    await settled(10);
    expect(inbox.texts).toEqual([]);
    expect(await flags(next)).toEqual([
      ['1', false],
      ['2', false],
    ]);
  });

  test('without: likewise, and the consumer gets them', async () => {
    const driver = new RemoteDriver();
    const { channel } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    await publish(channel, '1', { routingKey: 'q' });
    driver.fail('take', { done: true });
    const inbox = await consume(channel, 'q');
    const [delivery] = await inbox.count(1);
    expect(delivery?.redelivered).toBe(false);
  });
});

describe('leases', () => {
  const lease = 600;

  test('are renewed while a delivery is unsettled, however long', async () => {
    const broker = freshBroker();
    const { channel } = await (await open({ broker, module: memoryModule({ lease }) })).channel();
    const { channel: other } = await (await open({ broker, module: memoryModule({ lease }) })).channel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    const inbox = await consume(other, 'q');
    await new Promise((resolve) => setTimeout(resolve, 3 * lease));
    expect(inbox.texts).toEqual([]);
    expect(channel.ack(deliveryTag)).toBe(true);
  });

  test('of one who is gone end, and the message comes to another, marked; then the old delivery is stale', async () => {
    const broker = freshBroker();
    const opened = await open({ broker, module: memoryModule({ lease }) });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    memoryBroker(broker).disconnect();
    await opened.closed;
    const { channel: other } = await (await open({ broker, module: memoryModule({ lease }) })).channel();
    const inbox = await consume(other, 'q');
    const [delivery] = await inbox.count(1);
    expect(delivery).toMatchObject({ redelivered: true, deliveryCount: 1 });
    await open({ broker, module: memoryModule({ lease }), transport: opened.transport });
    expect(await channel.ack(deliveryTag)).toBe(false);
  });

  test('that a store says were lost make the delivery stale at once', async () => {
    const driver = new RemoteDriver({}, { lease });
    const broker = freshBroker();
    const { channel } = await (await open({ broker, module: moduleOf(() => driver) })).channel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    // Somebody with a free hand in the store.
    const { channel: thief } = await (await open({ broker })).channel();
    await thief.queueDelete('q');
    await thief.queueDeclare('q');
    const before = driver.callsOf('extend').length;
    while (driver.callsOf('extend').length < before + 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await settled();
    const settlements = driver.callsOf('settle').length;
    expect(await channel.ack(deliveryTag)).toBe(false);
    expect(driver.callsOf('settle')).toHaveLength(settlements);
  });

  test('a renewal that fails is a problem, and tried again', async () => {
    const driver = new RemoteDriver({}, { lease });
    const { channel, opened } = await oneChannel(moduleOf(() => driver));
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    const { deliveryTag } = (await channel.get('q')) as Delivery;
    driver.fail('extend');
    while (opened.problems.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(opened.problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
    expect(await channel.ack(deliveryTag)).toBe(true);
  });
});

test('updateSecret is refused', async () => {
  const { connection } = await open({ broker: freshBroker() });
  await expect(connection.updateSecret('s')).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
});
