/**
 * Twenty consumers and five producers on five connections; told to by its parent, it lets a message through each of them and reports what
 * it holds. Started by `restarts.test.ts` with `--expose-gc`, as a process of its own, so that nothing else is measured.
 */
import { EventEmitter, once } from 'node:events';
import { Connection, Queue } from 'wakame';

export interface RestartsTask {
  readonly url: string;
  readonly prefix: string;
}

/** What the process holds when everything is at work and nothing is under way. */
export interface Holdings {
  /** Deliveries since the previous report, by consumer. */
  readonly delivered: readonly number[];
  readonly confirmed: number;
  readonly sockets: number;
  readonly timers: number;
  /** Of all sockets and connections, over all events. */
  readonly listeners: number;
  /** Bytes, after a collection. */
  readonly heap: number;
}

const CONNECTIONS = 5;
const CONSUMERS_EACH = 4;

const { url, prefix } = JSON.parse(process.argv[2] as string) as RestartsTask;
const { gc } = globalThis as unknown as { gc: () => void };
const arrivals = new EventEmitter();
let delivered = new Array<number>(CONNECTIONS * CONSUMERS_EACH).fill(0);

const stations = await Promise.all(
  Array.from({ length: CONNECTIONS }, async (_, station) => {
    const connection = new Connection(url, { connectDeadline: 60_000 });
    const queues = Array.from({ length: CONSUMERS_EACH }, (_, i) => new Queue<number>(`${prefix}.${station}.${i}`));
    for (const [i, queue] of queues.entries()) {
      const consumer = connection.consumer(queue, {
        settle: 'auto',
        onMessage: () => {
          delivered[station * CONSUMERS_EACH + i]! += 1;
          arrivals.emit('one');
        },
      });
      await consumer.consume();
    }
    return { connection, queues, producer: connection.producer() };
  }),
);

async function letThrough(): Promise<Holdings> {
  delivered = delivered.map(() => 0);
  const publishes = stations.flatMap(({ producer, queues }) =>
    queues.map((queue) => producer.publish(1, { routingKey: queue.name, timeout: 60_000 })),
  );
  const confirmed = (await Promise.all(publishes)).length;
  while (delivered.some((count) => count === 0)) await once(arrivals, 'one');
  // What is over must be over: timers of answered requests, sockets that are closing.
  await new Promise((resolve) => setTimeout(resolve, 500));
  gc();
  const resources = process.getActiveResourcesInfo();
  const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
  const emitters = handles.filter((handle) => handle instanceof EventEmitter);
  const count = (emitter: EventEmitter) =>
    emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
  return {
    delivered,
    confirmed,
    sockets: resources.filter((name) => name === 'TCPSocketWrap').length,
    timers: resources.filter((name) => name === 'Timeout').length,
    listeners: emitters.reduce((sum, emitter) => sum + count(emitter), 0),
    heap: process.memoryUsage().heapUsed,
  };
}

process.on('message', (word: 'report' | 'close') => {
  if (word === 'report') {
    void letThrough().then((holdings) => process.send?.(holdings));
    return;
  }
  void Promise.all(stations.map(({ connection }) => connection.close())).then(() => process.disconnect());
});
process.send?.('ready');
