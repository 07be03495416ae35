/** What operators and other programs do to a real RabbitMQ beneath a connection: alarms, withdrawn permissions, changed queues; and TLS. */
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Connection, type ConnectionOptions, type MessagingError, Queue, type RecoveredInfo } from 'wakame';
import { type RabbitmqServer, startRabbitmq } from '../../../../scripts/lib/brokers/rabbitmq.ts';
import { eventually, failure } from '../messaging/support.js';
import { type FaultProxy, startFaultProxy, through } from '../support/fault-proxy.js';

const certificates = new URL('../../../amqp/test/support/certificates/', import.meta.url).pathname;
const USER = 'limited';

let broker: RabbitmqServer;
let proxy: FaultProxy;
let names = 0;
let problems: MessagingError[] = [];
const open: Connection[] = [];

beforeAll(async () => {
  broker = await startRabbitmq({
    name: `broker-faults-${process.pid}`,
    tls: { certificate: `${certificates}server.pem`, key: `${certificates}server-key.pem` },
    // An alarm is noticed within this many milliseconds.
    config: 'vm_memory_calculation_strategy = rss\ncollect_statistics_interval = 1000',
  });
  proxy = await startFaultProxy(broker);
});

beforeEach(() => {
  problems = [];
});

afterEach(async () => {
  await proxy.accept();
  await Promise.all(open.splice(0).map((connection) => connection.close({ timeout: 2000 })));
});

afterAll(async () => {
  await proxy?.close();
  await broker?.kill();
  if (broker !== undefined) rmSync(broker.folder, { recursive: true, force: true });
});

function connectTo(url: string, options?: ConnectionOptions): Connection {
  const connection = new Connection(url, options);
  connection.on('problem', (error) => problems.push(error));
  open.push(connection);
  return connection;
}

function queueOf(connection: Connection, options: { readonly maxLength?: number } = {}): Queue<string> {
  names++;
  return new Queue<string>(`wakame.broker.${names}`, options).bind(connection);
}

/** Collects what a consumer gets. */
async function consume(connection: Connection, queue: Queue<string>): Promise<string[]> {
  const got: string[] = [];
  await connection.consumer(queue, { settle: 'auto', onMessage: ({ payload }) => got.push(payload) }).consume();
  return got;
}

async function lose(connection: Connection, meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
  const recovered = once(connection, 'recovered') as Promise<[RecoveredInfo]>;
  const lost = once(connection, 'disconnected');
  proxy.refuse();
  await proxy.reset();
  await lost;
  await meanwhile();
  await proxy.accept();
  await recovered;
}

it('celery#2689, py-amqp#293: a memory alarm: publishes wait, consumers go on and settle, and all is sent when it is over', async () => {
  const connection = connectTo(broker.url);
  const queue = queueOf(connection);
  await queue.declare();
  const producer = connection.producer({ routingKey: queue.name });
  for (let i = 0; i < 5; i++) await producer.publish(`before ${i}`);
  const events: string[] = [];
  connection.on('blocked', (reason) => events.push(`blocked: ${reason}`));
  connection.on('unblocked', () => events.push('unblocked'));

  const blocked = once(connection, 'blocked');
  const before = await broker.ctl('eval', 'vm_memory_monitor:get_vm_memory_high_watermark().');
  await broker.ctl('set_vm_memory_high_watermark', '0.000001');
  try {
    // RabbitMQ blocks a connection when it next publishes.
    const during = ['during 0', 'during 1'].map((body) => producer.publish(body));
    await blocked;
    expect(connection.connected).toBe(true);
    const got = await consume(connection, queue);
    await eventually('five messages before the alarm', () => got.length >= 5);
    await eventually('their acks', async () => (await queue.queueDeclare({ passive: true })).messageCount === 0);
    expect(got).toEqual([0, 1, 2, 3, 4].map((i) => `before ${i}`));
    const late = await failure(producer.publish('impatient', { timeout: 300 }));
    expect([late.code, late.outcome]).toEqual(['TIMEOUT', 'unknown']);

    const unblocked = once(connection, 'unblocked');
    await broker.ctl('set_vm_memory_high_watermark', before.trim());
    await unblocked;
    expect(await Promise.all(during)).toEqual([{ attempts: 1 }, { attempts: 1 }]);
    // The one that was given up had been written: that is what `unknown` says.
    await eventually('all that was published', () => got.length === 8);
    expect(got.slice(5)).toEqual(['during 0', 'during 1', 'impatient']);
  } finally {
    await broker.ctl('set_vm_memory_high_watermark', before.trim());
  }
  expect(events).toEqual([expect.stringContaining('blocked: low on memory'), 'unblocked']);
  expect(problems).toEqual([]);
}, 60_000);

it('permissions withdrawn: refused operations say ACCESS_REFUSED, a consumer returns with its permission, others go on', async () => {
  await broker.ctl('add_user', USER, 'secret');
  await broker.ctl('set_permissions', '-p', '/', USER, '.*', '.*', '.*');
  const connection = connectTo(through(proxy, broker.url).replace('guest:guest', `${USER}:secret`));
  const [allowed, forbidden] = [queueOf(connection), queueOf(connection)];
  const [fine, refused] = [await consume(connection, allowed), await consume(connection, forbidden)];

  await lose(connection, () => broker.ctl('set_permissions', '-p', '/', USER, '.*', '.*', `^${allowed.name}$`));
  const guest = connectTo(broker.url).producer();
  await guest.publish('1', { routingKey: allowed.name });
  await guest.publish('1', { routingKey: forbidden.name });
  await eventually('what may be consumed', () => fine.length === 1);
  expect(problems.map(({ code }) => code)).toContain('ACCESS_REFUSED');
  expect((await failure(forbidden.get())).code).toBe('ACCESS_REFUSED');
  const states = () => connection.subscriptions.map(({ queue, state }) => [queue, state]);
  expect(states()).toEqual([
    [allowed.name, 'consuming'],
    [forbidden.name, 'returning'],
  ]);

  await broker.ctl('set_permissions', '-p', '/', USER, '.*', '.*', '.*');
  await eventually('both consuming', () => states().every(([, state]) => state === 'consuming'));
  await eventually('what waited', () => refused.length === 1);
});

it('a queue declared otherwise by somebody else while we were away: a typed problem, and the rest is rebuilt', async () => {
  const connection = connectTo(through(proxy, broker.url));
  const [taken, ours] = [queueOf(connection), queueOf(connection)];
  const [gotTaken, gotOurs] = [await consume(connection, taken), await consume(connection, ours)];
  const other = connectTo(broker.url);
  await lose(connection, async () => {
    await taken.bind(other).delete();
    await new Queue(taken.name, { maxLength: 5 }).bind(other).declare();
  });
  expect(problems[0]).toMatchObject({ code: 'PRECONDITION_FAILED', replyCode: 406 });
  expect(problems[0]?.message).toContain(taken.name);
  const producer = other.producer();
  await producer.publish('x', { routingKey: ours.name });
  await eventually('the other queue', () => gotOurs.length === 1);
  expect(connection.subscriptions.map(({ state }) => state)).toEqual(['returning', 'consuming']);

  await new Queue(taken.name, { maxLength: 5 }).bind(other).delete();
  await eventually('its consumer', () => connection.subscriptions.every(({ state }) => state === 'consuming'));
  await producer.publish('y', { routingKey: taken.name });
  await eventually('the queue that is ours again', () => gotTaken.length === 1);
});

it('TLS: the certificate is verified, messages of any size go through, and recovery is over TLS', async () => {
  const url = `amqps://guest:guest@localhost:${broker.tlsPort}//`;
  expect((await failure(connectTo(url).connect())).code).toBe('TLS_FAILED');
  const ca = readFileSync(`${certificates}authority.pem`);
  const connection = connectTo(url, { ssl: { ca } });
  const queue = queueOf(connection);
  await queue.declare();
  const got = await consume(connection, queue);
  const producer = connection.producer({ routingKey: queue.name });
  const large = 'x'.repeat(3_000_000);
  await producer.publish(large);
  await eventually('the large message', () => got.length === 1);
  expect(got[0] === large).toBe(true);
  const recovered = once(connection, 'recovered');
  await broker.ctl('close_all_connections', 'maintenance');
  await recovered;
  await producer.publish('after');
  await eventually('a message after recovery', () => got.length === 2);
});
