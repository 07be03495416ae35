/** Everything of a message but its body: headers, properties, priority, time to live, what becomes of one without a queue. */
import { isDeepStrictEqual } from 'node:util';
import { typed } from '@wakame/amqp';
import { expect } from 'vitest';
import { Decimal, Exchange, type Message, type PublishOptions, PyDate, PyDateTime, PyTime, Uuid } from 'wakame';
import { bodies, eventually, inEachColumn, pack, take, unpacked } from './support/bench.ts';
import { cell, type Unless } from './support/matrix.ts';

const integers = [
  ...[0, 1, -1, 127, 128, -128, -129, 255, 256, 300, 32_767, 32_768, -32_769, 65_535, 65_536],
  ...[2 ** 31 - 1, 2 ** 31, -(2 ** 31) + 1, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1],
  ...[2n ** 63n - 1n, -(2n ** 63n)],
];

/** What a table of AMQP and JSON can hold alike. */
const headers = {
  ...{ text: 'é漢😀', empty: '', long: 'x'.repeat(5000), '': 'a header without a name' },
  ...{ yes: true, no: false, nothing: null, integers },
  ...Object.fromEntries(integers.map((value) => [`integer ${value}`, value])),
  ...{ fraction: 0.1, negative: -1.5, tiny: 5e-324, seconds: 1_700_000_000.123456 },
  ...{ list: [1, 'two', [3, [4]], { five: 5 }], none: [], table: { nested: { deeper: [true, null, {}] } }, bare: {} },
};

const properties: PublishOptions = {
  ...{ deliveryMode: 1, priority: 7, correlationId: 'an id', replyTo: 'a queue', expiration: 3_600_000 },
  ...{ messageId: 'é', timestamp: 1_700_000_000, type: 'a type', userId: 'guest', appId: 'an app' },
};

const wire = {
  ...{ delivery_mode: 1, priority: 7, correlation_id: 'an id', reply_to: 'a queue', expiration: '3600000' },
  ...{ message_id: 'é', timestamp: 1_700_000_000, type: 'a type', user_id: 'guest', app_id: 'an app' },
};

/** What Kombu's JSON has besides. */
const typedHeaders = {
  ...{ date: new PyDate('2024-02-29'), time: new PyTime('01:02:03.000004'), decimal: new Decimal('1.10') },
  ...{
    moment: new PyDateTime('2024-01-02T03:04:05.000006+00:00'),
    uuid: new Uuid('12345678-1234-4678-9234-567812345678'),
  },
  ...{ bytes: Buffer.from([0xff, 0xfe]), list: [new Decimal('2')] },
};

const inJson: Unless = ({ transport, peer, lacks }) => {
  if (transport.native) return 'AMQP has types of its own';
  return lacks.types ?? (peer === 'old' ? 'Kombu before 5.3 has no typed values in JSON' : undefined);
};

const inAmqp: Unless = ({ transport }) => (transport.native ? undefined : 'These are types of AMQP');

const noPriorities: Unless = ({ lacks }) => lacks.priorities;
const noBindings: Unless = ({ lacks }) => lacks.bindings;

inEachColumn('Messages', (bench) => {
  const { column } = bench;
  const received = (message: Message | undefined) => pack(message?.headers ?? {});

  cell(column, 'Node → Python', 'headers', async () => {
    const queue = await bench.queue();
    await bench.publish(queue, 1, { headers });
    const [message] = await bench.peer.take(queue.name);
    expect(unpacked(message?.headers)).toEqual(pack(headers));
  });
  cell(column, 'Python → Node', 'headers', async () => {
    const queue = await bench.queue();
    await bench.peer.call('publish', { body: pack(1), routing_key: queue.name, headers: pack(headers) });
    const [message] = await take(bench.connection, queue);
    expect(received(message)).toEqual(pack(headers));
  });

  cell(
    column,
    'Node → Python',
    'headers: dates, decimals, bytes, doubles',
    async () => {
      const queue = await bench.queue();
      const values = {
        date: new Date(1_700_000_000_000),
        decimal: typed.decimal({ scale: 2, value: 115 }),
        bytes: Buffer.from([0xff, 0xfe]),
        double: typed.double(3),
      };
      await bench.publish(queue, 1, { headers: values });
      const [message] = await bench.peer.take(queue.name);
      expect(unpacked(message?.headers)).toEqual(
        pack({
          date: new PyDateTime('2023-11-14T22:13:20'),
          decimal: new Decimal('1.15'),
          bytes: Buffer.from([0xff, 0xfe]),
          double: 3,
        }),
      );
    },
    inAmqp,
  );
  cell(
    column,
    'Python → Node',
    'headers: dates, decimals, bytes, doubles',
    async () => {
      const queue = await bench.queue();
      const sent = {
        object: [
          ['date', { datetime: '2023-11-14T22:13:20' }],
          ['decimal', { decimal: '1.15' }],
          ['bytes', { bytes: 'fffe' }],
          ['double', { number: '3f' }],
        ],
      };
      await bench.peer.call('publish', { body: pack(1), routing_key: queue.name, headers: sent });
      const [message] = await take(bench.connection, queue);
      expect(message?.headers).toEqual({
        date: new Date(1_700_000_000_000),
        decimal: typed.decimal({ scale: 2, value: 115 }),
        bytes: Buffer.from([0xff, 0xfe]),
        double: 3,
      });
    },
    inAmqp,
  );

  cell(
    column,
    'Node → Python',
    'headers: dates, times, decimals, UUIDs, bytes as typed values',
    async () => {
      const queue = await bench.queue();
      await bench.publish(queue, 1, { headers: typedHeaders });
      const [message] = await bench.peer.take(queue.name);
      expect(unpacked(message?.headers)).toEqual(pack(typedHeaders));
    },
    inJson,
  );
  cell(
    column,
    'Python → Node',
    'headers: dates, times, decimals, UUIDs, bytes as typed values',
    async () => {
      const queue = await bench.queue();
      const options = { routing_key: queue.name, headers: pack(typedHeaders) };
      await bench.peer.call('publish', { body: pack(1), ...options });
      const [message] = await take(bench.connection, queue);
      expect(received(message)).toEqual(pack(typedHeaders));
    },
    inJson,
  );

  cell(column, 'Node → Python', 'properties', async () => {
    const queue = await bench.queue();
    await bench.publish(queue, 1, properties);
    await bench.publish(queue, 2);
    const messages = await bench.peer.take(queue.name, { count: 2 });
    const [all, few] = [1, 2].map((body) => messages.find((message) => isDeepStrictEqual(message.body, pack(body))));
    const { object } = unpacked(all?.properties) as { object: [string, unknown][] };
    expect(Object.fromEntries(object)).toMatchObject(fieldsOf(wire));
    expect(all?.content_type).toBe('application/json');
    expect(all?.content_encoding).toBe('utf-8');
    const defaults = Object.fromEntries((unpacked(few?.properties) as { object: [string, unknown][] }).object);
    expect(defaults).toMatchObject(fieldsOf({ delivery_mode: 2, priority: 0 }));
    for (const name of Object.keys(wire)) if (name in defaults) expect(['delivery_mode', 'priority']).toContain(name);
  });
  cell(column, 'Python → Node', 'properties', async () => {
    const queue = await bench.queue();
    const { expiration: _, ...options } = wire;
    await bench.peer.call('publish', { body: pack(1), routing_key: queue.name, expiration: 3600, ...options });
    await bench.peer.call('publish', { body: pack(2), routing_key: queue.name });
    const messages = await take(bench.connection, queue, 2);
    const [all, few] = [1, 2].map((body) => messages.find(({ payload }) => payload === body));
    expect({ ...plain(all) }).toMatchObject({
      ...{ contentType: 'application/json', contentEncoding: 'utf-8', deliveryMode: 1, priority: 7 },
      ...{ correlationId: 'an id', replyTo: 'a queue', expiration: '3600000', messageId: 'é' },
      ...{ timestamp: 1_700_000_000, type: 'a type', userId: 'guest', appId: 'an app' },
    });
    expect(few?.properties).toMatchObject({ deliveryMode: 2, priority: 0 });
    expect([few?.properties.correlationId, few?.properties.expiration]).toEqual([undefined, undefined]);
  });

  for (const [title, size] of [
    ['an empty body', 0],
    ['a body of many frames', 3_000_000],
  ] as const) {
    const body = Buffer.alloc(size, 'wakame');
    cell(column, 'Node → Python', title, async () => {
      const queue = await bench.queue();
      await bench.publish(queue, body);
      const [received] = bodies(await bench.peer.take(queue.name));
      // Nothing is text to py-amqp.
      expect(received).toEqual(size === 0 ? expect.toBeOneOf([pack(body), pack('')]) : pack(body));
    });
    cell(column, 'Python → Node', title, async () => {
      const queue = await bench.queue();
      await bench.peer.call('publish', { body: pack(body), routing_key: queue.name });
      const [message] = await take(bench.connection, queue);
      expect(body.equals(message?.payload as Buffer)).toBe(true);
    });
  }

  const mixed = [3, 0, 9, 6, 3, 0, 5, 9];
  /** AMQP: the highest first. Kombu's order on Redis: the lowest of the steps 0, 3, 6, 9 first. */
  const served = column.transport.native
    ? mixed.map((priority, i) => [priority, i]).sort(([a = 0, i = 0], [b = 0, j = 0]) => b - a || i - j)
    : mixed
        .map((priority, i) => [priority, i])
        .sort(([a = 0, i = 0], [b = 0, j = 0]) => Math.floor(a / 3) - Math.floor(b / 3) || i - j);
  cell(
    column,
    'Node → Python',
    'priorities',
    async () => {
      const queue = await bench.queue({ maxPriority: 9 });
      await Promise.all(mixed.map((priority, i) => bench.publish(queue, [priority, i], { priority })));
      expect(bodies(await bench.peer.take(queue.name, { count: mixed.length }))).toEqual(served.map(pack));
    },
    noPriorities,
  );
  cell(
    column,
    'Python → Node',
    'priorities',
    async () => {
      const queue = await bench.queue({ maxPriority: 9 });
      for (const [i, priority] of mixed.entries()) {
        await bench.peer.call('publish', { body: pack([priority, i]), routing_key: queue.name, priority });
      }
      const messages = await take(bench.connection, queue, mixed.length);
      expect(messages.map(({ payload }) => payload)).toEqual(served);
    },
    noPriorities,
  );

  cell(
    column,
    'Node → Python',
    'expiration',
    async () => {
      const queue = await bench.queue();
      await bench.publish(queue, 'expires', { expiration: 100 });
      await bench.publish(queue, 'stays', { expiration: 60_000 });
      await eventually(() => bench.peer.call('size', { queue: queue.name })).toBe(1);
      expect(bodies(await bench.peer.take(queue.name))).toEqual([pack('stays')]);
    },
    ({ transport }) =>
      transport.native ? undefined : `Kombu does not look at the expiration of messages in ${transport.title}`,
  );
  cell(
    column,
    'Python → Node',
    'expiration',
    async () => {
      const queue = await bench.queue();
      const publish = (body: string, expiration: number) =>
        bench.peer.call('publish', { body: pack(body), routing_key: queue.name, expiration });
      await publish('expires', 0.1);
      await publish('stays', 60);
      await eventually(async () => (await queue.queueDeclare({ passive: true })).messageCount).toBe(1);
      const [message] = await take(bench.connection, queue);
      expect(message?.payload).toBe('stays');
    },
    ({ transport }) =>
      transport.native ? undefined : `Kombu does not write into ${transport.title} when a message was published`,
  );

  cell(
    column,
    'Node → Python',
    'mandatory',
    async () => {
      const exchange = new Exchange(bench.exchangeName(), { type: 'direct' }).bind(bench.connection);
      await exchange.declare();
      const name = bench.queueName();
      const publish = () => bench.publish('red', 1, { exchange, mandatory: true });
      await expect(publish()).rejects.toMatchObject({ code: 'UNROUTABLE' });
      const bound = { name, routing_key: 'red', exchange: { name: exchange.name, type: 'direct' } };
      await bench.peer.call('declare', { queue: bound });
      await publish();
      expect(await bench.peer.take(name)).toHaveLength(1);
    },
    noBindings,
  );
  cell(
    column,
    'Python → Node',
    'mandatory',
    async () => {
      const exchange = new Exchange(bench.exchangeName(), { type: 'direct' });
      const described = { name: exchange.name, type: 'direct' };
      const options = { exchange: described, routing_key: 'red', mandatory: true };
      const publish = () => bench.peer.call('publish', { body: pack(1), ...options });
      expect(await publish()).toEqual([{ code: 312, exchange: exchange.name, routing_key: 'red' }]);
      const queue = await bench.queue({ exchange, routingKey: 'red' });
      expect(await publish()).toEqual([]);
      expect(await take(bench.connection, queue)).toHaveLength(1);
    },
    ({ transport }) =>
      transport.native ? undefined : `Kombu drops what has no queue in ${transport.title}, mandatory or not`,
  );
});

/** The members of an object, packed. */
function fieldsOf(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, pack(value)]));
}

/** Properties are read on demand: their names are not the object's own. */
function plain(message: Message | undefined): object {
  const { contentType, contentEncoding, deliveryMode, priority, correlationId, replyTo, expiration } =
    message?.properties ?? {};
  const { messageId, timestamp, type, userId, appId } = message?.properties ?? {};
  return {
    ...{ contentType, contentEncoding, deliveryMode, priority, correlationId, replyTo, expiration },
    ...{ messageId, timestamp, type, userId, appId },
  };
}
