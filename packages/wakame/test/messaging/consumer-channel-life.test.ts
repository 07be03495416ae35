/** How long a consumer's channel lives, and what it asks of the broker, against a scripted one. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import { Queue } from '../../src/entities/index.js';
import { NotSupportedError, RecoverableConnectionError } from '../../src/errors.js';
import { Consumer, type Message } from '../../src/messaging/index.js';
import { FakeBroker, type FakeChannel } from '../support/fake-transport.js';
import { failure } from './support.js';

let broker: FakeBroker;
let connection: Connection;
const queue = new Queue<string>('q');

/** Channels with consumers, or that had some: all but the topology's. */
function consuming(): FakeChannel | undefined {
  return broker.consumersOf('q')[0]?.channel;
}

beforeEach(() => {
  broker = new FakeBroker();
  connection = new Connection('fake://one', broker.options());
});

afterEach(async () => {
  await connection.close({ timeout: 200 });
});

test('kombu#2469: qos comes before consume, with the options of the queue', async () => {
  const consumer = new Consumer(connection, {
    queues: new Queue('q', { consumerArguments: { 'x-priority': 5 }, noAck: true }),
    ...{ prefetch: 7, tagPrefix: 'mine-', onMessage: () => undefined },
  });
  await consumer.consume();
  const asked = broker.log.filter((line) => /^(queueDeclare|qos|consume) /.test(line));
  expect(asked).toEqual(['queueDeclare q', 'qos 7 consumer', 'consume q']);
  const [[tag, { options }] = ['', { options: undefined }]] = consuming()?.consumers ?? [];
  expect(tag).toMatch(/^mine-\d+$/);
  expect(options).toMatchObject({ noAck: true, arguments: { 'x-priority': 5 } });
});

test('left with nothing unsettled, the channel is closed; with a message in hand, once that is settled', async () => {
  for (const settleFirst of [true, false]) {
    let inHand: Message<string> | undefined;
    let channel: FakeChannel | undefined;
    const iterator = new Consumer(connection, { queues: queue })[Symbol.asyncIterator]();
    const next = iterator.next();
    await broker.until(() => consuming() !== undefined);
    channel = consuming();
    broker.deliver('q', 'one');
    broker.deliver('q', 'two');
    inHand = (await next).value;
    if (settleFirst) await inHand?.ack();
    await iterator.return?.();
    if (!settleFirst) {
      expect(channel?.state).toBe('open');
      await inHand?.ack();
    }
    await broker.until(() => channel?.state === 'closed', 'the channel to be closed');
    expect(channel?.settled).toEqual(settleFirst ? ['ack 1', 'release 2'] : ['release 2', 'ack 1']);
  }
});

test('a channel lost while the last message is in hand is not opened again', async () => {
  const iterator = new Consumer(connection, { queues: queue })[Symbol.asyncIterator]();
  const next = iterator.next();
  await broker.until(() => consuming() !== undefined);
  broker.deliver('q', 'one');
  const { value: inHand } = await next;
  await iterator.return?.();
  const recovered = new Promise((resolve) => connection.once('recovered', resolve));
  broker.kill();
  await recovered;
  expect(await inHand?.ack()).toBe(false);
  // A consumer's channel begins with its prefetch.
  expect(broker.count('qos 100 consumer')).toBe(1);
});

test('a consumer may be cancelled and closed while it is starting', async () => {
  for (const way of ['cancel', 'close'] as const) {
    const consumer = new Consumer(connection, { queues: queue, onMessage: () => undefined });
    broker.hang('consume');
    const starting = failure(consumer.consume({ timeout: 300 }));
    await broker.until(() => broker.log.at(-1) === 'consume q');
    await consumer[way]();
    expect(['CONSUMER_CANCELLED', 'TIMEOUT', 'CONNECTION_CLOSED']).toContain((await starting).code);
    expect(consumer.consumingFrom(queue)).toBe(false);
    broker.log.length = 0;
  }
});

test('cancelled while the broker is about to accept it, it is ended there, and what came is given back', async () => {
  const consumer = new Consumer(connection, { queues: queue, onMessage: () => undefined });
  const other = new Consumer(connection, { queues: 'q', onMessage: () => undefined });
  let accept: () => void = () => undefined;
  const remove = broker.rule('consume', () => {
    remove();
    return new Promise<void>((resolve) => {
      accept = resolve;
    });
  });
  const starting = failure(consumer.consume());
  await broker.until(() => broker.log.at(-1) === 'consume q');
  const cancelling = consumer.cancel();
  accept();
  expect((await starting).code).toBe('CONSUMER_CANCELLED');
  await cancelling;
  expect(broker.consumersOf('q')).toEqual([]);
  await other.consume();
  expect(broker.consumersOf('q')).toHaveLength(1);
});

test('a loop whose start is interrupted by cancel ends', async () => {
  const consumer = new Consumer(connection, { queues: queue });
  broker.hang('queueDeclare');
  const next = consumer[Symbol.asyncIterator]().next();
  await broker.until(() => broker.log.includes('queueDeclare q'));
  await consumer.cancel();
  broker.kill();
  expect(await next).toEqual({ done: true, value: undefined });
});

test('when the broker has ended the consumption of the only queue for good, a loop ends with the reason', async () => {
  broker.queues.set('q', { name: 'q', options: {}, owner: undefined, messages: [] });
  const consumer = new Consumer(connection, { queues: 'q' });
  const told: [string, boolean][] = [];
  consumer.on('cancelled', (name, _error, over) => told.push([name, over]));
  connection.on('problem', () => undefined);
  const iterator = consumer[Symbol.asyncIterator]();
  const next = failure(iterator.next());
  await broker.until(() => consuming() !== undefined);
  broker.deleteQueue('q');
  broker.cancelConsumers('q', new RecoverableConnectionError('deleted', { code: 'CONSUMER_CANCELLED' }));
  expect((await next).code).toBe('CONSUMER_CANCELLED');
  expect(told).toEqual([
    ['q', false],
    ['q', true],
  ]);
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
});

test('flow is asked of the broker, and what it refuses is told', async () => {
  const consumer = new Consumer(connection, { queues: queue, onMessage: () => undefined });
  await consumer.consume();
  const error = await failure(consumer.flow(false));
  expect(error).toBeInstanceOf(NotSupportedError);
});

test('what cannot be stopped in good order is a problem, not a failure of cancel', async () => {
  const problems: string[] = [];
  connection.on('problem', ({ code }) => problems.push(code));
  const consumer = new Consumer(connection, { queues: queue, onMessage: () => undefined });
  await consumer.consume();
  const channel = consuming();
  broker.rule('cancel', () => {
    throw new NotSupportedError('no such thing');
  });
  await consumer.cancel();
  expect([consumer.consumingFrom(queue), channel?.state, problems]).toEqual([false, 'closed', ['NOT_SUPPORTED']]);
});
