import { deepEqual, equal, ok } from 'node:assert/strict';
import {
  Consumer,
  type ConsumerOptions,
  type Message,
  type MessagingError,
  type Queue,
  type SchemaConsumerOptions,
} from '../../index.js';
import { deferred } from '../../util/deferred.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { collect, depth, fill, ignore, sequence, untilDepth } from '../support.js';

/** A queue, its dead letters, and a consumer whose events are noted. */
async function bench(t: ConformanceContext, options: ConsumerOptions | SchemaConsumerOptions<unknown>) {
  const graveyard = t.exchange('graveyard', { type: 'fanout' });
  const dead = t.queue('dead', { exchange: graveyard }).bind(t.connection);
  const queue = t.queue('q', { queueArguments: { 'x-dead-letter-exchange': graveyard.name } }).bind(t.connection);
  await Promise.all([dead.declare(), queue.declare()]);
  const errors: [string, Error, Message<unknown>][] = [];
  const consumer = new Consumer<unknown>(t.connection, { ...options, queues: queue } as SchemaConsumerOptions<unknown>);
  consumer.on('handlerError', (error: Error, message: Message<unknown>) => errors.push(['handler', error, message]));
  consumer.on('decodeError', (error: Error, message: Message<unknown>) => errors.push(['decode', error, message]));
  await consumer.consume();
  return { queue, dead, consumer, errors };
}

async function letters(
  t: ConformanceContext,
  dead: Queue<unknown>,
  count: number,
): Promise<readonly Message<unknown>[]> {
  return (
    await collect(t, dead, { accept: ['json', 'text/plain', 'application/x-unknown'], onDecodeError: ignore })
  ).take(count);
}

export const handlers = group('handlers', (test) => {
  test('settle auto: acknowledged when the handler has ended well', async (t) => {
    const leave = deferred();
    const entered = deferred();
    const { queue, errors } = await bench(t, {
      settle: 'auto',
      onMessage: async () => {
        entered.resolve();
        await leave.promise;
      },
    });
    await fill(t, queue.name, 1);
    await t.within('the handler', entered.promise);
    equal((await queue.bind(t.connect()).queueDeclare({ passive: true })).messageCount, 0);
    leave.resolve();
    await t.connection.close();
    equal(await depth(t, queue, t.connect()), 0);
    deepEqual(errors, []);
  });

  test('settle auto leaves alone what the handler settled itself', async (t) => {
    const seen: unknown[] = [];
    const done = deferred();
    const { queue, dead, errors } = await bench(t, {
      settle: 'auto',
      onMessage: async (message) => {
        seen.push(message.payload);
        if (message.payload === 0) await message.reject();
        if (message.payload === 1) await message.ack();
        if (message.payload === 2) done.resolve();
      },
    });
    await fill(t, queue.name, 3);
    await t.within('three messages', done.promise);
    equal((await letters(t, dead, 1))[0]?.payload, 0);
    deepEqual([seen, errors], [[0, 1, 2], []]);
  });

  test(
    'a handler that fails, by throw or by rejection, loses nothing and disturbs nobody',
    async (t) => {
      const seen: string[] = [];
      const failed = new Set<unknown>();
      const done = deferred();
      const { queue, errors } = await bench(t, {
        settle: 'auto',
        // Not async: the first failure of message 1 is a plain throw.
        onMessage: (message) => {
          const { payload } = message;
          if ((payload === 1 || payload === 3) && !failed.has(payload)) {
            failed.add(payload);
            if (payload === 1) throw new Error('thrown by 1');
            return Promise.reject(new Error('rejected by 3'));
          }
          seen.push(String(payload));
          if (seen.length === 5) done.resolve();
          return undefined;
        },
      });
      await fill(t, queue.name, 5);
      await t.within('five messages', done.promise);
      deepEqual([...seen].sort(), ['0', '1', '2', '3', '4']);
      deepEqual(errors.map(([kind, error, message]) => [kind, error.message, message.payload]).sort(), [
        ['handler', 'rejected by 3', 3],
        ['handler', 'thrown by 1', 1],
      ]);
      await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
    },
    { needs: ['deadLetter', 'exchange:fanout'] },
  );

  test(
    'poison: after maxAttempts it goes to the dead letters, and the others were handled',
    async (t) => {
      const tries: unknown[] = [];
      const { queue, dead, errors } = await bench(t, {
        settle: 'auto',
        maxAttempts: 3,
        onMessage: ({ payload }) => {
          tries.push(payload);
          if (payload === 1) throw new Error('poison');
        },
      });
      await fill(t, queue.name, 3);
      const [letter] = await letters(t, dead, 1);
      equal(letter?.payload, 1);
      equal(tries.filter((payload) => payload === 1).length, 3);
      deepEqual([...new Set(tries)].sort(), [0, 1, 2]);
      equal(errors.length, 3);
      await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
    },
    { needs: ['deadLetter', 'exchange:fanout'] },
  );

  test(
    'onHandlerError decides',
    async (t) => {
      const decided = deferred<[unknown, Message<unknown>]>();
      const { queue, dead } = await bench(t, {
        onMessage: () => {
          throw new Error('no');
        },
        onHandlerError: async (message, error) => {
          await message.reject();
          decided.resolve([error, message]);
        },
      });
      await fill(t, queue.name, 1);
      const [error, message] = await t.within('the decision', decided.promise);
      deepEqual([(error as Error).message, message.payload], ['no', 0]);
      equal((await letters(t, dead, 1))[0]?.payload, 0);
    },
    { needs: ['deadLetter', 'exchange:fanout'] },
  );

  test(
    'what cannot be decoded, is not accepted or fails the schema never reaches the handler',
    async (t) => {
      const handled: unknown[] = [];
      const done = deferred();
      const schema = {
        '~standard': {
          version: 1,
          vendor: 'conformance',
          validate: (value: unknown) =>
            typeof value === 'number' ? { value } : { issues: [{ message: 'a number was expected' }] },
        },
      } as const;
      const { queue, dead, errors } = await bench(t, {
        settle: 'auto',
        accept: ['json'],
        schema,
        onMessage: ({ payload }) => {
          handled.push(payload);
          if (payload === 2) done.resolve();
        },
      });
      const producer = t.connection.producer();
      const routingKey = queue.name;
      await producer.publish(1, { routingKey });
      await producer.publish(Buffer.from('{"broken'), {
        routingKey,
        contentType: 'application/json',
        contentEncoding: 'utf-8',
      });
      await producer.publish(Buffer.from('?'), {
        routingKey,
        contentType: 'application/x-unknown',
        contentEncoding: 'binary',
      });
      await producer.publish({ not: 'a number' }, { routingKey });
      await producer.publish(Buffer.from('not zlib'), {
        routingKey,
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        headers: { compression: 'application/x-gzip' },
      });
      await producer.publish(2, { routingKey });
      await t.within('the good messages', done.promise);
      await t.eventually('four errors', () => errors.length === 4);
      deepEqual(handled, [1, 2]);
      deepEqual(
        errors.map(([kind, error]) => [kind, (error as MessagingError).code]),
        [
          ['decode', 'DECODE_FAILED'],
          ['decode', 'CONTENT_DISALLOWED'],
          ['decode', 'DECODE_FAILED'],
          ['decode', 'DECODE_FAILED'],
        ],
      );
      ok(errors.every(([, , message]) => message.body instanceof Uint8Array));
      await untilDepth(t, dead, 4);
      await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
    },
    { needs: ['deadLetter', 'exchange:fanout'] },
  );

  test('onDecodeError decides', async (t) => {
    const decided = deferred<[Error, Message<unknown>]>();
    const { queue, errors } = await bench(t, {
      onMessage: ignore,
      onDecodeError: async (message, error) => {
        await message.ack();
        decided.resolve([error, message]);
      },
    });
    await t.connection.producer().publish(Buffer.from('{'), {
      routingKey: queue.name,
      contentType: 'application/json',
      contentEncoding: 'utf-8',
    });
    const [error, message] = await t.within('the decision', decided.promise);
    equal((error as MessagingError).code, 'DECODE_FAILED');
    equal(Buffer.from(message.body).toString(), '{');
    equal(errors.length, 0);
    await t.eventually('an empty queue', async () => (await depth(t, queue)) === 0);
  });

  test('a slow handler holds up its own consumer alone', async (t) => {
    const gate = deferred();
    const slow = t.queue('slow').bind(t.connection);
    const fast = t.queue<number>('fast').bind(t.connection);
    await Promise.all([slow.declare(), fast.declare()]);
    await fill(t, slow.name, 3);
    const consumer = t.connection.consumer(slow, {
      settle: 'auto',
      onMessage: async () => gate.promise,
    });
    await consumer.consume();
    const inbox = await collect(t, fast);
    await fill(t, fast.name, 50);
    deepEqual(
      (await inbox.take(50)).map(({ payload }) => payload),
      sequence(50),
    );
    gate.resolve();
    await t.within('close', consumer.close());
  });
});
