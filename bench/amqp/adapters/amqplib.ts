/** amqplib: its promise API, writes corked by nobody (its documentation knows no such setting), `drain` obeyed. */
import type { EventEmitter } from 'node:events';
import { once } from 'node:events';
import { loadPeer } from '../../lib/peers.ts';
import { type Adapter, toJson, touch } from '../adapter.ts';
import type { Properties } from '../wire.ts';

interface Delivery {
  readonly content: Buffer;
  readonly properties: { readonly headers: Record<string, unknown> | undefined };
}
type PublishOptions = Properties & { readonly persistent?: boolean };
interface Channel extends EventEmitter {
  publish(
    exchange: string,
    key: string,
    body: Buffer,
    options?: PublishOptions,
    done?: (error: unknown) => void,
  ): boolean;
  checkQueue(queue: string): Promise<unknown>;
  prefetch(count: number): Promise<unknown>;
  consume(queue: string, handler: (message: Delivery | null) => void, options: { noAck: boolean }): Promise<unknown>;
  ack(message: Delivery): void;
}
interface Connection {
  createChannel(): Promise<Channel>;
  createConfirmChannel(): Promise<Channel>;
  close(): Promise<void>;
}
interface Amqplib {
  connect(url: string, socketOptions?: object): Promise<Connection>;
}

const amqplib = await loadPeer<Amqplib>('amqplib');

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const connection = await amqplib.connect(url, { noDelay: true });
    const make = () => (confirm ? connection.createConfirmChannel() : connection.createChannel());
    const channels = await Promise.all(Array.from({ length: count }, make));
    return {
      async batch(queue, message, size, number) {
        const channel = channels[number] as Channel;
        let goOn = true;
        for (let i = 0; i < size; i++) goOn = channel.publish('', queue, toJson(message), message.properties);
        if (!goOn) await once(channel, 'drain');
        // Its writes leave with setImmediate.
        else await new Promise((resolve) => setImmediate(resolve));
      },
      confirmed(queue, message, done, number) {
        (channels[number] as Channel).publish('', queue, toJson(message), message.properties, (error) =>
          done(error ?? undefined),
        );
      },
      async sync() {
        await Promise.all(channels.map((channel) => channel.checkQueue('bench')));
      },
      close: () => connection.close(),
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const connection = await amqplib.connect(url, { noDelay: true });
    let sum = 0;
    for (let i = 0; i < consumers; i++) {
      const channel = await connection.createChannel();
      if (ack) await channel.prefetch(prefetch);
      const handler = (message: Delivery | null) => {
        if (message === null) return;
        if (read) sum += touch(message.properties.headers);
        if (json) sum += Object.keys(JSON.parse(message.content.toString()) as object).length;
        if (ack) channel.ack(message);
        onMessage();
      };
      await channel.consume(queue, handler, { noAck: !ack });
    }
    return {
      async close() {
        await connection.close();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const connection = await amqplib.connect(url);
    for (let i = 0; i < count; i++) await connection.createChannel();
    return { close: () => connection.close() };
  },
};
