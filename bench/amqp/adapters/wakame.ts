/** `wakame`: a Producer and Consumers, with everything that they do by default. */
import { Connection, type PublishOptions, type Message as Received } from 'wakame';
import { type Adapter, type Message, touch } from '../adapter.ts';

export const adapter: Adapter = {
  async publisher(url, { confirm, channels: count }) {
    const connection = await new Connection(url).connect();
    const producers = Array.from({ length: count }, () => connection.producer({ confirm }));
    return {
      async batch(queue, message, size, number) {
        const producer = producers[number]!;
        const body = message.json ?? message.body;
        const options = optionsFor(queue, message);
        let last: Promise<unknown> | undefined;
        for (let i = 0; i < size; i++) last = producer.publish(body, options);
        await last;
      },
      confirmed(queue, message, done, number) {
        const publishing = producers[number]!.publish(message.json ?? message.body, optionsFor(queue, message));
        publishing.then(() => done(), done);
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

/** A program that publishes much to one place has its options at hand; so the last ones are kept. */
let last: { readonly message: Message; readonly queue: string; readonly options: PublishOptions } | undefined;

function optionsFor(queue: string, message: Message): PublishOptions {
  if (last?.message === message && last.queue === queue) return last.options;
  const { contentType, contentEncoding, ...rest } = message.properties ?? {};
  // What a JSON body is, its serializer says.
  const type = message.json === undefined && contentType !== undefined ? { contentType, contentEncoding } : {};
  const options: PublishOptions = { ...rest, ...type, deliveryMode: 'persistent', routingKey: queue };
  last = { message, queue, options };
  return options;
}
