import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RabbitmqServer, startRabbitmq } from '../../../../scripts/lib/brokers/rabbitmq.ts';
import type { Holdings, RestartsTask } from './restarts.child.js';

const MIB = 1 << 20;
const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
/** Fifty at scale 50. */
const restarts = Math.min(50, 2 + scale);

let broker: RabbitmqServer;
let child: ChildProcess;
let output = '';
/** Rejects when the child ends. */
let ended: Promise<never>;

beforeAll(async () => {
  broker = await startRabbitmq({ name: `restarts-${process.pid}` });
});

afterAll(async () => {
  child?.kill('SIGKILL');
  await broker?.kill();
  if (broker !== undefined) rmSync(broker.folder, { recursive: true, force: true });
});

function start(task: RestartsTask): ChildProcess {
  const script = fileURLToPath(new URL('./restarts.child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const started = fork(script, [JSON.stringify(task)], {
    execArgv: ['--expose-gc', '--import', loader],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  for (const stream of [started.stdout, started.stderr]) stream?.on('data', (data) => (output += data));
  ended = once(started, 'exit').then(([code, signal]) => {
    throw new Error(`the child ended: ${code ?? signal}\n${output}`);
  });
  ended.catch(() => {}); // Whoever waits for the child hears of it.
  return started;
}

/** What the child says next. */
async function said<T>(): Promise<T> {
  const [message] = await Promise.race([once(child, 'message'), ended]);
  return message as T;
}

it(
  `${restarts} restarts of the broker in a row: 20 consumers and 5 producers live, and hold no more than before`,
  async () => {
    child = start({ url: broker.url, prefix: `wakame.restarts.${process.pid}` });
    expect(await said()).toBe('ready');
    const all: Holdings[] = [];
    for (let i = 0; i < restarts; i++) {
      if (i % 2 === 0) await broker.restart();
      else {
        await broker.kill();
        await broker.start();
      }
      child.send('report');
      const holdings = await said<Holdings>();
      expect(holdings.delivered).toHaveLength(20);
      // At least one: what was sent just before a kill may come again.
      expect(Math.min(...holdings.delivered)).toBeGreaterThanOrEqual(1);
      expect(holdings.confirmed).toBe(20);
      all.push(holdings);
    }
    const [middle, last] = [all[Math.floor((restarts - 1) / 2)], all.at(-1)] as [Holdings, Holdings];
    console.log(`after ${Math.floor((restarts - 1) / 2) + 1} restarts: ${describeHoldings(middle)}`);
    console.log(`after ${restarts} restarts: ${describeHoldings(last)}`);
    // Five connections of two sockets each.
    expect(last.sockets).toBe(10);
    expect(last.sockets).toBe(middle.sockets);
    expect(last.timers).toBeLessThanOrEqual(middle.timers);
    expect(last.listeners).toBe(middle.listeners);
    expect(last.heap - middle.heap).toBeLessThan(1 * MIB);

    const exit = once(child, 'exit');
    child.send('close');
    expect(await exit, output).toEqual([0, null]);
  },
  60_000 + restarts * 30_000,
);

function describeHoldings({ sockets, timers, listeners, heap }: Holdings): string {
  return `${sockets} sockets, ${timers} timers, ${listeners} listeners, ${(heap / MIB).toFixed(2)} MiB of heap`;
}
