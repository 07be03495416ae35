import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Exchange, Message, Queue, QueueOptions } from '../../index.js';
import { sleep } from '../../util/abort.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { collect, depth, drain, failure, fill, payloads } from '../support.js';

/** A queue whose dead letters go to another. */
async function withDeadLetters(
  t: ConformanceContext,
  options: QueueOptions<number> = {},
): Promise<{ queue: Queue<number>; dead: Queue<number>; graveyard: Exchange }> {
  const graveyard = t.exchange('graveyard', { type: 'fanout' });
  const dead = t.queue<number>('dead', { exchange: graveyard }).bind(t.connection);
  const queue = t
    .queue<number>('q', {
      ...options,
      queueArguments: { ...options.queueArguments, 'x-dead-letter-exchange': graveyard.name },
    })
    .bind(t.connection);
  await dead.declare();
  await queue.declare();
  return { queue, dead, graveyard };
}

interface Death {
  readonly count: number;
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly 'routing-keys': readonly string[];
  readonly time: unknown;
}

const deaths = (message: Message<unknown>) => message.headers['x-death'] as readonly Death[];

export const limits = group('time to live, length, dead letters', (test) => {
  test(
    'a message that expires is not delivered',
    async (t) => {
      const queue = t.queue<string>('q').bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      await producer.publish('brief', { routingKey: queue.name, expiration: 60 });
      await producer.publish('lasting', { routingKey: queue.name, expiration: 600_000 });
      await sleep(100); // The broker may count it until somebody looks, but gives it to nobody.
      deepEqual(payloads(await drain(t, queue)), ['lasting']);
    },
    { needs: ['messageTtl'] },
  );

  test(
    'an expiration of 0 is not for those who come later',
    async (t) => {
      const queue = t.queue<string>('q').bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      await producer.publish('nobody waits', { routingKey: queue.name, expiration: 0 });
      equal(await queue.get({ noAck: true }), undefined);
    },
    { needs: ['messageTtl'] },
  );

  test(
    'a queue’s own time to live; the shorter of the two counts',
    async (t) => {
      const queue = t.queue<string>('q', { messageTtl: 80 }).bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      await producer.publish('by the queue', { routingKey: queue.name });
      await producer.publish('by the queue, too', { routingKey: queue.name, expiration: 600_000 });
      await sleep(120);
      deepEqual(await drain(t, queue), []);
    },
    { needs: ['messageTtl'] },
  );

  test(
    'a message that is held does not expire',
    async (t) => {
      const { queue, dead } = await withDeadLetters(t);
      const producer = t.connection.producer();
      await producer.publish(1, { routingKey: queue.name, expiration: 150 });
      await producer.publish(2, { routingKey: queue.name, expiration: 160 });
      const held = await queue.get();
      equal(held?.payload, 1);
      // The second one's death tells that the time of the first has passed, too.
      const inbox = await collect(t, dead);
      equal((await inbox.next()).payload, 2);
      equal(await held?.ack(), true);
      equal(inbox.messages.length, 1);
    },
    { needs: ['messageTtl', 'deadLetter'] },
  );

  test(
    'a queue that nobody uses goes after x-expires',
    async (t) => {
      const queue = t.queue('q', { expires: 150 }).bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      await producer.publish('x', { routingKey: queue.name });
      // Publishing is no use of a queue; asking for its state might be.
      const error = await t.eventually('the queue to go', () =>
        producer.publish('x', { routingKey: queue.name, mandatory: true }).then(
          () => undefined,
          (reason: Error & { code: string }) => reason,
        ),
      );
      equal(error.code, 'UNROUTABLE');
    },
    { needs: ['queueTtl'] },
  );

  test(
    'a queue with a consumer does not expire',
    async (t) => {
      const used = t.queue<string>('used', { expires: 200 });
      const unused = t.queue('unused', { expires: 250 }).bind(t.connection);
      const inbox = await collect(t, used);
      await unused.declare();
      const producer = t.connection.producer();
      await t.eventually('the unused queue to go', () =>
        producer.publish('x', { routingKey: unused.name, mandatory: true }).then(
          () => false,
          () => true,
        ),
      );
      await producer.publish('still here', { routingKey: used.name, mandatory: true });
      equal((await inbox.next()).payload, 'still here');
    },
    { needs: ['queueTtl'] },
  );

  test(
    'max length drops the oldest',
    async (t) => {
      const queue = t.queue<number>('q', { maxLength: 3 }).bind(t.connection);
      await queue.declare();
      await fill(t, queue.name, 10);
      equal(await depth(t, queue), 3);
      deepEqual(payloads(await drain(t, queue)), [7, 8, 9]);
    },
    { needs: ['maxLength'] },
  );

  test(
    'max length counts what waits, not what is held',
    async (t) => {
      const queue = t.queue<number>('q', { maxLength: 2 }).bind(t.connection);
      await queue.declare();
      await fill(t, queue.name, 2);
      const held = [await queue.get(), await queue.get()];
      await fill(t, queue.name, 2);
      equal(await depth(t, queue), 2);
      for (const message of held) equal(await message?.ack(), true);
      deepEqual(payloads(await drain(t, queue)), [0, 1]);
    },
    { needs: ['maxLength'] },
  );

  test(
    'max length in bytes',
    async (t) => {
      const queue = t.queue<Uint8Array>('q', { maxLengthBytes: 1000 }).bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      for (let i = 0; i < 5; i++) await producer.publish(Buffer.alloc(400, i), { routingKey: queue.name });
      deepEqual(
        payloads(await drain(t, queue)).map((body) => body[0]),
        [3, 4],
      );
    },
    { needs: ['maxLengthBytes'] },
  );

  test(
    'dead letters: what is rejected, with its history',
    async (t) => {
      const { queue, dead } = await withDeadLetters(t);
      await t.connection.producer().publish(7, {
        routingKey: queue.name,
        headers: { mine: 'kept' },
        correlationId: 'c1',
      });
      const inbox = await collect(t, queue);
      equal(await (await inbox.next()).reject(), true);
      const letter = await t.eventually('the dead letter', () => dead.get({ noAck: true }));
      equal(letter.payload, 7);
      equal(letter.headers.mine, 'kept');
      equal(letter.properties.correlationId, 'c1');
      equal(deaths(letter).length, 1);
      const [death] = deaths(letter);
      deepEqual(
        [Number(death?.count), death?.reason, death?.queue, death?.exchange, death?.['routing-keys']],
        [1, 'rejected', queue.name, '', [queue.name]],
      );
      ok(death?.time instanceof Date && Math.abs(Date.now() - death.time.getTime()) < 60_000, String(death?.time));
      equal(letter.headers['x-first-death-queue'], queue.name);
      equal(letter.headers['x-first-death-reason'], 'rejected');
      equal(letter.headers['x-first-death-exchange'], '');
    },
    { needs: ['deadLetter', 'exchange:fanout'] },
  );

  test(
    'dead letters: what expires, without its expiration',
    async (t) => {
      const { queue, dead } = await withDeadLetters(t);
      await t.connection.producer().publish(1, { routingKey: queue.name, expiration: 50 });
      const inbox = await collect(t, dead);
      const letter = await inbox.next();
      equal(letter.payload, 1);
      equal(deaths(letter)[0]?.reason, 'expired');
      equal(letter.properties.expiration, undefined);
    },
    { needs: ['deadLetter', 'messageTtl', 'exchange:fanout'] },
  );

  test(
    'dead letters: what a full queue drops',
    async (t) => {
      const { queue, dead } = await withDeadLetters(t, { maxLength: 1 });
      const inbox = await collect(t, dead);
      await fill(t, queue.name, 3);
      const letters = await inbox.take(2);
      deepEqual(payloads(letters), [0, 1]);
      equal(deaths(letters[0] as Message<unknown>)[0]?.reason, 'maxlen');
      deepEqual(payloads(await drain(t, queue)), [2]);
    },
    { needs: ['deadLetter', 'maxLength', 'exchange:fanout'] },
  );

  test(
    'dead letters: a key of their own',
    async (t) => {
      const graveyard = t.exchange('graveyard', { type: 'direct' });
      const dead = t.queue<number>('dead', { exchange: graveyard, routingKey: 'rip' }).bind(t.connection);
      const queue = t
        .queue<number>('q', {
          queueArguments: { 'x-dead-letter-exchange': graveyard.name, 'x-dead-letter-routing-key': 'rip' },
        })
        .bind(t.connection);
      await dead.declare();
      await queue.declare();
      await fill(t, queue.name, 1);
      await (await (await collect(t, queue)).next()).reject();
      const letter = await (await collect(t, dead)).next();
      equal(letter.deliveryInfo.routingKey, 'rip');
      deepEqual(deaths(letter)[0]?.['routing-keys'], [queue.name]);
    },
    { needs: ['deadLetter', 'exchange:direct'] },
  );

  test(
    'dead letters: a wait between two tries, counted',
    async (t) => {
      const work = t.queue<string>('work', {
        queueArguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': t.name('wait') },
      });
      const wait = t.queue('wait', {
        messageTtl: 50,
        queueArguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': work.name },
      });
      await wait.bind(t.connection).declare();
      const inbox = await collect(t, work);
      await t.connection.producer().publish('job', { routingKey: work.name });
      for (let tries = 0; tries < 3; tries++) {
        const message = await inbox.next();
        const counts = Object.fromEntries((deaths(message) ?? []).map((death) => [death.reason, Number(death.count)]));
        deepEqual(counts, tries === 0 ? {} : { rejected: tries, expired: tries });
        equal(await message.reject(), true);
      }
      await (await inbox.next()).ack();
    },
    { needs: ['deadLetter', 'messageTtl'] },
  );

  test(
    'a circle in which nobody rejects ends',
    async (t) => {
      const other = t.queue('other', {
        messageTtl: 20,
        queueArguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': t.name('one') },
      });
      const one = t.queue('one', {
        messageTtl: 20,
        queueArguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': other.name },
      });
      await Promise.all([one.bind(t.connection).declare(), other.bind(t.connection).declare()]);
      await t.connection.producer().publish('round and round', { routingKey: one.name });
      await t.eventually('the message to be dropped', async () => {
        return (await depth(t, one)) === 0 && (await depth(t, other)) === 0;
      });
    },
    { needs: ['deadLetter', 'messageTtl'] },
  );

  test(
    'delay: later ones come later, whatever the order of publishing',
    async (t) => {
      const exchange = t.exchange('e', { type: 'topic' });
      const queue = t.queue<string>('q', { exchange, routingKey: 'k' });
      const inbox = await collect(t, queue);
      const producer = t.connection.producer({ exchange, routingKey: 'k' });
      // The first one may have to build what delays messages, which takes its time.
      await producer.publish('first', { delay: 1000, declare: [queue] });
      equal((await inbox.next()).payload, 'first');
      const start = Date.now();
      await producer.publish('in two seconds', { delay: 2000, declare: [queue] });
      await producer.publish('in one second', { deliverAt: new Date(start + 1000), declare: [queue] });
      await producer.publish('now', { declare: [queue] });
      const arrivals: [string, number][] = [];
      for (let i = 0; i < 3; i++) arrivals.push([(await inbox.next()).payload, Date.now() - start]);
      deepEqual(
        arrivals.map(([payload]) => payload),
        ['now', 'in one second', 'in two seconds'],
      );
      // Brokers count in seconds at worst, and may cut off a fraction.
      ok((arrivals[1]?.[1] ?? 0) >= 900, `after ${arrivals[1]?.[1]} ms`);
      ok((arrivals[2]?.[1] ?? 0) >= 1900, `after ${arrivals[2]?.[1]} ms`);
    },
    { needs: ['delay', 'exchange:topic'] },
  );

  test(
    'priority: served in the order that the flag tells, equals in order of arrival',
    async (t) => {
      const queue = t.queue<string>('q', { maxPriority: 9 }).bind(t.connection);
      await queue.declare();
      const producer = t.connection.producer();
      for (const [payload, priority] of [
        ['low 1', 0],
        ['high 1', 9],
        ['low 2', 0],
        ['high 2', 9],
      ] as const) {
        await producer.publish(payload, { routingKey: queue.name, priority });
      }
      const high = ['high 1', 'high 2'];
      const low = ['low 1', 'low 2'];
      deepEqual(
        payloads(await drain(t, queue)),
        t.features.priority === 'highest-first' ? [...high, ...low] : [...low, ...high],
      );
    },
    { needs: ['priority'] },
  );

  test(
    'limits that make no sense are refused',
    async (t) => {
      const channel = t.connection.defaultChannel();
      for (const [name, value] of [
        ['x-message-ttl', -1],
        ['x-expires', 0],
        ['x-max-length', -5],
        ['x-overflow', 'explode'],
      ] as const) {
        const queue = t.queue('bad');
        const error = await failure(channel.queueDeclare(queue.name, { arguments: { [name]: value } }));
        ok(['PRECONDITION_FAILED', 'INVALID_ARGUMENT'].includes(error.code), `${name}: ${error.stack}`);
        ok(error.message.includes(name), error.message);
      }
    },
    { needs: ['messageTtl', 'queueTtl', 'maxLength'] },
  );
});
