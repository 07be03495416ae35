/** A worker as a process of its own: `node worker-process.ts <url> <name>`. Ends on SIGTERM, or with its parent. */
import { Connection } from 'wakame';
import { startWorker } from './worker.ts';

const [url, name = 'worker'] = process.argv.slice(2);
const connection = new Connection(url);
await startWorker(connection, name);
process.send?.('ready');

const stop = () => void connection.close();
process.once('SIGTERM', stop);
process.once('SIGINT', () => {}); // Ctrl-C reaches the whole group; the parent decides when workers end.
process.once('disconnect', stop);
