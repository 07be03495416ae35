/**
 * A real job, end to end. A producer reads a file of orders and publishes them with confirms; workers share the queue, check each
 * order and compute its invoice; one worker is killed on the way; at the end every record is accounted for.
 *
 *     npm run demo                                                  over SQLite: a file in a temporary folder
 *     npm run demo -- --url amqp://guest:guest@localhost//          over RabbitMQ, or any other broker
 *
 * Each worker is a process, but over `memory://`, which is this one's own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Connection } from 'wakame';
import { Account } from './account.ts';
import { startCrewMember, type Worker } from './crew.ts';
import { readOrders } from './orders.ts';
import { bar, count, Progress, ranges } from './progress.ts';
import { damaged, orders, results } from './topology.ts';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    file: { type: 'string' },
    workers: { type: 'string', default: '3' },
    limit: { type: 'string', default: 'Infinity' },
    'no-kill': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (options.help) {
  console.log(`npm run demo -- [options]
  --url URL      broker to use (SQLite, in a temporary folder)
  --file FILE    orders to read, in the form of examples/demo/orders.csv
  --workers N    how many workers share the queue (3)
  --limit N      publish at most N orders
  --no-kill      let every worker live`);
  process.exit(0);
}

const workerCount = Number(options.workers);
const limit = Number(options.limit);
if (!(Number.isInteger(workerCount) && workerCount > 0))
  throw new Error(`--workers must be a positive integer, not ${options.workers}`);
if (!(limit > 0)) throw new Error(`--limit must be a positive number, not ${options.limit}`);
/** Reports after which a worker is killed. */
const KILL_AFTER = 2_000;
const file = options.file ?? new URL('orders.csv', import.meta.url);

const url = options.url ?? temporaryUrl();
const account = new Account();
/** Every record has a report, or somebody pressed Ctrl-C. */
const finished = Promise.withResolvers<void>();
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    interrupted = true;
    finished.resolve();
  });
}

/** A file that goes when this process does. What a killed worker held comes back after four seconds (`lease`), not thirty. */
function temporaryUrl(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakame-demo-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return `sqlite:${encodeURI(folder)}/demo.db?lease=4`;
}

await using connection = new Connection(url);
await connection.connect();
// A run before this one may have been interrupted.
for (const queue of [orders, results, damaged]) {
  const bound = queue.bind(connection);
  await bound.declare();
  await bound.purge();
}

const crew: Worker[] = [];
for (let i = 1; i <= workerCount; i += 1) crew.push(await startCrewMember(url, `worker ${i}`));
console.log(`${workerCount} workers on ${connection.asUri()}, one queue`);

const started = performance.now();
const seconds = () => (performance.now() - started) / 1_000;
let publishSeconds = 0;
const progress = new Progress(
  () =>
    `${bar(account.finished, account.published)} published ${count(account.published)}  finished ${count(account.finished)}` +
    `  ${count(account.finished / seconds())}/s  redelivered ${count(account.redelivered.length)}`,
);

/** Reads the file and publishes each order. Confirms are pipelined: `ready()` is all the back-pressure it takes. */
async function publishAll(): Promise<void> {
  const producer = connection.producer({ exchange: 'demo', routingKey: 'order' });
  const pending: Promise<unknown>[] = [];
  for await (const order of readOrders(file)) {
    if (pending.length >= limit || interrupted) break;
    await producer.ready();
    pending.push(
      producer.publish(order, { mandatory: true }).then(() => {
        account.published += 1;
      }),
    );
  }
  await Promise.all(pending);
  publishSeconds = seconds();
  await producer.close();
}

/** Reads the reports, and kills a worker on the way. */
const reports = connection.consumer(results, {
  prefetch: 500,
  settle: 'auto',
  onMessage: async ({ payload }) => {
    account.add(payload);
    if (!killed && account.finished > KILL_AFTER) await killOne();
    if (allPublished && account.missing === 0) finished.resolve();
  },
});

let allPublished = false;
let killed = options['no-kill'] || workerCount < 2;
async function killOne(): Promise<void> {
  killed = true;
  const victim = crew.shift();
  if (victim === undefined) return;
  await victim.kill();
  progress.note(`${victim.name} was killed in the middle of its work; another takes its place`);
  crew.push(await startCrewMember(url, `worker ${workerCount + 1}`));
}

await reports.consume();
await publishAll();
allPublished = true;
if (account.missing === 0) finished.resolve();
await finished.promise;
await reports.close();
progress.stop();
const total = seconds();
await Promise.all(crew.map((worker) => worker.stop()));
const parked = (await damaged.bind(connection).queueDeclare({ passive: true })).messageCount;
for (const queue of [orders, results, damaged]) await queue.bind(connection).delete();

const rows: [string, number, string][] = [
  ['published and confirmed', account.published, `${count(account.published / publishSeconds)}/s`],
  ['handled', account.handled, `${count(account.finished / total)}/s`],
  ['failed, and parked in demo.damaged', account.failures.length, `${parked} found there`],
  ['redelivered', account.redelivered.length, `${account.repeated} of them done twice, counted once`],
  ['unaccounted for', account.missing, ''],
];
console.log();
for (const [label, value, remark] of rows) console.log(`  ${label.padEnd(36)}${count(value).padStart(8)}  ${remark}`);
if (account.redelivered.length > 0) console.log(`\n  redelivered: lines ${ranges(account.redelivered)}`);
console.log(`\n  ${[...account.byWorker].map(([name, n]) => `${name}: ${count(n)}`).join(', ')}`);
console.log(`  invoiced ${count(account.revenue)} in ${total.toFixed(1)} s`);
if (account.missing !== 0 || parked !== account.failures.length) {
  console.error('the account does not balance');
  process.exitCode = 1;
}
