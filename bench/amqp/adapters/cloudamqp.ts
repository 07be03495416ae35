/** @cloudamqp/amqp-client: its AMQPClient, frames of 128 KiB instead of 8. */
import { loadPeer } from '../../lib/peers.ts';
import { type Adapter, toJson, touch } from '../adapter.ts';
import type { Properties } from '../wire.ts';

interface Delivery {
  readonly deliveryTag: number;
  readonly body: Uint8Array | null;
  readonly properties: { readonly headers?: Record<string, unknown> };
  bodyString(): string | null;
}
interface Channel {
  basicPublish(exchange: string, key: string, body: Buffer, properties?: Properties): Promise<number>;
  confirmSelect(): Promise<void>;
  queueDeclare(queue: string, params: { passive: boolean }): Promise<unknown>;
  prefetch(count: number): Promise<void>;
  basicConsume(queue: string, params: { noAck: boolean }, handler: (message: Delivery) => void): Promise<unknown>;
  basicAck(deliveryTag: number): Promise<void>;
}
interface Client {
  connect(): Promise<unknown>;
  channel(): Promise<Channel>;
  close(): Promise<void>;
}
interface Cloudamqp {
  readonly AMQPClient: new (url: string) => Client;
}

const { AMQPClient } = await loadPeer<Cloudamqp>('@cloudamqp/amqp-client');

async function open(url: string): Promise<Client> {
  const client = new AMQPClient(`${url}?frameMax=131072`);
  await client.connect();
  return client;
}

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const client = await open(url);
    const channels: Channel[] = [];
    for (let i = 0; i < count; i++) channels.push(await client.channel());
    if (confirm) await Promise.all(channels.map((channel) => channel.confirmSelect()));
    return {
      async batch(queue, message, size, number) {
        const channel = channels[number] as Channel;
        const sent: Promise<number>[] = [];
        for (let i = 0; i < size; i++)
          sent.push(channel.basicPublish('', queue, toJson(message), message.properties ?? {}));
        await Promise.all(sent);
      },
      confirmed(queue, message, done, number) {
        const channel = channels[number] as Channel;
        channel.basicPublish('', queue, toJson(message), message.properties ?? {}).then(() => done(), done);
      },
      async sync() {
        await Promise.all(channels.map((channel) => channel.queueDeclare('bench', { passive: true })));
      },
      close: () => client.close(),
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const client = await open(url);
    let sum = 0;
    for (let i = 0; i < consumers; i++) {
      const channel = await client.channel();
      if (ack) await channel.prefetch(prefetch);
      await channel.basicConsume(queue, { noAck: !ack }, (message) => {
        if (read) sum += touch(message.properties.headers);
        if (json) sum += Object.keys(JSON.parse(message.bodyString() ?? '') as object).length;
        if (ack) channel.basicAck(message.deliveryTag).catch(() => undefined);
        onMessage();
      });
    }
    return {
      async close() {
        await client.close();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const client = await open(url);
    for (let i = 0; i < count; i++) await client.channel();
    return { close: () => client.close() };
  },
};
