/**
 * One measurement on a SQLite file of its own: `measure.ts <adapter> <scenario> <messages> <synchronous>`.
 *
 * `wakame`: two processes publish, four take, acknowledge and are told of it; each message is handled once, or this fails.
 * `bare`: one process inserts rows into the same table and deletes them, each by itself: what SQLite itself does with a loop.
 * `bare-100`: the same, a hundred to a transaction: what there is for whoever needs neither to take nor to wait, and knows nothing of others.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { Connection, Queue } from 'wakame';
import { encodeEnvelope } from 'wakame/wire';
import type { Sample } from '../lib/sample.ts';

const PUBLISHERS = 2;
const CONSUMERS = 4;
/** Milliseconds of a bare loop: on a disk, a hundred thousand commits take many minutes. */
const LONGEST = 5000;
const [adapter, , messages, synchronous = 'FULL'] = process.argv.slice(2);
const count = Number(messages);
const folder = mkdtempSync(join(tmpdir(), 'wakame-bench-'));
const file = join(folder, 'bench.db');
const url = `sqlite:${file}?synchronous=${synchronous}`;

/** The tables, made by Wakame for both. */
async function makeTables(): Promise<void> {
  await using connection = await new Connection(url).connect();
  await new Queue('bench').bind(connection).declare();
}

async function bare(batch: number): Promise<Sample> {
  await makeTables();
  using database = new DatabaseSync(file);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`);
  const payload = encodeEnvelope({
    body: Buffer.from('12345'),
    properties: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: {},
      deliveryMode: 2,
      priority: 0,
    },
    ...{ exchange: '', routingKey: 'bench', deliveryTag: '0b7f2c5e-9d0e-4f0e-8a63-3f7f5a3c1d2b', redelivered: false },
  });
  const insert = database.prepare(
    'INSERT INTO kombu_message (visible, payload, version, queue_id) VALUES (1, ?, 1, 1)',
  );
  const drop = database.prepare('DELETE FROM kombu_message WHERE id = ?');
  const cpu = process.cpuUsage();
  const started = performance.now();
  let done = 0;
  for (; done < count && performance.now() - started < LONGEST; done += batch) {
    const ids: (number | bigint)[] = [];
    database.exec('BEGIN IMMEDIATE');
    for (let i = 0; i < batch; i++) ids.push(insert.run(payload).lastInsertRowid);
    database.exec('COMMIT');
    database.exec('BEGIN IMMEDIATE');
    for (const id of ids) drop.run(id);
    database.exec('COMMIT');
  }
  const { user, system } = process.cpuUsage(cpu);
  return { messages: done, seconds: (performance.now() - started) / 1000, cpu: user + system };
}

async function wakame(): Promise<Sample> {
  await makeTables();
  const share = Math.ceil(count / PUBLISHERS);
  const publishers = Array.from({ length: PUBLISHERS }, (_, i) =>
    start('publish', i * share, Math.min(share, count - i * share)),
  );
  const consumers = Array.from({ length: CONSUMERS }, () => start('consume'));
  await Promise.all([...publishers, ...consumers].map((child) => once(child, 'message')));
  const times = new Uint8Array(count);
  let handled = 0;
  const isOver = new Promise<void>((resolve) => {
    for (const consumer of consumers) {
      consumer.on('message', (numbers: number[]) => {
        for (const n of numbers) times[n] = (times[n] ?? 0) + 1;
        handled += numbers.length;
        if (handled >= count) resolve();
      });
    }
  });
  const started = performance.now();
  for (const child of [...consumers, ...publishers]) child.send('go');
  await isOver;
  const seconds = (performance.now() - started) / 1000;
  const ended = consumers.map((consumer) => once(consumer, 'exit'));
  for (const consumer of consumers) consumer.send('stop');
  await Promise.all(ended);
  const wrong = times.findIndex((one) => one !== 1);
  if (wrong >= 0) throw new Error(`message ${wrong} was handled ${times[wrong]} times`);
  return { messages: count, seconds };
}

function start(role: string, ...range: number[]): ChildProcess {
  const program = fileURLToPath(new URL('worker.ts', import.meta.url));
  const child = fork(program, [url, role, ...range.map(String)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  child.once('exit', (code) => {
    if (code !== 0) throw new Error(`a worker ended with exit code ${code}`);
  });
  return child;
}

const run = { bare: () => bare(1), 'bare-100': () => bare(100), wakame }[adapter ?? ''];
if (run === undefined) throw new Error(`no adapter ${adapter}`);
try {
  console.log(JSON.stringify(await run()));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
