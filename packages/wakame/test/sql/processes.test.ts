/** Many processes on one database. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { Connection, Queue } from 'wakame';
import { mysqlDatabases, postgresqlDatabases, scaled, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

function start(url: string, ...args: string[]): ChildProcess {
  const program = fileURLToPath(new URL('./fleet-child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const child = fork(program, [url, ...args], { execArgv: ['--import', loader] });
  children.push(child);
  return child;
}

test.each([
  ['sqlite', async () => `sqlite:${folder}/fleet.db`],
  ['postgresql', postgresqlDatabases().newUrl],
  ['mariadb', mysqlDatabases('mariadb').newUrl],
  ['mysql', mysqlDatabases('mysql').newUrl],
] as const)(
  '%s: what two processes publish, four handle: each message once',
  async (_name, locate) => {
    const url = await locate();
    const count = scaled(2000);
    await using connection = new Connection(url);
    const queue = new Queue<number>('fleet').bind(connection);
    await queue.declare();
    const handled: number[] = [];
    const consumers = [1, 2, 3, 4].map(() => start(url, 'consume'));
    for (const consumer of consumers) consumer.on('message', (numbers: number[]) => handled.push(...numbers));
    const publishers = [0, 1].map((n) => start(url, 'publish', String((n * count) / 2), String(count / 2)));
    await Promise.all(publishers.map((publisher) => once(publisher, 'message')));
    await expect.poll(() => handled.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count);
    const ended = consumers.map((consumer) => once(consumer, 'exit'));
    for (const consumer of consumers) consumer.send('stop');
    await Promise.all(ended);
    expect(handled.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n));
    expect((await queue.queueDeclare({ passive: true })).messageCount).toBe(0);
  },
  120_000,
);
