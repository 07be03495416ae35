/** However many messages wait, what is done with the next few of them looks at these few. */
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { Connection, Queue } from 'wakame';
import { type Context, Effects } from '../../src/transports/sql/context.js';
import { tableNames } from '../../src/transports/sql/names.js';
import { Operations } from '../../src/transports/sql/operations/index.js';
import { sqliteDialect } from '../../src/transports/sql/sqlite/dialect.js';
import { runSync, type Statement, type Steps } from '../../src/transports/sql/steps.js';
import { scaled, temporaryFolder } from './support.js';

const folder = temporaryFolder();
/** A million at the scale of the full run. */
const MANY = scaled(20_000);

function fill(file: DatabaseSync, queue: string, count: number): void {
  const insert = file.prepare(
    "INSERT INTO kombu_message (visible, payload, version, queue_id) SELECT 1, '{}', 1, id FROM kombu_queue WHERE name = ?",
  );
  file.exec('BEGIN');
  for (let i = 0; i < count; i++) insert.run(queue);
  file.exec('COMMIT');
}

/**
 * The steps of a plan that cost more, the more messages there are. Messages are found by key, or in our index of what is ready in one queue; what is
 * noted of them by key, or from an end of an index. Of holders and queues there are few.
 */
function costly(plan: readonly string[]): string[] {
  const sortsReady = plan.some((step) => step.includes('ix_wakame_ready'));
  return plan.filter((step) => {
    if (/^SCAN (json_each|CONSTANT ROW|batch|wakame_holder|w)\b/.test(step)) return false;
    return /^SCAN/.test(step) || /ix_kombu_message_visible/.test(step) || (sortsReady && /TEMP B-TREE/.test(step));
  });
}

test('with many messages waiting, no statement of publishing, taking or settling reads a whole table', async () => {
  const path = `${folder}/plans.db`;
  await using connection = new Connection(`sqlite:${path}`);
  for (const name of ['many', 'few']) await new Queue(name).bind(connection).declare();
  using file = new DatabaseSync(path);
  fill(file, 'many', MANY);
  const context: Context = {
    dialect: sqliteDialect,
    names: tableNames(),
    holder: 'a-holder',
    lease: 30_000,
    clock: { offset: 0 },
    effects: new Effects(),
  };
  const { storing, taking, settling, sweeping, hints, consumers } = new Operations(context);
  const scans: string[] = [];
  const execute = ({ text, values, returns }: Statement) => {
    const plan = file.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...(values as string[]));
    scans.push(...costly(plan.map(({ detail }) => String(detail))).map((step) => `${step} in ${text}`));
    const statement = file.prepare(text);
    if (returns) return { rows: statement.all(...(values as string[])), changes: 0, insertId: 0 };
    const { changes, lastInsertRowid } = statement.run(...(values as string[]));
    return { rows: [], changes: Number(changes), insertId: Number(lastInsertRowid) };
  };
  const work = <T>(steps: Steps<T>) => runSync(steps, execute);
  const requests = ['many', 'few'].map((queue) => ({ queue, credit: 50, noAck: false }));
  const message = { body: Buffer.from('x'), properties: { headers: {} }, exchange: '', routingKey: 'many' };
  const at = Date.now();
  work(
    storing.send([
      { outbound: { queue: 'many', message, expiresAt: undefined, notBefore: undefined }, payload: '{}', at },
      { outbound: { queue: 'few', message, expiresAt: at + 60_000, notBefore: undefined }, payload: '{}', at },
    ]),
  );
  expect(work(hints.look(['many', 'few'])).ready.size).toBe(2);
  expect(work(taking.any(['many']))).toBe(true);
  const taken = work(taking.take(requests, { requestId: 1, limit: 100, order: 'fair', waitMs: 0 }));
  expect(taken).toHaveLength(51);
  const leases = taken.map(({ id }) => ({ id, requestId: 1 }));
  expect(work(settling.extend(leases))).not.toContain(false);
  const outcomes = (['ack', 'requeue', 'release', 'reject'] as const).map((outcome, i) => ({
    lease: leases[i] as (typeof leases)[0],
    outcome,
  }));
  expect(work(settling.settle(outcomes))).toEqual([true, true, true, true]);
  work(consumers.renew('holder'));
  work(sweeping.sweep(100, -1));
  work(sweeping.tidy(0, 100));
  work(sweeping.prune('2000-01-01 00:00:00', 100));
  expect(scans).toEqual([]);
});

test('a batch costs no more with many waiting than with a thousand', async () => {
  const rounds = 30;
  const costs: number[] = [];
  for (const count of [1000 + rounds * 100, MANY]) {
    const path = `${folder}/cost-${count}.db`;
    await using connection = new Connection(`sqlite:${path}`, { transportOptions: { synchronous: 'OFF' } });
    const queue = new Queue('q').bind(connection);
    await queue.declare();
    using file = new DatabaseSync(path);
    fill(file, 'q', count);
    const times: number[] = [];
    let last = performance.now();
    let seen = 0;
    const body = { onDecodeError: () => undefined };
    for await (const message of connection.consumer(queue, { prefetch: 100, settle: 'manual', ...body })) {
      void message.ack();
      if (++seen % 100 !== 0) continue;
      times.push(performance.now() - last);
      last = performance.now();
      if (times.length === rounds) break;
    }
    costs.push(times.sort((a, b) => a - b)[rounds / 2] ?? Number.NaN);
  }
  const [few = 0, many = 0] = costs;
  // Half as much again is noise, on a machine that does other things too.
  expect(many, `${few} ms for a hundred of a thousand, ${many} ms for a hundred of ${MANY}`).toBeLessThan(few * 2 + 5);
});
