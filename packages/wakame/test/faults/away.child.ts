/** Publishes to a broker that has gone for good, then closes. Started by `away.test.ts` with `--expose-gc`. */
import { once } from 'node:events';
import { Connection, type MessagingError } from 'wakame';

export interface AwayTask {
  readonly url: string;
  readonly queue: string;
  /** Milliseconds. */
  readonly duration: number;
  /** Of each publish, in milliseconds. */
  readonly timeout: number;
  readonly perSecond: number;
}

export interface AwayReport {
  readonly published: number;
  /** How many rejected, by code and outcome. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Milliseconds from the publish to its rejection. */
  readonly soonest: number;
  readonly latest: number;
  /** Bytes of heap and buffers after a collection: once publishes reject as fast as they come, and at the end. */
  readonly heapBefore: number;
  readonly heapAfter: number;
  readonly closeTook: number;
}

const task = JSON.parse(process.argv[2] as string) as AwayTask;
const { gc } = globalThis as unknown as { gc: () => void };
const heap = () => {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

const connection = new Connection(task.url);
const producer = connection.producer();
await producer.publish(new Uint8Array(1024), { routingKey: task.queue });
process.send?.('connected');
await once(process, 'message'); // The broker is gone.

const rejected: Record<string, number> = {};
let [published, soonest, latest] = [0, Number.POSITIVE_INFINITY, 0];

function publish(): void {
  published += 1;
  const start = performance.now();
  producer.publish(new Uint8Array(1024), { routingKey: task.queue, timeout: task.timeout }).then(
    () => {
      rejected['resolved'] = (rejected['resolved'] ?? 0) + 1;
    },
    ({ code, outcome }: MessagingError & { readonly outcome?: string }) => {
      const elapsed = performance.now() - start;
      soonest = Math.min(soonest, elapsed);
      latest = Math.max(latest, elapsed);
      const what = `${code} ${outcome}`;
      rejected[what] = (rejected[what] ?? 0) + 1;
    },
  );
}

async function publishFor(ms: number): Promise<void> {
  const start = performance.now();
  const before = published;
  for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - start) {
    while (published - before < (elapsed / 1000) * task.perSecond) publish();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

await publishFor(2 * task.timeout);
const heapBefore = heap();
await publishFor(task.duration);
const heapAfter = heap();
await producer.flush();
const closing = performance.now();
await connection.close();
const closeTook = performance.now() - closing;
const report: AwayReport = { published, rejected, soonest, latest, heapBefore, heapAfter, closeTook };
process.send?.(report, undefined, {}, () => process.disconnect());
