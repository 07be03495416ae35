import type { Connection } from '../connection/connection.js';
import type { Producer } from '../messaging/producer.js';
import type { PublishOptions } from '../messaging/publish-options.js';
import { sharedProducer } from '../messaging/shared-producer.js';
import type { ProducerPool } from '../patterns/pools.js';

/** Where producers are borrowed. */
export type ProducerSource = Pick<ProducerPool, 'acquire'>;

/** Publishes by a producer of the pool, or by the one that everything bound to the connection shares. */
export async function publish(
  connection: Connection,
  pool: ProducerSource | undefined,
  body: object,
  options: PublishOptions,
): Promise<void> {
  if (pool === undefined) {
    await sharedProducer(connection).publish(body, options);
    return;
  }
  const producer: Producer = await pool.acquire({ signal: options.signal });
  try {
    await producer.publish(body, options);
  } finally {
    await producer.release();
  }
}
