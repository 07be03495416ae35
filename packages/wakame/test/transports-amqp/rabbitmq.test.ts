/** The transport, and recovery over it, on a real RabbitMQ. */
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { brokerUrl, rabbitmqManagementUrl } from '../../../../scripts/lib/brokers/environment.js';
import { type Channel, Connection, type ConnectionOptions, type RecoveredInfo } from '../../src/connection/index.js';
import { ConnectionForced, HttpError, type MessagingError, NotFound, PreconditionFailed } from '../../src/errors.js';
import type { Delivery, OutgoingMessage, Returned } from '../../src/transport/contract.js';

const url = brokerUrl('rabbitmq');
const management = new URL(rabbitmqManagementUrl());
const open: Connection[] = [];
const queues: string[] = [];
let names = 0;

function name(): string {
  names++;
  const made = `wakame.connection.${process.pid}.${Date.now().toString(36)}.${names}`;
  queues.push(made);
  return made;
}

/** A connection with a name of its own, by which the management API finds it. */
function connect(options: ConnectionOptions = {}): {
  connection: Connection;
  kill: (reason?: string) => Promise<void>;
} {
  const connectionName = name();
  const transportOptions = {
    client_properties: { connection_name: connectionName },
    manager_hostname: management.hostname,
    manager_port: Number(management.port),
    ...options.transportOptions,
  };
  const connection = new Connection(url, { ...options, transportOptions });
  open.push(connection);
  const kill = async (reason = 'closed by the test') => {
    // The API sees a new connection a little later than it exists.
    const mine = await vi.waitFor(
      async () => {
        const all = await connection.manager.connections();
        const found = all.filter(
          (it) => (it['client_properties'] as { connection_name?: string })?.connection_name === connectionName,
        );
        if (found.length === 0) throw new Error('not listed yet');
        return found;
      },
      { timeout: 15_000, interval: 100 },
    );
    const lost = once(connection, 'disconnected');
    await Promise.all(
      mine.map((it) =>
        connection.manager.closeConnection(String(it['name']), reason).catch((error: unknown) => {
          // The other socket went with the first.
          if (!(error instanceof HttpError && error.status === 404)) throw error;
        }),
      ),
    );
    await lost;
  };
  return { connection, kill };
}

function message(routingKey: string, body: string, change: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { exchange: '', routingKey, body: Buffer.from(body), properties: {}, unroutable: 'ignore', ...change };
}

const text = (delivery: Delivery | undefined) =>
  delivery === undefined ? undefined : Buffer.from(delivery.body).toString();

let channel: Channel;

beforeEach(() => {
  channel = connect().connection.channel();
});

afterEach(async () => {
  const cleaner = new Connection(url);
  await Promise.all(queues.splice(0).map((queue) => cleaner.topology.deleteQueue(queue)));
  await Promise.all([cleaner, ...open.splice(0)].map((connection) => connection.close()));
});

describe('channel', () => {
  test('declares, publishes, fetches, settles', async () => {
    const queue = name();
    expect(await channel.queueDeclare(queue, { durable: true })).toEqual({ queue, messageCount: 0, consumerCount: 0 });
    for (const body of ['1', '2', '3', '4']) await channel.publish(message(queue, body));
    expect(await channel.queueDeclare(queue, { durable: true })).toMatchObject({ messageCount: 4 });
    const first = await channel.get(queue);
    const second = await channel.get(queue);
    expect([text(first), text(second), second?.messageCount]).toEqual(['1', '2', 2]);
    expect(channel.ack(first?.deliveryTag)).toBe(true);
    expect(channel.reject(second?.deliveryTag, { requeue: true })).toBe(true);
    const again = await channel.get(queue);
    expect([text(again), again?.redelivered]).toEqual(['2', true]);
    expect(text(await channel.get(queue, { noAck: true }))).toBe('3');
    expect(await channel.queuePurge(queue)).toBe(1);
    await channel.recover();
    expect(await channel.queueDelete(queue)).toBe(1);
    await expect(channel.get(queue)).rejects.toBeInstanceOf(NotFound);
  });

  test('consumes, by several consumers with prefetch; cancel leaves what is unsettled', async () => {
    const queue = name();
    await channel.queueDeclare(queue);
    await channel.qos({ prefetch: 2 });
    const seen: Record<string, Delivery[]> = { a: [], b: [] };
    for (const consumerTag of ['a', 'b']) {
      await channel.consume(queue, { consumerTag, onDelivery: (delivery) => seen[consumerTag]?.push(delivery) });
    }
    for (let i = 0; i < 6; i++) await channel.publish(message(queue, String(i)));
    await vi.waitFor(() => expect([seen['a']?.length, seen['b']?.length]).toEqual([2, 2]));
    await channel.cancel('b');
    for (const delivery of [...(seen['a'] ?? []), ...(seen['b'] ?? [])])
      expect(channel.ack(delivery.deliveryTag)).toBe(true);
    await vi.waitFor(() => expect(seen['a']).toHaveLength(4));
    expect(seen['b']).toHaveLength(2);
  });

  test('an error of a declaration leaves the channel and its consumers unharmed', async () => {
    const queue = name();
    await channel.queueDeclare(queue);
    const seen: string[] = [];
    await channel.consume(queue, { noAck: true, onDelivery: (delivery) => seen.push(text(delivery) ?? '') });
    await expect(channel.queueDeclare(queue, { durable: true })).rejects.toBeInstanceOf(PreconditionFailed);
    await expect(channel.queueDeclare('wakame.nowhere', { passive: true })).rejects.toBeInstanceOf(NotFound);
    await expect(channel.exchangeDeclare('e', 'no-such-type')).rejects.toMatchObject({ replyCode: 503 });
    await channel.publish(message(queue, 'still here'));
    await vi.waitFor(() => expect(seen).toEqual(['still here']));
  });

  test('what a consumer throws, or rejects with, is a problem and nobody else’s', async () => {
    const queue = name();
    await channel.queueDeclare(queue);
    const problems: MessagingError[] = [];
    channel.connection.on('problem', (error) => problems.push(error));
    const seen: (string | undefined)[] = [];
    await channel.consume(queue, {
      noAck: true,
      onDelivery: (delivery) => {
        seen.push(text(delivery));
        if (seen.length === 1) throw new Error('thrown');
        return seen.length === 2 ? Promise.reject(new Error('rejected')) : undefined;
      },
    });
    for (const body of ['1', '2', '3']) await channel.publish(message(queue, body));
    await vi.waitFor(() => expect(seen).toEqual(['1', '2', '3']));
    await vi.waitFor(() => expect(problems).toHaveLength(2));
    expect(problems.map(({ cause }) => (cause as Error).message)).toEqual(['thrown', 'rejected']);
  });

  test('flow is refused before the broker hears of it', async () => {
    await expect(channel.flow(false)).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
    await channel.open();
    expect(channel.state).toBe('open');
  });
});

describe('publishing', () => {
  test.each(['confirmed', 'written'] as const)('unroutable, %s: reject, report, ignore', async (mode) => {
    const returned: Returned[] = [];
    channel.on('return', (it) => returned.push(it));
    const nowhere = 'wakame.nowhere';
    await channel.publish(message(nowhere, 'ignored'), { mode });
    await channel.publish(message(nowhere, 'reported', { unroutable: 'report' }), { mode });
    if (mode === 'confirmed') {
      await expect(channel.publish(message(nowhere, 'x', { unroutable: 'reject' }), { mode })).rejects.toMatchObject({
        code: 'UNROUTABLE',
        outcome: 'refused',
        returned: { replyCode: 312, exchange: '', routingKey: nowhere },
      });
    }
    await vi.waitFor(() => expect(returned).toHaveLength(1));
    expect(returned[0]).toMatchObject({ replyCode: 312, routingKey: nowhere });
    expect(Buffer.from(returned[0]?.body ?? []).toString()).toBe('reported');
  });

  test('without a listener of the channel a return is the event `unroutable` of the connection', async () => {
    const unroutable = once(channel.connection, 'unroutable');
    await channel.publish(message('wakame.nowhere', 'x', { unroutable: 'report' }));
    expect((await unroutable)[0]).toMatchObject({ replyCode: 312 });
  });

  test('what cannot be encoded rejects alone, and is not sent', async () => {
    const queue = name();
    await channel.queueDeclare(queue);
    const long = message(queue, 'x', { properties: { correlationId: 'x'.repeat(300) } });
    const outcomes = await Promise.allSettled([
      channel.publish(message(queue, '1')),
      channel.publish(long),
      channel.publish(long, { mode: 'written' }),
      channel.publish(message(queue, '2')),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect(outcomes[1]).toMatchObject({ reason: { code: 'INVALID_ARGUMENT', outcome: 'not-sent' } });
    expect(await channel.queueDeclare(queue)).toMatchObject({ messageCount: 2 });
  });

  test('an exchange that does not exist closes the channel; the next publish has a new one', async () => {
    const queue = name();
    await channel.queueDeclare(queue);
    await expect(channel.publish(message('k', 'x', { exchange: 'wakame.nowhere' }))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining("no exchange 'wakame.nowhere'"),
    });
    await channel.publish(message(queue, 'x'));
  });

  test('a transaction has no meaning', async () => {
    await expect(channel.publish(message('q', 'x', { transaction: {} }))).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
      outcome: 'not-sent',
    });
  });
});

describe('recovery', () => {
  test('amqplib#102, amqplib#153, cloudamqp#176: a connection closed by an administrator comes back with everything', async () => {
    const { connection, kill } = connect();
    const durable = name();
    const own = connection.channel();
    const { queue: temporary } = await own.queueDeclare('', { exclusive: true });
    await own.queueDeclare(durable, { durable: true });
    await own.exchangeDeclare(durable, 'fanout', { autoDelete: true });
    await own.queueBind({ queue: temporary, exchange: durable, routingKey: '' });
    await own.queueBind({ queue: durable, exchange: durable, routingKey: '' });
    await own.qos({ prefetch: 1 });
    const seen: Delivery[] = [];
    const bodies = () => seen.map(text);
    await own.consume(temporary, { onDelivery: (delivery) => seen.push(delivery) });
    await own.consume(durable, { onDelivery: (delivery) => seen.push(delivery) });
    await own.publish(message('', 'before', { exchange: durable }));
    await vi.waitFor(() => expect(bodies()).toEqual(['before', 'before']));

    const lost = once(connection, 'disconnected');
    const back = once(connection, 'recovered');
    await kill('maintenance');
    expect((await lost)[0]).toBeInstanceOf(ConnectionForced);
    const [info] = (await back) as [RecoveredInfo];
    expect(info.cause.message).toContain('maintenance');
    // Stale: they belong to the channel that died.
    expect(seen.slice(0, 2).map(({ deliveryTag }) => own.ack(deliveryTag))).toEqual([false, false]);
    await vi.waitFor(() => expect(bodies()).toEqual(['before', 'before', 'before']));
    expect(seen[2]?.redelivered).toBe(true);
    expect(own.ack(seen[2]?.deliveryTag)).toBe(true);
    const renamed = connection.topology.currentName(temporary);
    expect(renamed).not.toBe(temporary);
    await own.publish(message('', 'after', { exchange: durable }));
    await vi.waitFor(() => expect(bodies().slice(3)).toEqual(['after', 'after']));
    await own.exchangeDelete(durable);
  });

  test('again and again, under load: every consumer consumes in the end', async () => {
    const { connection, kill } = connect();
    const consumers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const queue = name();
        const own = connection.channel();
        const seen = new Set<string>();
        await own.queueDeclare(queue, { durable: true });
        await own.qos({ prefetch: 5 });
        await own.consume(queue, {
          onDelivery: (delivery) => {
            seen.add(text(delivery) ?? '');
            void own.ack(delivery.deliveryTag);
          },
        });
        return { queue, seen, own };
      }),
    );
    for (let round = 0; round < 3; round++) {
      const back = once(connection, 'recovered');
      await kill();
      await back;
      await Promise.all(consumers.map(({ queue, own }) => own.publish(message(queue, String(round)))));
      await vi.waitFor(() => {
        for (const { seen } of consumers) expect(seen.has(String(round))).toBe(true);
      });
    }
  }, 60_000);

  test('a queue deleted beneath its consumer is declared again, and consumed', async () => {
    const { connection } = connect();
    const queue = name();
    const own = connection.channel();
    await own.queueDeclare(queue, { durable: true });
    const seen: (string | undefined)[] = [];
    await own.consume(queue, { noAck: true, onDelivery: (delivery) => seen.push(text(delivery)) });
    await channel.queueDelete(queue);
    await vi.waitFor(async () => {
      expect(await channel.queueDeclare(queue, { passive: true })).toMatchObject({ consumerCount: 1 });
    });
    await channel.publish(message(queue, 'x'));
    await vi.waitFor(() => expect(seen).toEqual(['x']));
  });

  test('moleculer#692: acknowledging twice closes the channel, which comes back and consumes', async () => {
    const { connection } = connect();
    const queue = name();
    const own = connection.channel();
    await own.queueDeclare(queue);
    const seen: Delivery[] = [];
    await own.consume(queue, { onDelivery: (delivery) => seen.push(delivery) });
    await own.publish(message(queue, '1'));
    await vi.waitFor(() => expect(seen).toHaveLength(1));
    const first = own.consumers.current;
    void own.ack(seen[0]?.deliveryTag);
    void own.ack(seen[0]?.deliveryTag);
    await vi.waitFor(() => expect(own.consumers.current ?? first).not.toBe(first));
    await own.publish(message(queue, '2'));
    await vi.waitFor(() => expect(seen.map(text)).toEqual(['1', '2']));
    expect(connection.connected).toBe(true);
  });

  test('wrong credentials and unknown virtual hosts reject at once', async () => {
    const parts = new URL(url);
    parts.password = 'wrong';
    const badPassword = new Connection(parts.href);
    const badVhost = new Connection(`${url.replace(/\/+$/, '')}/nowhere`);
    open.push(badPassword, badVhost);
    await expect(badPassword.connect()).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    await expect(badVhost.connect()).rejects.toMatchObject({ code: 'VHOST_NOT_FOUND' });
    await expect(badVhost.channel().queueDeclare('q')).rejects.toMatchObject({ code: 'VHOST_NOT_FOUND' });
  });
});

describe('management', () => {
  test('lists, asks, closes', async () => {
    const queue = name();
    await channel.queueDeclare(queue, { durable: true });
    const { manager } = channel.connection;
    expect(await manager.overview()).toHaveProperty('rabbitmq_version');
    expect((await manager.queues()).map((it) => it['name'])).toContain(queue);
    expect(await manager.queue(queue)).toMatchObject({ name: queue, durable: true });
    expect((await manager.exchanges()).map((it) => it['name'])).toContain('amq.topic');
    expect(await manager.virtualHosts()).toContainEqual(expect.objectContaining({ name: '/' }));
    for (const list of [manager.nodes(), manager.users(), manager.channels(), manager.bindings()]) {
      expect(Array.isArray(await list)).toBe(true);
    }
    expect(await manager.request('GET', '/api/whoami')).toHaveProperty('name');
    await expect(manager.queue('wakame.nowhere')).rejects.toMatchObject({ code: 'NOT_FOUND', status: 404 });
    await expect(manager.closeConnection('nobody', 'x')).rejects.toBeInstanceOf(HttpError);
    const reason = new Error('enough');
    await expect(manager.overview({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('wrong password, and nobody there', async () => {
    const { connection } = connect({ transportOptions: { manager_password: 'wrong' } });
    const error: HttpError = await connection.manager.overview().catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'AUTH_FAILED', status: 401 });
    expect(error.message).not.toContain('wrong');
    const { connection: nowhere } = connect({ transportOptions: { manager_port: 1 } });
    await expect(nowhere.manager.overview()).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  });
});
