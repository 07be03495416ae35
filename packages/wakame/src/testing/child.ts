/** What the suite runs in a process of its own; see `child-process.ts`. Takes its task as JSON and tells by IPC. */
import { once } from 'node:events';
import { Connection, type ConnectionOptions, Queue } from '../index.js';

export interface ChildTask {
  readonly role: 'use-and-close' | 'pass-on' | 'hold' | 'publish-for-ever' | 'bind';
  readonly queue: string;
  /** Where `pass-on` publishes. */
  readonly to?: string | undefined;
  /** To which `bind` binds the queue. */
  readonly exchanges?: readonly string[] | undefined;
  readonly prefetch?: number | undefined;
  readonly url: string;
  readonly connection: ConnectionOptions | undefined;
}

const task = JSON.parse(process.argv[2] ?? '') as ChildTask;

function report(name: string, value: unknown = true): Promise<void> {
  return new Promise((resolve) => process.send?.([name, value], undefined, {}, () => resolve()));
}

async function main(): Promise<void> {
  const connection = new Connection(task.url, task.connection);
  const queue = new Queue<number>(task.queue).bind(connection);
  const producer = connection.producer();
  switch (task.role) {
    case 'use-and-close': {
      await queue.declare();
      const consumer = connection.consumer(queue, { settle: 'auto' });
      await producer.publish(1, { routingKey: task.queue });
      for await (const message of consumer) {
        await message.ack();
        break;
      }
      await connection.close();
      await report('closed');
      // Nothing but the channel to the parent may be left: the process ends by itself.
      process.disconnect();
      break;
    }
    case 'pass-on': {
      process.once('message', () => {
        void connection.close().then(() => process.disconnect());
      });
      const consumer = connection.consumer(queue, {
        settle: 'auto',
        onMessage: async ({ payload }) => {
          await producer.publish(payload, { routingKey: task.to });
        },
      });
      await consumer.consume();
      await report('ready');
      break;
    }
    case 'hold': {
      let first = true;
      const consumer = connection.consumer(queue, {
        prefetch: task.prefetch,
        onMessage: async (message) => {
          if (first) {
            first = false;
            await message.ack();
            return;
          }
          await report('handling', message.payload);
          await once(process, 'never'); // Until it is killed.
        },
      });
      await consumer.consume();
      break;
    }
    case 'bind': {
      const { exchanges = [] } = task;
      process.once('message', async () => {
        for (const exchange of exchanges) await queue.unbindFrom(exchange, { routingKey: 'a.*' });
        await report('unbound');
        await connection.close();
        process.disconnect();
      });
      for (const exchange of exchanges) {
        await queue.bindTo(exchange, { routingKey: 'a.*' });
        await producer.publish(exchange, { exchange, routingKey: 'a.b' });
      }
      await report('bound');
      break;
    }
    case 'publish-for-ever': {
      let confirmed = 0;
      for (let i = 0; ; i++) {
        void producer.publish(i, { routingKey: task.queue }).then(() => {
          confirmed += 1;
          if (confirmed === 300) void report('confirmed', confirmed);
        });
        if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});
