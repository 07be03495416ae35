/** Asks the Celery workers how they are: node examples/celery/control.ts [url] */
import { Connection } from 'wakame';
import { workerMailbox } from './celery.ts';

const [url = 'amqp://guest:guest@localhost:5672//'] = process.argv.slice(2);
await using connection = new Connection(url);
const workers = workerMailbox(connection);

// All of them; without a limit it waits a second for one more.
for (const { hostname, value } of await workers.multiCall('ping')) console.log(hostname, value);
for (const { hostname, value } of await workers.multiCall('registered')) console.log(hostname, value);
