/** `wakame`: a Producer and Consumers, with everything that they do by default. */
import { Connection, type PublishOptions, type Message as Received } from 'wakame';
import { type Adapter, touch } from '../adapter.ts';

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const connection = await new Connection(url).connect();
    const producers = Array.from({ length: count }, () => connection.producer({ confirm }));
    return {
      async batch(queue, { body, json, properties }, size, number) {
        const producer = producers[number]!;
        const options: PublishOptions = { ...properties, deliveryMode: 'persistent', routingKey: queue };
        let last: Promise<unknown> | undefined;
        for (let i = 0; i < size; i++) last = producer.publish(json ?? body, withoutType(options, json));
        await last;
      },
      confirmed(queue, { body, json, properties }, done, number) {
        const options = withoutType({ ...properties, deliveryMode: 'persistent', routingKey: queue }, json);
        producers[number]!.publish(json ?? body, options).then(() => done(), done);
      },
      async sync() {
        await Promise.all(producers.map((producer) => producer.flush()));
      },
      close: () => connection.close(),
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const connection = await new Connection(url).connect();
    let sum = 0;
    const handler = (message: Received) => {
      if (read) sum += touch(message.headers);
      if (json) sum += Object.keys(message.payload as object).length;
      if (ack) void message.ack();
      onMessage();
    };
    for (let i = 0; i < consumers; i++) {
      const consumer = connection.consumer(queue, { noAck: !ack, prefetch, onMessage: handler, autoDeclare: false });
      await consumer.consume();
    }
    return {
      async close() {
        await connection.close();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const connection = await new Connection(url).connect();
    for (let i = 0; i < count; i++) await connection.channel().open();
    return { close: () => connection.close() };
  },
};

/** What the body is, the serializer says by itself. */
function withoutType(options: PublishOptions, json: object | undefined): PublishOptions {
  if (json === undefined) return options;
  const { contentType: _type, contentEncoding: _encoding, ...rest } = options;
  return rest;
}
