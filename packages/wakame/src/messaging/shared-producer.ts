import type { Connection } from '../connection/connection.js';
import { Producer } from './producer.js';

const producers = new WeakMap<Connection, Producer>();

/** The producer that all entities bound to a connection publish by. It is closed with the connection. */
export function sharedProducer(connection: Connection): Producer {
  let producer = producers.get(connection);
  if (producer === undefined) {
    producer = new Producer(connection);
    producers.set(connection, producer);
  }
  return producer;
}
