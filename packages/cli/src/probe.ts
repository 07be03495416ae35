/** Small questions to a broker. */
import type { Connection } from 'wakame';

/** Milliseconds for one request and its answer. It asks for an exchange that every broker has, and changes nothing. */
export async function roundTrip(connection: Connection, signal: AbortSignal): Promise<number> {
  const start = performance.now();
  await connection.defaultChannel().exchangeDeclare('amq.fanout', 'fanout', { passive: true, signal });
  return performance.now() - start;
}
