import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Connection, Queue } from 'wakame';
import { type FaultProxy, startFaultProxy, through } from '../support/fault-proxy.js';

const MIB = 1 << 20;
const url = process.env.WAKAME_TEST_RABBITMQ_URL as string;
let proxy: FaultProxy;
let connection: Connection;
let count = 0;

beforeAll(async () => {
  const { hostname, port } = new URL(url);
  proxy = await startFaultProxy({ host: hostname, port: Number(port || 5672) });
  connection = new Connection(through(proxy, url));
});

afterEach(() => proxy.clear());

afterAll(async () => {
  await connection.close();
  await proxy.close();
});

async function withQueue<T>(use: (queue: Queue<T>) => Promise<void>): Promise<void> {
  count += 1;
  const queue = new Queue<T>(`wakame.throughput.${process.pid}.${count}`).bind(connection);
  await queue.declare();
  try {
    await use(queue);
  } finally {
    proxy.clear();
    await queue.delete();
  }
}

describe('over a slow line', () => {
  it('a thousand unawaited publishes are one round of confirms', async () => {
    await withQueue<number>(async (queue) => {
      const producer = connection.producer();
      await producer.publish(-1, { routingKey: queue.name });
      const oneWay = 200;
      proxy.set('both', { kind: 'delay', ms: oneWay });
      const start = performance.now();
      await Promise.all(Array.from({ length: 1000 }, (_, i) => producer.publish(i, { routingKey: queue.name })));
      const elapsed = performance.now() - start;
      // One round is two ways; two rounds would be four.
      expect(elapsed).toBeGreaterThanOrEqual(2 * oneWay - 20);
      expect(elapsed).toBeLessThan(4 * oneWay);
      proxy.clear();
      expect((await queue.queueDeclare({ passive: true })).messageCount).toBe(1001);
    });
  });

  it('the publisher of a big message does not keep acks and small ones of other channels waiting', async () => {
    await withQueue<Uint8Array | string>(async (queue) => {
      const [big, small] = [connection.producer(), connection.producer()];
      await Promise.all([big, small].map((producer) => producer.publish('open', { routingKey: queue.name })));
      proxy.set('toBroker', { kind: 'throttle', bytesPerSecond: 8 * MIB });
      let bigDone = false;
      const bigPublish = big.publish(Buffer.alloc(16 * MIB), { routingKey: queue.name }).then(() => {
        bigDone = true;
      });
      await proxy.after(MIB, 'toBroker');
      await small.publish('overtakes', { routingKey: queue.name });
      expect(bigDone).toBe(false);
      await bigPublish;
    });
  });
});

describe('large messages', () => {
  it('64 MiB go through, there and back, unchanged', async () => {
    await withQueue<Uint8Array>(async (queue) => {
      const body = Buffer.alloc(64 * MIB);
      for (let i = 0; i < body.length; i += 4) body.writeUInt32LE(i, i);
      await connection.producer().publish(body, { routingKey: queue.name, timeout: 120_000 });
      for await (const message of connection.consumer(queue)) {
        expect(body.equals(message.payload)).toBe(true);
        await message.ack();
        break;
      }
    });
  }, 180_000);
});
