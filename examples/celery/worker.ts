/**
 * Does tasks that a Python client sends: node examples/celery/worker.ts [url] [queue]. On the other side, with tasks.py:
 *
 *     app.send_task('js.upper', args=['hello']).get()
 *
 * It answers `celery inspect ping`, too.
 */
import { hostname } from 'node:os';
import { Connection } from 'wakame';
import { taskWorker, workerMailbox } from './celery.ts';

const [url = 'amqp://guest:guest@localhost:5672//', queue = 'node-tasks'] = process.argv.slice(2);
await using connection = new Connection(url);

const tasks = taskWorker(connection, queue, {
  'js.upper': ([text]) => String(text).toUpperCase(),
});
await tasks.consume();

const name = `node@${hostname()}`;
await using node = workerMailbox(connection).node(name, { handlers: { ping: () => ({ ok: 'pong' }) } });
await node.listen();

console.log(`${name} works`);
await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
