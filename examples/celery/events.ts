/** Prints what Celery workers tell, until interrupted: node examples/celery/events.ts [url]. They tell with --task-events. */
import { Connection } from 'wakame';
import { workerEvents } from './celery.ts';

const [url = 'amqp://guest:guest@localhost:5672//'] = process.argv.slice(2);
await using connection = new Connection(url);
const events = workerEvents(connection, ({ type, hostname, uuid }) => console.log(hostname, type, uuid ?? ''));
await events.consume();

console.log('listening');
await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
