/** The table of exchanges and bindings that connections share. */
import { describe, expect, test } from 'vitest';
import type { Bench, Client } from './bench.js';

export function tableCases({ one, two }: Bench): void {
  describe('the shared table', () => {
    const exchange = (exchangeName: string, options: { autoDelete?: boolean; type?: string } = {}) =>
      ({
        kind: 'put-exchange',
        exchange: {
          name: exchangeName,
          type: options.type ?? 'topic',
          durable: true,
          autoDelete: options.autoDelete ?? false,
          internal: false,
          arguments: { 'alternate-exchange': 'rest' },
        },
      }) as const;
    const binding = (source: string, destination: string, routingKey = 'k', args = {}) => ({
      source,
      destinationType: destination.startsWith('q') ? ('queue' as const) : ('exchange' as const),
      destination,
      routingKey,
      arguments: args,
    });
    const record = async (client: Client, exchangeName: string) => {
      const found = await client.driver.table.exchange(exchangeName);
      if (found === 'unchanged') throw new Error('nothing was known');
      return found;
    };

    test('has what was put, for everybody; a second put changes nothing', async () => {
      const [a, b] = await two();
      await a.driver.table.apply([exchange('x')]);
      await b.driver.table.apply([exchange('x', { type: 'fanout' })]);
      expect(await record(b, 'x')).toMatchObject({
        name: 'x',
        type: 'topic',
        durable: true,
        autoDelete: false,
        internal: false,
        arguments: { 'alternate-exchange': 'rest' },
        bindings: [],
      });
      expect(await b.driver.table.exchanges()).toContain('x');
      expect(await record(b, 'none')).toBeUndefined();
    });

    test('has bindings once each, told apart by key and arguments', async () => {
      const a = await one();
      await a.declare('q');
      const bindings = [
        binding('x', 'q', 'a'),
        binding('x', 'q', 'b'),
        binding('x', 'q', 'a', { h: 1 }),
        binding('x', 'y', 'a'),
      ];
      await a.driver.table.apply([exchange('x'), exchange('y')]);
      for (let i = 0; i < 2; i++)
        await a.driver.table.apply(bindings.map((one) => ({ kind: 'bind', binding: one }) as const));
      expect((await record(a, 'x'))?.bindings).toHaveLength(4);
      expect(await a.driver.table.bindingsTo('queue', 'q')).toHaveLength(3);
      expect(await a.driver.table.bindingsTo('exchange', 'y')).toEqual([binding('x', 'y', 'a')]);
      await a.driver.table.apply([{ kind: 'unbind', binding: binding('x', 'q', 'a') }]);
      expect((await record(a, 'x'))?.bindings.map(({ routingKey }) => routingKey).sort()).toEqual(['a', 'a', 'b']);
    });

    test('says unchanged to who knows the version, until something changes', async () => {
      const [a, b] = await two();
      await a.driver.table.apply([exchange('x')]);
      const version = (await record(a, 'x'))?.version;
      expect(await a.driver.table.exchange('x', version)).toBe('unchanged');
      await b.driver.table.apply([{ kind: 'bind', binding: binding('x', 'q') }]);
      expect(await a.driver.table.exchange('x', version)).toMatchObject({ bindings: [binding('x', 'q')] });
      const next = (await record(a, 'x'))?.version;
      await b.driver.table.apply([{ kind: 'delete-exchange', name: 'x' }, exchange('x')]);
      expect(await a.driver.table.exchange('x', next)).toMatchObject({ bindings: [] });
    });

    test('deletes an exchange with its bindings on both sides; unused only when asked for', async () => {
      const a = await one();
      await a.driver.table.apply([
        exchange('x'),
        exchange('y'),
        { kind: 'bind', binding: binding('x', 'y') },
        { kind: 'bind', binding: binding('y', 'q') },
      ]);
      expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'y', ifUnused: true }])).toEqual([false]);
      expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'y' }])).toEqual([true]);
      expect((await record(a, 'x'))?.bindings).toEqual([]);
      expect(await a.driver.table.bindingsTo('queue', 'q')).toEqual([]);
      expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'x', ifUnused: true }])).toEqual([true]);
      expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'none' }])).toEqual([true]);
    });

    test('an auto-delete exchange goes with its last binding, also when a queue takes it along, and on down the line', async () => {
      const a = await one();
      await a.declare('q');
      await a.driver.table.apply([
        exchange('x', { autoDelete: true }),
        exchange('y', { autoDelete: true }),
        { kind: 'bind', binding: binding('x', 'y') },
        { kind: 'bind', binding: binding('y', 'q') },
      ]);
      await a.driver.remove([{ queue: 'q' }]);
      expect(await record(a, 'y')).toBeUndefined();
      expect(await record(a, 'x')).toBeUndefined();
    });

    test('exchanges that AMQP predeclares may be bound', async () => {
      const a = await one();
      await a.driver.table.apply([{ kind: 'bind', binding: binding('amq.topic', 'q') }]);
      expect((await record(a, 'amq.topic'))?.bindings).toEqual([binding('amq.topic', 'q')]);
    });

    test('tells of changes, by whomever; where it is coherent, before they are answered', async () => {
      const [a, b] = await two();
      const changed: string[] = [];
      const stop = a.driver.table.watch((exchangeName) => changed.push(exchangeName));
      await b.driver.table.apply([exchange('x'), { kind: 'bind', binding: binding('x', 'q') }]);
      if (a.driver.table.coherent) expect(changed).toContain('x');
      stop();
      changed.length = 0;
      await b.driver.table.apply([{ kind: 'delete-exchange', name: 'x' }]);
      expect(changed).toEqual([]);
    });
  });
}
