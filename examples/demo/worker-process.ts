/** A worker as a process of its own: `node worker-process.ts <url> <name>`. Ends on SIGTERM, or with its parent. */
import { Connection } from 'wakame';
import { startWorker } from './worker.ts';

const [url, name = 'worker'] = process.argv.slice(2);
const connection = new Connection(url);
await startWorker(connection, name);
process.send?.('ready');

/** Closing the connection is all it takes to end, but for the line to the parent. */
async function stop(): Promise<void> {
  await connection.close();
  if (process.connected) process.disconnect();
}
process.once('SIGTERM', () => void stop());
process.once('disconnect', () => void stop());
// Ctrl-C reaches the whole group of processes; the parent decides when its workers end.
process.on('SIGINT', () => undefined);
