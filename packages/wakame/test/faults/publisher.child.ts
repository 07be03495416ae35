/**
 * Publishes as it was told and reports how much memory that took. Started by `memory-bounds.test.ts` with `--expose-gc`, as a
 * process of its own, so that nothing else is measured.
 */
import { Connection } from 'wakame';

export interface PublisherTask {
  readonly url: string;
  readonly queue: string;
  readonly messages: number;
  readonly bytes: number;
  /** `unconfirmed`: each awaited, with `confirm: false`. `confirmed`: a thousand always in flight. */
  readonly mode: 'unconfirmed' | 'confirmed';
}

/** In bytes, beyond what the process needed after its first messages. */
export interface PublisherReport {
  readonly rssGrowth: number;
  readonly heapGrowth: number;
  readonly seconds: number;
  /** The most publishes that were under way at once. */
  readonly mostInFlight: number;
}

const task = JSON.parse(process.argv[2] as string) as PublisherTask;
const IN_FLIGHT = 1000;

const { gc } = globalThis as unknown as { gc: () => void };
const heap = (usage = process.memoryUsage()) => usage.heapUsed + usage.external;

const connection = new Connection(task.url);
const producer = connection.producer({ confirm: task.mode === 'confirmed' });
const body = Buffer.alloc(task.bytes, 'x');
const to = { routingKey: task.queue, timeout: 600_000 };
let mostInFlight = 0;

async function publish(count: number): Promise<void> {
  if (task.mode === 'unconfirmed') {
    mostInFlight = 1;
    for (let i = 0; i < count; i++) await producer.publish(body, to);
  } else {
    let inFlight = 0;
    let room: (() => void) | undefined;
    for (let i = 0; i < count; i++) {
      while (inFlight >= IN_FLIGHT) {
        await new Promise<void>((resolve) => {
          room = resolve;
        });
      }
      inFlight += 1;
      mostInFlight = Math.max(mostInFlight, inFlight);
      producer.publish(body, to).then(
        () => {
          inFlight -= 1;
          room?.();
        },
        (error: unknown) => {
          console.error(error);
          process.exit(1);
        },
      );
    }
  }
  await producer.flush();
}

// What any use costs is not growth: code, buffers of the socket, one window of messages.
await publish(2000);
gc();
const before = { rss: process.memoryUsage().rss, heap: heap() };
process.send?.('measuring');

let [rss, most] = [0, 0];
const sampler = setInterval(() => {
  const usage = process.memoryUsage();
  rss = Math.max(rss, usage.rss);
  most = Math.max(most, heap(usage));
}, 20);
const start = performance.now();
await publish(task.messages);
const seconds = (performance.now() - start) / 1000;
clearInterval(sampler);
const report: PublisherReport = {
  rssGrowth: rss - before.rss,
  heapGrowth: most - before.heap,
  seconds,
  mostInFlight,
};
await connection.close();
process.send?.(report, undefined, {}, () => process.disconnect());
