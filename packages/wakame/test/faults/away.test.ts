import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { Connection, Queue } from 'wakame';
import { startFaultProxy, through } from '../support/fault-proxy.js';
import type { AwayReport, AwayTask } from './away.child.js';

const MIB = 1 << 20;
const url = process.env.WAKAME_TEST_RABBITMQ_URL as string;
const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
const duration = Math.min(60_000, 4_000 * scale);
const timeout = 1000;

it('the broker is away for good: publishes reject at their deadline, memory is flat, the process closes and exits', async () => {
  const { hostname, port } = new URL(url);
  const proxy = await startFaultProxy({ host: hostname, port: Number(port || 5672) });
  await using connection = new Connection(url);
  const queue = new Queue(`wakame.away.${process.pid}`).bind(connection);
  await queue.declare();

  const task: AwayTask = { url: through(proxy, url), queue: queue.name, duration, timeout, perSecond: 1000 };
  const script = fileURLToPath(new URL('./away.child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const child = fork(script, [JSON.stringify(task)], { execArgv: ['--expose-gc', '--import', loader] });
  try {
    const exit = once(child, 'exit');
    expect(await once(child, 'message')).toEqual(['connected', undefined]);
    await proxy.close();
    child.send('gone');
    const [report] = (await once(child, 'message')) as [AwayReport];
    const end = performance.now();
    expect(await exit).toEqual([0, null]);
    // By itself, and at once.
    expect(performance.now() - end).toBeLessThan(2000);

    const { published, rejected, soonest, latest, heapBefore, heapAfter, closeTook } = report;
    console.log(
      `${published} publishes rejected after ${Math.round(soonest)} to ${Math.round(latest)} ms; heap and buffers ` +
        `${(heapBefore / MIB).toFixed(1)}, at the end ${(heapAfter / MIB).toFixed(1)} MiB; closed in ${Math.round(closeTook)} ms`,
    );
    // One that was under way when the broker went may have arrived; of the others none was sent.
    expect(rejected).toEqual({ 'TIMEOUT not-sent': published });
    expect(published).toBeGreaterThan((duration / 1000) * 900);
    expect(soonest).toBeGreaterThanOrEqual(timeout - 20);
    expect(latest).toBeLessThan(timeout + 500);
    expect(heapAfter - heapBefore).toBeLessThan(5 * MIB);
    expect(closeTook).toBeLessThan(1000);
  } finally {
    child.kill('SIGKILL');
    await queue.delete();
  }
}, 90_000);
