import { afterEach } from 'vitest';
import { type Connection, type ConnectOptions, connect, type MessagingError } from '../../src/index.js';
import { FakeBroker, type FakeBrokerOptions, type FakePeer, obliging, type Script } from './fake-broker.js';

const brokers: FakeBroker[] = [];
const connections: Connection[] = [];

// A script that failed fails the test; nothing a test opened outlives it.
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.abort();
  await Promise.all(brokers.splice(0).map((broker) => broker.close()));
});

/** A scripted broker that is closed after the test. */
export async function fakeBroker(script: Script = obliging, options?: FakeBrokerOptions): Promise<FakeBroker> {
  const broker = await FakeBroker.listen(script, options);
  brokers.push(broker);
  return broker;
}

/** Connects to a URL; the connection is dropped after the test. */
export async function connected(url: string, options?: ConnectOptions): Promise<Connection> {
  const connection = await connect(url, options);
  connections.push(connection);
  return connection;
}

/** A client and the broker's half of it. */
export async function pair(
  script: Script = obliging,
  options?: ConnectOptions,
): Promise<{ connection: Connection; peer: FakePeer; broker: FakeBroker }> {
  const broker = await fakeBroker(script);
  const connection = await connected(broker.url, options);
  return { connection, peer: await broker.peer(), broker };
}

/** The error that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<MessagingError> {
  try {
    await promise;
  } catch (error) {
    return error as MessagingError;
  }
  throw new Error('the promise did not reject');
}

/** A promise with its handles. */
export function deferred<T = void>(): { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

/** The URL of the RabbitMQ to test against. */
export function rabbitUrl(): string {
  const url = process.env.WAKAME_TEST_RABBITMQ_URL;
  if (url === undefined) throw new Error('WAKAME_TEST_RABBITMQ_URL names no broker');
  return url;
}

let lastName = 0;

/** A name that no other test uses. */
export function uniqueName(): string {
  lastName += 1;
  return `wakame-amqp.${process.pid}.${Date.now().toString(36)}.${lastName}`;
}
