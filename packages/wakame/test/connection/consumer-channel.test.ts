import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConsumerChannel } from '../../src/connection/consumer-channel.js';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import {
  AccessRefused,
  ConsumerCancelled,
  errorForReply,
  type MessagingError,
  NotFound,
  PreconditionFailed,
  RecoverableConnectionError,
} from '../../src/errors.js';
import type { TransportChannel } from '../../src/transport/contract.js';
import { FakeBroker, type FakeChannel, turn } from '../support/fake-transport.js';

let broker: FakeBroker;
let connection: Connection;
let problems: MessagingError[];

function connect(options: ConnectionOptions = {}): void {
  connection = new Connection('fake://one', broker.options(options));
  connection.on('problem', (error) => problems.push(error));
}

interface Inbox {
  readonly bodies: string[];
  readonly cancelled: MessagingError[];
  readonly inners: TransportChannel[];
  onDelivery(delivery: { body: Uint8Array }, inner: TransportChannel): void;
  onCancel(error: MessagingError): void;
}

function inbox(): Inbox {
  const bodies: string[] = [];
  const cancelled: MessagingError[] = [];
  const inners: TransportChannel[] = [];
  return {
    bodies,
    cancelled,
    inners,
    onDelivery({ body }, inner) {
      bodies.push(Buffer.from(body).toString());
      inners.push(inner);
    },
    onCancel(error) {
      cancelled.push(error);
    },
  };
}

/** The rule of this file: with the connection open, every subscription consumes. */
function alive(channel: ConsumerChannel): boolean {
  // At any time, and not only in the end: whoever does not consume is being brought back.
  expect(channel.status.filter(({ state }) => state === 'forgotten')).toEqual([]);
  const all = [...channel.subscriptions];
  return all.length > 0 && all.every(([, { queue, consuming }]) => consuming && broker.consumersOf(queue).length > 0);
}

const end = (inner: TransportChannel | undefined, error: MessagingError) => (inner as FakeChannel).end(error);

beforeEach(async () => {
  broker = new FakeBroker();
  problems = [];
  connect();
  for (const name of ['a', 'b', 'c']) await connection.topology.declareQueue({ name });
});

afterEach(async () => {
  await connection.close({ timeout: 500 });
});

describe('subscribing', () => {
  test('prefetch first, then consumers; deliveries come with the incarnation to settle on', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.qos({ prefetch: 5, scope: 'consumer' });
    const box = inbox();
    expect(await channel.subscribe('a', { consumerTag: 't' }, box)).toBe('t');
    expect(broker.log.slice(-2)).toEqual(['qos 5 consumer', 'consume a']);
    broker.deliver('a', 'hello');
    expect(box.bodies).toEqual(['hello']);
    expect(box.inners).toEqual([channel.current]);
    expect(channel.subscriptions.get('t')).toEqual({ queue: 'a', consuming: true });
  });

  test('a queue that does not exist rejects, and harms no other consumer', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.subscribe('a', { consumerTag: 'a' }, inbox());
    const { current } = channel;
    await expect(channel.subscribe('nope', { consumerTag: 'n' }, inbox())).rejects.toBeInstanceOf(NotFound);
    expect(channel.current).toBe(current);
    expect([...channel.subscriptions.keys()]).toEqual(['a']);
  });

  test('a tag in use is refused', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.subscribe('a', { consumerTag: 't' }, inbox());
    await expect(channel.subscribe('b', { consumerTag: 't' }, inbox())).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  test('interrupted by a loss, it is done after recovery, once', async () => {
    const channel = new ConsumerChannel(connection);
    const remove = broker.rule('consume', () => {
      remove();
      broker.kill();
    });
    await channel.subscribe('a', { consumerTag: 't' }, inbox());
    expect(broker.consumersOf('a')).toHaveLength(1);
  });

  test('unsubscribe ends it, once, also while disconnected', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.subscribe('a', { consumerTag: 'a' }, inbox());
    await channel.subscribe('b', { consumerTag: 'b' }, inbox());
    await channel.unsubscribe('a');
    await channel.unsubscribe('a');
    expect(broker.log.filter((line) => line === 'cancel a')).toHaveLength(1);
    broker.kill();
    await broker.until(() => connection.state === 'recovering');
    await channel.unsubscribe('b');
    await channel.managed.open();
    expect(broker.consumersOf('a')).toEqual([]);
    expect(broker.consumersOf('b')).toEqual([]);
  });
});

describe('staying alive', () => {
  test('after a loss of the connection', async () => {
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.qos({ prefetch: 3, scope: 'consumer' });
    for (const name of ['a', 'b', 'c']) await channel.subscribe(name, { consumerTag: name }, box);
    broker.kill();
    await broker.until(() => connection.connected && alive(channel));
    broker.deliver('b', 'again');
    expect(box.bodies).toEqual(['again']);
    expect((channel.current as FakeChannel).prefetch).toBe(3);
  });

  test('after the close of the channel alone', async () => {
    const channel = new ConsumerChannel(connection);
    for (const name of ['a', 'b']) await channel.subscribe(name, { consumerTag: name }, inbox());
    const first = channel.current;
    end(first, new PreconditionFailed('unknown delivery tag'));
    await broker.until(() => channel.current !== first && alive(channel));
    expect(broker.tries).toHaveLength(1);
  });

  test('celery#8030, celery#10205, BullMQ#3185: losses at every step of every recovery, and every consumer consumes in the end', async () => {
    await connection.close();
    connect({ transportOptions: { intervalStart: 5, intervalStep: 0 } });
    for (const name of ['a', 'b', 'c']) await connection.topology.declareQueue({ name });
    const channel = new ConsumerChannel(connection);
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    for (const name of ['a', 'b', 'c']) await channel.subscribe(name, { consumerTag: name }, inbox());
    for (const step of ['open', 'openChannel', 'queueDeclare', 'qos', 'consume']) {
      for (let nth = 1; nth <= 3; nth++) {
        let seen = 0;
        const remove = broker.rule(step, () => {
          seen++;
          if (seen !== nth) return;
          broker.kill();
          throw new RecoverableConnectionError(`lost at ${step}`);
        });
        broker.kill();
        await broker.until(() => connection.state === 'recovering');
        await broker.until(() => connection.connected && alive(channel), `alive after a loss at ${step} ${nth}`);
        remove();
      }
    }
    for (const name of ['a', 'b', 'c']) expect(broker.consumersOf(name)).toHaveLength(1);
  });

  test('a consumer cancelled by the broker starts again; its queue is declared again with its bindings', async () => {
    const { topology } = connection;
    await topology.declareExchange({ name: 'e', type: 'direct' });
    await topology.bindQueue({ queue: 'a', exchange: 'e', routingKey: 'k' });
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.subscribe('a', { consumerTag: 'a' }, box);
    await channel.subscribe('b', { consumerTag: 'b' }, box);
    const { current } = channel;
    broker.cancelConsumers('a', new ConsumerCancelled('queue deleted'));
    broker.deleteQueue('a');
    await broker.until(() => alive(channel));
    expect(channel.current).toBe(current);
    expect(broker.bindings).toEqual(new Set(['e-k->a']));
    expect(box.cancelled).toEqual([]);
    broker.deliver('a', 'x');
    expect(box.bodies).toEqual(['x']);
  });

  test('one whose queue was declared elsewhere starts again when the queue comes back', async () => {
    const foreign = { name: 'foreign', options: {}, owner: undefined, messages: [] };
    broker.queues.set('foreign', foreign);
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.subscribe('foreign', { consumerTag: 'f' }, box);
    broker.cancelConsumers('foreign', new ConsumerCancelled('queue deleted'));
    broker.deleteQueue('foreign');
    await broker.until(() => broker.count('checkQueue foreign') >= 2);
    broker.queues.set('foreign', foreign);
    await broker.until(() => alive(channel));
    expect(box.cancelled).toEqual([]);
  });

  test('one whose queue stays away is over, and says so; one whose node is away waits for it', async () => {
    for (const name of ['foreign', 'away'])
      broker.queues.set(name, { name, options: {}, owner: undefined, messages: [] });
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.subscribe('foreign', { consumerTag: 'f' }, box);
    await channel.subscribe('away', { consumerTag: 'w' }, box);
    await channel.subscribe('a', { consumerTag: 'a' }, inbox());
    const cause = new ConsumerCancelled('queue deleted');
    const text = "NOT_FOUND - home node 'rabbit@b' of durable queue 'away' in vhost '/' is down or inaccessible";
    const back = broker.rule('checkQueue', ({ name }) => {
      if (name === 'away') throw errorForReply('channel', 404, text);
    });
    for (const name of ['foreign', 'away']) broker.cancelConsumers(name, cause);
    broker.deleteQueue('foreign');
    await broker.until(() => box.cancelled.length > 0);
    expect(box.cancelled).toEqual([cause]);
    expect([...channel.subscriptions.keys()]).toEqual(['w', 'a']);
    expect(problems.map(({ code }) => code)).toContain('NOT_FOUND');
    back();
    await broker.until(() => alive(channel));
  }, 20_000);

  test('one whose queue this program deletes is over at once, and the queue stays deleted', async () => {
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.subscribe('a', { consumerTag: 'a1' }, box);
    await channel.subscribe('a', { consumerTag: 'a2' }, box);
    await channel.subscribe('b', { consumerTag: 'b' }, inbox());
    const cause = new ConsumerCancelled('queue deleted');
    // The broker tells consumers before it answers.
    broker.rule('queueDelete', async () => {
      broker.cancelConsumers('a', cause);
      await turn();
      await turn();
    });
    await connection.topology.deleteQueue('a');
    await broker.until(() => box.cancelled.length === 2);
    expect(box.cancelled).toEqual([cause, cause]);
    expect(broker.queues.has('a')).toBe(false);
    expect(broker.count('queueDeclare a')).toBe(1);
    expect([...channel.subscriptions.keys()]).toEqual(['b']);
    await connection.topology.declareQueue({ name: 'a' });
    await channel.subscribe('a', { consumerTag: 'a1' }, box);
    expect(alive(channel)).toBe(true);
  });

  test('a queue that is gone after a loss does not keep the other consumers down', async () => {
    broker.queues.set('foreign', { name: 'foreign', options: {}, owner: undefined, messages: [] });
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.subscribe('foreign', { consumerTag: 'f' }, box);
    for (const name of ['a', 'b']) await channel.subscribe(name, { consumerTag: name }, inbox());
    broker.deleteQueue('foreign');
    broker.kill();
    await broker.until(() => broker.consumersOf('a').length === 1 && broker.consumersOf('b').length === 1);
    const current = await channel.managed.open();
    broker.queues.set('foreign', { name: 'foreign', options: {}, owner: undefined, messages: [] });
    await broker.until(() => alive(channel));
    expect(channel.current).toBe(current);
  });

  test('one that is refused again and again gets a channel of its own, and comes back when it may', async () => {
    const channel = new ConsumerChannel(connection);
    const box = inbox();
    await channel.qos({ prefetch: 2, scope: 'consumer' });
    for (const name of ['a', 'b', 'c']) await channel.subscribe(name, { consumerTag: name }, box);
    let refusing = true;
    broker.rule('consume', ({ name }) => {
      if (name === 'b' && refusing) throw new AccessRefused('in exclusive use');
    });
    broker.kill();
    await broker.until(() => broker.count('consume b') >= 4);
    expect(broker.consumersOf('a')).toHaveLength(1);
    expect(broker.consumersOf('c')).toHaveLength(1);
    const { current } = channel;
    expect(problems.length).toBeGreaterThan(0);
    refusing = false;
    await broker.until(() => alive(channel));
    expect(channel.current).toBe(current);
    expect(channel.incarnations).toHaveLength(2);
    broker.deliver('b', 'late');
    expect(box.bodies).toEqual(['late']);
    await channel.qos({ prefetch: 9, scope: 'consumer' });
    expect(channel.incarnations.map((inner) => (inner as FakeChannel).prefetch)).toEqual([9, 9]);
    await channel.unsubscribe('b');
    expect(broker.consumersOf('b')).toEqual([]);
    await channel.close();
    expect([...broker.connections].flatMap((it) => [...it.channels]).length, "channels but the topology's").toBe(1);
  });

  test('a consumer that the broker cancels each time it starts is not a busy loop', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.subscribe('a', { consumerTag: 'a' }, inbox());
    broker.rule('consume', () => {
      setImmediate(() => setImmediate(() => broker.cancelConsumers('a', new ConsumerCancelled('no'))));
    });
    broker.cancelConsumers('a', new ConsumerCancelled('no'));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(broker.count('consume a')).toBeGreaterThan(2);
    expect(broker.count('consume a')).toBeLessThan(8);
  });

  test('lost is told of every incarnation that delivered', async () => {
    const lost: TransportChannel[] = [];
    const channel = new ConsumerChannel(connection, { lost: (inner) => lost.push(inner) });
    await channel.subscribe('a', { consumerTag: 'a' }, inbox());
    const { current } = channel;
    broker.kill();
    await broker.until(() => alive(channel) && channel.current !== current);
    expect(lost).toEqual([current]);
    await channel.close();
    expect(lost).toHaveLength(2);
  });
});

describe('fetching', () => {
  test('a message, or undefined', async () => {
    const channel = new ConsumerChannel(connection);
    expect(await channel.get('a', {})).toBeUndefined();
    const message = { exchange: '', routingKey: 'a', properties: {}, unroutable: 'ignore' as const };
    await connection.channel().publish({ ...message, body: Buffer.from('x') });
    const fetched = await channel.get('a', {});
    expect(fetched?.inner).toBe(channel.current);
    expect(Buffer.from(fetched?.delivery.body ?? []).toString()).toBe('x');
  });

  test('one that comes after the caller gave up goes back', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.managed.open();
    const message = { exchange: '', routingKey: 'a', properties: {}, unroutable: 'ignore' as const };
    await connection.channel().publish({ ...message, body: Buffer.from('x') });
    let answer = () => {};
    broker.rule('get', () => new Promise<void>((resolve) => (answer = resolve)));
    const stop = new AbortController();
    const getting = channel.get('a', {}, { signal: stop.signal });
    await broker.until(() => broker.count('get a') === 1);
    stop.abort(new Error('enough'));
    await expect(getting).rejects.toThrow('enough');
    answer();
    const inner = channel.current as FakeChannel;
    await broker.until(() => inner.settled.length === 1);
    expect(inner.settled).toEqual(['release 1']);
  });

  test('those given up are answered before more is asked for, so that they do not pile up', async () => {
    const channel = new ConsumerChannel(connection);
    await channel.managed.open();
    const message = { exchange: '', routingKey: 'a', properties: {}, unroutable: 'ignore' as const };
    for (const text of ['x', 'y']) await connection.channel().publish({ ...message, body: Buffer.from(text) });
    let answer = () => {};
    broker.rule('get', () => new Promise<void>((resolve) => (answer = resolve)));
    const stop = new AbortController();
    const getting = channel.get('a', {}, { signal: stop.signal });
    await broker.until(() => broker.count('get a') === 1);
    stop.abort(new Error('enough'));
    await expect(getting).rejects.toThrow('enough');
    for (let i = 0; i < 10; i++) await expect(channel.get('a', {}, { timeout: 1 })).rejects.toThrow();
    const patient = channel.get('a', {}, { timeout: 10_000 });
    expect(broker.count('get a')).toBe(1);
    answer();
    await broker.until(() => broker.count('get a') === 2);
    answer();
    expect(Buffer.from((await patient)?.delivery.body ?? []).toString()).toBe('y');
    expect(broker.count('get a')).toBe(2);
  });
});
