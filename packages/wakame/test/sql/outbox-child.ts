/**
 * A program of a user's that records each piece of work and tells others of it, in one transaction, as fast as it can, until it is killed:
 *
 *     node outbox-child.ts <url> <kind> <first number>
 *
 * Every third transaction is rolled back.
 */
import { Connection } from 'wakame';
import { type DatabaseName, openHandle } from './handles.js';

const [url = '', kind, first] = process.argv.slice(2);
const connection = new Connection(url);
const producer = connection.producer();
const handle = await openHandle(kind as DatabaseName, url);
await connection.connect();
for (let n = Number(first); ; n++) {
  await handle.run('BEGIN');
  await handle.run(`INSERT INTO work (n) VALUES (${n})`);
  await producer.publish(n, { routingKey: 'outbox', transaction: handle.transaction });
  await handle.run(n % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
  // The parent kills it at any of these, or after it.
  if (n % 7 === 0) process.send?.(n);
}
