/** The two sockets of a connection, against a scripted broker. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { FakePeer, FakeBroker as ScriptedBroker } from '../../../amqp/test/support/fake-broker.js';
import { fakeBroker } from '../../../amqp/test/support/index.js';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import type { MessagingError } from '../../src/errors.js';

const open: Connection[] = [];

function connect(broker: ScriptedBroker, options: ConnectionOptions = {}): Connection {
  const connection = new Connection(broker.url, options);
  open.push(connection);
  return connection;
}

const message = {
  exchange: '',
  routingKey: 'q',
  body: Buffer.from('x'),
  properties: {},
  unroutable: 'ignore' as const,
};

/** Confirms each publish. */
function confirming(): { publishes: number[]; script: (peer: FakePeer) => Promise<void> } {
  const publishes: number[] = [];
  let peers = 0;
  return {
    publishes,
    script: async (peer) => {
      const me = peers;
      peers++;
      const tags = new Map<number, number>();
      await peer.handshake();
      await peer.serve({
        'basic.publish': ({ channel }) => {
          publishes.push(me);
          const deliveryTag = (tags.get(channel) ?? 0) + 1;
          tags.set(channel, deliveryTag);
          peer.send(channel, 'basic.ack', { deliveryTag, multiple: false });
        },
      });
    },
  };
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close({ timeout: 500 })));
});

describe('sockets by role', () => {
  test('one is enough for one role; the second comes with the other', async () => {
    const { publishes, script } = confirming();
    const broker = await fakeBroker(script);
    const connection = connect(broker);
    const channel = connection.channel();
    await channel.publish(message);
    expect(broker.peers).toHaveLength(1);
    await channel.queueDeclare('q');
    expect(broker.peers).toHaveLength(2);
    await channel.publish(message);
    await connection.channel().publish(message);
    expect(publishes).toEqual([0, 0, 0]);
    expect(broker.peers).toHaveLength(2);
  });

  test('the loss of either is the loss of the connection: the other is dropped', async () => {
    const broker = await fakeBroker(confirming().script);
    const connection = connect(broker);
    const channel = connection.channel();
    await channel.publish(message);
    await channel.queueDeclare('q');
    const disconnected = vi.fn();
    connection.on('disconnected', disconnected);
    const [first, second] = broker.peers;
    const recovered = new Promise((resolve) => connection.once('recovered', resolve));
    second?.socket.destroy();
    await recovered;
    await first?.hangup();
    expect(disconnected).toHaveBeenCalledTimes(1);
    await channel.publish(message);
  });

  test('a broker that allows one only is used by one only, and it is told', async () => {
    const { script } = confirming();
    let connections = 0;
    const broker = await fakeBroker(async (peer) => {
      connections++;
      if (connections === 1) return script(peer);
      await peer.start();
      await peer.expect('connection.start-ok');
      const text = 'ACCESS_REFUSED - one login a token';
      peer.send(0, 'connection.close', { replyCode: 403, replyText: text, classId: 0, methodId: 0 });
      await peer.hangup();
    });
    const connection = connect(broker);
    const problems: MessagingError[] = [];
    connection.on('problem', (error) => problems.push(error));
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    await channel.publish(message);
    await vi.waitFor(() => expect(problems).toHaveLength(1));
    expect(problems[0]).toMatchObject({ code: 'AUTH_FAILED' });
    expect(problems[0]?.message).toMatch(/no second socket for channels that publish, so all share one/);
    expect(connections).toBe(2);
  });

  test('a broker that cannot be reached for the second is a lost connection, and the publish goes out in the end', async () => {
    const { script } = confirming();
    let connections = 0;
    const broker = await fakeBroker(async (peer) => {
      connections++;
      if (connections === 2) peer.socket.destroy();
      else await script(peer);
    });
    const connection = connect(broker);
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    expect(connections).toBe(4);
  });

  test('a password function is asked again for the second', async () => {
    const passwords = ['one', 'two', 'three'];
    const logins: string[] = [];
    const broker = await fakeBroker(async (peer) => {
      const { startOk } = await peer.handshake();
      logins.push(String(startOk.response).split('\0')[2] ?? '');
      await peer.serve({
        'basic.publish': ({ channel }) => peer.send(channel, 'basic.ack', { deliveryTag: 1, multiple: false }),
      });
    });
    const connection = connect(broker, { password: async () => passwords.shift() ?? 'none' });
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    expect(logins).toEqual(['one', 'two']);
  });

  test('both are closed in order', async () => {
    const broker = await fakeBroker(confirming().script);
    const connection = connect(broker);
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    await connection.close();
    for (const peer of broker.peers) {
      await peer.hangup();
      expect(peer.log.at(-1)?.name).toBe('connection.close');
    }
  });
});

describe('while it is open', () => {
  test('blocked and unblocked are told once, to listeners and to the options of that name', async () => {
    const broker = await fakeBroker(confirming().script);
    const calls: string[] = [];
    const connection = connect(broker, {
      transportOptions: {
        on_blocked: (reason: string) => calls.push(`option ${reason}`),
        onUnblocked: () => calls.push('option unblocked'),
      },
    });
    connection.on('blocked', (reason) => calls.push(`event ${reason}`));
    connection.on('unblocked', () => calls.push('event unblocked'));
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    for (const peer of broker.peers) peer.send(0, 'connection.blocked', { reason: 'low on memory' });
    await vi.waitFor(() => expect(calls).toEqual(['event low on memory', 'option low on memory']));
    broker.peers[0]?.send(0, 'connection.unblocked', {});
    await channel.queueDeclare('other');
    expect(calls).toHaveLength(2);
    broker.peers[1]?.send(0, 'connection.unblocked', {});
    await vi.waitFor(() => expect(calls.slice(2)).toEqual(['event unblocked', 'option unblocked']));
  });

  test('a secret that expires is renewed on both, before it does', async () => {
    const secrets: string[] = [];
    const broker = await fakeBroker(async (peer) => {
      await peer.handshake();
      await peer.serve({
        'basic.publish': ({ channel }) => peer.send(channel, 'basic.ack', { deliveryTag: 1, multiple: false }),
        'connection.update-secret': ({ arguments: { newSecret } }) => {
          secrets.push(String(newSecret));
          peer.send(0, 'connection.update-secret-ok', {});
        },
      });
    });
    let asked = 0;
    const connection = connect(broker, {
      credentials: () => {
        asked++;
        return { userid: 'me', password: `token ${asked}`, expiresIn: asked < 3 ? 1000 : 600_000 };
      },
    });
    const channel = connection.channel();
    await channel.queueDeclare('q');
    await channel.publish(message);
    await vi.waitFor(() => expect(secrets).toHaveLength(2), { timeout: 3000 });
    expect(secrets).toEqual(['token 3', 'token 3']);
  });

  test('write_timeout: a peer that reads no more is a lost connection', async () => {
    let connections = 0;
    const { script } = confirming();
    const broker = await fakeBroker(async (peer) => {
      connections++;
      if (connections > 1) return script(peer);
      await peer.handshake();
      await peer.serve({ 'confirm.select': () => peer.pause() });
    });
    const connection = connect(broker, { transportOptions: { writeTimeout: 200 } });
    const lost = new Promise<MessagingError>((resolve) => connection.once('disconnected', resolve));
    const channel = connection.channel();
    const publishing = channel.publish({ ...message, body: Buffer.alloc(16 * 1024 * 1024) });
    publishing.catch(() => {});
    expect((await lost).message).toMatch(/write_timeout/);
    await expect(publishing).rejects.toMatchObject({ outcome: 'unknown' });
    await connection.connect();
  });
});
