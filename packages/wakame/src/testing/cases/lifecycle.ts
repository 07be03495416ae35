import { deepEqual, equal, ok } from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagingError } from '../../index.js';
import { group } from '../define.js';
import { collect, depth, drain, event, failure, fill, ignore, payloads, rejection, sequence } from '../support.js';

/**
 * Sockets and servers that are open, counted by kind. Timers are left out: the test runner has some of its own, which come and go. That
 * none of ours keeps a process alive is what the script that exits by itself proves.
 */
function resources(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    if (/Socket|TCP|TLS|Pipe|Server|DNS|ADDRINFO/i.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

export const lifecycle = group('connections', (test) => {
  test('connects on first use, once, however many ask', async (t) => {
    const connection = t.connect();
    equal(connection.state, 'idle');
    let connected = 0;
    connection.on('connected', () => connected++);
    const queue = t.queue('q', { autoDelete: false }).bind(connection);
    await t.within(
      'connect',
      Promise.all([
        connection.connect(),
        queue.declare(),
        connection.connect(),
        connection.producer().publish('x', { routingKey: queue.name }),
      ]),
    );
    deepEqual([connection.state, connection.connected, connected], ['open', true, 1]);
  });

  test('close is orderly, may be repeated and shared, and is told once', async (t) => {
    const connection = t.connect();
    const inbox = await collect(t, t.queue('q'), {}, connection);
    let closed = 0;
    connection.on('closed', () => closed++);
    await t.within('ten closes', Promise.all(sequence(10).map(() => connection.close())));
    await connection.close();
    deepEqual([connection.state, connection.connected, closed], ['closed', false, 1]);
    await t.within('closes of what it carried', Promise.all([inbox.consumer.close(), inbox.consumer.close()]));
  });

  test('close from everywhere at once: publishers, consumers and a declaration under way', async (t) => {
    const connection = t.connect();
    const queue = t.queue<number>('q').bind(connection);
    await queue.declare();
    const inbox = await collect(t, queue, { prefetch: 5 }, connection);
    const producers = sequence(3).map(() => connection.producer());
    const publishes = producers.flatMap((producer) =>
      sequence(100).map((i) => producer.publish(i, { routingKey: queue.name })),
    );
    const declaration = queue.bind(connection).declare();
    const outcomes = await t.within(
      'everything to settle',
      Promise.allSettled([
        ...publishes,
        declaration,
        connection.close(),
        inbox.consumer.close(),
        ...producers.map((producer) => producer.close()),
        connection.close(),
      ]),
    );
    const published = outcomes.slice(0, publishes.length);
    for (const outcome of published) {
      if (outcome.status === 'fulfilled') continue;
      const error = outcome.reason as MessagingError;
      equal(error.code, 'CONNECTION_CLOSED', error.stack);
      ok(['not-sent', 'unknown'].includes(String(error.outcome)), `outcome ${error.outcome}`);
    }
    const confirmed = published.filter(({ status }) => status === 'fulfilled').length;
    const fresh = t.connect();
    const taken = inbox.messages.length;
    const present = await depth(t, queue, fresh);
    ok(present >= confirmed, `${confirmed} confirmed, ${present} present, ${taken} had been delivered and not settled`);
  });

  test('after close every operation is CONNECTION_CLOSED', async (t) => {
    const connection = t.connect();
    const queue = t.queue('q').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    await producer.publish('x', { routingKey: queue.name });
    const consumer = connection.consumer(queue, { onMessage: ignore });
    await connection.close();
    const attempts: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['publish', () => producer.publish('x', { routingKey: queue.name })],
      ['publish unconfirmed', () => producer.publish('x', { routingKey: queue.name, confirm: false })],
      ['a new producer', () => connection.producer().publish('x', { routingKey: queue.name })],
      ['get', () => queue.get()],
      ['declare', () => t.queue('other').bind(connection).declare()],
      ['purge', () => queue.purge()],
      ['delete', () => queue.delete()],
      ['consume', () => consumer.consume()],
      ['connect', () => connection.connect()],
      ['channel', () => connection.channel().queueDeclare(queue.name, { passive: true })],
    ];
    for (const [what, attempt] of attempts) {
      const error = await t.within(what, failure((async () => attempt())()));
      equal(error.code, 'CONNECTION_CLOSED', `${what}: ${error.stack}`);
    }
  });

  test('close settles first what was accepted', async (t) => {
    const connection = t.connect();
    const queue = t.queue<number>('q').bind(connection);
    await queue.declare();
    const producer = connection.producer();
    const confirmed = sequence(200).map((i) => producer.publish(i, { routingKey: queue.name }));
    const written = sequence(200).map((i) =>
      connection.producer().publish(i, { routingKey: queue.name, confirm: false }),
    );
    await t.within('close', connection.close());
    await Promise.all([...confirmed, ...written]);
    equal(await depth(t, queue), 400);
  });

  test('await using closes', async (t) => {
    const connection = t.connect();
    await connection.connect();
    await connection[Symbol.asyncDispose]();
    equal(connection.state, 'closed');
  });

  test('abort: connect, get, consume and declare reject with the reason of their signal', async (t) => {
    const reason = new Error('no longer wanted');
    const signal = AbortSignal.abort(reason);
    equal(await failure(t.connect().connect({ signal })), reason);
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    await fill(t, queue.name, 1);
    equal(await failure(queue.get({ signal })), reason);
    equal(await failure(t.connection.consumer(queue, { signal, onMessage: ignore }).consume()), reason);
    equal(await depth(t, queue), 1);
    const controller = new AbortController();
    const connecting = t.connect().connect({ signal: controller.signal });
    controller.abort(reason);
    const outcome = await t.within(
      'connect',
      connecting.then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    ok(outcome === undefined || outcome === reason, String(outcome));
  });

  test('a hundred channels', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const channels = sequence(100).map(() => t.connection.channel());
    await t.within(
      'a hundred channels',
      Promise.all(channels.map((channel) => channel.queueDeclare(queue.name, { passive: true }))),
    );
    equal(new Set(channels.map(({ id }) => id)).size, 100);
    await t.within('a hundred closes', Promise.all(channels.map((channel) => channel.close())));
    equal(await depth(t, queue), 0);
  });

  test('a channel closed by an error of its own is back for the next operation', async (t) => {
    const queue = t.queue<string>('q');
    const inbox = await collect(t, queue);
    const channel = t.connection.channel();
    await rejection(channel.queueDeclare(t.name('missing'), { passive: true }), 'NOT_FOUND');
    await rejection(channel.get(t.name('missing')), 'NOT_FOUND');
    equal((await channel.queueDeclare(queue.name, { passive: true })).consumerCount, 1);
    await t.connection.producer().publish('unharmed', { routingKey: queue.name });
    equal((await inbox.next()).payload, 'unharmed');
    t.problems();
  });

  test('nothing is left behind: sockets, servers, look-ups', async (t) => {
    const queue = t.queue<number>('q');
    await queue.bind(t.connection).declare();
    await fill(t, queue.name, 1);
    await t.connection.close();
    await t.eventually('a quiet process', async () => {
      const before = JSON.stringify(resources());
      await nextTurn();
      return before === JSON.stringify(resources());
    });
    const before = resources();
    for (let i = 0; i < 3; i++) {
      const connection = t.connect();
      const inbox = await collect(t, queue, { prefetch: 1 }, connection);
      const message = await inbox.next();
      await connection.producer().publish(i, { routingKey: queue.name, timeout: 60_000 });
      await message.requeue();
      await connection.close();
    }
    const more = await t.eventually('resources to go', () => {
      const now = resources();
      const left = Object.entries(now).filter(([kind, count]) => count > (before[kind] ?? 0));
      return left.length === 0 ? 'none' : undefined;
    });
    equal(more, 'none');
  });

  test('drainEvents resolves when something was handled, and rejects at its timeout', async (t) => {
    const queue = t.queue<number>('q');
    await rejection(t.connection.drainEvents({ timeout: 20 }), 'TIMEOUT');
    const inbox = await collect(t, queue);
    const drained = t.connection.drainEvents({ timeout: t.patience });
    await fill(t, queue.name, 1);
    ok((await t.within('drainEvents', drained)) >= 1);
    equal((await inbox.next()).payload, 0);
    await (inbox.messages[0] as { ack(): Promise<boolean> }).ack();
    const reason = new Error('stop');
    equal(await failure(t.connection.drainEvents({ signal: AbortSignal.abort(reason) })), reason);
  });

  test('events: connected and closed', async (t) => {
    const connection = t.connect();
    const connected = event<unknown>(t, connection, 'connected');
    await connection.connect();
    await connected;
    const closed = event<unknown>(t, connection, 'closed');
    await connection.close();
    await closed;
  });

  test('fifty connections at once', async (t) => {
    const queue = t.queue<number>('q').bind(t.connection);
    await queue.declare();
    const connections = sequence(50).map(() => t.connect());
    await t.within(
      'fifty publishes',
      Promise.all(connections.map((connection, i) => connection.producer().publish(i, { routingKey: queue.name }))),
      3 * t.patience,
    );
    await t.within('fifty closes', Promise.all(connections.map((connection) => connection.close())));
    deepEqual(
      payloads(await drain(t, queue)).sort((a, b) => a - b),
      sequence(50),
    );
  });
});
