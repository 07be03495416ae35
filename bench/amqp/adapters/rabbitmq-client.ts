/** rabbitmq-client: its channels, which are faster than its Publisher and Consumer; frames of 128 KiB instead of 8. */
import { loadPeer } from '../../lib/peers.ts';
import { type Adapter, toJson, touch } from '../adapter.ts';
import type { Properties } from '../wire.ts';

interface Delivery {
  readonly deliveryTag: number;
  readonly body: unknown;
  readonly headers: Record<string, unknown> | undefined;
}
interface Channel {
  basicPublish(envelope: Properties & { routingKey: string }, body: Buffer): Promise<void>;
  confirmSelect(): Promise<void>;
  queueDeclare(params: { queue: string; passive: boolean }): Promise<unknown>;
  basicQos(params: { prefetchCount: number }): Promise<void>;
  basicConsume(params: { queue: string; noAck: boolean }, handler: (message: Delivery) => void): Promise<unknown>;
  basicAck(params: { deliveryTag: number }): void;
}
interface Connection {
  on(event: 'error', listener: (error: unknown) => void): void;
  acquire(): Promise<Channel>;
  close(): Promise<void>;
  unsafeDestroy(): void;
}
interface RabbitmqClient {
  readonly Connection: new (options: { url: string; frameMax: number; noDelay: boolean }) => Connection;
}

const { Connection } = await loadPeer<RabbitmqClient>('rabbitmq-client');

function open(url: string): Connection {
  const connection = new Connection({ url, frameMax: 131_072, noDelay: true });
  connection.on('error', () => undefined);
  return connection;
}

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const connection = open(url);
    const channels: Channel[] = [];
    for (let i = 0; i < count; i++) channels.push(await connection.acquire());
    if (confirm) await Promise.all(channels.map((channel) => channel.confirmSelect()));
    return {
      async batch(queue, message, size, number) {
        const channel = channels[number] as Channel;
        const sent: Promise<void>[] = [];
        for (let i = 0; i < size; i++) {
          sent.push(channel.basicPublish({ ...message.properties, routingKey: queue }, toJson(message)));
        }
        await Promise.all(sent);
      },
      confirmed(queue, message, done, number) {
        const channel = channels[number] as Channel;
        channel.basicPublish({ ...message.properties, routingKey: queue }, toJson(message)).then(() => done(), done);
      },
      async sync() {
        await Promise.all(channels.map((channel) => channel.queueDeclare({ queue: 'bench', passive: true })));
      },
      close: async () => connection.unsafeDestroy(),
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const connection = open(url);
    let sum = 0;
    for (let i = 0; i < consumers; i++) {
      const channel = await connection.acquire();
      if (ack) await channel.basicQos({ prefetchCount: prefetch });
      await channel.basicConsume({ queue, noAck: !ack }, ({ deliveryTag, headers, body }) => {
        if (read) sum += touch(headers);
        // It parses JSON by itself, by the content type.
        if (json) sum += Object.keys(body as object).length;
        if (ack) channel.basicAck({ deliveryTag });
        onMessage();
      });
    }
    return {
      async close() {
        connection.unsafeDestroy();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const connection = open(url);
    const channels: Channel[] = [];
    for (let i = 0; i < count; i++) channels.push(await connection.acquire());
    return { close: async () => connection.unsafeDestroy() };
  },
};
