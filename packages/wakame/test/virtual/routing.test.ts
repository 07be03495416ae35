import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryTable } from '../../src/transports/memory/table.js';
import type {
  BindingRecord,
  ExchangeRecord,
  RoutingTable,
  StoredMessage,
} from '../../src/transports/virtual/driver.js';
import { type Route, Router } from '../../src/transports/virtual/routing/router.js';

type Kind = 'direct' | 'fanout' | 'topic' | 'headers';

const put = (name: string, type: Kind, options: { alternate?: string; internal?: boolean } = {}) =>
  ({
    kind: 'put-exchange',
    exchange: {
      name,
      type,
      durable: true,
      autoDelete: false,
      internal: options.internal ?? false,
      arguments: options.alternate === undefined ? {} : { 'alternate-exchange': options.alternate },
    },
  }) as const;

const binding = (source: string, destination: string, routingKey = '', args = {}): BindingRecord => ({
  source,
  destinationType: destination.startsWith('q') ? 'queue' : 'exchange',
  destination,
  routingKey,
  arguments: args,
});

/** Queues are called q…, exchanges otherwise. */
const bind = (...args: Parameters<typeof binding>) => ({ kind: 'bind', binding: binding(...args) }) as const;
const unbind = (...args: Parameters<typeof binding>) => ({ kind: 'unbind', binding: binding(...args) }) as const;

const to = (exchange: string, routingKey = '', headers?: Record<string, unknown>): StoredMessage => ({
  body: Buffer.from(''),
  properties: { headers },
  exchange,
  routingKey,
});

const routeOf = (router: Router, message: StoredMessage): Route | undefined => {
  const route = router.route(message);
  if (route instanceof Promise) throw new Error('the memory table answers at once');
  return route;
};

const queues = (router: Router, ...args: Parameters<typeof to>) =>
  [...(routeOf(router, to(...args))?.queues ?? ['none'])].sort();

function made(...changes: Parameters<MemoryTable['apply']>[0]) {
  const table = new MemoryTable();
  table.apply(changes);
  return { table, router: new Router(table) };
}

test('one’s own changes count at once, though the table tells nobody', async () => {
  const shared = new MemoryTable();
  const silent = {
    coherent: false,
    exchange: (name: string, known?: string) => shared.exchange(name, known),
    bindingsTo: (...args: Parameters<MemoryTable['bindingsTo']>) => shared.bindingsTo(...args),
    exchanges: () => shared.exchanges(),
    apply: (changes: Parameters<MemoryTable['apply']>[0]) => shared.apply(changes),
    watch: () => () => {},
  } satisfies RoutingTable;
  const router = new Router(silent);
  await router.apply([put('x', 'direct'), bind('x', 'q1', 'k')]);
  expect(queues(router, 'x', 'k')).toEqual(['q1']);
  await router.apply([bind('x', 'q2', 'k')]);
  expect(queues(router, 'x', 'k')).toEqual(['q1', 'q2']);
  await router.apply([unbind('x', 'q1', 'k')]);
  expect(queues(router, 'x', 'k')).toEqual(['q2']);
});

describe('exchange types', () => {
  test('the default exchange knows every queue by its name', () => {
    expect(queues(made().router, '', 'any')).toEqual(['any']);
  });

  test('direct: the very key; a queue bound twice gets one copy', () => {
    const { router } = made(put('d', 'direct'), bind('d', 'q1', 'a'), bind('d', 'q1', 'b'), bind('d', 'q2', 'a'));
    expect(queues(router, 'd', 'a')).toEqual(['q1', 'q2']);
    expect(queues(router, 'd', 'b')).toEqual(['q1']);
    expect(queues(router, 'd', 'c')).toEqual([]);
  });

  test('fanout: whatever the key', () => {
    const { router } = made(put('f', 'fanout'), bind('f', 'q1', 'a'), bind('f', 'q2'));
    expect(queues(router, 'f', 'other')).toEqual(['q1', 'q2']);
  });

  test('topic: one word for *, any number for #, none included (Kombu: kombu#2568)', () => {
    const { router } = made(
      put('t', 'topic'),
      bind('t', 'q*', 'stock.*'),
      bind('t', 'q#', 'stock.#'),
      bind('t', 'q#.x', '#.x'),
      bind('t', 'qab', 'a.#.b'),
    );
    expect(queues(router, 't', 'stock.us')).toEqual(['q#', 'q*']);
    expect(queues(router, 't', 'stock.us.nasdaq')).toEqual(['q#']);
    expect(queues(router, 't', 'stock')).toEqual(['q#']);
    expect(queues(router, 't', 'x')).toEqual(['q#.x']);
    expect(queues(router, 't', 'a.b')).toEqual(['qab']);
  });

  test('headers', () => {
    const { router } = made(
      put('h', 'headers'),
      bind('h', 'q1', '', { a: 1 }),
      bind('h', 'q2', '', { 'x-match': 'any', a: 2, b: 2 }),
    );
    expect(queues(router, 'h', '', { a: 1 })).toEqual(['q1']);
    expect(queues(router, 'h', '', { a: 1, b: 2 })).toEqual(['q1', 'q2']);
    expect(queues(router, 'h')).toEqual([]);
  });

  test('predeclared exchanges exist, also before anything is bound', () => {
    const { router, table } = made();
    expect(queues(router, 'amq.topic', 'a.b')).toEqual([]);
    table.apply([bind('amq.topic', 'q1', 'a.*'), bind('amq.fanout', 'q2')]);
    expect(queues(router, 'amq.topic', 'a.b')).toEqual(['q1']);
    expect(queues(router, 'amq.topic', 'a.b.c')).toEqual([]);
    expect(queues(router, 'amq.fanout', 'x')).toEqual(['q2']);
  });

  test('an exchange that does not exist has no route at all', () => {
    expect(routeOf(made().router, to('nowhere'))).toBeUndefined();
  });
});

describe('exchanges bound to exchanges', () => {
  test('a message goes on by the rules of each', () => {
    const { router } = made(
      put('t', 'topic'),
      put('d', 'direct'),
      put('f', 'fanout'),
      bind('t', 'd', 'logs.#'),
      bind('d', 'f', 'logs.error'),
      bind('d', 'q1', 'logs.info'),
      bind('f', 'q2'),
    );
    expect(queues(router, 't', 'logs.error')).toEqual(['q2']);
    expect(queues(router, 't', 'logs.info')).toEqual(['q1']);
    expect(queues(router, 't', 'other')).toEqual([]);
  });

  test('cycles end', () => {
    const { router } = made(
      put('a', 'fanout'),
      put('b', 'fanout'),
      bind('a', 'b'),
      bind('b', 'a'),
      bind('b', 'q1'),
      bind('a', 'a'),
    );
    expect(queues(router, 'a')).toEqual(['q1']);
    expect(queues(router, 'b')).toEqual(['q1']);
  });

  test('an exchange deleted meanwhile takes its bindings with it', () => {
    const { router, table } = made(
      put('a', 'fanout'),
      put('b', 'fanout'),
      bind('a', 'b'),
      bind('b', 'q1'),
      bind('a', 'q2'),
    );
    table.apply([{ kind: 'delete-exchange', name: 'b' }]);
    expect(queues(router, 'a')).toEqual(['q2']);
    expect(table.bindingsTo('exchange', 'b')).toEqual([]);
    expect(table.bindingsTo('queue', 'q1')).toEqual([]);
  });
});

describe('alternate exchanges', () => {
  test('take what the bindings leave, also in the middle of the way', () => {
    const { router } = made(
      put('start', 'fanout'),
      put('d', 'direct', { alternate: 'rest' }),
      put('rest', 'fanout'),
      bind('start', 'd'),
      bind('d', 'q1', 'known'),
      bind('rest', 'q2'),
    );
    expect(queues(router, 'd', 'known')).toEqual(['q1']);
    expect(queues(router, 'd', 'other')).toEqual(['q2']);
    expect(queues(router, 'start', 'other')).toEqual(['q2']);
  });

  test('the default exchange can be one; one that does not exist takes nothing; cycles end', () => {
    expect(queues(made(put('d', 'direct', { alternate: '' })).router, 'd', 'name')).toEqual(['name']);
    expect(queues(made(put('d', 'direct', { alternate: 'none' })).router, 'd', 'x')).toEqual([]);
    expect(
      queues(made(put('a', 'direct', { alternate: 'b' }), put('b', 'direct', { alternate: 'a' })).router, 'a', 'x'),
    ).toEqual([]);
  });
});

test('internal exchanges are told as such', () => {
  const { router } = made(put('i', 'fanout', { internal: true }), put('f', 'fanout'), bind('f', 'i'), bind('i', 'q1'));
  expect(routeOf(router, to('i'))?.internal).toBe(true);
  expect(routeOf(router, to('f'))).toMatchObject({ internal: false, queues: ['q1'] });
});

test('fanout by the store: its exchange instead of its queues, wherever it stands on the way', () => {
  const { table } = made(
    put('t', 'topic'),
    put('f', 'fanout'),
    bind('t', 'f', '#'),
    bind('t', 'q1', 'a'),
    bind('f', 'q2'),
  );
  expect(routeOf(new Router(table, 'broadcast'), to('t', 'a'))).toMatchObject({ queues: ['q1'], broadcasts: ['f'] });
});

describe('what is known of the table', () => {
  test('follows each change at once where the table tells', () => {
    const { router, table } = made(put('d', 'direct'), bind('d', 'q1', 'a'));
    expect(queues(router, 'd', 'a')).toEqual(['q1']);
    table.apply([bind('d', 'q2', 'a')]);
    expect(queues(router, 'd', 'a')).toEqual(['q1', 'q2']);
    table.apply([unbind('d', 'q1', 'a')]);
    expect(queues(router, 'd', 'a')).toEqual(['q2']);
    table.apply([{ kind: 'delete-exchange', name: 'd' }, put('d', 'fanout'), bind('d', 'q3')]);
    expect(queues(router, 'd', 'a')).toEqual(['q3']);
  });

  /** A table in another process: slow, and silent about changes. */
  function remote(inner: MemoryTable) {
    const reads: string[] = [];
    const table: RoutingTable = {
      coherent: false,
      async exchange(name, known): Promise<ExchangeRecord | 'unchanged' | undefined> {
        reads.push(known === undefined ? name : `${name} again`);
        return inner.exchange(name, known);
      },
      bindingsTo: (...args) => inner.bindingsTo(...args),
      exchanges: () => inner.exchanges(),
      apply: (changes) => inner.apply(changes),
      watch: () => () => {},
    };
    return { table, reads };
  }

  test('is read once and believed for a second where the table is silent; then asked whether it changed', async () => {
    const { table: inner } = made(put('d', 'direct'), bind('d', 'e', 'a'), put('e', 'fanout'), bind('e', 'q1'));
    const { table, reads } = remote(inner);
    const router = new Router(table);
    expect((await router.route(to('d', 'a')))?.queues).toEqual(['q1']);
    expect((await router.route(to('d', 'a')))?.queues).toEqual(['q1']);
    expect(reads).toEqual(['d', 'e']);
    inner.apply([bind('e', 'q2')]);
    expect((await router.route(to('d', 'a')))?.queues).toEqual(['q1']);
    expect((await router.route(to('d', 'a'), true))?.queues).toEqual(['q1', 'q2']);
    expect(reads).toEqual(['d', 'e', 'd again', 'e again']);
  });

  test('a look at a table that fails fails the look, and is made again', async () => {
    const { table: inner } = made(put('d', 'direct'), bind('d', 'q1', 'a'));
    const { table } = remote(inner);
    let broken = true;
    const router = new Router({
      ...table,
      exchange: async (name, known) => (broken ? Promise.reject(new Error('down')) : table.exchange(name, known)),
    });
    await expect(router.route(to('d', 'a'))).rejects.toThrow('down');
    broken = false;
    expect((await router.route(to('d', 'a')))?.queues).toEqual(['q1']);
  });
});

test('any graph of bindings gives what following every path by hand gives', () => {
  const names = ['a', 'b', 'c', 'd'] as const;
  const kinds = fc.record(
    Object.fromEntries(names.map((name) => [name, fc.constantFrom<Kind>('direct', 'fanout', 'topic')])),
  );
  const key = fc.constantFrom('x', 'y', 'x.y', '*', '#', 'x.*', '#.y');
  const edge = fc.record({
    source: fc.constantFrom(...names),
    destination: fc.constantFrom(...names, 'q1', 'q2', 'q3'),
    key,
  });
  const scenario = fc.record({
    kinds,
    edges: fc.array(edge, { maxLength: 15 }),
    start: fc.constantFrom(...names),
    routingKey: fc.constantFrom('x', 'y', 'x.y', 'z'),
  });
  void fc.assert(
    fc.property(scenario, (given) => {
      const { router } = made(
        ...names.map((name) => put(name, given.kinds[name] ?? 'direct')),
        ...given.edges.map((e) => bind(e.source, e.destination, e.key)),
      );
      const takes = (kind: Kind | undefined, bindingKey: string) =>
        kind === 'fanout' ||
        (kind === 'topic' ? topicTakes(bindingKey, given.routingKey) : bindingKey === given.routingKey);
      const reached = new Set<string>();
      const follow = (name: string): void => {
        if (reached.has(name)) return;
        reached.add(name);
        for (const e of given.edges) if (e.source === name && takes(given.kinds[name], e.key)) follow(e.destination);
      };
      follow(given.start);
      expect(queues(router, given.start, given.routingKey)).toEqual(
        [...reached].filter((name) => name.startsWith('q')).sort(),
      );
    }),
  );
});

/** By a regular expression, which the router never uses. */
function topicTakes(bindingKey: string, routingKey: string): boolean {
  const pattern = `.${bindingKey}`
    .replaceAll('.#', '(\\.[^.]*)*')
    .replaceAll('.*', '\\.[^.]+')
    .replaceAll(/(?<!\\)\.(?=\w)/g, '\\.');
  return new RegExp(`^${pattern}$`).test(`.${routingKey}`);
}
