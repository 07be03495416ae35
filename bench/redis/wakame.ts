/** `wakame` on Redis: Producer and Consumer as they are. */
import { Connection, Queue } from 'wakame';
import { timed } from '../lib/sample.ts';
import { keepWindow, type RedisAdapter, text, WINDOW } from './adapter.ts';

export const wakame: RedisAdapter = {
  async enqueue(url, budget) {
    const connection = await new Connection(url).connect();
    const queue = new Queue('bench');
    await queue.bind(connection).declare();
    const producer = connection.producer({ routingKey: 'bench' });
    return timed(budget, false, (more, finished) => {
      keepWindow((done) => producer.publish(text).then(() => done(), done), more, finished);
    });
  },

  async take(url, budget) {
    const connection = await new Connection(url).connect();
    const queue = new Queue('bench');
    await queue.bind(connection).declare();
    const producer = connection.producer({ routingKey: 'bench' });
    for (let i = 0; i < budget.most; i++) {
      await producer.ready();
      producer.publish(text).catch(() => undefined);
    }
    await producer.flush();
    return timed(budget, false, (more, finished) => {
      let going = true;
      const consumer = connection.consumer(queue, {
        prefetch: WINDOW,
        onMessage(message) {
          void message.ack();
          if (!going || more()) return;
          going = false;
          finished();
        },
      });
      consumer.consume().catch(finished);
    });
  },
};
