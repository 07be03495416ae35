/** Declarations, bindings and deletions through a channel over memory. */
import { describe, expect, test } from 'vitest';
import { MemoryDriver } from '../../src/transports/memory/index.js';
import { noop } from '../../src/util/noop.js';
import { RemoteDriver } from './doubles.js';
import {
  consume,
  drain,
  freshBroker,
  memoryModule,
  moduleOf,
  oneChannel,
  open,
  parametersOf,
  publish,
  settled,
} from './harness.js';

const refusal = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('exchanges', () => {
  test('may be declared again with the same settings; a difference is named', async () => {
    const { channel } = await oneChannel();
    const settings = { durable: true, arguments: { 'alternate-exchange': 'rest' } };
    await channel.exchangeDeclare('x', 'topic', settings);
    await channel.exchangeDeclare('x', 'topic', settings);
    await expect(channel.exchangeDeclare('x', 'direct', settings)).rejects.toEqual(
      refusal(
        'PRECONDITION_FAILED',
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'direct' but current is 'topic'",
      ),
    );
    await expect(channel.exchangeDeclare('x', 'topic', { ...settings, durable: false })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "inequivalent arg 'durable'"),
    );
    await expect(channel.exchangeDeclare('x', 'topic', { ...settings, autoDelete: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "inequivalent arg 'auto_delete'"),
    );
    await expect(channel.exchangeDeclare('x', 'topic', { durable: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "inequivalent arg 'alternate-exchange'"),
    );
    // The channel lives on.
    await channel.exchangeDeclare('x', 'topic', { ...settings, passive: true });
  });

  test('passive: only whether it exists, whatever the settings', async () => {
    const { channel } = await oneChannel();
    await expect(channel.exchangeDeclare('x', 'direct', { passive: true })).rejects.toEqual(
      refusal('NOT_FOUND', "no exchange 'x' in vhost '/'"),
    );
    await channel.exchangeDeclare('x', 'direct');
    await channel.exchangeDeclare('x', 'fanout', { passive: true, durable: true });
  });

  test('of a type that nobody knows are refused with the nearest', async () => {
    const { channel } = await oneChannel();
    await expect(channel.exchangeDeclare('x', 'topics')).rejects.toEqual(
      refusal('NOT_SUPPORTED', "did you mean 'topic'"),
    );
  });

  test("the broker's own: declared as they are, never new, never deleted", async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('amq.topic', 'topic', { durable: true });
    await expect(channel.exchangeDeclare('amq.topic', 'direct', { durable: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "arg 'type'"),
    );
    await expect(channel.exchangeDeclare('amq.mine', 'topic')).rejects.toEqual(
      refusal('ACCESS_REFUSED', "exchange name 'amq.mine' contains reserved prefix 'amq.*'"),
    );
    await expect(channel.exchangeDelete('amq.topic')).rejects.toEqual(refusal('ACCESS_REFUSED', 'reserved prefix'));
    for (const attempt of [
      () => channel.exchangeDeclare('', 'direct'),
      () => channel.exchangeDelete(''),
      () => channel.queueBind({ queue: 'q', exchange: '', routingKey: 'k' }),
      () => channel.exchangeBind({ destination: '', source: 'amq.topic', routingKey: 'k' }),
    ]) {
      await expect(attempt()).rejects.toEqual(refusal('ACCESS_REFUSED', 'default exchange'));
    }
  });

  test('deleted: unused only when asked for; what does not exist is no error', async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('x', 'direct');
    await channel.queueDeclare('q');
    await channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'k' });
    await expect(channel.exchangeDelete('x', { ifUnused: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "exchange 'x' in vhost '/' in use"),
    );
    await channel.exchangeDelete('x');
    await channel.exchangeDelete('x', { ifUnused: true });
    await expect(publish(channel, 'm', { exchange: 'x', routingKey: 'k' })).rejects.toEqual(
      refusal('NOT_FOUND', "no exchange 'x'"),
    );
  });

  test('internal ones take messages from exchanges only', async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('inner', 'fanout', { internal: true });
    await channel.exchangeDeclare('outer', 'fanout');
    await channel.exchangeBind({ destination: 'inner', source: 'outer', routingKey: '' });
    await channel.queueDeclare('q');
    await channel.queueBind({ queue: 'q', exchange: 'inner', routingKey: '' });
    await expect(publish(channel, 'm', { exchange: 'inner' })).rejects.toEqual(
      refusal('ACCESS_REFUSED', "cannot publish to internal exchange 'inner'"),
    );
    await publish(channel, 'm', { exchange: 'outer' });
    expect(await drain(channel, 'q')).toEqual(['m']);
  });

  test('auto-delete: gone with the last binding', async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('x', 'direct', { autoDelete: true });
    await channel.queueDeclare('q');
    await channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'a' });
    await channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'b' });
    await channel.queueUnbind({ queue: 'q', exchange: 'x', routingKey: 'a' });
    await channel.exchangeDeclare('x', 'direct', { passive: true });
    await channel.queueUnbind({ queue: 'q', exchange: 'x', routingKey: 'b' });
    await expect(channel.exchangeDeclare('x', 'direct', { passive: true })).rejects.toEqual(
      refusal('NOT_FOUND', "'x'"),
    );
  });

  test('that another client bound to and never described get the settings of whoever declares them', async () => {
    const { channel, broker } = await oneChannel();
    await channel.queueDeclare('q');
    const foreign = new MemoryDriver();
    await foreign.open({
      parameters: parametersOf(broker),
      holder: { id: 'foreign', name: 'foreign' },
      lost: noop,
      due: noop,
      problem: noop,
    });
    const binding = {
      source: 'x',
      destinationType: 'queue',
      destination: 'q',
      routingKey: 'a.*',
      arguments: {},
    } as const;
    foreign.table.apply([{ kind: 'bind', binding }]);
    await channel.exchangeDeclare('x', 'topic', { passive: true });
    await expect(publish(channel, '1', { exchange: 'x', routingKey: 'a.b' })).rejects.toMatchObject({
      code: 'UNROUTABLE',
    });
    await channel.exchangeDeclare('x', 'topic', { durable: true });
    await publish(channel, '2', { exchange: 'x', routingKey: 'a.b' });
    expect(await drain(channel, 'q')).toEqual(['2']);
    await expect(channel.exchangeDeclare('x', 'direct', { durable: true })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
    await foreign.retire();
  });

  test('bound and unbound: a source and a destination must exist for the one, need not for the other', async () => {
    const { channel } = await oneChannel();
    await channel.exchangeDeclare('x', 'fanout');
    await expect(channel.exchangeBind({ destination: 'none', source: 'x', routingKey: '' })).rejects.toEqual(
      refusal('NOT_FOUND', "'none'"),
    );
    await expect(channel.exchangeBind({ destination: 'x', source: 'none', routingKey: '' })).rejects.toEqual(
      refusal('NOT_FOUND', "'none'"),
    );
    await channel.exchangeUnbind({ destination: 'x', source: 'none', routingKey: '' });
  });
});

describe('queues', () => {
  test('answer with their counts', async () => {
    const { channel } = await oneChannel();
    expect(await channel.queueDeclare('q')).toEqual({ queue: 'q', messageCount: 0, consumerCount: 0 });
    await publish(channel, '1', { routingKey: 'q' });
    await publish(channel, '2', { routingKey: 'q' });
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await inbox.count(1);
    expect(await channel.queueDeclare('q', { passive: true })).toEqual({
      queue: 'q',
      messageCount: 1,
      consumerCount: 1,
    });
  });

  test('declared again with other settings are refused, naming the setting', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q', { durable: true, arguments: { 'x-max-length': 5, 'x-mine': 1 } });
    await channel.queueDeclare('q', { durable: true, arguments: { 'x-max-length': 5n, 'x-mine': 2 } });
    await expect(channel.queueDeclare('q', { durable: true })).rejects.toEqual(
      refusal(
        'PRECONDITION_FAILED',
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is '5'",
      ),
    );
    await expect(channel.queueDeclare('q', { arguments: { 'x-max-length': 5 } })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "inequivalent arg 'durable'"),
    );
  });

  test('without a name get one, and the channel remembers the last', async () => {
    const { channel } = await oneChannel();
    const { queue } = await channel.queueDeclare('');
    expect(queue).toMatch(/^amq\.gen-[\w-]{22}$/);
    await channel.queueBind({ queue: '', exchange: 'amq.direct', routingKey: 'k' });
    await publish(channel, 'm', { exchange: 'amq.direct', routingKey: 'k' });
    expect((await channel.queueDeclare('', { passive: true })).messageCount).toBe(1);
    expect(await channel.queuePurge('')).toBe(1);
    expect((await channel.queueDeclare('')).queue).not.toBe(queue);
  });

  test('a channel that declared none has no last one', async () => {
    const { channel } = await oneChannel();
    await expect(channel.queuePurge('')).rejects.toEqual(refusal('NOT_FOUND', 'no queue'));
  });

  test("names of the broker's own are refused", async () => {
    const { channel } = await oneChannel();
    await expect(channel.queueDeclare('amq.mine')).rejects.toEqual(
      refusal('ACCESS_REFUSED', "queue name 'amq.mine' contains reserved prefix 'amq.*'"),
    );
  });

  test.each(['get', 'consume', 'purge', 'bind', 'passive'] as const)(
    '%s: NOT_FOUND for one that does not exist',
    async (what) => {
      const { channel } = await oneChannel();
      const attempts = {
        get: () => channel.get('none'),
        consume: () => consume(channel, 'none'),
        purge: () => channel.queuePurge('none'),
        bind: () => channel.queueBind({ queue: 'none', exchange: 'amq.direct', routingKey: 'k' }),
        passive: () => channel.queueDeclare('none', { passive: true }),
      };
      await expect(attempts[what]()).rejects.toEqual(refusal('NOT_FOUND', "no queue 'none' in vhost '/'"));
      expect(channel.state).toBe('open');
    },
  );

  test('binding to an exchange that does not exist: NOT_FOUND; unbinding is no error', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await expect(channel.queueBind({ queue: 'q', exchange: 'none', routingKey: 'k' })).rejects.toEqual(
      refusal('NOT_FOUND', "exchange 'none'"),
    );
    await channel.queueUnbind({ queue: 'q', exchange: 'none', routingKey: 'k' });
    await channel.queueUnbind({ queue: 'none', exchange: 'amq.direct', routingKey: 'k' });
  });

  test('a binding to a headers exchange with an x-match that nobody knows is refused', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    const binding = { queue: 'q', exchange: 'amq.headers', routingKey: '', arguments: { 'x-match': 'some' } };
    await expect(channel.queueBind(binding)).rejects.toEqual(refusal('PRECONDITION_FAILED', "invalid x-match 'some'"));
  });

  test('deleted with their messages; unused or empty only when asked for', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q' });
    await expect(channel.queueDelete('q', { ifEmpty: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "queue 'q' in vhost '/' not empty"),
    );
    await channel.qos({ prefetch: 1, scope: 'consumer' });
    const inbox = await consume(channel, 'q');
    await inbox.count(1);
    await expect(channel.queueDelete('q', { ifUnused: true })).rejects.toEqual(
      refusal('PRECONDITION_FAILED', "queue 'q' in vhost '/' in use"),
    );
    await publish(channel, 'm', { routingKey: 'q' });
    expect(await channel.queueDelete('q')).toBe(1);
    expect(await channel.queueDelete('q')).toBe(0);
  });

  test('names longer than AMQP can say are refused before anything is sent', async () => {
    const { channel } = await oneChannel();
    await expect(channel.queueDeclare('q'.repeat(256))).rejects.toEqual(refusal('INVALID_ARGUMENT', '255 bytes'));
    await expect(channel.queueDeclare('ü'.repeat(128))).rejects.toEqual(refusal('INVALID_ARGUMENT', '255 bytes'));
    await channel.queueDeclare('ü'.repeat(127));
  });

  test('arguments are copied: changing them later changes nothing', async () => {
    const { channel } = await oneChannel();
    const args = { 'x-max-length': 1 };
    await channel.queueDeclare('q', { arguments: args });
    args['x-max-length'] = 100;
    await publish(channel, '1', { routingKey: 'q' });
    await publish(channel, '2', { routingKey: 'q' });
    expect(await drain(channel, 'q')).toEqual(['2']);
  });
});

describe('exclusive queues', () => {
  test('are locked for other connections, but not for publishing, and go with theirs', async () => {
    const broker = freshBroker();
    const mine = await open({ broker });
    const { channel } = await mine.channel();
    const { channel: other } = await (await open({ broker })).channel();
    await channel.queueDeclare('q', { exclusive: true });
    const locked = refusal('RESOURCE_LOCKED', "locked queue 'q' in vhost '/'");
    for (const attempt of [
      () => other.queueDeclare('q', { exclusive: true }),
      () => other.queueDeclare('q', { passive: true }),
      () => other.queueBind({ queue: 'q', exchange: 'amq.direct', routingKey: 'k' }),
      () => other.queueUnbind({ queue: 'q', exchange: 'amq.direct', routingKey: 'k' }),
      () => other.queuePurge('q'),
      () => other.queueDelete('q'),
      () => other.get('q'),
      () => consume(other, 'q'),
    ]) {
      await expect(attempt()).rejects.toEqual(locked);
    }
    await publish(other, 'm', { routingKey: 'q' });
    expect(await drain(channel, 'q')).toEqual(['m']);
    await expect(channel.queueDeclare('q')).rejects.toEqual(refusal('PRECONDITION_FAILED', "arg 'exclusive'"));
    await mine.connection.close({ timeout: 1000 });
    await mine.transport.dispose();
    expect(await other.queueDeclare('q')).toMatchObject({ queue: 'q' });
  });
});

describe('auto-delete queues', () => {
  test('go with their last consumer, not before they had one', async () => {
    const { channel } = await oneChannel();
    await channel.queueDeclare('q', { autoDelete: true });
    await settled();
    const first = await consume(channel, 'q');
    const second = await consume(channel, 'q');
    await channel.cancel(first.tag);
    await channel.queueDeclare('q', { passive: true });
    await channel.cancel(second.tag);
    await expect(channel.queueDeclare('q', { passive: true })).rejects.toEqual(refusal('NOT_FOUND', "'q'"));
  });

  test('go when the channel or the connection of their consumer ends', async () => {
    const broker = freshBroker();
    const { channel: watcher } = await (await open({ broker })).channel();
    const opened = await open({ broker });
    for (const end of ['channel', 'connection'] as const) {
      const { channel } = await opened.channel();
      await channel.queueDeclare('q', { autoDelete: true });
      await consume(channel, 'q');
      await (end === 'channel' ? channel.close() : opened.connection.close({ timeout: 1000 }));
      await expect(watcher.queueDeclare('q', { passive: true })).rejects.toEqual(refusal('NOT_FOUND', "'q'"));
    }
  });
});

test.each([
  ['memory', memoryModule()],
  ['a store at the other end of a wire', moduleOf(() => new RemoteDriver())],
])('un-awaited operations are carried out in the order in which they were made, on %s', async (_name, module) => {
  const { channel } = await oneChannel(module);
  const calls = [
    channel.queueDeclare('q'),
    channel.exchangeDeclare('x', 'direct'),
    channel.queueBind({ queue: 'q', exchange: 'x', routingKey: 'k' }),
    publish(channel, '1', { exchange: 'x', routingKey: 'k' }),
    publish(channel, '2', { exchange: 'x', routingKey: 'k' }),
    channel.queueDeclare('q', { passive: true }),
    channel.queuePurge('q'),
    publish(channel, '3', { exchange: 'x', routingKey: 'k' }),
    channel.get('q', { noAck: true }),
    channel.queueDelete('q'),
  ] as const;
  const results = await Promise.all(calls);
  expect(results[5]).toMatchObject({ messageCount: 2 });
  expect(results[6]).toBe(2);
  expect(Buffer.from(results[8]?.body ?? []).toString()).toBe('3');
  await channel.queueDeclare('q');
  const published = publish(channel, '4', { routingKey: 'q' });
  expect(await channel.queueDeclare('q', { passive: true })).toMatchObject({ messageCount: 1 });
  await published;
});
