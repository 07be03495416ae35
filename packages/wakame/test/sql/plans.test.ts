/** However many messages wait, what is done with the next few of them looks at these few. */
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { Connection, Queue } from 'wakame';
import type { Operations } from '../../src/transports/sql/operations/index.js';
import { sqliteDialect } from '../../src/transports/sql/sqlite/dialect.js';
import { all, runAsync, type Statement, type Steps } from '../../src/transports/sql/steps.js';
import { openHandle } from './handles.js';
import { openSession, operationsOf } from './operations.js';
import { mysqlDatabases, postgresqlDatabases, scaled, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const { newUrl } = postgresqlDatabases();
/** A million at the scale of the full run. */
const MANY = scaled(20_000);
const timeout = 20_000 + MANY / 2;

type Work = <T>(steps: Steps<T>) => Promise<T>;

/** Publishes, takes, settles and sweeps, with at least fifty messages in the queue `many`. */
async function exercise({ storing, taking, settling, sweeping, hints, consumers }: Operations, work: Work) {
  const requests = ['many', 'few'].map((queue) => ({ queue, credit: 50, noAck: false }));
  const message = { body: Buffer.from('x'), properties: { headers: {} }, exchange: '', routingKey: 'many' };
  const at = Date.now();
  await work(
    storing.send([
      { outbound: { queue: 'many', message, expiresAt: undefined, notBefore: undefined }, payload: '{}', at },
      { outbound: { queue: 'few', message, expiresAt: at + 60_000, notBefore: undefined }, payload: '{}', at },
    ]),
  );
  expect((await work(hints.look(['many', 'few']))).ready.size).toBe(2);
  expect(await work(taking.any(['many']))).toBe(true);
  const taken = await work(taking.take(requests, { requestId: 1, limit: 100, order: 'fair', waitMs: 0 }));
  expect(taken).toHaveLength(51);
  const leases = taken.map(({ id }) => ({ id, requestId: 1 }));
  expect(await work(settling.extend(leases))).not.toContain(false);
  const outcomes = (['ack', 'requeue', 'release', 'reject'] as const).map((outcome, i) => ({
    lease: leases[i] as (typeof leases)[0],
    outcome,
  }));
  expect(await work(settling.settle(outcomes))).toEqual([true, true, true, true]);
  await work(settling.settle(leases.slice(4).map((lease) => ({ lease, outcome: 'ack' }))));
  await work(consumers.renew('holder'));
  await work(sweeping.sweep(100, -1));
  await work(sweeping.tidy(0, 100));
  await work(sweeping.prune('2000-01-01 00:00:00', 100));
}

describe('with many messages waiting, no statement of publishing, taking or settling reads a whole table', () => {
  /**
   * The steps of a plan that cost more, the more messages there are. Messages are found by key, or in our index of what is ready in one queue; what is
   * noted of them by key, or from an end of an index. Of holders and queues there are few.
   */
  function costly(plan: readonly string[]): string[] {
    const sortsReady = plan.some((step) => step.includes('ix_wakame_ready'));
    return plan.filter((step) => {
      if (/^SCAN (json_each|CONSTANT ROW|batch|times|wakame_holder|w)\b/.test(step)) return false;
      return /^SCAN/.test(step) || /ix_kombu_message_visible/.test(step) || (sortsReady && /TEMP B-TREE/.test(step));
    });
  }

  test('sqlite', { timeout }, async () => {
    const path = `${folder}/plans.db`;
    await using connection = new Connection(`sqlite:${path}`);
    for (const name of ['many', 'few']) await new Queue(name).bind(connection).declare();
    using file = new DatabaseSync(path);
    fill(file, 'many', MANY);
    const scans: string[] = [];
    const execute = async ({ text, values, returns }: Statement) => {
      const plan = file.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...(values as string[]));
      scans.push(...costly(plan.map(({ detail }) => String(detail))).map((step) => `${step} in ${text}`));
      const statement = file.prepare(text);
      if (returns) return { rows: statement.all(...(values as string[])), changes: 0, insertId: 0 };
      const { changes, lastInsertRowid } = statement.run(...(values as string[]));
      return { rows: [], changes: Number(changes), insertId: Number(lastInsertRowid) };
    };
    await exercise(operationsOf(sqliteDialect), (steps) => runAsync(steps, execute));
    expect(scans).toEqual([]);
  });

  /** A step of PostgreSQL's plan, as `EXPLAIN (FORMAT JSON)` gives it. */
  interface PlanNode {
    readonly 'Node Type': string;
    readonly 'Relation Name'?: string;
    readonly 'Index Name'?: string;
    readonly 'Index Cond'?: string;
    readonly Plans?: readonly PlanNode[];
  }

  interface Explained {
    readonly 'QUERY PLAN': readonly { readonly Plan: PlanNode }[];
  }

  function costlyNodes(node: PlanNode): string[] {
    const { 'Node Type': type, 'Relation Name': table = '', 'Index Name': index = '', 'Index Cond': condition } = node;
    const isFew = /^wakame_(holder|queue|meta|consumer)$|^kombu_queue$/.test(table);
    // In these indexes there is only what is to be found.
    const isPartial = /_(fate|expiry)$/.test(index);
    const reads =
      /Scan/.test(type) && /^(kombu|wakame)_/.test(table) && condition === undefined && !/Bitmap/.test(type);
    const isCostly =
      (reads && !isFew && !isPartial) ||
      (type === 'Bitmap Index Scan' && condition === undefined) ||
      /^ix_kombu_message_visible$/.test(index) ||
      (type === 'Sort' && /ix_wakame_(ready|of_queue)/.test(JSON.stringify(node)));
    const below = (node.Plans ?? []).flatMap(costlyNodes);
    return isCostly ? [`${type} ${table} ${index}`, ...below] : below;
  }

  /** Looks at the plan of each statement. */
  function* explained<T>(steps: Steps<T>, seen: (node: PlanNode, text: string) => void): Steps<T> {
    let step = steps.next();
    while (step.done !== true) {
      const { text, values } = step.value;
      if (!/^SELECT pg_notify|^SAVEPOINT/.test(text)) {
        const [row] = yield* all<Explained>(`EXPLAIN (FORMAT JSON) ${text}`, ...values);
        for (const { Plan } of row?.['QUERY PLAN'] ?? []) seen(Plan, text);
      }
      step = steps.next(yield step.value);
    }
    return step.value;
  }

  test('postgresql, also when all that the planner knows is that the tables were empty', { timeout }, async () => {
    const url = await newUrl();
    await using connection = new Connection(url);
    for (const name of ['many', 'few']) await new Queue(name).bind(connection).declare();
    const handle = await openHandle('pg', url);
    const { session, operations } = await openSession(url);
    try {
      const scans: string[] = [];
      const seen = (node: PlanNode, text: string) => {
        scans.push(...costlyNodes(node).map((step) => `${step} in ${text}`));
      };
      const work: Work = async (steps) => session.transact('write', () => explained(steps, seen));
      // What a database knows that cleaned up while there was nothing.
      await handle.run('VACUUM ANALYZE');
      const many = `kombu_queue q, generate_series(1, ${MANY}) AS i WHERE q.name = 'many'`;
      for (const statement of [
        `INSERT INTO kombu_message (id, visible, payload, version, queue_id)
          SELECT nextval('message_id_sequence'), true, '{}', 1, q.id FROM ${many}`,
        // Messages that others hold, that are delayed, and that have a past.
        `INSERT INTO wakame_lease SELECT -i, q.id, 'another', 1, 9e15 FROM ${many}`,
        `INSERT INTO wakame_message SELECT -i, q.id, 0, NULL, NULL, 1, NULL FROM ${many}`,
        `INSERT INTO wakame_delayed (queue_id, not_before, priority, size, payload) SELECT q.id, 9e15, 0, 2, '{}' FROM ${many}`,
      ]) {
        await handle.run(statement);
      }
      await exercise(operations, work);
      await handle.run('ANALYZE');
      await exercise(operations, work);
      expect(scans).toEqual([]);
    } finally {
      await session.close();
      await handle.close();
    }
  });

  /** A row of MariaDB's `EXPLAIN`, and of MySQL's. */
  interface PlanRow {
    readonly select_type: string;
    readonly table: string | null;
    readonly type: string | null;
    readonly key: string | null;
    readonly key_len: string | null;
    readonly Extra: string | null;
  }

  function costlyRow({ select_type: part, table, type, key, key_len: length, Extra: extra }: PlanRow): string[] {
    // Where MySQL inserts.
    if (part === 'INSERT') return [];
    const isMany = /^([mtlxde]|batch|kombu_message|wakame_(lease|message|delayed))$/.test(table ?? '');
    const reads = isMany && (type === 'ALL' || type === 'index');
    // Its first two columns take seven bytes, and are in the order of the third.
    const isWide = key === 'ix_kombu_message_visible' && (Number(length) < 7 || /filesort/.test(extra ?? ''));
    return reads || isWide ? [`${type} ${table} ${key} ${length} ${extra}`] : [];
  }

  function* explainedRows<T>(
    explain: string,
    steps: Steps<T>,
    seen: (rows: readonly PlanRow[], text: string) => void,
  ): Steps<T> {
    let step = steps.next();
    while (step.done !== true) {
      const { text, values } = step.value;
      // Of an insertion of values it says that it reads all, which it does not.
      if (/^(SELECT|UPDATE|DELETE|INSERT.*SELECT)/s.test(text)) {
        seen(yield* all<PlanRow>(explain + text, ...values), text);
      }
      step = steps.next(yield step.value);
    }
    return step.value;
  }

  const mysqls = [
    { name: 'mariadb', explain: 'EXPLAIN ', nextId: 'nextval(message_id_sequence)' },
    { name: 'mysql', explain: 'EXPLAIN FORMAT=TRADITIONAL ', nextId: 'NULL' },
  ] as const;
  const urlsOf = { mariadb: mysqlDatabases('mariadb'), mysql: mysqlDatabases('mysql') };

  test.each(mysqls)(
    '$name, whatever it knows of the tables; and none locks rows that it does not look for',
    {
      timeout,
    },
    async ({ name: server, explain, nextId }) => {
      const url = await urlsOf[server].newUrl();
      await using connection = new Connection(url);
      for (const name of ['many', 'few']) await new Queue(name).bind(connection).declare();
      const handle = await openHandle('mysql2', url);
      const { session, operations } = await openSession(url);
      try {
        const scans: string[] = [];
        let isLittle = true;
        const work: Work = async (steps) => {
          const seen = (rows: readonly PlanRow[], text: string) => {
            const locks = /^(UPDATE|DELETE)|FOR UPDATE/.test(text);
            if (locks || !isLittle) scans.push(...rows.flatMap(costlyRow).map((row) => `${row} in ${text}`));
          };
          return session.transact('write', () => explainedRows(explain, steps, seen));
        };
        const fillTables = async (count: number, offset: number) => {
          // Whoever passes over locked rows needs memory of the server's for each.
          if (count > 20_000) await fillTables(count - 20_000, offset);
          const first = count - Math.min(count, 20_000) + 1;
          const numbers = Array.from({ length: count - first + 1 }, (_, i) => first + i);
          const sequence = `JSON_TABLE('[${numbers.join()}]', '$[*]' COLUMNS (seq BIGINT PATH '$')) s`;
          const many = `kombu_queue q, ${sequence} WHERE q.name = 'many'`;
          for (const statement of [
            `INSERT INTO kombu_message (id, visible, payload, version, queue_id)
            SELECT ${nextId}, 1, '{}', 1, q.id FROM ${many}`,
            // Messages that others hold, that are delayed, and that have a past.
            `INSERT INTO wakame_lease SELECT -seq - ${offset}, q.id, 'another', 1, 9e15 FROM ${many}`,
            `INSERT INTO wakame_message SELECT -seq - ${offset}, q.id, 0, NULL, NULL, 1, NULL FROM ${many}`,
            `INSERT INTO wakame_delayed (queue_id, not_before, priority, size, payload) SELECT q.id, 9e15, 0, 2, '{}' FROM ${many}`,
          ]) {
            await handle.run(statement);
          }
        };
        const analyze = 'ANALYZE TABLE kombu_message, wakame_lease, wakame_message, wakame_delayed';
        // Few messages, of which hardly any has more than itself.
        for (let i = 0; i < 60; i++) await connection.producer().publish(i, { routingKey: 'many' });
        await handle.run(analyze);
        await exercise(operations, work);
        await fillTables(60, 0);
        await handle.run(analyze);
        await exercise(operations, work);
        isLittle = false;
        await fillTables(MANY, 60);
        const kombu = `${explain} SELECT m.* FROM kombu_message m JOIN kombu_queue q ON q.name = 'many'
        WHERE m.queue_id = q.id AND m.visible != false ORDER BY m.timestamp, m.id LIMIT 1 FOR UPDATE`;
        for (const prepare of ['SELECT 1', analyze]) {
          await handle.run(prepare);
          await exercise(operations, work);
          // Our index must not make Kombu sort, and lock, a whole queue for its next message.
          const plan = await session.transact('read', () => all<PlanRow>(kombu));
          expect(plan.map(({ Extra: extra }) => extra).join()).not.toContain('filesort');
        }
        expect(scans).toEqual([]);
      } finally {
        await session.close();
        await handle.close();
      }
    },
  );
});

function fill(file: DatabaseSync, queue: string, count: number): void {
  const insert = file.prepare(
    "INSERT INTO kombu_message (visible, payload, version, queue_id) SELECT 1, '{}', 1, id FROM kombu_queue WHERE name = ?",
  );
  file.exec('BEGIN');
  for (let i = 0; i < count; i++) insert.run(queue);
  file.exec('COMMIT');
}

test('a batch costs no more with many waiting than with a thousand', { timeout }, async () => {
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
