/** The paragraph "Consuming", sentence by sentence, against every broker there is: consumers with handlers. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Exchange, Queue } from '../../src/entities/index.js';
import type { MessagingError } from '../../src/errors.js';
import { Consumer, type Message, nested } from '../../src/messaging/index.js';
import { type Deferred, deferred } from '../../src/util/deferred.js';
import { Count, eventually, failure, onEachBroker, onMemory, payloads, sequence } from './support.js';

/** A handler that keeps what it gets, and settles nothing. */
function inbox<T>() {
  const messages: Message<T>[] = [];
  const count = new Count();
  return {
    messages,
    onMessage: (message: Message<T>) => {
      messages.push(message);
      count.up();
    },
    reach: (n: number) => count.reach(n),
  };
}

onEachBroker('consuming', (t) => {
  test('callbacks get body and message, one after the other', async () => {
    const queue = t.queue<{ a: number }>('callbacks');
    const log: string[] = [];
    const got = deferred<Message<{ a: number }>>();
    const consumer = t.consumer(queue, {
      callbacks: [
        async (body) => {
          await new Promise((resolve) => setImmediate(resolve));
          log.push(`first ${body.a}`);
        },
        (body, message) => {
          log.push(`second ${body.a}`);
          got.resolve(message);
        },
      ],
    });
    expect(await consumer.consume()).toBe(consumer);
    await t.producer().publish({ a: 1 }, { routingKey: queue.name });
    const message = await got.promise;
    expect(log).toEqual(['first 1', 'second 1']);
    expect(message.payload).toEqual({ a: 1 });
    expect(await message.ack()).toBe(true);
  });

  test('starts by consume or by iteration, not both: CONSUMER_BUSY', async () => {
    const queue = t.queue('busy');
    const consumer = t.consumer(queue, { onMessage: () => undefined });
    await consumer.consume();
    expect(() => consumer[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'CONSUMER_BUSY' }));
    await consumer.cancel();
    const iterator = consumer[Symbol.asyncIterator]();
    expect((await failure(consumer.consume())).code).toBe('CONSUMER_BUSY');
    expect(() => consumer[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'CONSUMER_BUSY' }));
    await iterator.return?.();
    await consumer.consume();
  });

  test('prefetch bounds what is unsettled', async () => {
    const queue = t.queue<number>('prefetch');
    await queue.declare();
    await t.fill(queue, 20);
    const box = inbox<number>();
    const consumer = t.consumer(queue, { prefetch: 5, ...pick(box) });
    await consumer.consume();
    await box.reach(5);
    await t.untilDepth(queue, 15);
    expect(box.messages).toHaveLength(5);
    expect(consumer.unsettled).toBe(5);
    await box.messages[0]?.ack();
    await box.reach(6);
    expect(box.messages.at(-1)?.payload).toBe(5);
  });

  test('prefetch is 100 when it is not given; 0 is no limit', async () => {
    const queue = t.queue<number>('default-prefetch');
    await queue.declare();
    await t.fill(queue, 150);
    const box = inbox<number>();
    const consumer = t.consumer(queue, pick(box));
    await consumer.consume();
    await box.reach(100);
    await t.untilDepth(queue, 50);
    expect(box.messages).toHaveLength(100);
    await consumer.close();
    await t.untilDepth(queue, 150);
    const all = inbox<number>();
    await t.consumer(queue, { prefetch: 0, ...pick(all) }).consume();
    await all.reach(150);
  });

  test('qos changes the bound of a consumer at work, and what is unsettled still counts', async () => {
    const queue = t.queue<number>('qos');
    await queue.declare();
    await t.fill(queue, 20);
    const box = inbox<number>();
    const consumer = t.consumer(queue, { prefetch: 2, ...pick(box) });
    await consumer.consume();
    await box.reach(2);
    await consumer.qos({ prefetch: 6 });
    await box.reach(6);
    await t.untilDepth(queue, 14);
    expect(box.messages).toHaveLength(6);
    for (const message of box.messages) await message.ack();
    await box.reach(12);
    await eventually('one consumer', async () => (await queue.queueDeclare({ passive: true })).consumerCount === 1);
    await consumer.qos({ prefetch: 0 });
    await box.reach(20);
    expect(payloads(box.messages)).toEqual(sequence(20));
  });

  test('concurrency bounds the handlers at work', async () => {
    const queue = t.queue<number>('concurrency');
    await queue.declare();
    await t.fill(queue, 9);
    const gates: Deferred<void>[] = [];
    const entered = new Count();
    let most = 0;
    let running = 0;
    const consumer = t.consumer(queue, {
      concurrency: 3,
      settle: 'auto',
      onMessage: async () => {
        running++;
        most = Math.max(most, running);
        const gate = deferred();
        gates.push(gate);
        entered.up();
        await gate.promise;
        running--;
      },
    });
    await consumer.consume();
    for (let i = 0; i < 9; i++) {
      await entered.reach(Math.min(i + 3, 9));
      gates[i]?.resolve();
    }
    await consumer.close();
    expect(most).toBe(3);
    expect(await t.depth(queue)).toBe(0);
  });

  test('concurrency 1, the default, keeps the order also of slow handlers', async () => {
    const queue = t.queue<number>('order');
    await queue.declare();
    await t.fill(queue, 10);
    const log: string[] = [];
    const done = new Count();
    const consumer = t.consumer(queue, {
      settle: 'auto',
      onMessage: async ({ payload }) => {
        log.push(`in ${payload}`);
        for (let i = payload; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
        log.push(`out ${payload}`);
        done.up();
      },
    });
    await consumer.consume();
    await done.reach(10);
    expect(log).toEqual(sequence(10).flatMap((i) => [`in ${i}`, `out ${i}`]));
  });

  test('several queues of one consumer are fair: a busy queue never blocks another', async () => {
    const busy = t.queue<number>('fair.busy');
    const quiet = t.queue<number>('fair.quiet');
    await Promise.all([busy.declare(), quiet.declare()]);
    await t.fill(busy, 2000);
    await t.fill(quiet, 1);
    let handled = 0;
    const position = deferred<number>();
    const consumer = t.consumer([busy, quiet], {
      prefetch: 50,
      settle: 'auto',
      onMessage: (message) => {
        handled++;
        if (message.queue === quiet.name) position.resolve(handled);
      },
    });
    await consumer.consume();
    expect(await position.promise).toBeLessThanOrEqual(101);
    await consumer.close();
  });

  test('several consumers of one queue share it', async () => {
    const queue = t.queue<number>('shared');
    await queue.declare();
    const seen = new Map<string, number[]>();
    const count = new Count();
    for (const who of ['a', 'b', 'c']) {
      seen.set(who, []);
      await t
        .consumer(queue, {
          prefetch: 1,
          settle: 'auto',
          onMessage: async ({ payload }) => {
            seen.get(who)?.push(payload);
            await new Promise((resolve) => setImmediate(resolve));
            count.up();
          },
        })
        .consume();
    }
    await t.fill(queue, 90);
    await count.reach(90);
    expect([...seen.values()].flat().sort((a, b) => a - b)).toEqual(sequence(90));
    for (const got of seen.values()) expect(got.length).toBeGreaterThan(5);
  });

  test('settle manual, the default, leaves it to the handler', async () => {
    const queue = t.queue<number>('manual');
    await queue.declare();
    await t.fill(queue, 1);
    const box = inbox<number>();
    const consumer = t.consumer(queue, pick(box));
    await consumer.consume();
    await box.reach(1);
    expect(box.messages[0]?.state).toBe('RECEIVED');
    await consumer.close();
    await t.untilDepth(queue, 1);
  });

  test('settle auto acknowledges when the handler resolves, and leaves alone what it settled itself', async () => {
    const queue = t.queue<number>('auto');
    await queue.declare();
    await t.fill(queue, 2);
    const leave = deferred();
    const messages: Message<number>[] = [];
    const entered = new Count();
    const consumer = t.consumer(queue, {
      settle: 'auto',
      concurrency: 2,
      onMessage: async (message) => {
        messages.push(message);
        entered.up();
        if (message.payload === 1) await message.reject();
        await leave.promise;
      },
    });
    await consumer.consume();
    await entered.reach(2);
    expect(messages.map(({ state }) => state)).toEqual(['RECEIVED', 'REJECTED']);
    leave.resolve();
    await consumer.close();
    expect(messages.map(({ state }) => state)).toEqual(['ACK', 'REJECTED']);
    expect(await t.depth(queue)).toBe(0);
  });

  test('consume again starts queues added, and those cancelled by queue', async () => {
    const [a, b] = [t.queue<number>('again.a'), t.queue<number>('again.b')];
    await Promise.all([a.declare(), b.declare()]);
    const box = inbox<number>();
    const consumer = t.consumer(a, pick(box));
    await consumer.consume();
    consumer.addQueue(b);
    consumer.addQueue(a.name);
    expect([consumer.consumingFrom(a), consumer.consumingFrom(b.name)]).toEqual([true, false]);
    expect(consumer.queues.map(({ name }) => name)).toEqual([a.name, b.name]);
    await consumer.consume();
    await t.fill(b, 1);
    await box.reach(1);
    await consumer.cancelByQueue(a.name);
    expect(consumer.consumingFrom(a)).toBe(false);
    await t.fill(a, 1);
    await t.untilDepth(a, 1);
    await consumer.consume();
    await box.reach(2);
    expect(box.messages.map(({ queue }) => queue)).toEqual([b.name, a.name]);
  });

  test('cancel stops, gives back what was not handed out in order, and leaves the rest to be settled', async () => {
    const queue = t.queue<number>('cancel');
    await queue.declare();
    await t.fill(queue, 10);
    const gate = deferred();
    const entered = new Count();
    const held: Message<number>[] = [];
    const consumer = t.consumer(queue, {
      onMessage: async (message) => {
        held.push(message);
        entered.up();
        await gate.promise;
      },
    });
    await consumer.consume();
    await entered.reach(1);
    await t.untilDepth(queue, 0);
    await consumer.cancel();
    await t.untilDepth(queue, 9);
    expect(consumer.consumingFrom(queue)).toBe(false);
    gate.resolve();
    expect(await held[0]?.ack()).toBe(true);
    expect(payloads(await t.drain(queue))).toEqual(sequence(10).slice(1));
    await t.fill(queue, 1);
    await consumer.consume();
    await entered.reach(2);
  });

  test('close waits for handlers at work, which may settle; then nothing more is handled', async () => {
    const queue = t.queue<number>('close');
    await queue.declare();
    await t.fill(queue, 10);
    const gate = deferred();
    const entered = new Count();
    const answers: boolean[] = [];
    const consumer = t.consumer(queue, {
      concurrency: 2,
      onMessage: async (message) => {
        entered.up();
        await gate.promise;
        answers.push(await message.ack());
      },
    });
    await consumer.consume();
    await entered.reach(2);
    let closed = false;
    const closing = Promise.all([consumer.close(), consumer.close()]).then(() => {
      closed = true;
    });
    await t.untilDepth(queue, 8);
    expect(closed).toBe(false);
    gate.resolve();
    await closing;
    expect(answers).toEqual([true, true]);
    expect(payloads(await t.drain(queue))).toEqual(sequence(10).slice(2));
    expect((await failure(consumer.consume())).code).toBe('CHANNEL_CLOSED');
  });

  test('close gives up handlers at its deadline, and says so', async () => {
    const queue = t.queue<number>('close-deadline');
    await queue.declare();
    await t.fill(queue, 1);
    const entered = new Count();
    const gate = deferred<boolean>();
    const stale: Message<number>[] = [];
    const consumer = t.consumer(queue, {
      onMessage: async (message) => {
        entered.up();
        await gate.promise;
        gate.resolve(await message.ack());
      },
    });
    consumer.on('stale', (message) => stale.push(message));
    await consumer.consume();
    await entered.reach(1);
    await consumer.close({ timeout: 30 });
    expect(t.problems.map(({ code }) => code)).toEqual(['TIMEOUT']);
    await t.untilDepth(queue, 1);
    gate.resolve(true);
    await eventually('the late ack', () => stale.length === 1);
    expect(await t.depth(queue)).toBe(1);
  });

  test('a signal ends the patience of close, of the consumer or of the connection', async () => {
    const queue = t.queue<number>('impatient');
    await queue.declare();
    await t.fill(queue, 2);
    const gate = deferred();
    const entered = new Count();
    const onMessage = async () => {
      entered.up();
      await gate.promise;
    };
    const consumer = t.consumer(queue, { onMessage });
    await consumer.consume();
    await entered.reach(1);
    const enough = new AbortController();
    const closing = consumer.close({ timeout: 3_600_000, signal: enough.signal });
    await eventually('no consumer', () => !consumer.consumingFrom(queue));
    enough.abort();
    await closing;
    await t.untilDepth(queue, 2);

    const other = t.connect();
    const late = deferred();
    await new Consumer<number>(other, {
      queues: queue,
      onMessage: () => {
        entered.up();
        return late.promise;
      },
    }).consume();
    await entered.reach(2);
    await other.close({ timeout: Number.POSITIVE_INFINITY, signal: AbortSignal.timeout(20) });
    expect(other.state).toBe('closed');
    await t.untilDepth(queue, 2);
    expect((await failure(t.connect().close({ timeout: -1 }))).code).toBe('INVALID_ARGUMENT');
    gate.resolve();
    late.resolve();
  });

  test('closing the connection closes consumers in the same way', async () => {
    const queue = t.queue<number>('connection-close');
    await queue.declare();
    await t.fill(queue, 5);
    const connection = t.connect();
    const entered = new Count();
    const gate = deferred();
    const answers: boolean[] = [];
    const consumer = new Consumer(connection, {
      queues: queue,
      onMessage: async (message: Message<number>) => {
        entered.up();
        await gate.promise;
        answers.push(await message.ack());
      },
    });
    await consumer.consume();
    await entered.reach(1);
    const closing = connection.close();
    gate.resolve();
    await closing;
    expect(answers).toEqual([true]);
    await t.untilDepth(queue, 4);
  });

  test('a signal closes the consumer; consume rejects with its reason', async () => {
    const queue = t.queue<number>('signal');
    const reason = new Error('enough');
    expect(await failure(t.consumer(queue, { signal: AbortSignal.abort(reason), onMessage: () => 1 }).consume())).toBe(
      reason,
    );
    expect(
      await failure(t.consumer(queue, { onMessage: () => 1 }).consume({ signal: AbortSignal.abort(reason) })),
    ).toBe(reason);
    const controller = new AbortController();
    const consumer = t.consumer(queue, { signal: controller.signal, onMessage: () => 1 });
    await consumer.consume();
    controller.abort(reason);
    await eventually('no consumer', async () => (await queue.queueDeclare({ passive: true })).consumerCount === 0);
    expect((await failure(consumer.consume())).code).toBe('CHANNEL_CLOSED');
  });

  test('idleTimeout stops a consumer to which nothing comes', async () => {
    const queue = t.queue<number>('idle');
    await queue.declare();
    await t.fill(queue, 3);
    const box = inbox<number>();
    const consumer = t.consumer(queue, { idleTimeout: 60, settle: 'auto', ...pick(box) });
    await consumer.consume();
    await box.reach(3);
    await eventually('no consumer', () => !consumer.consumingFrom(queue));
    expect(await t.depth(queue)).toBe(0);
    await consumer.consume();
    expect(consumer.consumingFrom(queue)).toBe(true);
  });

  test('noAck: the message is gone, ack has nothing to do, requeue cannot', async () => {
    const queue = t.queue<number>('no-ack');
    await queue.declare();
    await t.fill(queue, 5);
    const box = inbox<number>();
    const consumer = t.consumer(queue, pick(box));
    await consumer.consume({ noAck: true });
    await box.reach(5);
    const [message] = box.messages;
    expect(message?.state).toBe('ACK');
    expect([await message?.ack(), await message?.ack(), await message?.reject()]).toEqual([true, true, true]);
    expect((await failure(message?.requeue() as Promise<boolean>)).code).toBe('MESSAGE_STATE');
    await consumer.close();
    expect(await t.depth(queue)).toBe(0);
  });

  test('close with noAck lets the handler finish what has come', async () => {
    const queue = t.queue<number>('no-ack-close');
    await queue.declare();
    await t.fill(queue, 20);
    const seen: number[] = [];
    const first = new Count();
    const consumer = t.consumer(queue, {
      noAck: true,
      onMessage: async ({ payload }) => {
        seen.push(payload);
        first.up();
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    await consumer.consume();
    await first.reach(1);
    await t.untilDepth(queue, 0);
    await consumer.close();
    expect(seen).toEqual(sequence(20));
  });

  test('queues are declared before they are consumed; not without autoDeclare, nor by name', async () => {
    const queue = t.queue<number>('declared');
    const missing = await failure(t.consumer(queue, { autoDeclare: false, onMessage: () => 1 }).consume());
    expect(missing.code).toBe('NOT_FOUND');
    const byName = new Consumer(t.connection, { queues: queue.name, onMessage: () => 1 });
    expect((await failure(byName.consume())).code).toBe('NOT_FOUND');
    const consumer = t.consumer(queue, { onMessage: () => 1 });
    await consumer.declare();
    expect(await t.depth(queue)).toBe(0);
    await consumer.consume();
    expect(consumer.consumingFrom(queue)).toBe(true);
    await new Consumer(t.connection, { queues: [queue.name], onMessage: () => 1 }).consume();
  });

  test('when one queue cannot be consumed, none that this call has started is', async () => {
    const good = t.queue<number>('half.good');
    const bad = t.queue<number>('half.bad', { noDeclare: true });
    const consumer = t.consumer([good, bad], { onMessage: () => 1 });
    expect((await failure(consumer.consume())).code).toBe('NOT_FOUND');
    expect((await good.queueDeclare({ passive: true })).consumerCount).toBe(0);
    expect(consumer.consumingFrom(good)).toBe(false);
    await new Queue(bad.name).bind(t.connection).declare();
    await consumer.consume();
    expect([consumer.consumingFrom(good), consumer.consumingFrom(bad)]).toEqual([true, true]);
  });

  test('a queue that the broker names is consumed', async () => {
    const queue = new Queue<string>('', { exclusive: true });
    const box = inbox<string>();
    const consumer = t.consumer(queue, pick(box));
    await consumer.consume();
    const [bound] = consumer.queues;
    expect(bound?.name).not.toBe('');
    await t.producer().publish('hello', { routingKey: bound?.name ?? '' });
    await box.reach(1);
    expect(box.messages[0]?.queue).toBe(bound?.name);
    expect(queue.name).toBe('');
  });

  test('amqp-ts#76, runmq#21: a lost connection does not end it: consuming goes on, what is in hand is stale or still ours', async () => {
    const queue = t.queue<number>('lost');
    await queue.declare();
    await t.fill(queue, 1);
    const box = inbox<number>();
    const stale: Message<number>[] = [];
    const consumer = t.consumer(queue, { concurrency: 50, ...pick(box) });
    consumer.on('stale', (message) => stale.push(message));
    await consumer.consume();
    await box.reach(1);
    const recovered = once(t.connection, 'recovered');
    await t.drop();
    await recovered;
    const [first] = box.messages;
    const outlives = t.connection.transport?.features.deliveriesOutliveConnection === true;
    expect(await first?.ack()).toBe(outlives);
    expect(stale).toEqual(outlives ? [] : [first]);
    if (!outlives) {
      await box.reach(2);
      expect([box.messages[1]?.payload, box.messages[1]?.redelivered]).toEqual([0, true]);
      await box.messages[1]?.ack();
    }
    const before = box.messages.length;
    await t.fill(queue, 3);
    await box.reach(before + 3);
  });

  test('a queue that the broker named is consumed also after a loss, under its new name', async () => {
    const box = inbox<string>();
    const consumer = t.consumer(new Queue<string>('', { exclusive: true }), { settle: 'auto', ...pick(box) });
    await consumer.consume();
    const recovered = once(t.connection, 'recovered');
    await t.drop();
    await recovered;
    const name = consumer.queues[0]?.name ?? '';
    await t.producer().publish('hello', { routingKey: name, mandatory: true });
    await box.reach(1);
    expect([box.messages[0]?.payload, box.messages[0]?.queue]).toEqual(['hello', name]);
  });

  test('a queue deleted by somebody is told by cancelled, declared and consumed again', async () => {
    const queue = t.queue<number>('deleted');
    const box = inbox<number>();
    const consumer = t.consumer(queue, { settle: 'auto', ...pick(box) });
    await consumer.consume();
    const cancelled = once(consumer, 'cancelled');
    await t.connect().defaultChannel().queueDelete(queue.name);
    const [name, error, over] = (await cancelled) as [string, MessagingError, boolean];
    expect([name, over]).toEqual([queue.name, false]);
    expect(error.code).toBe('CONSUMER_CANCELLED');
    await eventually('the queue again', async () => {
      const channel = t.connect().defaultChannel();
      const count = await channel.queueDeclare(queue.name, { passive: true }).then(
        (answer) => answer.consumerCount,
        () => 0,
      );
      return count === 1;
    });
    await t.fill(queue, 1);
    await box.reach(1);
  });

  test('a queue that somebody deleted while nobody consumed it is declared again', async () => {
    const exchange = new Exchange(t.name('unnoticed'), { type: 'fanout', autoDelete: true });
    const queue = t.queue<string>('unnoticed', { exchange });
    await queue.declare();
    await queue.bind(t.connect()).delete();
    const box = inbox<string>();
    await t.consumer(queue, pick(box)).consume();
    await t.producer({ exchange }).publish('x');
    await box.reach(1);
    expect(t.problems).toEqual([]);
  });

  test('recover puts back everything that is unsettled', async () => {
    const queue = t.queue<number>('recover');
    await queue.declare();
    await t.fill(queue, 4);
    const box = inbox<number>();
    const consumer = t.consumer(queue, pick(box));
    await consumer.consume();
    await box.reach(4);
    await box.messages[0]?.ack();
    const held = box.messages.slice(1);
    await consumer.recover();
    await box.reach(7);
    expect(box.messages.slice(4).map(({ payload, redelivered }) => [payload, redelivered])).toEqual([
      ...[1, 2, 3].map((payload) => [payload, true]),
    ]);
    expect(held.map(({ state }) => state)).toEqual(['REQUEUED', 'REQUEUED', 'REQUEUED']);
    expect((await failure(held[0]?.ack() as Promise<boolean>)).code).toBe('MESSAGE_STATE');
    for (const message of box.messages.slice(4)) expect(await message.ack()).toBe(true);
    expect(await t.depth(queue)).toBe(0);
  });

  test('purge counts the messages of all queues that nobody holds', async () => {
    const [a, b] = [t.queue<number>('purge.a'), t.queue<number>('purge.b')];
    const consumer = t.consumer([a, b]);
    await consumer.declare();
    await t.fill(a, 3);
    await t.fill(b, 4);
    expect(await consumer.purge()).toBe(7);
  });

  test('messages wait for a callback that is registered later', async () => {
    const queue = t.queue<number>('register');
    await queue.declare();
    await t.fill(queue, 3);
    const consumer = t.consumer(queue, { settle: 'auto' });
    await consumer.consume();
    await t.untilDepth(queue, 0);
    const seen: number[] = [];
    const count = new Count();
    consumer.registerCallback((body) => {
      seen.push(body);
      count.up();
    });
    await count.reach(3);
    expect(seen).toEqual([0, 1, 2]);
    expect((await failure(t.consumer(queue).receive(1, undefined as never))).code).toBe('INVALID_ARGUMENT');
  });

  test('receive hands a body to the callbacks', async () => {
    const seen: unknown[] = [];
    const consumer = t.consumer(t.queue<number>('receive'), {
      callbacks: [(body) => void seen.push(`a${body}`), async (body) => void seen.push(`b${body}`)],
    });
    await consumer.receive(7, undefined as never);
    expect(seen).toEqual(['a7', 'b7']);
  });

  test('revive moves to another connection, where consume starts it', async () => {
    const queue = t.queue<number>('revive');
    const box = inbox<number>();
    const consumer = t.consumer(queue, { settle: 'auto', ...pick(box) });
    await consumer.consume();
    const other = t.connect();
    await consumer.revive(other.channel());
    expect([consumer.connection, consumer.consumingFrom(queue)]).toEqual([other, false]);
    await consumer.consume();
    await t.connection.close();
    await new Consumer(other).close();
    const producer = queue.bind(other);
    await producer.queueDeclare({ passive: true });
    await other.defaultChannel().publish({
      ...{ exchange: '', routingKey: queue.name, unroutable: 'ignore', body: Buffer.from('5') },
      properties: { contentType: 'application/json', contentEncoding: 'utf-8' },
    });
    await box.reach(1);
    expect(box.messages[0]?.payload).toBe(5);
  });

  test('nested starts consumers together, and closes the last first', async () => {
    const [a, b] = [t.queue<number>('nested.a'), t.queue<number>('nested.b')];
    const one = t.consumer(a, { onMessage: () => 1 });
    const two = t.consumer(b, { onMessage: () => 1 });
    const both = nested(one, two);
    await both.consume();
    expect([one.consumingFrom(a), two.consumingFrom(b)]).toEqual([true, true]);
    await both.cancel();
    expect([one.consumingFrom(a), two.consumingFrom(b)]).toEqual([false, false]);
    const bad = t.consumer(t.queue('nested.missing', { noDeclare: true }), { onMessage: () => 1 });
    expect((await failure(nested(one, bad).consume())).code).toBe('NOT_FOUND');
    expect(one.consumingFrom(a)).toBe(false);
    await both[Symbol.asyncDispose]();
    expect((await failure(one.consume())).code).toBe('CHANNEL_CLOSED');
  });

  test('drainEvents counts what was handled', async () => {
    const queue = t.queue<number>('drain');
    const box = inbox<number>();
    await t.consumer(queue, { settle: 'auto', ...pick(box) }).consume();
    await t.fill(queue, 3);
    await box.reach(3);
    let events = 0;
    while (events < 3) events += await t.connection.drainEvents({ timeout: 5000 });
    expect(events).toBe(3);
  });

  test('options that cannot be used are refused by name', () => {
    const refused = (options: object, pattern: RegExp) =>
      expect(() => new Consumer(t.connection, options as never)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(pattern) }),
      );
    refused({ prefech: 1 }, /'prefech'.*did you mean 'prefetch'/);
    refused({ prefetch: -1 }, /prefetch/);
    refused({ prefetch: 65_536 }, /prefetch/);
    refused({ concurrency: 0 }, /concurrency/);
    refused({ maxAttempts: 1.5 }, /maxAttempts/);
    refused({ settle: 'automatic' }, /settle/);
    refused({ callbacks: 'nope' }, /callbacks/);
    refused({ onMessage: () => 1, callbacks: [() => 1] }, /exclude each other/);
    refused({ schema: {} }, /schema/);
    refused({ queues: 7 }, /queue/);
    refused({ accept: ['no-such-format'] }, /no-such-format/);
    refused({ backoff: { begin: 1 } }, /'begin'/);
    refused({ backoff: { factor: 0.5 } }, /factor/);
    refused({ idleTimeout: -1 }, /idleTimeout/);
    expect(() => new Consumer(undefined as never)).toThrow(/a Channel or a Connection is needed/);
    expect(() => new Consumer(t.connection, { onMessage: () => 1 }).registerCallback(() => 1)).toThrow(/onMessage/);
  });
});

onMemory('queue_order_strategy', (t) => {
  test('says which of several queues goes first', async () => {
    const [first, second] = [t.queue<number>('strategy.b'), t.queue<number>('strategy.a')];
    for (const [strategy, order] of [
      ['round_robin', 'babababa'],
      ['priority', 'bbbbaaaa'],
      ['sorted', 'aaaabbbb'],
    ] as const) {
      const connection = t.connect({ transportOptions: { queue_order_strategy: strategy } });
      await Promise.all([first.declare(), second.declare()]);
      await t.fill(first, 4);
      await t.fill(second, 4);
      const seen: string[] = [];
      const consumer = new Consumer(connection, { queues: [first, second], settle: 'auto', idleTimeout: 50 });
      for await (const message of consumer) {
        // What was ready has come.
        if (seen.length === 0) await t.untilDepth(second, 0);
        seen.push(message.queue === first.name ? 'b' : 'a');
      }
      // The first was taken before the others had come.
      expect([strategy, seen.slice(1).join('')]).toEqual([strategy, order.replace(seen[0] ?? '', '')]);
      await consumer.close();
    }
    expect(() => t.connect({ transportOptions: { queue_order_strategy: 'random' } })).toThrow(/queue_order_strategy/);
  });
});

function pick<T>(box: { readonly onMessage: (message: Message<T>) => void }) {
  return { onMessage: box.onMessage };
}
