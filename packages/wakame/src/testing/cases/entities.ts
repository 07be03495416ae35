import { deepEqual, equal, match, notEqual } from 'node:assert/strict';
import { Exchange, type MessagingError } from '../../index.js';
import { group } from '../define.js';
import { collect, depth, drain, ignore, rejection, sequence, stat } from '../support.js';

/** Queues and exchanges: declaring, asking, deleting. */
export const entities = group('queues and exchanges', (test) => {
  test('declare tells the name and the counts, and may be repeated', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    const channel = t.connection.defaultChannel();
    for (let i = 0; i < 2; i++) {
      deepEqual(await channel.queueDeclare(queue.name, { durable: true }), {
        queue: queue.name,
        messageCount: 0,
        consumerCount: 0,
      });
    }
    await queue.declare();
    await t.connection.producer().publish('a', { routingKey: queue.name });
    equal(await depth(t, queue), 1);
  });

  test('a passive declaration of what is missing is NOT_FOUND, and disturbs nobody', async (t) => {
    const queue = t.queue('q');
    const inbox = await collect(t, queue);
    const channel = t.connection.defaultChannel();
    const error = await rejection(channel.queueDeclare(t.name('missing'), { passive: true }), 'NOT_FOUND');
    match(error.message, /missing/);
    await rejection(channel.exchangeDeclare(t.name('missing'), 'direct', { passive: true }), 'NOT_FOUND');
    equal((await stat(t, queue)).consumerCount, 1);
    await t.connection.producer().publish('still here', { routingKey: queue.name });
    equal((await inbox.next()).payload, 'still here');
  });

  test(
    'a passive declaration of what stands asks for nothing else',
    async (t) => {
      const queue = t.queue('q', { maxLength: 7, durable: true });
      await queue.bind(t.connection).declare();
      equal((await t.connection.defaultChannel().queueDeclare(queue.name, { passive: true })).queue, queue.name);
    },
    { needs: ['maxLength'] },
  );

  test('a queue declared again with another option is PRECONDITION_FAILED', async (t) => {
    const queue = t.queue('q');
    const channel = t.connection.defaultChannel();
    await channel.queueDeclare(queue.name, { durable: true });
    const error = await rejection(channel.queueDeclare(queue.name, { durable: false }), 'PRECONDITION_FAILED');
    match(error.message, /durable/);
    await rejection(
      channel.queueDeclare(queue.name, { durable: true, arguments: { 'x-max-length': 5 } }),
      'PRECONDITION_FAILED',
    );
    await channel.queueDeclare(queue.name, { durable: true });
  });

  test(
    'an exchange declared again with another type is PRECONDITION_FAILED',
    async (t) => {
      const exchange = t.exchange('e');
      const channel = t.connection.defaultChannel();
      await channel.exchangeDeclare(exchange.name, 'direct', { durable: true });
      await rejection(channel.exchangeDeclare(exchange.name, 'fanout', { durable: true }), 'PRECONDITION_FAILED');
      await rejection(channel.exchangeDeclare(exchange.name, 'direct', { durable: false }), 'PRECONDITION_FAILED');
      await channel.exchangeDeclare(exchange.name, 'direct', { durable: true });
    },
    { needs: ['exchange:direct', 'exchange:fanout'] },
  );

  test('an exchange of a type that nobody knows is refused', async (t) => {
    const exchange = new Exchange(t.name('e'), { type: 'x-no-such-type' }).bind(t.connection);
    let error: MessagingError | undefined;
    await exchange.declare().catch((reason: MessagingError) => {
      error = reason;
    });
    match(String(error?.message), /x-no-such-type/);
    equal(
      await t.connection
        .producer()
        .publish('works', { routingKey: t.name('nowhere') })
        .then(() => 'works'),
      'works',
    );
    t.problems();
  });

  test(
    'the broker names a queue without a name, each differently',
    async (t) => {
      const [one, two] = [t.queue<string>('', { exclusive: true }), t.queue<string>('', { exclusive: true })];
      const [first, second] = [one.bind(t.connection), two.bind(t.connection)];
      await Promise.all([first.declare(), second.declare()]);
      notEqual(first.name, '');
      notEqual(first.name, second.name);
      await t.connection.producer().publish('to the second', { routingKey: second.name });
      equal((await second.get({ noAck: true }))?.payload, 'to the second');
      equal(await first.get({ noAck: true }), undefined);
    },
    { needs: ['exclusive'] },
  );

  test('names may hold any character, up to 255 bytes of UTF-8 or what the store has room for', async (t) => {
    const queue = t.queue<string>('žluťoučký kůň / 昆布 "%41" \\ #*.');
    const bound = queue.bind(t.connection);
    await bound.declare();
    await t.connection.producer().publish('x', { routingKey: queue.name });
    equal((await bound.get({ noAck: true }))?.payload, 'x');
    const most = t.features.maxQueueName ?? 255;
    const longest = t.queue('l'.repeat(most - t.name('').length));
    equal(Buffer.byteLength(longest.name), most);
    await longest.bind(t.connection).declare();
    equal((await stat(t, longest)).queue, longest.name);
    const tooLong = `${longest.name}é`;
    await rejection(t.connection.defaultChannel().queueDeclare(tooLong), 'INVALID_ARGUMENT');
  });

  test('purge removes what waits and counts it; what is held stays', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    const producer = t.connection.producer();
    await Promise.all(sequence(5).map((i) => producer.publish(i, { routingKey: queue.name })));
    const held = await queue.get();
    equal(held?.payload, 0);
    equal(await queue.purge(), 4);
    equal(await queue.purge(), 0);
    equal(await held?.requeue(), true);
    equal((await t.eventually('the message that was held', () => queue.get({ noAck: true }))).payload, 0);
  });

  test('delete counts the messages; the queue is gone, and may be deleted again', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    const producer = t.connection.producer();
    await Promise.all(sequence(3).map((i) => producer.publish(i, { routingKey: queue.name })));
    equal(await queue.delete(), 3);
    await rejection(stat(t, queue), 'NOT_FOUND');
    equal(await queue.delete(), 0);
  });

  test('delete with ifEmpty or ifUnused refuses, and deletes nothing', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    const producer = t.connection.producer();
    await producer.publish('full', { routingKey: queue.name });
    await rejection(queue.delete({ ifEmpty: true }), 'PRECONDITION_FAILED');
    equal(await depth(t, queue), 1);
    await queue.purge();
    const inbox = await collect(t, queue);
    await rejection(queue.delete({ ifUnused: true }), 'PRECONDITION_FAILED');
    await producer.publish('used', { routingKey: queue.name });
    await (await inbox.next()).ack();
    await inbox.consumer.close();
    await t.eventually('the queue to be unused', async () => (await stat(t, queue)).consumerCount === 0);
    await queue.delete({ ifUnused: true, ifEmpty: true });
    await rejection(stat(t, queue), 'NOT_FOUND');
  });

  test('an exchange with bindings is not deleted with ifUnused', async (t) => {
    const exchange = t.exchange('e');
    const queue = t.queue('q', { exchange, routingKey: 'k' }).bind(t.connection);
    await queue.declare();
    const bound = exchange.bind(t.connection);
    await rejection(bound.delete({ ifUnused: true }), 'PRECONDITION_FAILED');
    await queue.delete();
    await bound.delete({ ifUnused: true });
    await rejection(
      t.connection.defaultChannel().exchangeDeclare(exchange.name, 'direct', { passive: true }),
      'NOT_FOUND',
    );
  });

  test('consumers are counted, of every connection', async (t) => {
    const queue = t.queue('q');
    const one = await collect(t, queue);
    const two = await collect(t, queue, {}, t.connect());
    equal((await stat(t, queue)).consumerCount, 2);
    await one.consumer.cancel();
    await t.eventually('one consumer', async () => (await stat(t, queue)).consumerCount === 1);
    await two.consumer.close();
    await t.eventually('no consumer', async () => (await stat(t, queue)).consumerCount === 0);
  });

  test('fifty declarations at once, each answered with its own', async (t) => {
    const channel = t.connection.defaultChannel();
    const queues = sequence(50).map((i) => t.queue(`q${i}`));
    const answers = await Promise.all(queues.map(({ name }) => channel.queueDeclare(name, { durable: true })));
    deepEqual(
      answers.map(({ queue }) => queue),
      queues.map(({ name }) => name),
    );
  });

  test(
    'an exclusive queue is closed to other connections, and goes with its own',
    async (t) => {
      const queue = t.queue('q', { exclusive: true });
      const owner = t.connect();
      await queue.bind(owner).declare();
      await owner.producer().publish('mine', { routingKey: queue.name });
      await rejection(queue.bind(t.connection).get(), 'RESOURCE_LOCKED');
      await rejection(stat(t, queue), 'RESOURCE_LOCKED');
      await rejection(
        t.connection.consumer(queue, { autoDeclare: false, onMessage: ignore }).consume(),
        'RESOURCE_LOCKED',
      );
      equal((await queue.bind(owner).get({ noAck: true }))?.payload, 'mine');
      await owner.close();
      await t.eventually('the queue to go with its connection', async () => {
        const error = await stat(t, queue).then(
          () => undefined,
          (reason: MessagingError) => reason,
        );
        return error?.code === 'NOT_FOUND';
      });
    },
    { needs: ['exclusive'] },
  );

  test(
    'an auto-delete queue goes with its last consumer, not before the first',
    async (t) => {
      const queue = t.queue('q', { autoDelete: true });
      await queue.bind(t.connection).declare();
      await t.connection.producer().publish('early', { routingKey: queue.name });
      equal(await depth(t, queue), 1);
      const one = await collect(t, queue);
      const two = await collect(t, queue);
      await t.eventually('the message', () => one.messages.length + two.messages.length === 1);
      await one.consumer.close();
      equal((await stat(t, queue)).consumerCount, 1);
      await two.consumer.close();
      await t.eventually('the queue to go', () =>
        stat(t, queue).then(
          () => false,
          (error: MessagingError) => error.code === 'NOT_FOUND',
        ),
      );
    },
    { needs: ['autoDelete'] },
  );

  test(
    'an auto-delete exchange goes with its last binding',
    async (t) => {
      const exchange = t.exchange('e', { autoDelete: true });
      const one = t.queue('one', { exchange, routingKey: 'k' }).bind(t.connection);
      const two = t.queue('two', { exchange, routingKey: 'k' }).bind(t.connection);
      await one.declare();
      await two.declare();
      const channel = t.connection.defaultChannel();
      await one.unbindFrom(exchange, { routingKey: 'k' });
      await channel.exchangeDeclare(exchange.name, 'direct', { passive: true });
      await two.delete();
      await rejection(channel.exchangeDeclare(exchange.name, 'direct', { passive: true }), 'NOT_FOUND');
    },
    { needs: ['autoDelete'] },
  );

  test('the deletion of a queue takes its bindings along', async (t) => {
    const exchange = t.exchange('e');
    const queue = t.queue<string>('q', { exchange, routingKey: 'k' }).bind(t.connection);
    await queue.declare();
    await queue.delete();
    await t.connection.defaultChannel().queueDeclare(queue.name, { durable: true });
    await rejection(t.connection.producer().publish('x', { exchange, routingKey: 'k', mandatory: true }), 'UNROUTABLE');
    deepEqual(await drain(t, queue), []);
  });
});
