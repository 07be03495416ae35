import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Connection, type ConnectionOptions, type ErrorCode, Exchange, type MessagingError, Queue } from 'wakame';
import { type RabbitmqServer, startRabbitmq } from '../../../../scripts/lib/brokers/rabbitmq.ts';
import { type FaultProxy, startFaultProxy, through } from '../support/fault-proxy.js';
import { certificate, startTlsFront, type TlsFront } from '../support/tls-front.js';

let broker: RabbitmqServer;
let proxy: FaultProxy;
let tls: TlsFront;
const open: Connection[] = [];
const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => unhandled.push(reason);

beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled);
  // One for each run, so that two may run at the same time.
  broker = await startRabbitmq({ name: `faults-${process.pid}` });
  proxy = await startFaultProxy(broker);
  tls = await startTlsFront(broker);
});

afterEach(async () => {
  proxy.clear();
  await proxy.accept();
  await Promise.all(open.splice(0).map((connection) => connection.close()));
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled.splice(0)).toEqual([]);
});

afterAll(async () => {
  await tls?.close();
  await proxy?.close();
  await broker?.stop();
  if (broker !== undefined) rmSync(broker.folder, { recursive: true, force: true });
  process.off('unhandledRejection', onUnhandled);
});

function connectTo(url: string, options: ConnectionOptions = {}): Connection {
  const connection = new Connection(url, options);
  connection.on('problem', () => {}); // What a case expects it looks for where it hurts.
  open.push(connection);
  return connection;
}

/** The error of a promise that must reject within that time. */
async function rejected(promise: Promise<unknown>, ms = 15_000): Promise<MessagingError> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`neither resolved nor rejected within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([
      promise.then(
        (value) => Promise.reject(new Error(`resolved with ${JSON.stringify(value)}`)),
        (error: MessagingError) => error,
      ),
      hang,
    ]);
  } finally {
    clearTimeout(timer);
  }
}

async function expectCode(promise: Promise<unknown>, code: ErrorCode): Promise<MessagingError> {
  const error = await rejected(promise);
  expect(error.code, error.stack).toBe(code);
  return error;
}

describe('refused at the door', () => {
  const secret = 'wr0ng-s3cret';
  const refusals: readonly (readonly [string, () => [string, ConnectionOptions?], ErrorCode])[] = [
    ['a wrong password', () => [broker.url.replace('guest:guest', `guest:${secret}`)], 'AUTH_FAILED'],
    ['an unknown user', () => [broker.url.replace('guest:guest', `nobody:${secret}`)], 'AUTH_FAILED'],
    ['an unknown virtual host', () => [`${broker.url.slice(0, -1)}no-such-vhost`], 'VHOST_NOT_FOUND'],
    ['a certificate that nobody signed', () => [`amqps://guest:guest@localhost:${tls.port}//`], 'TLS_FAILED'],
    [
      'a certificate for another name',
      () => [`amqps://guest:guest@127.0.0.1:${tls.port}//`, { ssl: { ca: certificate, servername: 'example.org' } }],
      'TLS_FAILED',
    ],
    ['TLS spoken to a broker that does not', () => [broker.url.replace('amqp:', 'amqps:')], 'TLS_FAILED'],
  ];

  for (const [what, target, code] of refusals) {
    it(`${what}: every operation is ${code} at once, whether it would be retried or not`, async () => {
      const start = performance.now();
      const operations: readonly ((connection: Connection) => Promise<unknown>)[] = [
        (connection) => connection.connect(),
        (connection) => connection.producer({ retry: false }).publish('x', { routingKey: 'q' }),
        (connection) => connection.producer({ retry: true }).publish('x', { routingKey: 'q' }),
        (connection) => new Queue('wakame.errors').bind(connection).declare(),
        (connection) => connection.consumer(new Queue('wakame.errors'), { onMessage: () => {} }).consume(),
      ];
      for (const operation of operations) {
        const error = await expectCode(operation(connectTo(...target())), code);
        expect(error.recoverable).toBe(false);
        expect(`${error.message}\n${error.stack}\n${JSON.stringify(error)}`).not.toContain(secret);
      }
      expect(performance.now() - start).toBeLessThan(12_000);
    });
  }

  it('the same certificate is accepted when it is trusted', async () => {
    const connection = connectTo(`amqps://guest:guest@localhost:${tls.port}//`, { ssl: { ca: certificate } });
    await connection.connect();
    expect(connection.connected).toBe(true);
  });

  it('nobody there: CONNECT_FAILED at the deadline, with the phase and the host', async () => {
    proxy.refuse();
    const connection = connectTo(through(proxy, broker.url), { connectDeadline: 500 });
    const error = await expectCode(connection.connect(), 'CONNECT_FAILED');
    expect([error.phase, error.host]).toEqual(['tcp', `127.0.0.1:${proxy.port}`]);
  });

  it('somebody there who says nothing: CONNECT_FAILED at the time for one try', async () => {
    proxy.set('both', { kind: 'swallow' });
    const connection = connectTo(through(proxy, broker.url), { connectTimeout: 200, connectDeadline: 500 });
    const start = performance.now();
    await expectCode(connection.connect(), 'CONNECT_FAILED');
    expect(performance.now() - start).toBeLessThan(5_000);
  });
});

describe('a channel closed by an error', () => {
  it('is the error of the operation that did it, and of nothing else', async () => {
    const connection = connectTo(broker.url);
    const queue = new Queue<string>('wakame.errors.channel').bind(connection);
    await queue.declare();
    const channel = connection.channel();
    const outcomes = await Promise.allSettled([
      channel.queueDeclare('wakame.errors.missing', { passive: true }),
      queue.queueDeclare({ passive: true }),
      connection.producer().publish('x', { exchange: 'wakame.errors.none', routingKey: 'k' }),
      connection.producer().publish('fine', { routingKey: queue.name }),
      new Queue('wakame.errors.channel', { durable: false }).bind(connection).declare(),
      new Exchange('amq.direct', { type: 'fanout', durable: true }).bind(connection).declare({ passive: false }),
    ]);
    expect(outcomes.slice(0, 5).map((each) => (each.status === 'fulfilled' ? 'fine' : each.reason.code))).toEqual([
      'NOT_FOUND',
      'fine',
      'NOT_FOUND',
      'fine',
      'PRECONDITION_FAILED',
    ]);
    const refused = outcomes[2] as PromiseRejectedResult;
    expect([refused.reason.replyCode, refused.reason.outcome]).toEqual([404, 'refused']);
    expect((await queue.get({ noAck: true }))?.payload).toBe('fine');
    await queue.delete();
  });

  it('an acknowledgement of what the broker does not know costs the channel, and the consumer goes on', async () => {
    const connection = connectTo(broker.url);
    const queue = new Queue<string>('wakame.errors.ack').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    const channel = connection.channel();
    const got: string[] = [];
    let wake: () => void = () => {};
    await channel.consume(queue.name, {
      onDelivery: (delivery) => {
        got.push(Buffer.from(delivery.body).toString());
        void channel.ack(delivery.deliveryTag);
        wake();
      },
    });
    const until = async (count: number) => {
      while (got.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    await producer.publish('before', { routingKey: queue.name });
    await until(1);
    const closed = channel.get('wakame.errors.none');
    await expectCode(closed, 'NOT_FOUND');
    await producer.publish('after', { routingKey: queue.name });
    await until(2);
    expect(got).toEqual(['before', 'after']);
    await queue.delete();
  });
});

describe('oversized headers', () => {
  it('are refused before anything is sent, and nothing else is disturbed', async () => {
    const connection = connectTo(broker.url);
    const queue = new Queue<number>('wakame.errors.header').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    const good = Array.from({ length: 50 }, (_, i) => producer.publish(i, { routingKey: queue.name }));
    // A content header is one frame: RabbitMQ's is 128 KiB at most.
    const bad = producer.publish(-1, { routingKey: queue.name, headers: { trace: 'x'.repeat(200_000) } });
    const more = Array.from({ length: 50 }, (_, i) => producer.publish(50 + i, { routingKey: queue.name }));
    const error = await rejected(bad);
    expect(['INVALID_ARGUMENT', 'ENCODE_FAILED', 'MESSAGE_TOO_LARGE'], error.stack).toContain(error.code);
    expect(error.outcome).toBe('not-sent');
    expect((await Promise.all([...good, ...more])).every(({ attempts }) => attempts === 1)).toBe(true);
    expect(await queue.purge()).toBe(100);
    await queue.delete();
  });
});

describe('a line that fails', () => {
  it('py-amqp#452: half-open: heartbeats notice, and what was in flight is sent again', async () => {
    const connection = connectTo(through(proxy, broker.url), { heartbeat: 1000 });
    const queue = new Queue<number>('wakame.errors.half-open').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    await producer.publish(0, { routingKey: queue.name });
    const disconnected = once(connection, 'disconnected');
    proxy.set('both', { kind: 'swallow' });
    const inFlight = producer.publish(1, { routingKey: queue.name });
    const [error] = (await disconnected) as [MessagingError];
    expect(error.code).toBe('HEARTBEAT_TIMEOUT');
    proxy.clear();
    expect((await inFlight).attempts).toBe(2);
    expect(await queue.purge()).toBe(2);
    await queue.delete();
  });

  it('cut at every place of a publish: the connection recovers, and every message arrives', async () => {
    const connection = connectTo(through(proxy, broker.url));
    const queue = new Queue<string>('wakame.errors.cut').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    await producer.publish('first', { routingKey: queue.name });
    const before = proxy.bytes('toBroker');
    await producer.publish('this long', { routingKey: queue.name });
    const size = proxy.bytes('toBroker') - before;
    let published = 2;
    // Inside the method frame, the header frame and the body frame, and between them.
    for (let after = 1; after < size; after += 13) {
      for (const kind of ['cut', 'reset'] as const) {
        proxy.trigger('toBroker', { kind, after });
        const recovered = once(connection, 'recovered');
        const { attempts } = await producer.publish(`after ${after} bytes, ${kind}`, { routingKey: queue.name });
        await recovered;
        expect(attempts).toBeGreaterThanOrEqual(1);
        published += 1;
      }
    }
    const texts = new Set<string>();
    for (let message = await queue.get({ noAck: true }); message; message = await queue.get({ noAck: true })) {
      texts.add(message.payload);
    }
    expect(texts.size).toBe(published);
    await queue.delete();
  }, 60_000);

  it('a damaged frame from the broker is a loss, not a crash, and never a wrong message', async () => {
    const connection = connectTo(through(proxy, broker.url));
    const direct = connectTo(broker.url);
    const queue = new Queue<string>('wakame.errors.damaged').bind(connection);
    await queue.declare();
    const got: string[] = [];
    let wake: () => void = () => {};
    const consumer = connection.consumer(queue, {
      onMessage: async (message) => {
        got.push(message.payload);
        await message.ack();
        wake();
      },
    });
    await consumer.consume();
    const publisher = direct.producer();
    for (let round = 0; round < 3; round++) {
      const lost = once(connection, 'disconnected');
      const recovered = once(connection, 'recovered');
      // The type octet of the next frame.
      proxy.trigger('toClient', { kind: 'corrupt', after: 0 });
      await publisher.publish(`round ${round}`, { routingKey: queue.name });
      const [error] = (await lost) as [MessagingError];
      expect(['PROTOCOL_ERROR', 'CONNECTION_LOST']).toContain(error.code);
      await recovered;
      while (got.at(-1) !== `round ${round}`) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    expect(new Set(got)).toEqual(new Set(['round 0', 'round 1', 'round 2']));
    await queue.delete();
  });

  it('answers that do not come are TIMEOUT for those who wait, at their own deadline', async () => {
    const connection = connectTo(through(proxy, broker.url));
    const queue = new Queue('wakame.errors.mute').bind(connection);
    await queue.declare();
    const producer = connection.producer({ retry: false });
    await producer.publish('x', { routingKey: queue.name });
    proxy.set('toClient', { kind: 'stall' });
    const start = performance.now();
    const [publish, get] = await Promise.all([
      expectCode(producer.publish('y', { routingKey: queue.name, timeout: 300 }), 'TIMEOUT'),
      expectCode(queue.get({ timeout: 300 }), 'TIMEOUT'),
    ]);
    expect(publish.outcome).toBe('unknown');
    expect(get.recoverable).toBe(true);
    expect(performance.now() - start).toBeLessThan(3_000);
    proxy.clear();
    await queue.delete();
  });
});

describe('a broker that is killed', () => {
  it('celery.node#37: without retry the operations that suffered say so; with retry they succeed when it is back', async () => {
    const connection = connectTo(broker.url);
    const queue = new Queue<string>('wakame.errors.killed').bind(connection);
    await queue.declare();
    const impatient = connection.producer({ retry: false });
    const patient = connection.producer();
    await Promise.all([impatient, patient].map((each) => each.publish('warm', { routingKey: queue.name })));
    await queue.purge();
    const got: string[] = [];
    let wake: () => void = () => {};
    const consumer = connection.consumer(queue, {
      onMessage: async (message) => {
        got.push(message.payload);
        await message.ack();
        wake();
      },
    });
    await consumer.consume();

    // Stopped first, so that what is sent now gets no answer any more.
    broker.pause();
    const suffered = [
      impatient.publish('suffers', { routingKey: queue.name }),
      connection.defaultChannel().queueDeclare(queue.name, { passive: true, timeout: 5_000 }),
    ] as const;
    const patiently = Array.from({ length: 20 }, (_, i) =>
      patient.publish(`patient ${i}`, { routingKey: queue.name, timeout: 120_000 }),
    );
    const disconnected = once(connection, 'disconnected');
    const errors = Promise.all(suffered.map((each) => rejected(each)));
    await broker.kill();
    const [lost] = (await disconnected) as [MessagingError];
    expect(lost.recoverable).toBe(true);
    const [publish, declare] = await errors;
    expect([publish?.code, publish?.outcome]).toEqual(['CONNECTION_LOST', 'unknown']);
    expect(['CONNECTION_LOST', 'CONNECT_FAILED', 'TIMEOUT']).toContain(declare?.code);
    expect(declare?.recoverable).toBe(true);
    const late = await rejected(patient.publish('late', { routingKey: queue.name, timeout: 200 }));
    expect([late.code, late.outcome]).toEqual(['TIMEOUT', 'not-sent']);
    expect(connection.state).toBe('recovering');

    const recovered = once(connection, 'recovered');
    await broker.start();
    await recovered;
    for (const { attempts } of await Promise.all(patiently)) expect(attempts).toBeGreaterThanOrEqual(2);
    while (new Set(got).size < 20) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    expect([...new Set(got)]).toEqual(Array.from({ length: 20 }, (_, i) => `patient ${i}`));
    await queue.delete();
  }, 120_000);
});
