import { deepEqual, equal } from 'node:assert/strict';
import type { Exchange, Queue, UnroutableError } from '../../index.js';
import type { Returned } from '../../transport/contract.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { collect, drain, event, payloads, rejection } from '../support.js';

/** Binding key, routing key, and whether AMQP 0-9-1 (section 3.1.3.3) lets the one take the other. */
const TOPICS: readonly (readonly [binding: string, key: string, matches: boolean])[] = [
  ['stock.*', 'stock.us', true],
  ['stock.*', 'stock.us.nasdaq', false],
  ['stock.*', 'stock', false],
  ['stock.*', 'stock.', true],
  ['stock.#', 'stock', true],
  ['stock.#', 'stock.us.nasdaq', true],
  ['stock.#', 'stocks', false],
  ['#.x', 'x', true],
  ['#.x', 'a.b.x', true],
  ['#.x', 'a.bx', false],
  ['a.#.b', 'a.b', true],
  ['a.#.b', 'a.x.y.b', true],
  ['a.#.b', 'a.x.y', false],
  ['*.*', 'a.b', true],
  ['*.*', 'a', false],
  ['*.*', 'a.b.c', false],
  ['#', '', true],
  ['#', 'anything.at.all', true],
  ['*', '', false],
  ['*', 'one', true],
  ['#.#', '', true],
  ['#.*.#', '', false],
  ['#.*.#', 'a', true],
  ['a*', 'ab', false],
  ['a*', 'a*', true],
  ['a#b.c', 'a#b.c', true],
  ['a#b.c', 'axb.c', false],
  ['a.b', 'a.b', true],
  ['a.b', 'aXb', false],
  ['a+b.$', 'a+b.$', true],
  ['A.b', 'a.b', false],
];

/** Publishes and says which of the queues got it. */
async function reached(
  t: ConformanceContext,
  queues: Readonly<Record<string, Queue<string>>>,
  exchange: Exchange | string,
  routingKey: string,
  headers?: Readonly<Record<string, unknown>>,
): Promise<string[]> {
  await t.connection.producer().publish('x', { exchange, routingKey, headers });
  const labels: string[] = [];
  for (const [label, queue] of Object.entries(queues)) {
    for (const { payload } of await drain(t, queue)) {
      equal(payload, 'x');
      labels.push(label);
    }
  }
  return labels;
}

async function declared(t: ConformanceContext, queues: Readonly<Record<string, Queue<string>>>): Promise<void> {
  await Promise.all(Object.values(queues).map((queue) => queue.bind(t.connection).declare()));
}

export const routing = group('routing', (test) => {
  test('the anonymous exchange routes by the name of the queue', async (t) => {
    const queues = { one: t.queue<string>('one'), two: t.queue<string>('two') };
    await declared(t, queues);
    deepEqual(await reached(t, queues, '', queues.two.name), ['two']);
  });

  test(
    'direct: the same key, nothing else; one copy for each queue',
    async (t) => {
      const exchange = t.exchange('e', { type: 'direct' });
      const queues = {
        red: t.queue<string>('red', { exchange, routingKey: 'red' }),
        alsoRed: t.queue<string>('also-red', { exchange, routingKey: 'red' }),
        blue: t.queue<string>('blue', { exchange, routingKey: 'blue' }),
        star: t.queue<string>('star', { exchange, routingKey: '*' }),
        both: t.queue<string>('both', { exchange, routingKey: 'red' }),
      };
      await declared(t, queues);
      await queues.both.bind(t.connection).bindTo(exchange, { routingKey: 'blue' });
      await queues.both.bind(t.connection).bindTo(exchange, { routingKey: 'red' });
      deepEqual(await reached(t, queues, exchange, 'red'), ['red', 'alsoRed', 'both']);
      deepEqual(await reached(t, queues, exchange, 'blue'), ['blue', 'both']);
      deepEqual(await reached(t, queues, exchange, 'RED'), []);
      deepEqual(await reached(t, queues, exchange, ''), []);
    },
    { needs: ['exchange:direct'] },
  );

  test(
    'fanout: every queue, whatever the key',
    async (t) => {
      const exchange = t.exchange('e', { type: 'fanout' });
      const queues = {
        one: t.queue<string>('one', { exchange }),
        two: t.queue<string>('two', { exchange, routingKey: 'ignored' }),
        other: t.queue<string>('other', { exchange: t.exchange('f', { type: 'fanout' }) }),
      };
      await declared(t, queues);
      deepEqual(await reached(t, queues, exchange, ''), ['one', 'two']);
      deepEqual(await reached(t, queues, exchange, 'any.key'), ['one', 'two']);
    },
    { needs: ['exchange:fanout'] },
  );

  test(
    'fanout to forty queues on several connections',
    async (t) => {
      const exchange = t.exchange('e', { type: 'fanout' });
      const connections = [t.connection, t.connect(), t.connect()];
      const inboxes = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          collect(t, t.queue<number>(`q${i}`, { exchange }), {}, connections[i % connections.length]),
        ),
      );
      const producer = t.connect().producer({ exchange });
      for (let i = 0; i < 5; i++) await producer.publish(i);
      for (const inbox of inboxes) deepEqual(payloads(await inbox.take(5)), [0, 1, 2, 3, 4]);
    },
    { needs: ['exchange:fanout'] },
  );

  test(
    'topic: as AMQP has it; # is any number of words, * is exactly one',
    async (t) => {
      const exchange = t.exchange('e', { type: 'topic' });
      const bindings = [...new Set(TOPICS.map(([binding]) => binding))];
      const queues = new Map(
        bindings.map((routingKey, i) => [routingKey, t.queue<string>(`q${i}`, { exchange, routingKey })]),
      );
      await Promise.all([...queues.values()].map((queue) => queue.bind(t.connection).declare()));
      const producer = t.connection.producer({ exchange });
      const keys = [...new Set(TOPICS.map(([, key]) => key))];
      await Promise.all(keys.map((routingKey) => producer.publish(routingKey, { routingKey })));
      const got = new Map<string, Set<string>>();
      for (const [binding, queue] of queues) got.set(binding, new Set(payloads(await drain(t, queue))));
      for (const [binding, key, matches] of TOPICS) {
        equal(got.get(binding)?.has(key), matches, `binding key '${binding}', routing key '${key}'`);
      }
    },
    { needs: ['exchange:topic'] },
  );

  test(
    'topic: a queue that several bindings match gets one copy, until the last is gone',
    async (t) => {
      const exchange = t.exchange('e', { type: 'topic' });
      const queue = t.queue<string>('q', { exchange, routingKey: 'a.#' });
      const bound = queue.bind(t.connection);
      await bound.declare();
      await bound.bindTo(exchange, { routingKey: '*.b' });
      deepEqual(await reached(t, { queue }, exchange, 'a.b'), ['queue']);
      await bound.unbindFrom(exchange, { routingKey: 'a.#' });
      deepEqual(await reached(t, { queue }, exchange, 'a.b'), ['queue']);
      deepEqual(await reached(t, { queue }, exchange, 'a.c'), []);
      await bound.unbindFrom(exchange, { routingKey: '*.b' });
      deepEqual(await reached(t, { queue }, exchange, 'a.b'), []);
    },
    { needs: ['exchange:topic'] },
  );

  test(
    'headers: all, any, values and mere presence',
    async (t) => {
      const exchange = t.exchange('e', { type: 'headers' });
      const make = (label: string, bindingArguments: Readonly<Record<string, unknown>>) =>
        t.queue<string>(label, { exchange, bindingArguments });
      const queues = {
        all: make('all', { 'x-match': 'all', format: 'pdf', size: 4 }),
        byDefault: make('default', { format: 'pdf', size: 4 }),
        any: make('any', { 'x-match': 'any', format: 'pdf', size: 4 }),
        present: make('present', { 'x-match': 'all', format: null }),
        flag: make('flag', { 'x-match': 'all', urgent: true }),
      };
      await declared(t, queues);
      deepEqual(await reached(t, queues, exchange, '', { format: 'pdf', size: 4 }), [
        'all',
        'byDefault',
        'any',
        'present',
      ]);
      deepEqual(await reached(t, queues, exchange, '', { format: 'pdf', size: 4, more: 1 }), [
        'all',
        'byDefault',
        'any',
        'present',
      ]);
      deepEqual(await reached(t, queues, exchange, '', { format: 'pdf' }), ['any', 'present']);
      deepEqual(await reached(t, queues, exchange, '', { format: 'txt' }), ['present']);
      deepEqual(await reached(t, queues, exchange, '', { size: 4 }), ['any']);
      deepEqual(await reached(t, queues, exchange, '', { size: '4' }), []);
      deepEqual(await reached(t, queues, exchange, '', { urgent: true }), ['flag']);
      deepEqual(await reached(t, queues, exchange, '', { urgent: false }), []);
      deepEqual(await reached(t, queues, exchange, 'pdf', {}), []);
    },
    { needs: ['exchange:headers'] },
  );

  test(
    'headers: a binding is removed by its arguments',
    async (t) => {
      const exchange = t.exchange('e', { type: 'headers' });
      const queue = t.queue<string>('q', { exchange, bindingArguments: { 'x-match': 'all', a: 1 } });
      const bound = queue.bind(t.connection);
      await bound.declare();
      await bound.bindTo(exchange, { arguments: { 'x-match': 'all', b: 2 } });
      deepEqual(await reached(t, { queue }, exchange, '', { b: 2 }), ['queue']);
      await bound.unbindFrom(exchange, { arguments: { 'x-match': 'all', a: 1 } });
      deepEqual(await reached(t, { queue }, exchange, '', { a: 1 }), []);
      deepEqual(await reached(t, { queue }, exchange, '', { b: 2 }), ['queue']);
    },
    { needs: ['exchange:headers'] },
  );

  test('the predefined exchanges are there', async (t) => {
    const queue = t.queue<string>('q');
    const bound = queue.bind(t.connection);
    await bound.declare();
    for (const type of ['direct', 'topic', 'fanout', 'headers']) {
      if (!t.features.exchangeTypes.has(type)) continue;
      const binding = { routingKey: t.name('k'), arguments: { 'x-match': 'all', run: t.name('k') } };
      await bound.bindTo(`amq.${type}`, binding);
      deepEqual(await reached(t, { queue }, `amq.${type}`, t.name('k'), { run: t.name('k') }), ['queue'], type);
      await bound.unbindFrom(`amq.${type}`, binding);
    }
  });

  test(
    'exchange to exchange: through several, by each one’s own rules',
    async (t) => {
      const source = t.exchange('source', { type: 'topic' });
      const middle = t.exchange('middle', { type: 'fanout' });
      const last = t.exchange('last', { type: 'direct' });
      const queues = {
        middle: t.queue<string>('m', { exchange: middle }),
        last: t.queue<string>('l', { exchange: last, routingKey: 'a.b' }),
        source: t.queue<string>('s', { exchange: source, routingKey: 'a.#' }),
      };
      await declared(t, queues);
      await middle.bind(t.connection).bindTo(source, { routingKey: '*.b' });
      await last.bind(t.connection).bindTo(middle);
      deepEqual(await reached(t, queues, source, 'a.b'), ['middle', 'last', 'source']);
      deepEqual(await reached(t, queues, source, 'c.b'), ['middle']);
      deepEqual(await reached(t, queues, source, 'a.c'), ['source']);
      await middle.bind(t.connection).unbindFrom(source, { routingKey: '*.b' });
      deepEqual(await reached(t, queues, source, 'a.b'), ['source']);
    },
    { needs: ['exchangeBindings', 'exchange:topic', 'exchange:fanout', 'exchange:direct'] },
  );

  test(
    'exchange to exchange: two ways, and a circle, to one queue make one copy',
    async (t) => {
      const [a, b, c] = ['a', 'b', 'c'].map((label) => t.exchange(label, { type: 'fanout' })) as [
        Exchange,
        Exchange,
        Exchange,
      ];
      const queue = t.queue<string>('q', { exchange: c });
      await declared(t, { queue });
      for (const exchange of [a, b]) await exchange.bind(t.connection).declare();
      await b.bind(t.connection).bindTo(a);
      await c.bind(t.connection).bindTo(a);
      await c.bind(t.connection).bindTo(b);
      await a.bind(t.connection).bindTo(c);
      deepEqual(await reached(t, { queue }, a, ''), ['queue']);
    },
    { needs: ['exchangeBindings', 'exchange:fanout'] },
  );

  test(
    'alternate exchange: takes what nothing else does, and mandatory is content',
    async (t) => {
      const alternate = t.exchange('alternate', { type: 'fanout' });
      const exchange = t.exchange('e', { type: 'direct', arguments: { 'alternate-exchange': alternate.name } });
      const queues = {
        routed: t.queue<string>('routed', { exchange, routingKey: 'known' }),
        rest: t.queue<string>('rest', { exchange: alternate }),
      };
      await declared(t, queues);
      deepEqual(await reached(t, queues, exchange, 'known'), ['routed']);
      deepEqual(await reached(t, queues, exchange, 'unknown'), ['rest']);
      await t.connection.producer().publish('m', { exchange, routingKey: 'unknown', mandatory: true });
      deepEqual(payloads(await drain(t, queues.rest)), ['m']);
    },
    { needs: ['alternateExchange', 'exchange:direct', 'exchange:fanout'] },
  );

  test(
    'a mandatory message that no queue takes is UNROUTABLE, and says what came back',
    async (t) => {
      const exchange = t.exchange('e', { type: 'direct' });
      const queue = t.queue<string>('q', { exchange, routingKey: 'known' });
      await declared(t, { queue });
      const producer = t.connection.producer({ exchange });
      const publishes = ['known', 'unknown', 'known', 'lost', 'known'].map((routingKey, i) =>
        producer.publish(String(i), { routingKey, mandatory: true }),
      );
      const outcomes = await Promise.allSettled(publishes);
      deepEqual(
        outcomes.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
      );
      const error = (await rejection(publishes[1] as Promise<unknown>, 'UNROUTABLE')) as UnroutableError;
      equal(error.outcome, 'refused');
      deepEqual(error.returned, {
        replyCode: 312,
        replyText: 'NO_ROUTE',
        exchange: exchange.name,
        routingKey: 'unknown',
      });
      deepEqual(payloads(await drain(t, queue)), ['0', '2', '4']);
    },
    { needs: ['exchange:direct'] },
  );

  test('otherwise it resolves, and the connection tells of it', async (t) => {
    const unroutable = event<Returned>(t, t.connection, 'unroutable');
    await t.connection
      .producer()
      .publish('nobody', { routingKey: t.name('nowhere'), headers: { a: 'b' }, messageId: 'm1' });
    const returned = await unroutable;
    equal(returned.exchange, '');
    equal(returned.routingKey, t.name('nowhere'));
    equal(Buffer.from(returned.body).toString(), 'nobody');
    equal(returned.properties.messageId, 'm1');
    equal(returned.properties.headers?.a, 'b');
  });

  test(
    'a binding counts from the moment it was made, for every connection',
    async (t) => {
      const exchange = t.exchange('e', { type: 'direct' });
      await exchange.bind(t.connection).declare();
      const publisher = t.connect().producer();
      await rejection(publisher.publish('early', { exchange, routingKey: 'k', mandatory: true }), 'UNROUTABLE');
      const queue = t.queue<string>('q', { exchange, routingKey: 'k' });
      await declared(t, { queue });
      await publisher.publish('now', { exchange, routingKey: 'k', mandatory: true });
      deepEqual(payloads(await drain(t, queue)), ['now']);
    },
    { needs: ['exchange:direct'] },
  );
});
