/** `@wakame/amqp`, the client alone. */
import { type Channel, connect } from '@wakame/amqp';
import { type Adapter, toJson, touch } from '../adapter.ts';

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const connection = await connect(url);
    const channels = await Promise.all(Array.from({ length: count }, () => connection.channel()));
    if (confirm) await Promise.all(channels.map((channel) => channel.confirmSelect()));
    return {
      async batch(queue, message, size, number) {
        const channel = channels[number] as Channel;
        let last: Promise<void> | undefined;
        for (let i = 0; i < size; i++) last = channel.basicPublish('', queue, toJson(message), message.properties);
        await last;
      },
      confirmed(queue, message, done, number) {
        const channel = channels[number] as Channel;
        channel.basicPublish('', queue, toJson(message), message.properties).then(done, done);
      },
      async sync() {
        await Promise.all(channels.map((channel) => channel.queueDeclare('bench', { passive: true })));
      },
      close: () => connection.close(),
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const connection = await connect(url);
    let sum = 0;
    for (let i = 0; i < consumers; i++) {
      const channel = await connection.channel();
      if (ack) await channel.basicQos({ prefetchCount: prefetch });
      await channel.basicConsume(queue, { noAck: !ack }, ({ deliveryTag, properties, body }) => {
        if (read) sum += touch(properties.headers);
        if (json) sum += Object.keys(JSON.parse(body.toString()) as object).length;
        if (ack) channel.basicAck(deliveryTag);
        onMessage();
      });
    }
    return {
      async close() {
        connection.abort();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const connection = await connect(url);
    for (let i = 0; i < count; i++) await connection.channel();
    return { close: () => connection.close() };
  },
};
