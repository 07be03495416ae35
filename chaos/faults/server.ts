/** Faults of a server as a whole: it ends in order, dies, or stands still. */

import { isListening, waitUntil } from '../../scripts/lib/brokers/processes.ts';
import { now } from '../ledger/records.ts';

/** What these faults need of a server. */
export interface ServerControl {
  readonly port: number;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
}

/** Starts it again. Resolves with the time at which it took connections, which is before all of it is up. */
export async function startAgain(server: ServerControl): Promise<number> {
  let listeningAt: number | undefined;
  const listening = waitUntil(`port ${server.port} opening`, 200_000, () => isListening(server.port)).then(() => {
    listeningAt = now();
  });
  await Promise.all([server.start(), listening]);
  return listeningAt ?? now();
}
