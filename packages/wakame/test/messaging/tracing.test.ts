/** What programs hear by `diagnostics_channel`, and people by NODE_DEBUG. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { execFile } from 'node:child_process';
import { tracingChannel } from 'node:diagnostics_channel';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import { Queue } from '../../src/entities/index.js';
import { Consumer, Producer } from '../../src/messaging/index.js';
import { type ProcessContext, type PublishContext, tracing } from '../../src/tracing.js';
import { resetMemory } from '../../src/transports/memory/index.js';
import { Count, failure } from './support.js';

const NAMES = ['publish', 'receive', 'process', 'settle'] as const;
const URL_OF_BROKER = 'memory://tracing';

let connection: Connection;
let queue: Queue<number>;
const undo: (() => void)[] = [];

/** Listens to a channel, and notes its events. */
function listen(name: (typeof NAMES)[number]): string[] {
  const log: string[] = [];
  const channel = tracingChannel(`wakame:${name}`);
  const subscribers = {
    start: () => log.push('start'),
    end: () => log.push('end'),
    asyncStart: () => log.push('asyncStart'),
    asyncEnd: () => log.push('asyncEnd'),
    error: (context: { error?: unknown }) => log.push(`error ${(context.error as Error).message}`),
  };
  channel.subscribe(subscribers);
  undo.push(() => channel.unsubscribe(subscribers));
  return log;
}

beforeEach(async () => {
  connection = new Connection(URL_OF_BROKER);
  queue = new Queue<number>('traced').bind(connection);
  await queue.declare();
});

afterEach(async () => {
  for (const each of undo.splice(0)) each();
  await connection.close();
  resetMemory('tracing');
});

test('nobody listens: the channels know', () => {
  for (const channel of Object.values(tracing)) expect(channel.hasSubscribers).toBe(false);
});

test('opentelemetry-ext-js#84, opentelemetry-js#2797: publish, receive, process and settle, each with its beginning and end', async () => {
  const logs = Object.fromEntries(NAMES.map((name) => [name, listen(name)]));
  const handled = new Count();
  const consumer = new Consumer(connection, {
    queues: queue,
    onMessage: async (message) => {
      await message.ack();
      handled.up();
    },
  });
  await consumer.consume();
  await new Producer(connection).publish(1, { routingKey: queue.name });
  await handled.reach(1);
  await consumer.close();
  const asynchronous = ['start', 'end', 'asyncStart', 'asyncEnd'];
  expect(logs).toEqual({
    publish: asynchronous,
    receive: ['start', 'end'],
    process: asynchronous,
    settle: asynchronous,
  });
});

test('contexts tell what it is about; headers added at the start are sent', async () => {
  const contexts: PublishContext[] = [];
  const onStart = (context: unknown) => {
    const publish = context as PublishContext;
    publish.headers['traceparent'] = '00-abc-def-01';
    contexts.push(publish);
  };
  tracing.publish.start.subscribe(onStart);
  undo.push(() => tracing.publish.start.unsubscribe(onStart));
  const headers = { own: 1 };
  await new Producer(connection).publish(1, { routingKey: queue.name, headers, messageId: 'm', correlationId: 'c' });
  expect(headers).toEqual({ own: 1 });
  expect(contexts[0]).toMatchObject({
    exchange: '',
    routingKey: queue.name,
    messageId: 'm',
    correlationId: 'c',
    bodySize: 1,
  });
  expect((await queue.get({ noAck: true }))?.headers).toEqual({ own: 1, traceparent: '00-abc-def-01' });
});

test('errors are told', async () => {
  const [publish, process] = [listen('publish'), listen('process')];
  await failure(new Producer(connection).publish(undefined));
  expect(publish).toEqual(['start', 'end', 'error undefined cannot be published; null can', 'asyncStart', 'asyncEnd']);
  const handled = new Count();
  const consumer = new Consumer(connection, {
    queues: queue,
    onMessage: () => {
      throw new Error('of the handler');
    },
    onHandlerError: () => {
      handled.up();
      return 'ack';
    },
  });
  consumer.on('handlerError', () => undefined);
  await consumer.consume();
  await new Producer(connection).publish(1, { routingKey: queue.name });
  await handled.reach(1);
  await consumer.close();
  expect(process).toContain('error of the handler');
});

test('a store bound to process is seen by the handler', async () => {
  const storage = new AsyncLocalStorage<string>();
  const { start } = tracingChannel<string, ProcessContext>('wakame:process');
  start.bindStore(storage, (context) => `span of ${context.queue}`);
  undo.push(() => start.unbindStore(storage));
  const seen: unknown[] = [];
  const handled = new Count();
  const consumer = new Consumer(connection, {
    queues: queue,
    settle: 'auto',
    onMessage: async () => {
      await Promise.resolve();
      seen.push(storage.getStore());
      handled.up();
    },
  });
  await consumer.consume();
  await new Producer(connection).publish(1, { routingKey: queue.name });
  await handled.reach(1);
  expect(seen).toEqual(['span of traced']);
  await consumer.close();
});

test('NODE_DEBUG=wakame prints a readable trace, and nothing is printed without it', async () => {
  const program = `
    import { Connection, Queue } from 'wakame';
    const connection = new Connection('memory://user:s3cret@traced');
    const queue = new Queue('printed').bind(connection);
    await queue.declare();
    await connection.producer().publish('x', { routingKey: 'printed' });
    for await (const message of connection.consumer(queue, { settle: 'auto', idleTimeout: 20 }));
    await connection.close();
  `;
  const run = async (env: Record<string, string>) => {
    const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
    const options = { env: { ...process.env, ...env }, cwd: new URL('..', import.meta.url) };
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ['--import', loader, '--input-type=module', '--eval', program],
      options,
    );
    return stdout + stderr;
  };
  const trace = await run({ NODE_DEBUG: 'wakame' });
  expect(trace).toMatch(/^WAKAME \d+: published 1 bytes to exchange '' with key 'printed'/m);
  expect(trace).toMatch(/^WAKAME \d+: consuming queue printed as wakame-/m);
  expect(trace).toMatch(/^WAKAME \d+: ACK message .*of queue 'printed'/m);
  expect(trace).not.toContain('s3cret');
  expect(await run({ NODE_DEBUG: '' })).toBe('');
});
