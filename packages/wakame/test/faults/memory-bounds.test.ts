import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection, Queue } from 'wakame';
import { type FaultProxy, startFaultProxy, through } from '../support/fault-proxy.js';
import type { PublisherReport, PublisherTask } from './publisher.child.js';

const MIB = 1 << 20;
const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
/** A million, a twentieth of it by default. */
const messages = Math.min(1_000_000, 50_000 * scale);
const url = process.env.WAKAME_TEST_RABBITMQ_URL as string;

let proxy: FaultProxy;
let connection: Connection;

beforeAll(async () => {
  const { hostname, port } = new URL(url);
  proxy = await startFaultProxy({ host: hostname, port: Number(port || 5672) });
  connection = new Connection(url);
});

afterAll(async () => {
  await connection.close();
  await proxy.close();
});

/** Runs the publisher through the proxy; `measuring` is called when it begins to measure. */
async function run(task: PublisherTask, measuring: () => void): Promise<PublisherReport> {
  const script = fileURLToPath(new URL('./publisher.child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const child = fork(script, [JSON.stringify(task)], { execArgv: ['--expose-gc', '--import', loader] });
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`the publisher ended too early: ${code ?? signal}`)));
      child.on('message', (message: 'measuring' | PublisherReport) => {
        if (message === 'measuring') measuring();
        else resolve(message);
      });
    });
  } finally {
    if (child.exitCode === null) child.kill();
  }
}

describe('memory of a publisher', () => {
  // Node, RabbitMQ and the proxy share the machine: a hundred megabytes at a few thousand messages a second.
  const timeout = 120_000 + messages;

  async function published(mode: PublisherTask['mode'], bytes: number, measuring: () => void) {
    const queue = new Queue(`wakame.memory.${mode}.${process.pid}`, { maxLength: 1 }).bind(connection);
    await queue.declare();
    try {
      const report = await run({ url: through(proxy, url), queue: queue.name, messages, bytes, mode }, measuring);
      console.log(
        `${mode}: ${messages} messages of ${bytes} bytes in ${report.seconds.toFixed(1)} s; ` +
          `RSS +${Math.round(report.rssGrowth / MIB)} MiB, heap and buffers +${Math.round(report.heapGrowth / MIB)} MiB`,
      );
      return report;
    } finally {
      proxy.clear();
      await queue.delete();
    }
  }

  it('confirm: false, each awaited, against a broker that reads 1 MB/s for a while', { timeout }, async () => {
    let slow: NodeJS.Timeout | undefined;
    const begun = proxy.bytes('toBroker');
    let passedSlowly = 0;
    const report = await published('unconfirmed', 1024, () => {
      proxy.set('toBroker', { kind: 'throttle', bytesPerSecond: 1_000_000 });
      slow = setTimeout(() => {
        passedSlowly = proxy.bytes('toBroker') - begun;
        proxy.clear();
      }, 8_000);
    });
    clearTimeout(slow);
    // The publisher was held up: it did not run ahead of the broker by more than its window.
    expect(passedSlowly).toBeGreaterThan(0);
    expect(passedSlowly).toBeLessThan(16 * MIB);
    expect(report.seconds).toBeGreaterThan(8);
    expect(report.rssGrowth).toBeLessThan(100 * MIB);
    expect(report.heapGrowth).toBeLessThan(100 * MIB);
  });

  it('amqplib#147: confirmed, with a thousand always in flight', { timeout }, async () => {
    const report = await published('confirmed', 256, () => {});
    expect(report.mostInFlight).toBe(1000);
    expect(report.rssGrowth).toBeLessThan(100 * MIB);
    expect(report.heapGrowth).toBeLessThan(100 * MIB);
  });
});
