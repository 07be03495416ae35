/** Exchanges, bindings and queues that one side declares and the other uses. */
import { expect } from 'vitest';
import { Exchange, Queue } from 'wakame';
import { Bench, bodies, eventually, inEachColumn, pack, take, unpacked } from './support/bench.ts';
import { endpointsOf } from './support/columns.ts';
import { cell, type Unless } from './support/matrix.ts';
import type { Peer, PeerMessage } from './support/peer.ts';

/** Keys, and which of the bindings below they match (0-9-1, section 3.1.3.3). */
const topics: readonly (readonly [key: string, ...matches: string[]])[] = [
  ['stock', 'stock.#', '#'],
  ['stock.us', 'stock.*', 'stock.#', '#'],
  ['stock.us.nasdaq', 'stock.#', '#.nasdaq', 'stock.#.nasdaq', '#'],
  ['stock.nasdaq', 'stock.*', 'stock.#', '#.nasdaq', 'stock.#.nasdaq', '#'],
  ['nasdaq', '#.nasdaq', '#'],
  ['a-b+c$.us', 'a-b+c$.*', '#'],
  ['a-b+c$', '#'],
  ['', '#'],
];
const bindings = ['stock.*', 'stock.#', '#.nasdaq', 'stock.#.nasdaq', 'a-b+c$.*', '#'];

const noHeaders: Unless = ({ transport }) =>
  transport.native ? undefined : `Kombu has no headers exchange in ${transport.title}`;

const noBindings: Unless = ({ lacks }) => lacks.bindings;
const noFanout: Unless = ({ lacks }) => lacks.fanout;

inEachColumn('Routing', (bench) => {
  const { column } = bench;
  // AMQP's fanout does not look at keys. In Redis Kombu's does: a queue bound with one gets what was published with it.
  const fanoutKeys = ['', column.transport.native ? 'whatever' : ''];

  cell(
    column,
    'Node → Python',
    'direct exchange',
    async () => {
      const { exchange, name } = await boundByPython(bench, 'direct', { routing_key: 'red' });
      await publishByNode(bench, exchange, ['red', 'blue', 'red.', 'red']);
      expect(await bench.bodiesIn(name, 2)).toEqual(['to red', 'to red'].map(pack));
    },
    noBindings,
  );
  cell(
    column,
    'Python → Node',
    'direct exchange',
    async () => {
      const { exchange, queue } = await boundByNode(bench, 'direct', 'red');
      await publishByPython(bench, exchange, ['red', 'blue', 'red.', 'red']);
      expect((await take(bench.connection, queue, 2)).map(({ payload }) => payload)).toEqual(['to red', 'to red']);
      expect(await queue.get()).toBeUndefined();
    },
    noBindings,
  );

  cell(
    column,
    'Node → Python',
    'topic exchange',
    async () => {
      const exchange = bench.exchangeName();
      const bound = new Map<string, string>();
      for (const key of bindings) {
        bound.set(key, (await boundByPython(bench, 'topic', { routing_key: key }, exchange)).name);
      }
      await publishByNode(
        bench,
        new Exchange(exchange, { type: 'topic' }),
        topics.map(([key]) => key),
      );
      for (const [key, found] of expected(pack)) {
        expect(await bench.bodiesIn(bound.get(key) as string, found.length)).toEqual(found);
      }
    },
    noBindings,
  );
  cell(
    column,
    'Python → Node',
    'topic exchange',
    async () => {
      const exchange = new Exchange(bench.exchangeName(), { type: 'topic' });
      const bound = new Map<string, Queue>();
      for (const key of bindings) bound.set(key, await bench.queue({ exchange, routingKey: key }));
      await publishByPython(
        bench,
        exchange,
        topics.map(([key]) => key),
      );
      const found = new Map<string, unknown[]>();
      for (const [key, queue] of bound) found.set(key, await payloadsIn(queue));
      expect(found).toEqual(expected((value) => value));
    },
    noBindings,
  );

  cell(
    column,
    'Node → Python',
    'fanout exchange',
    async () => {
      const exchange = bench.exchangeName();
      const consumers: { peer: Peer; queue: object }[] = [];
      for (const routing_key of fanoutKeys) {
        const queue = { name: bench.queueName(), exchange: { name: exchange, type: 'fanout' }, routing_key };
        // A queue of a fanout exchange in Redis has a list only in the mind of its consumer.
        consumers.push({ peer: consumers.length === 0 ? bench.peer : await bench.another(), queue });
      }
      // One after the other: in the file system two Kombus that bind first may each make the exchange's file.
      const tags: number[] = [];
      for (const { peer, queue } of consumers) tags.push(await peer.call<number>('consume', { queue }));
      await publishByNode(bench, new Exchange(exchange, { type: 'fanout' }), ['']);
      for (const [i, { peer }] of consumers.entries()) {
        const messages = await peer.call<{ tag: number; body: unknown }[]>('next', { consumer: tags[i], timeout: 5 });
        expect(messages.map(({ body }) => unpacked(body))).toEqual([pack('to ')]);
        await peer.call('settle', { tag: messages[0]?.tag, how: 'ack' });
        await peer.call('cancel', { consumer: tags[i] });
      }
      await consumers[1]?.peer[Symbol.asyncDispose]();
    },
    noFanout,
  );
  cell(
    column,
    'Python → Node',
    'fanout exchange',
    async () => {
      const exchange = new Exchange(bench.exchangeName(), { type: 'fanout' });
      const seen: unknown[][] = [[], []];
      const consumers = await Promise.all(
        seen.map(async (into, i) => {
          const queue = await bench.queue({ exchange, routingKey: fanoutKeys[i] });
          const callbacks = (body: unknown) => void into.push(body);
          return bench.connection.consumer(queue, { callbacks, settle: 'auto' }).consume();
        }),
      );
      await publishByPython(bench, exchange, ['']);
      await eventually(() => seen).toEqual([['to '], ['to ']]);
      for (const consumer of consumers) await consumer.close();
    },
    noFanout,
  );

  cell(
    column,
    'Node → Python',
    'headers exchange',
    async () => {
      const binding_arguments = { 'x-match': 'all', colour: 'red', size: 3 };
      const { exchange, name } = await boundByPython(bench, 'headers', { binding_arguments });
      for (const headers of [{ colour: 'red', size: 3 }, { colour: 'red', size: 4 }, { colour: 'red' }]) {
        await bench.publish('', headers, { exchange, headers });
      }
      expect(await bench.bodiesIn(name, 1)).toEqual([pack({ colour: 'red', size: 3 })]);
    },
    noHeaders,
  );
  cell(
    column,
    'Python → Node',
    'headers exchange',
    async () => {
      const bindingArguments = { 'x-match': 'any', colour: 'red', size: 3 };
      const { exchange, queue } = await boundByNode(bench, 'headers', '', { bindingArguments });
      for (const headers of [{ colour: 'red', size: 4 }, { colour: 'blue' }, { size: 3 }]) {
        const options = { exchange: described(exchange), headers: pack(headers) };
        await bench.peer.call('publish', { body: pack(headers), ...options });
      }
      const messages = await take(bench.connection, queue, 2);
      expect(messages.map(({ payload }) => payload)).toEqual([{ colour: 'red', size: 4 }, { size: 3 }]);
      expect(await queue.get()).toBeUndefined();
    },
    noHeaders,
  );

  cell(
    column,
    'both',
    'a queue and a fanout exchange under a prefix of keys',
    async () => {
      const { node, python } = await endpointsOf(column.transport);
      const pythonOptions = { global_keyprefix: 'interop.prefix.' };
      const url = `${node}?global_keyprefix=${pythonOptions.global_keyprefix}`;
      const own = new Bench(column, { node: url, python, pythonOptions });
      await own.open();
      try {
        const queue = await own.queue();
        await own.publish(queue, 'by Node');
        expect(await own.bodiesIn(queue.name, 1)).toEqual([pack('by Node')]);
        await own.peer.call('publish', { body: pack('by Python'), routing_key: queue.name });
        expect((await take(own.connection, queue)).map(({ payload }) => payload)).toEqual(['by Python']);

        const exchange = new Exchange(own.exchangeName(), { type: 'fanout' });
        const theirs = { name: own.queueName(), exchange: described(exchange) };
        const consumer = await own.peer.call<number>('consume', { queue: theirs, no_ack: true });
        const heard: unknown[] = [];
        const ours = await own.queue({ exchange });
        const callbacks = (body: unknown) => void heard.push(body);
        const listener = await own.connection.consumer(ours, { callbacks, settle: 'auto' }).consume();
        await publishByNode(own, exchange, ['']);
        await publishByPython(own, exchange, ['']);
        await eventually(() => heard).toEqual(['to ', 'to ']);
        const messages = await own.peer.call<PeerMessage[]>('next', { consumer, count: 2 });
        expect(bodies(messages)).toEqual(['to ', 'to '].map(pack));
        await listener.close();
      } finally {
        await own.close();
      }
    },
    ({ transport }) => (transport.name === 'redis' ? undefined : 'These are keys of Redis'),
  );

  cell(column, 'both', 'what one declares is to the other what it declares itself', async () => {
    for (const first of ['Node', 'Python']) {
      const exchange = { name: bench.exchangeName(), type: 'topic', durable: false, auto_delete: true };
      const queue = {
        ...{ name: bench.queueName(), routing_key: 'a.#', exchange, durable: true },
        ...{ expires: 600, message_ttl: 60.5, max_length: 1000, max_length_bytes: 1_000_000, max_priority: 5 },
        queue_arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'nowhere' },
      };
      const byPython = () => bench.peer.call('declare', { queue });
      const byNode = () =>
        new Queue(queue.name, {
          exchange: new Exchange(exchange.name, { type: 'topic', durable: false, autoDelete: true }),
          ...{ routingKey: 'a.#', expires: 600_000, messageTtl: 60_500, maxLength: 1000, maxLengthBytes: 1_000_000 },
          ...{ maxPriority: 5, queueArguments: queue.queue_arguments },
        })
          .bind(bench.connection)
          .declare();
      await (first === 'Node' ? byNode() : byPython());
      await (first === 'Node' ? byPython() : byNode());
    }
  });
});

async function boundByPython(
  bench: Bench,
  type: string,
  binding: { routing_key?: string; binding_arguments?: object },
  exchangeName = bench.exchangeName(),
): Promise<{ exchange: Exchange; name: string }> {
  const name = bench.queueName();
  await bench.peer.call('declare', { queue: { name, exchange: { name: exchangeName, type }, ...binding } });
  return { exchange: new Exchange(exchangeName, { type }), name };
}

async function boundByNode(bench: Bench, type: string, routingKey: string, options: object = {}) {
  const exchange = new Exchange(bench.exchangeName(), { type });
  return { exchange, queue: await bench.queue({ exchange, routingKey, ...options }) };
}

/** The body says what the key was. */
async function publishByNode(bench: Bench, exchange: Exchange, keys: readonly string[]): Promise<void> {
  for (const key of keys) await bench.publish(key, `to ${key}`, { exchange, declare: [exchange] });
}

async function publishByPython(bench: Bench, exchange: Exchange, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await bench.peer.call('publish', { body: pack(`to ${key}`), routing_key: key, exchange: described(exchange) });
  }
}

function described({ name, type }: Exchange): object {
  return { name, type };
}

async function payloadsIn(queue: Queue): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let message = await queue.get(); message !== undefined; message = await queue.get()) {
    await message.ack();
    found.push(message.payload);
  }
  return found;
}

function expected(form: (body: string) => unknown): Map<string, unknown[]> {
  return new Map(
    bindings.map((binding) => [
      binding,
      topics.filter(([, ...matches]) => matches.includes(binding)).map(([key]) => form(`to ${key}`)),
    ]),
  );
}
