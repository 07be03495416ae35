/** Notifications between Node processes, in memory and over the broker. */
import {
  BatchNotificationListener,
  NoOpSerializer,
  type Notification,
  type NotificationEndpoint,
  NotificationFilter,
  NotificationListener,
  Notifier,
  Transport,
} from '@wakame/oslo';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Batcher } from '../src/notify/batcher.ts';
import { readNotification, timestampNow, writeNotification } from '../src/notify/message.ts';
import { seal, unseal } from '../src/wire/envelope.ts';
import { buses, eventually, open, unique } from './support/bus.ts';

const note = (changes: Partial<Notification> = {}): Notification => ({
  ...{ context: {}, publisherId: 'compute.host1', eventType: 'instance.create', payload: { id: 7 } },
  metadata: { messageId: 'm', timestamp: '2026-11-21 15:30:00.123456' },
  ...changes,
});

test('what is written is read', () => {
  const optional = fc.option(fc.string(), { nil: undefined });
  const notification = fc.record({
    publisherId: optional,
    eventType: optional,
    payload: fc.constantFrom(null, 1, { a: [] }),
  });
  fc.assert(
    fc.property(notification, fc.constantFrom('info' as const, 'audit' as const), (parts, priority) => {
      const written = writeNotification(priority, note({ ...parts, context: { user: 'x' } }));
      const read = readNotification(unseal(JSON.parse(seal(written))));
      expect(read).toMatchObject({ ...note(parts), priority, context: { user: 'x' } });
      expect(read.uniqueId).toMatch(/^[0-9a-f]{32}$/);
    }),
  );
  expect(writeNotification('warn', note())).toMatchObject({
    priority: 'WARN',
    message_id: 'm',
    event_type: 'instance.create',
  });
  expect(readNotification({ priority: 'LOUD' }).priority).toBeUndefined();
  expect(() => readNotification({})).toThrow('priority');
  expect(timestampNow()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/);
});

test('filters match from the beginning, all of them', () => {
  const matches = (rules: ConstructorParameters<typeof NotificationFilter>[0], notification = note()) =>
    new NotificationFilter(rules).matches(notification);
  expect(matches({})).toBe(true);
  expect(matches({ eventType: 'instance', publisherId: /^COMPUTE/i })).toBe(true);
  expect(matches({ eventType: 'create' })).toBe(false);
  expect(matches({ eventType: 'a|instance' })).toBe(true);
  expect(matches({ payload: { id: '7$' } })).toBe(true);
  expect(matches({ payload: { id: '8' } })).toBe(false);
  expect(matches({ payload: { toString: '' } })).toBe(false);
  expect(matches({ context: { user: 'd' } })).toBe(false);
  expect(matches({ context: { user: 'd' } }, note({ context: { user: 'demo' } }))).toBe(true);
  expect(matches({ metadata: { timestamp: '2026' } })).toBe(true);
  expect(matches({ payload: { id: '7' } }, note({ payload: 'text' }))).toBe(false);
  expect(() => new NotificationFilter({ eventType: '(' })).toThrow('eventType');
  expect(() => new NotificationFilter({ event: 'x' } as never)).toThrow("'event'");
});

test('a batch is worked on when it is full, or when the first has waited long enough', async () => {
  const batches: (readonly number[])[] = [];
  const batcher = new Batcher<number, number>(2, 20, async (items) => {
    batches.push(items);
    if (items.includes(0)) throw new Error('nought');
    return items.map((item) => 10 * item);
  });
  expect(await Promise.all([1, 2, 3].map((item) => batcher.add(item)))).toEqual([10, 20, 30]);
  expect(batches).toEqual([[1, 2], [3]]);
  const failed = batcher.add(0);
  batcher.flush();
  await expect(failed).rejects.toThrow('nought');
});

describe.each(buses)('notifications over $name', ({ url }) => {
  let transport: Transport;
  beforeAll(() => {
    transport = open(url());
  });
  afterAll(() => transport.close());

  const listen = async (topic: string, endpoints: NotificationEndpoint[], options = {}) => {
    const listener = new NotificationListener(transport, [{ topic }], endpoints, options);
    await listener.start();
    return listener;
  };

  test('each goes to the endpoints of its priority', async () => {
    const topic = unique('notes');
    const heard: string[] = [];
    const hear =
      (name: string) =>
      ({ eventType, payload }: Notification) => {
        heard.push(`${name} ${eventType} ${payload}`);
      };
    const only = new NotificationFilter({ eventType: 'b' });
    await using _ = await listen(topic, [
      { info: hear('info'), error: hear('error') },
      { info: hear('filtered'), filterRule: only },
    ]);
    const notifier = new Notifier(transport, { publisherId: 'me', topics: topic });
    expect(notifier.isEnabled).toBe(true);
    await notifier.info('a', 1);
    await notifier.info('b', 2);
    await notifier.error('c', 3);
    await eventually(() => [...heard].sort()).toEqual(['error c 3', 'filtered b 2', 'info a 1', 'info b 2']);
  });

  test('who, when, on whose behalf; with and without an envelope', async () => {
    const topic = unique('notes');
    const heard: Notification[] = [];
    await using _ = await listen(topic, [{ audit: (notification) => void heard.push(notification) }]);
    const context = { user: 'demo' };
    await new Notifier(transport, { publisherId: 'v2', topics: topic }).audit('e', { deep: [1] }, { context });
    await new Notifier(transport, { publisherId: 'v1', topics: topic, driver: 'messaging' }).audit('e', null);
    await eventually(() => heard).toHaveLength(2);
    expect(heard.find(({ publisherId }) => publisherId === 'v2')).toMatchObject({ context, payload: { deep: [1] } });
    expect(heard.find(({ publisherId }) => publisherId === 'v1')?.metadata.messageId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('what is given back comes again, where that is allowed', async () => {
    const topic = unique('notes');
    let tries = 0;
    const errors: string[] = [];
    const endpoint: NotificationEndpoint = {
      info: ({ eventType }) => {
        tries += 1;
        if (eventType === 'throws' && tries === 1) throw new Error('not now');
        return tries < 3 ? 'requeue' : 'handled';
      },
    };
    const notifier = new Notifier(transport, { topics: topic });
    const listener = await listen(topic, [endpoint], { allowRequeue: true });
    listener.on('handlerError', (error) => errors.push(error.message));
    await notifier.info('throws', null);
    await eventually(() => tries).toBe(3);
    expect(errors).toEqual(['not now']);
    await listener.close();
    tries = 0;
    const strict = await listen(topic, [endpoint]);
    const heard = new Promise((resolve) => strict.once('handlerError', resolve));
    await notifier.info('throws', null);
    await heard;
    await notifier.info('other', null);
    await eventually(() => tries).toBe(2);
    await strict.close();
  });

  test('each pool gets everything, its members share', async () => {
    const topic = unique('notes');
    const heard: string[] = [];
    const hear = (name: string): NotificationEndpoint => ({
      info: ({ payload }) => void heard.push(`${name}${payload}`),
    });
    const one = unique('pool');
    const two = unique('pool');
    await using _a = await listen(topic, [hear('a')], { pool: one });
    await using _b = await listen(topic, [hear('a')], { pool: one });
    await using _c = await listen(topic, [hear('c')], { pool: two });
    await using _d = await listen(topic, [hear('d')]);
    const notifier = new Notifier(transport, { topics: topic });
    for (const i of [1, 2, 3]) await notifier.info('e', i);
    await eventually(() => [...heard].sort()).toEqual(['a1', 'a2', 'a3', 'c1', 'c2', 'c3', 'd1', 'd2', 'd3']);
  });

  test('batches', async () => {
    const topic = unique('notes');
    const batches: unknown[][] = [];
    const info = (notifications: readonly Notification[]) =>
      void batches.push(notifications.map(({ payload }) => payload));
    const options = { batchSize: 3, batchTimeout: 60_000 };
    await using listener = new BatchNotificationListener(transport, [{ topic }], [{ info }], options);
    await listener.start();
    const notifier = new Notifier(transport, { topics: topic });
    for (const i of [1, 2, 3, 4, 5, 6]) await notifier.info('e', i);
    await expect
      .poll(() => batches)
      .toEqual([
        [1, 2, 3],
        [4, 5, 6],
      ]);
  });

  test('a batch that waits for more when its listener stops is handed out', async () => {
    const topic = unique('notes');
    const batches: unknown[][] = [];
    let arrived = 0;
    class Counting extends NoOpSerializer {
      override deserializeEntity(_context: object, entity: unknown): unknown {
        arrived += 1;
        return entity;
      }
    }
    const info = (notifications: readonly Notification[]) =>
      void batches.push(notifications.map(({ payload }) => payload));
    const options = { batchSize: 9, batchTimeout: 60_000, serializer: new Counting() };
    const listener = new BatchNotificationListener(transport, [{ topic }], [{ info }], options);
    await listener.start();
    const notifier = new Notifier(transport, { topics: topic });
    await notifier.info('e', 5);
    await notifier.info('e', 6);
    await eventually(() => arrived).toBe(2);
    await listener.close();
    expect(batches).toEqual([[5, 6]]);
  });

  test('drivers', async () => {
    const told: unknown[] = [];
    const log = (priority: string, { eventType }: Notification) => told.push([priority, eventType]);
    const notifier = new Notifier(transport, { driver: ['noop', log] }).prepare({ publisherId: 'other' });
    expect(notifier.publisherId).toBe('other');
    await notifier.warn('w', null);
    expect(told).toEqual([['warn', 'w']]);
    expect(new Notifier(transport, { driver: [] }).isEnabled).toBe(false);
    expect(() => new Notifier(transport, { driver: 'messaging3' as never })).toThrow("did you mean 'messaging'?");
    expect(() => new NotificationListener(transport, [{ topic: 't' }], [{}])).toThrow('priority');
    expect(() => new NotificationListener(transport, [], [{ info: () => undefined }])).toThrow('target');
  });
});

describe('routing', () => {
  const transport = new Transport('fake://');
  const config = {
    group_1: {
      log: { accepted_priorities: ['WARN', 'err*'] },
      billing: { accepted_events: ['instance.*', 'volume.?'], accepted_priorities: ['info'] },
    },
    group_2: { log: { accepted_events: ['identity.*'] }, all: {} },
    group_3: { log: { accepted_events: ['identity.user'] }, never: { accepted_events: [] }, noop: null },
    group_4: null,
  };
  const taken: string[] = [];
  const sink =
    (name: string) =>
    (priority: string, { eventType }: Notification) => {
      taken.push(`${name} ${priority} ${eventType}`);
    };
  const routed = Object.fromEntries(['log', 'billing', 'all', 'never'].map((name) => [name, sink(name)]));
  const notifier = new Notifier(transport, { driver: 'routing', routing: config, routed });

  test('each driver gets once what any of its rules accepts; a rule accepts what satisfies all of it', async () => {
    await notifier.warn('volume.a', null);
    await notifier.info('volume.a', null);
    await notifier.info('volume.ab', null);
    await notifier.info('identity.user', null);
    await notifier.debug('instance.create', null);
    expect(taken.toSorted()).toEqual([
      ...['all debug instance.create', 'all info identity.user', 'all info volume.a', 'all info volume.ab'],
      ...['all warn volume.a', 'billing info volume.a', 'log info identity.user', 'log warn volume.a'],
    ]);
  });

  test('beside other drivers, to the broker, and nowhere', async () => {
    await using bus = new Transport('fake:///routing');
    const [heard, also]: [string[], string[]] = [[], []];
    const info = ({ eventType }: Notification) => void heard.push(String(eventType));
    await new NotificationListener(bus, [{ topic: 'routed' }], [{ info }]).start();
    const routing = { g: { messagingv2: { accepted_events: ['yes'] } } };
    const driver = ['routing' as const, (_: string, { eventType }: Notification) => also.push(String(eventType))];
    const some = new Notifier(bus, { driver, routing, topics: 'routed' }).prepare({ publisherId: 'p' });
    await some.info('no', null);
    await some.info('yes', null);
    await eventually(() => heard).toEqual(['yes']);
    expect(also).toEqual(['no', 'yes']);
    const enabled = (options: object) => new Notifier(bus, { driver: 'routing', routing: null, ...options }).isEnabled;
    expect([enabled({}), enabled({ routing: { g: { noop: {} } } }), enabled({ routing })]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('what is no configuration says where', () => {
    const make = (routing: unknown) => () => new Notifier(transport, { driver: 'routing', routing: routing as never });
    expect(make({ g: { messaging_v2: {} } })).toThrow(
      "routing.g.messaging_v2: no driver is called 'messaging_v2' (did you mean 'messagingv2'?)",
    );
    expect(make({ g: { routing: {} } })).toThrow("no driver is called 'routing'");
    expect(make({ g: { noop: { accepted_event: [] } } })).toThrow("did you mean 'accepted_events'?");
    expect(make({ g: { noop: { accepted_events: 'a' } } })).toThrow('routing.g.noop.accepted_events must be an array');
    expect(make({ g: [] })).toThrow('routing.g must be an object');
    expect(make('routing.yaml')).toThrow('routing must be an object');
    expect(make(undefined)).toThrow("the driver 'routing' needs the option routing");
    expect(() => new Notifier(transport, { routing: {} })).toThrow("for the driver 'routing'");
    const twice = { driver: 'routing', routing: {}, routed: { noop: () => 0 } } as const;
    expect(() => new Notifier(transport, twice)).toThrow("'noop' already");
    expect(() => new Notifier(transport, { ...twice, routed: { log: 7 as never } })).toThrow('routed.log');
  });
});
