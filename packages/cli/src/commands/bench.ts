import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { buildCommand } from '@stricli/core';
import { type Connection, Queue, uuid } from 'wakame';
import type { Context } from '../context.js';
import { type CommonFlags, common, commonAliases, number } from '../flags.js';
import { plural, time } from '../parse.js';
import { type Connected, placeOf, withConnection } from '../session.js';

interface Flags extends CommonFlags {
  readonly count?: number | undefined;
  readonly size?: number | undefined;
  readonly prefetch?: number | undefined;
  readonly trips?: number | undefined;
}

interface Result {
  readonly what: string;
  readonly messages: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly latency?:
    | { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number }
    | undefined;
}

/** Publishes under way at one time. */
const WINDOW = 1_000;

export const bench = buildCommand({
  docs: {
    brief: 'Measure how fast this broker and this machine are together',
    fullDescription:
      'Publishes with confirms, consumes with acknowledgements, then sends messages to itself one by one, by a queue of its own, which is gone\n' +
      'afterwards. Latencies of publishing are from the call to the confirm; of round trips from the call to the delivery.',
    customUsage: [
      '[options]',
      { input: '--count 100000 --size 1024', brief: 'A hundred thousand messages of a kilobyte' },
      { input: '--json', brief: 'For a chart' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      count: number('Messages (10,000)'),
      size: number('Bytes of each body (100)'),
      prefetch: number('Prefetch of the consumer (500)'),
      trips: number('Round trips (500)'),
    },
    aliases: { ...commonAliases, n: 'count', s: 'size' },
  },
  func(this: Context, flags: Flags) {
    return withConnection(this, flags, async (session) => {
      const { connection, out, signal } = session;
      const { count = 10_000, size = 100, prefetch = 500, trips = 500 } = flags;
      const body = new Uint8Array(size).fill(120);
      const queue = new Queue(`wakame.bench.${uuid()}`, { durable: true, expires: 600_000 });
      const bound = queue.bind(connection);
      await bound.declare({ signal });
      try {
        out.note(`${plural(count, 'message')} of ${size} bytes at ${placeOf(connection)}`);
        const results: Result[] = [];
        const tell = async (result: Result) => {
          results.push(result);
          if (!out.json) await out.line(picture(result));
        };
        await tell(await publishing(session, queue.name, body, count));
        await tell(await consuming(session, queue.name, count, prefetch));
        await tell(await roundTrips(connection, queue.name, body, trips, signal));
        if (out.json) await out.line(JSON.stringify({ url: placeOf(connection), size, results }));
      } finally {
        await bound.delete();
      }
    });
  },
});

async function publishing(
  { connection, out, signal }: Connected,
  queue: string,
  body: Uint8Array,
  count: number,
): Promise<Result> {
  const producer = connection.producer();
  const histogram = createHistogram();
  const underWay = new Set<Promise<void>>();
  let done = 0;
  const start = performance.now();
  const progress = out.progress(() => `published ${rateOf(done, start)}`);
  for (let i = 0; i < count; i++) {
    signal.throwIfAborted();
    if (underWay.size >= WINDOW) await Promise.race(underWay);
    await producer.ready();
    const sent = performance.now();
    const one = producer.publish(body, { routingKey: queue, signal }).then(() => {
      record(histogram, performance.now() - sent);
      underWay.delete(one);
      done++;
      progress.tick();
    });
    underWay.add(one);
  }
  await Promise.all(underWay);
  progress.done();
  await producer.close();
  return result('publish', count, performance.now() - start, histogram);
}

async function consuming(
  { connection, out, signal }: Connected,
  queue: string,
  count: number,
  prefetch: number,
): Promise<Result> {
  let done = 0;
  const start = performance.now();
  const progress = out.progress(() => `consumed ${rateOf(done, start)}`);
  const acks: Promise<boolean>[] = [];
  for await (const message of connection.consumer(queue, { prefetch, signal })) {
    // Not awaited one by one: a store settles many together. No more than the prefetch are under way.
    acks[done % prefetch] = message.ack();
    done++;
    progress.tick();
    if (done === count) break;
  }
  await Promise.all(acks);
  progress.done();
  return result('consume', done, performance.now() - start);
}

async function roundTrips(
  connection: Connection,
  queue: string,
  body: Uint8Array,
  trips: number,
  signal: AbortSignal,
): Promise<Result> {
  const producer = connection.producer();
  const histogram = createHistogram();
  let arrived: () => void = () => undefined;
  const onMessage = async (message: { ack(): Promise<boolean> }) => {
    arrived();
    await message.ack();
  };
  const consumer = await connection.consumer(queue, { signal, onMessage }).consume();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => undefined);
  const start = performance.now();
  for (let i = 0; i < trips; i++) {
    const sent = performance.now();
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const trip = Promise.all([producer.publish(body, { routingKey: queue, signal }), arrival]);
    await Promise.race([trip, aborted]);
    record(histogram, performance.now() - sent);
  }
  const took = performance.now() - start;
  await consumer.close();
  await producer.close();
  return result('round trip', trips, took, histogram);
}

/** The histogram counts whole numbers above 0: microseconds. */
function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1000)));
}

function result(what: string, messages: number, ms: number, histogram?: RecordableHistogram): Result {
  const at = (percentile: number) => (histogram?.percentile(percentile) ?? 0) / 1000;
  const latency = histogram && { p50: at(50), p95: at(95), p99: at(99), max: histogram.max / 1000 };
  return { what, messages, seconds: ms / 1000, perSecond: Math.round(messages / (ms / 1000)), latency };
}

function rateOf(done: number, start: number): string {
  const perSecond = done / ((performance.now() - start) / 1000);
  return `${plural(done, 'message')}, ${Math.round(perSecond).toLocaleString('en')} a second`;
}

function picture({ what, perSecond, latency }: Result): string {
  const rate = `${what.padEnd(10)} ${perSecond.toLocaleString('en').padStart(9)} a second`;
  if (latency === undefined) return rate;
  return `${rate}   half within ${time(latency.p50)}, 95 % ${time(latency.p95)}, 99 % ${time(latency.p99)}, all ${time(latency.max)}`;
}
