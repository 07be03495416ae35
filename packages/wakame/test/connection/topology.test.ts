import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import {
  AMQPNotImplementedError,
  type MessagingError,
  NotFound,
  PreconditionFailed,
  RecoverableConnectionError,
  ResourceLocked,
} from '../../src/errors.js';
import { FakeBroker } from '../support/fake-transport.js';

let broker: FakeBroker;
let connection: Connection;
let problems: MessagingError[];

const declared = () => broker.log.filter((line) => /^(queue|exchange)(Declare|Bind)/.test(line));

async function recovered(): Promise<void> {
  const again = new Promise((resolve) => connection.once('recovered', resolve));
  broker.log.length = 0;
  broker.kill();
  await again;
}

beforeEach(() => {
  broker = new FakeBroker();
  problems = [];
  connection = new Connection('fake://one', broker.options());
  connection.on('problem', (error) => problems.push(error));
});

afterEach(async () => {
  await connection.close({ timeout: 500 });
});

describe('the cache', () => {
  test('the same is declared once; other arguments are another declaration', async () => {
    const { topology } = connection;
    expect(await topology.declareExchange({ name: 'e', type: 'topic' })).toBe(true);
    expect(await topology.declareExchange({ name: 'e', type: 'topic' })).toBe(false);
    const queue = { name: 'q', durable: true, arguments: { 'x-max-length': 5, 'x-overflow': 'reject-publish' } };
    expect(await topology.declareQueue(queue)).toMatchObject({ queue: 'q', declared: true });
    const turned = { 'x-overflow': 'reject-publish', 'x-max-length': 5 };
    expect(await topology.declareQueue({ ...queue, arguments: turned })).toMatchObject({ declared: false });
    await expect(topology.declareQueue({ ...queue, arguments: {} })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
    expect(await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: 'k' })).toBe(true);
    expect(await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: 'k' })).toBe(false);
    expect(await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: 'other' })).toBe(true);
  });

  test('kombu hashed entities by name alone: here arguments count, also after a refusal', async () => {
    const { topology } = connection;
    await topology.declareQueue({ name: 'q', arguments: { 'x-max-length': 1 } });
    await expect(topology.declareQueue({ name: 'q' })).rejects.toBeInstanceOf(PreconditionFailed);
    expect(await topology.declareQueue({ name: 'q', arguments: { 'x-max-length': 1 } })).toMatchObject({
      declared: false,
    });
  });

  test.each([
    ['auto-delete', { autoDelete: true }],
    ['exclusive', { exclusive: true }],
    ['expiring', { arguments: { 'x-expires': 60_000 } }],
  ])('never for %s queues, nor for their bindings', async (_, options) => {
    const { topology } = connection;
    for (let i = 0; i < 2; i++) {
      expect(await topology.declareQueue({ name: 'q', ...options })).toMatchObject({ declared: true });
      expect(await topology.bindQueue({ queue: 'q', exchange: 'amq.topic', routingKey: '#' })).toBe(true);
    }
  });

  test('never for auto-delete exchanges', async () => {
    const { topology } = connection;
    for (let i = 0; i < 2; i++) {
      expect(await topology.declareExchange({ name: 'e', type: 'fanout', autoDelete: true })).toBe(true);
    }
  });

  test('forgotten when deleted, and when somebody says so', async () => {
    const { topology } = connection;
    const binding = { queue: 'q', exchange: 'amq.direct', routingKey: 'k' };
    await topology.declareQueue({ name: 'q' });
    await topology.bindQueue(binding);
    await topology.deleteQueue('q');
    expect(await topology.declareQueue({ name: 'q' })).toMatchObject({ declared: true });
    expect(await topology.bindQueue(binding)).toBe(true);
    topology.forget('queue', 'q');
    expect(await topology.declareQueue({ name: 'q' })).toMatchObject({ declared: true });
    expect(await topology.bindQueue(binding)).toBe(true);
    await topology.unbindQueue(binding);
    expect(await topology.bindQueue(binding)).toBe(true);
  });

  test('a passive declaration always asks, and is not remembered', async () => {
    const { topology } = connection;
    await expect(topology.declareQueue({ name: 'q', passive: true })).rejects.toBeInstanceOf(NotFound);
    await topology.declareQueue({ name: 'q' });
    await topology.declareQueue({ name: 'q', passive: true });
    await topology.declareQueue({ name: 'q', passive: true });
    expect(broker.count('checkQueue q')).toBe(3);
    broker.deleteQueue('q');
    await recovered();
    expect(declared()).toEqual(['queueDeclare q']);
  });

  test('a thousand at once are one request; aborting one does not concern the others', async () => {
    const { topology } = connection;
    const stop = new AbortController();
    const aborted = topology.declareQueue({ name: 'q', signal: stop.signal });
    const all = Array.from({ length: 1000 }, () => topology.declareQueue({ name: 'q' }));
    stop.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await Promise.all(all);
    expect(broker.count('queueDeclare q')).toBe(1);
  });

  test('`fresh` asks the broker', async () => {
    await connection.topology.declareQueue({ name: 'q' });
    expect(await connection.topology.declareQueue({ name: 'q', fresh: true })).toMatchObject({ declared: true });
  });
});

describe('after a loss', () => {
  test('all that was declared is declared again, in the order of dependence, before channels and consumers', async () => {
    const { topology } = connection;
    const channel = connection.channel();
    await topology.declareQueue({ name: 'q' });
    await topology.declareExchange({ name: 'e', type: 'topic' });
    await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: '#' });
    await topology.declareExchange({ name: 'f', type: 'fanout' });
    await topology.bindExchange({ source: 'e', destination: 'f', routingKey: 'x' });
    await channel.qos({ prefetch: 7 });
    await channel.consume('q', { consumerTag: 'c', onDelivery() {} });
    broker.queues.clear();
    broker.exchanges.clear();
    broker.bindings.clear();
    await recovered();
    const kept = broker.log.filter((line) => !/Channel|close/.test(line));
    expect(kept).toEqual([
      'open one',
      'exchangeDeclare e',
      'exchangeDeclare f',
      'exchangeBind e-x->f',
      'queueDeclare q',
      'queueBind e-#->q',
      'qos 7 consumer',
      'consume q',
    ]);
    expect(await topology.declareQueue({ name: 'q' })).toMatchObject({ declared: false });
    expect(await topology.declareExchange({ name: 'e', type: 'topic' })).toBe(false);
  });

  test('what was deleted or unbound stays so', async () => {
    const { topology } = connection;
    await topology.declareExchange({ name: 'e', type: 'topic' });
    await topology.declareQueue({ name: 'q' });
    await topology.declareQueue({ name: 'p' });
    await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: 'a' });
    await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: 'b' });
    await topology.bindQueue({ queue: 'p', exchange: 'e', routingKey: 'c' });
    await topology.unbindQueue({ queue: 'q', exchange: 'e', routingKey: 'a' });
    await topology.deleteQueue('p');
    await recovered();
    expect(declared()).toEqual(['exchangeDeclare e', 'queueDeclare q', 'queueBind e-b->q']);
    await topology.deleteExchange('e');
    await recovered();
    expect(declared()).toEqual(['queueDeclare q']);
  });

  test('a queue that the broker named gets its new name everywhere', async () => {
    const { topology } = connection;
    const renamed = vi.fn();
    const { queue } = await topology.declareQueue({ name: '', exclusive: true, onRenamed: renamed });
    await topology.bindQueue({ queue, exchange: 'amq.fanout', routingKey: '' });
    const channel = connection.channel();
    await channel.consume(queue, { onDelivery() {} });
    expect(topology.currentName(queue)).toBe(queue);
    const names = [queue];
    for (let losses = 0; losses < 3; losses++) {
      const previous = topology.currentName(queue);
      await recovered();
      const current = topology.currentName(queue);
      names.push(current);
      expect(renamed).toHaveBeenLastCalledWith(current, previous);
      expect(topology.currentName(previous)).toBe(current);
      expect(broker.bindings).toEqual(new Set([`amq.fanout-->${current}`]));
      expect(broker.consumersOf(current)).toHaveLength(1);
    }
    expect(new Set(names).size).toBe(4);
    expect(await topology.purgeQueue(queue)).toBe(0);
    expect(broker.log.at(-1)).toBe(`queuePurge ${names.at(-1)}`);
    await topology.deleteQueue(queue);
    await recovered();
    expect(declared()).toEqual([]);
  });

  test('a named queue of the broker that outlives connections keeps its name', async () => {
    const { topology } = connection;
    const { queue } = await topology.declareQueue({ name: '', durable: true });
    await recovered();
    expect(topology.currentName(queue)).toBe(queue);
    expect(broker.count(`checkQueue ${queue}`)).toBe(1);
    broker.deleteQueue(queue);
    await recovered();
    expect(topology.currentName(queue)).not.toBe(queue);
  });

  test('what is refused is a problem with its type, and takes nothing else down', async () => {
    const { topology } = connection;
    for (let i = 0; i < 5; i++) await topology.declareQueue({ name: `q${i}`, durable: true });
    broker.queues.clear();
    const { queues } = broker;
    const other = { name: 'q2', options: { durable: false }, owner: undefined, messages: [] };
    queues.set('q2', other);
    await recovered();
    expect([...queues.keys()].sort()).toEqual(['q0', 'q1', 'q2', 'q3', 'q4']);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toBeInstanceOf(PreconditionFailed);
    expect(problems[0]?.message).toContain("'q2'");
  });

  test('a queue still locked by the connection before is claimed as soon as it is free', async () => {
    const { topology } = connection;
    await topology.declareQueue({ name: 'mine', exclusive: true });
    broker.refuse('queueDeclare', () => new ResourceLocked('locked'), 3);
    await recovered();
    await broker.until(() => broker.queues.has('mine'), 'the queue');
    expect(problems.every(({ code }) => code === 'RESOURCE_LOCKED')).toBe(true);
  });

  test('a declaration that ends the connection does not end each one to come', async () => {
    const { topology } = connection;
    await topology.declareQueue({ name: 'good' });
    await topology.declareQueue({ name: 'bad' });
    broker.rule('queueDeclare', ({ name, connection: inner }) => {
      if (name !== 'bad') return;
      const error = new AMQPNotImplementedError('540 no such thing', { replyCode: 540 });
      inner?.lose(error);
      throw error;
    });
    await recovered();
    expect(problems.map(({ replyCode }) => replyCode)).toEqual([540]);
    await recovered();
    expect(declared()).toEqual(['queueDeclare good']);
  });

  test('declarations interrupted by a loss are repeated', async () => {
    const { topology } = connection;
    await connection.connect();
    const remove = broker.rule('queueDeclare', () => {
      remove();
      broker.kill();
    });
    const outcome = await topology.declareQueue({ name: 'q' });
    expect(outcome).toMatchObject({ queue: 'q', declared: true });
    expect(broker.tries).toHaveLength(2);
  });

  test('a declaration that the broker punishes with the connection is not repeated', async () => {
    const { topology } = connection;
    await connection.connect();
    broker.rule('queueDeclare', ({ connection: inner }) => {
      const error = new AMQPNotImplementedError('540', { replyCode: 540 });
      inner?.lose(error);
      throw error;
    });
    await expect(topology.declareQueue({ name: 'q' })).rejects.toMatchObject({ replyCode: 540 });
    expect(broker.count('queueDeclare q')).toBe(1);
  });

  test('while down, a declaration waits until its timeout', async () => {
    await connection.connect();
    broker.refuse('open', () => new RecoverableConnectionError('refused', { code: 'CONNECT_FAILED' }), 1000);
    broker.kill();
    await broker.until(() => broker.tries.length > 1);
    await expect(connection.topology.declareQueue({ name: 'q', timeout: 40 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
  });
});

describe('the record does not grow for ever', () => {
  test('an auto-delete queue leaves it with its last consumer here, and its auto-delete exchange with it', async () => {
    const { topology } = connection;
    const channel = connection.channel();
    await topology.declareExchange({ name: 'e', type: 'fanout', autoDelete: true });
    await topology.declareQueue({ name: 'q', autoDelete: true });
    await topology.bindQueue({ queue: 'q', exchange: 'e', routingKey: '' });
    await channel.consume('q', { consumerTag: 'a', onDelivery() {} });
    await channel.consume('q', { consumerTag: 'b', onDelivery() {} });
    await channel.cancel('a');
    await recovered();
    expect(declared()).toEqual(['exchangeDeclare e', 'queueDeclare q', 'queueBind e-->q']);
    await channel.cancel('b');
    await recovered();
    expect(declared()).toEqual([]);
  });

  test('an expiring queue that nobody here uses leaves it when the broker has deleted it', async () => {
    const { topology } = connection;
    await topology.declareQueue({ name: 'short', arguments: { 'x-expires': 20 } });
    await topology.declareQueue({ name: 'long', arguments: { 'x-expires': 600_000 } });
    await new Promise((resolve) => setTimeout(resolve, 30));
    await recovered();
    expect(declared()).toEqual(['queueDeclare long']);
  });
});
