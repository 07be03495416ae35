/** Descriptions of exchanges, queues and bindings: what they hold, refuse, and turn into. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import { binding, Exchange, Queue, type QueueOptions } from '../../src/entities/index.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { failure } from '../messaging/support.js';
import { FakeBroker } from '../support/fake-transport.js';

const refused = (make: () => unknown, pattern: RegExp) =>
  expect(make).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(pattern) }));

describe('Exchange', () => {
  test('has Kombu’s defaults', () => {
    expect(new Exchange('x').toObject()).toEqual({
      ...{
        name: 'x',
        type: 'direct',
        durable: true,
        autoDelete: false,
        internal: false,
        passive: false,
        noDeclare: false,
      },
      ...{ deliveryMode: undefined, arguments: undefined },
    });
    expect(new Exchange().name).toBe('');
  });

  test('understands delivery modes by name and number', () => {
    const modes = (['transient', 'persistent', 1, 2] as const).map(
      (deliveryMode) => new Exchange('x', { deliveryMode }).deliveryMode,
    );
    expect(modes).toEqual([1, 2, 1, 2]);
  });

  test('refuses what cannot be one, by name', () => {
    refused(() => new Exchange('é'.repeat(128)), /exchange name must be at most 255 bytes long, not 256/);
    refused(() => new Exchange(7 as never), /exchange name must be a string, not 7/);
    refused(() => new Exchange('x', { typ: 'fanout' } as never), /'typ'.*did you mean 'type'/);
    refused(() => new Exchange('x', { type: 7 as never }), /type/);
    refused(() => new Exchange('x', { durable: 'yes' as never }), /durable must be true or false/);
    refused(() => new Exchange('x', { deliveryMode: 3 as never }), /deliveryMode/);
    refused(() => new Exchange('x', { deliveryMode: 'durable' as never }), /deliveryMode/);
    refused(() => new Exchange('x', { arguments: [] as never }), /arguments must be an object/);
    expect(new Exchange('n'.repeat(255)).name).toHaveLength(255);
  });

  test('never changes: arguments are a frozen copy', () => {
    const given = { 'alternate-exchange': 'other' };
    const exchange = new Exchange('x', { arguments: given });
    given['alternate-exchange'] = 'changed';
    expect(exchange.arguments).toEqual({ 'alternate-exchange': 'other' });
    expect(Object.isFrozen(exchange.arguments)).toBe(true);
  });

  test('is equal to what describes the same, bound or not', () => {
    const connection = new Connection('memory://');
    const exchange = new Exchange('x', { arguments: { a: 1, b: [2] } });
    expect(exchange.equals(new Exchange('x', { arguments: { b: [2], a: 1 } }))).toBe(true);
    expect(exchange.bind(connection).equals(exchange)).toBe(true);
    for (const other of [
      new Exchange('y', { arguments: { a: 1, b: [2] } }),
      new Exchange('x'),
      new Exchange('x', { arguments: { a: 1, b: [2] }, type: 'topic' }),
      new Exchange('x', { arguments: { a: 1, b: [2] }, durable: false }),
      new Exchange('x', { arguments: { a: 1, b: [2] }, deliveryMode: 1 }),
      'x',
    ]) {
      expect(exchange.equals(other)).toBe(false);
    }
  });

  test('an unbound one is NOT_BOUND for everything that needs a broker', async () => {
    const exchange = new Exchange('x');
    expect(exchange.isBound).toBe(false);
    for (const use of [
      () => exchange.declare(),
      () => exchange.delete(),
      () => exchange.bindTo('y'),
      () => exchange.unbindFrom('y'),
      async () => exchange.publish('z'),
    ]) {
      const error = await failure(use());
      expect(error.code).toBe('NOT_BOUND');
      expect(error.message).toBe("exchange 'x' is not bound: use exchange.bind(channelOrConnection) first");
    }
    refused(() => exchange.bind(7 as never), /a Channel or a Connection is needed, not 7/);
  });

  test('binding gives a copy of the same class', () => {
    class Special extends Exchange {
      get special() {
        return `${this.name}!`;
      }
    }
    const connection = new Connection('memory://');
    const special = new Special('x');
    const bound = special.bind(connection);
    expect([bound instanceof Special, bound.special, bound.channel, special.channel]).toEqual([
      true,
      'x!',
      connection,
      undefined,
    ]);
  });
});

describe('Queue', () => {
  test('has Kombu’s defaults', () => {
    const queue = new Queue('q');
    expect([queue.name, queue.routingKey, queue.exchange, queue.bindings]).toEqual(['q', '', undefined, []]);
    expect([queue.durable, queue.exclusive, queue.autoDelete, queue.noAck, queue.noDeclare]).toEqual([
      ...[true, false, false, false, false],
    ]);
    expect(queue.queueArguments).toBeUndefined();
  });

  test('exclusive includes autoDelete', () => {
    expect(new Queue('q', { exclusive: true }).autoDelete).toBe(true);
  });

  test('its options are arguments on the wire, in milliseconds', () => {
    const queue = new Queue('q', {
      ...{ expires: 60_000, messageTtl: 0, maxLength: 5, maxLengthBytes: 1000, maxPriority: 9 },
      queueArguments: { 'x-queue-type': 'classic', 'x-max-length': 5 },
    });
    expect(queue.queueArguments).toEqual({
      ...{ 'x-queue-type': 'classic', 'x-expires': 60_000, 'x-message-ttl': 0, 'x-max-length': 5 },
      ...{ 'x-max-length-bytes': 1000, 'x-max-priority': 9 },
    });
  });

  test('refuses what cannot be one, by name', () => {
    refused(() => new Queue('q'.repeat(256)), /queue name must be at most 255 bytes/);
    refused(() => new Queue('q', { routingKey: 'k'.repeat(256) }), /routingKey must be at most 255 bytes/);
    refused(() => new Queue('q', { ttl: 5 } as never), /'ttl'/);
    refused(() => new Queue('q', { messageTTL: 5 } as never), /did you mean 'messageTtl'/);
    refused(() => new Queue('q', { expires: 0 }), /expires must be an integer of at least 1/);
    refused(() => new Queue('q', { expires: 1.5 }), /expires/);
    refused(() => new Queue('q', { messageTtl: -1 }), /messageTtl/);
    refused(() => new Queue('q', { maxLength: Number.NaN }), /maxLength/);
    refused(() => new Queue('q', { maxPriority: 256 }), /maxPriority must be an integer from 0 to 255/);
    refused(
      () => new Queue('q', { maxLength: 5, queueArguments: { 'x-max-length': 6 } }),
      /maxLength is 5 and .* is 6/,
    );
    refused(() => new Queue('q', { exclusive: 1 as never }), /exclusive/);
    refused(() => new Queue('q', { bindings: ['x'] as never }), /bindings must hold bindings/);
    refused(() => new Queue('q', { exchange: 7 as never }), /exchange must be an Exchange or a name/);
    refused(() => new Queue('q', { schema: {} as never }), /schema must be a Standard Schema/);
    refused(() => new Queue('q', { onDeclared: 1 as never }), /onDeclared/);
    refused(() => new Queue('q', { alias: 1 as never }), /alias/);
  });

  test('with bindings the exchange has no part, as in Kombu, and it is warned of', async () => {
    resetWarnings();
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    const queue = new Queue('q', {
      exchange: new Exchange('x'),
      bindings: [binding(new Exchange('y'), { routingKey: 'k' })],
    });
    expect(queue.exchange).toBeUndefined();
    expect((await warned).message).toMatch(/queue 'q' is not bound to exchange 'x', because it has bindings/);
  });

  test('is equal to what describes the same; the order of bindings does not count', () => {
    const [a, b] = [binding(new Exchange('a')), binding(new Exchange('b'), { routingKey: 'k', arguments: { x: 1 } })];
    const queue = new Queue('q', { bindings: [a, b], maxLength: 3 });
    expect(queue.equals(new Queue('q', { bindings: [b, a], queueArguments: { 'x-max-length': 3 } }))).toBe(true);
    expect(queue.bind(new Connection('memory://')).equals(queue)).toBe(true);
    for (const other of [
      new Queue('p', { bindings: [a, b], maxLength: 3 }),
      new Queue('q', { bindings: [a], maxLength: 3 }),
      new Queue('q', { bindings: [a, binding(new Exchange('b'))], maxLength: 3 }),
      new Queue('q', { bindings: [a, b] }),
      new Queue('q', { bindings: [a, b], maxLength: 3, durable: false }),
      undefined,
    ]) {
      expect(queue.equals(other)).toBe(false);
    }
    const bound = new Queue('q', { exchange: new Exchange('x'), routingKey: 'k' });
    expect(bound.equals(new Queue('q', { exchange: new Exchange('x'), routingKey: 'k' }))).toBe(true);
    expect(bound.equals(new Queue('q', { exchange: new Exchange('x'), routingKey: 'l' }))).toBe(false);
    expect(bound.equals(new Queue('q'))).toBe(false);
  });

  test('goes to a plain object and back, by way of JSON', () => {
    const flag = fc.option(fc.boolean(), { nil: undefined });
    const name = fc.string({ maxLength: 60 });
    const table = fc.option(fc.dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.integer(), name, fc.boolean())), {
      nil: undefined,
    });
    const exchange = fc
      .record({
        name,
        type: fc.constantFrom('direct', 'topic', 'fanout'),
        durable: flag,
        autoDelete: flag,
        arguments: table,
      })
      .map(({ name: of, ...options }) => new Exchange(of, options));
    const anyBinding = fc
      .record({ exchange, routingKey: name, arguments: table, unbindArguments: table })
      .map(({ exchange: of, ...options }) => binding(of, options));
    const count = fc.option(fc.integer({ min: 1, max: 255 }), { nil: undefined });
    const common = {
      ...{
        durable: flag,
        exclusive: flag,
        autoDelete: flag,
        noAck: flag,
        noDeclare: flag,
        alias: fc.option(name, { nil: undefined }),
      },
      ...{ expires: count, messageTtl: count, maxLength: count, maxPriority: count, bindingArguments: table },
    };
    const options: fc.Arbitrary<QueueOptions> = fc.oneof(
      fc.record({ ...common, exchange, routingKey: name }),
      fc.record({ ...common, bindings: fc.array(anyBinding, { maxLength: 3 }) }),
    );
    fc.assert(
      fc.property(name, options, (of, given) => {
        const queue = new Queue(of, given);
        const back = Queue.fromObject(JSON.parse(JSON.stringify(queue.toObject())));
        expect(back.equals(queue)).toBe(true);
        expect(back.toObject()).toEqual(queue.toObject());
      }),
    );
  });

  test('fromObject understands configuration in Kombu’s manner', () => {
    const queue = Queue.fromObject('video', {
      ...{ exchange: 'media', exchangeType: 'topic', bindingKey: 'v.#', durable: false, exchangeDurable: true },
      ...{ deliveryMode: 1, messageTtl: 5 },
    });
    expect(queue.exchange?.toObject()).toMatchObject({
      name: 'media',
      type: 'topic',
      durable: true,
      deliveryMode: 1,
      noDeclare: false,
    });
    expect([queue.name, queue.routingKey, queue.durable]).toEqual(['video', 'v.#', false]);
    expect(Queue.fromObject('q', { exchange: 'x', durable: false, exchangeType: 'direct' }).exchange?.durable).toBe(
      false,
    );
    expect(Queue.fromObject({ name: 'q', exchange: 'x' }).exchange?.noDeclare).toBe(true);
    refused(() => Queue.fromObject('q', { exchangeType: 'topic' }), /exchangeType/);
    refused(() => Queue.fromObject('q', { bindingKey: 'a', routingKey: 'b' }), /bindingKey/);
    refused(() => Queue.fromObject('q', { exchange_type: 'topic' } as never), /did you mean 'exchangeType'/);
  });

  test('an unbound one is NOT_BOUND for everything that needs a broker', async () => {
    const queue = new Queue('q');
    for (const use of [
      () => queue.declare(),
      () => queue.queueDeclare(),
      () => queue.queueBind(),
      () => queue.queueUnbind(),
      () => queue.bindTo('x'),
      () => queue.unbindFrom('x'),
      async () => queue.get(),
      async () => queue.consume({ callback: () => 1 }),
      () => queue.cancel('tag'),
      () => queue.purge(),
      () => queue.delete(),
    ]) {
      expect((await failure(use())).code).toBe('NOT_BOUND');
    }
  });

  test('without a name nothing is done that would reach another queue', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    const queue = new Queue('', { exclusive: true }).bind(connection);
    for (const use of [() => queue.purge(), () => queue.delete(), async () => queue.get(), () => queue.queueBind()]) {
      const error = await failure(use());
      expect([error.code, error.message]).toEqual(['NOT_BOUND', 'the queue has no name yet: declare it first']);
    }
    expect(broker.log).toEqual([]);
    await connection.close();
  });
});

describe('declaring', () => {
  test('the order is exchange, queue, binding, then further bindings', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    const declared = () => broker.log.filter((line) => /^(exchange|queue)/.test(line));
    const media = new Exchange('media', { type: 'topic' });
    expect(await new Queue('one', { exchange: media, routingKey: 'k' }).bind(connection).declare()).toBe('one');
    expect(declared()).toEqual(['exchangeDeclare media', 'queueDeclare one', 'queueBind media-k->one']);
    broker.log.length = 0;
    const bindings = [binding(new Exchange('a')), binding(new Exchange('b'), { routingKey: 'k' })];
    await new Queue('two', { bindings }).bind(connection).declare();
    expect(declared()).toEqual([
      ...['queueDeclare two', 'exchangeDeclare a', 'queueBind a-->two', 'exchangeDeclare b', 'queueBind b-k->two'],
    ]);
    broker.log.length = 0;
    await new Queue('three', { exchange: 'named', routingKey: 'k' }).bind(connection).declare();
    await new Queue('four', { exchange: new Exchange('amq.topic'), routingKey: 'k' }).bind(connection).declare();
    await new Queue('five', { exchange: new Exchange(''), routingKey: 'k' }).bind(connection).declare();
    await new Queue('six', { noDeclare: true, exchange: media }).bind(connection).declare();
    expect(declared()).toEqual([
      ...['queueDeclare three', 'queueBind named-k->three', 'queueDeclare four', 'queueBind amq.topic-k->four'],
      'queueDeclare five',
    ]);
    await connection.close();
  });

  test('onDeclared hears of the name and counts, also of a name that the broker chose', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    const heard: unknown[] = [];
    const queue = new Queue('', { exclusive: true, onDeclared: (declared) => heard.push(declared) });
    const bound = queue.bind(connection);
    expect(await bound.declare()).toBe('amq.gen-1');
    expect(heard).toEqual([expect.objectContaining({ queue: 'amq.gen-1', messageCount: 0 })]);
    expect([bound.name, queue.name, queue.bind(connection).name]).toEqual(['amq.gen-1', '', '']);
    const failing = new Queue('q', {
      onDeclared: () => {
        throw new Error('no');
      },
    });
    await expect(failing.bind(connection).declare()).rejects.toThrow('no');
    await connection.close();
  });

  test('a queue that the broker named follows its new name after a loss', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    const queue = new Queue('', { exclusive: true }).bind(connection);
    await queue.declare();
    const recovered = new Promise((resolve) => connection.once('recovered', resolve));
    broker.kill();
    await recovered;
    expect(queue.name).toBe('amq.gen-2');
    // Declared again, it is only asked for: the broker refuses such names from clients.
    await queue.declare();
    expect(broker.log.at(-1)).toBe('checkQueue amq.gen-2');
    await connection.close();
  });

  test('nowait returns at once; what fails is a problem of the connection', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    broker.exchanges.set('x', 'topic');
    const problem = new Promise<Error>((resolve) => connection.once('problem', resolve));
    await new Exchange('x', { type: 'direct' }).bind(connection).declare({ nowait: true });
    expect(broker.log).not.toContain('exchangeDeclare x');
    expect((await problem).message).toMatch(/exchange 'x' is different/);
    const queued = new Queue('q').bind(connection);
    await queued.declare({ nowait: true });
    await broker.until(() => broker.queues.has('q'));
    await connection.close();
  });

  test('passive only asks', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    for (const use of [
      () => new Queue('q').bind(connection).declare({ passive: true }),
      () => new Queue('q').bind(connection).queueDeclare({ passive: true }),
      () => new Exchange('x').bind(connection).declare({ passive: true }),
      () => new Exchange('x', { passive: true }).bind(connection).declare(),
    ]) {
      expect((await failure(use())).code).toBe('NOT_FOUND');
    }
    expect([broker.queues.size, broker.exchanges.size]).toEqual([0, 0]);
    await connection.close();
  });

  test('binding and unbinding, of queues and exchanges', async () => {
    const broker = new FakeBroker();
    const connection = new Connection('fake://one', broker.options());
    const [from, to] = [new Exchange('from').bind(connection), new Exchange('to').bind(connection)];
    await Promise.all([from.declare(), to.declare()]);
    await to.bindTo(from, { routingKey: 'k' });
    const queue = new Queue('q', { exchange: to, routingKey: 'own' }).bind(connection);
    await queue.declare();
    await queue.bindTo('to', { routingKey: 'more' });
    const extra = from.binding({ routingKey: 'extra' });
    await extra.declare(connection);
    await extra.bind(queue);
    expect([...broker.bindings]).toEqual(['from-k->to', 'to-own->q', 'to-more->q', 'from-extra->q']);
    await to.unbindFrom(from, { routingKey: 'k' });
    await queue.unbindFrom(to, { routingKey: 'more' });
    await queue.queueUnbind();
    await extra.unbind(queue);
    expect([...broker.bindings]).toEqual([]);
    await queue.queueBind();
    expect([...broker.bindings]).toEqual(['to-own->q']);
    refused(() => binding(from, { routingkey: 'x' } as never), /did you mean 'routingKey'/);
    await connection.close();
  });
});
