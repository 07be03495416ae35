/** Notifications with oslo.messaging, either side being the publisher. */
import {
  BatchNotificationListener,
  type Notification,
  NotificationListener,
  Notifier,
  type Transport,
} from '@wakame/oslo';
import { afterAll, beforeAll, expect } from 'vitest';
import { eventually } from './support/bench.ts';
import type { Column } from './support/columns.ts';
import { cell, type Direction } from './support/matrix.ts';
import { newestOnly, openPeer, openTransport, unique, withEachOslo } from './support/oslo.ts';
import type { Peer } from './support/peer.ts';

withEachOslo('Notifications of oslo.messaging', define);

interface Heard {
  readonly priority: string;
  readonly context: object;
  readonly publisher_id: string;
  readonly event_type: string;
  readonly payload: unknown;
  readonly metadata: { readonly message_id: string; readonly timestamp: string };
}

function define(column: Column): void {
  const test = (direction: Direction, feature: string, run: () => Promise<void>) =>
    cell(column, direction, feature, run, newestOnly);
  /** With each release. */
  const testEach = (direction: Direction, feature: string, run: () => Promise<void>) =>
    cell(column, direction, feature, run);

  let transport: Transport;
  let peer: Peer;
  beforeAll(async () => {
    transport = openTransport();
    peer = await openPeer(column);
  });
  afterAll(async () => {
    // Its own ways to end take many seconds; what it leaves at the broker goes by itself.
    await peer?.kill();
    await transport?.close();
  });

  const received = async () => peer.call<Heard[]>('received');
  const listen = async (topic: string, heard: Notification[], options = {}) => {
    const hear = (notification: Notification) => void heard.push(notification);
    const listener = new NotificationListener(transport, [{ topic }], [{ info: hear, error: hear }], options);
    await listener.start();
    return listener;
  };

  testEach('Node → Python', 'a notification, with and without an envelope', async () => {
    const topic = unique('notes');
    await peer.call('listen', { name: topic, topics: [topic] });
    const context = { user: 'demo' };
    await new Notifier(transport, { publisherId: 'node.v2', topics: topic }).info('e.v2', { a: [1] }, { context });
    await new Notifier(transport, { publisherId: 'node.v1', topics: topic, driver: 'messaging' }).error('e.v1', null);
    await eventually(async () =>
      (await received()).filter(({ publisher_id: id }) => id.startsWith('node.v')),
    ).toHaveLength(2);
    const all = await received();
    expect(all.find((note) => note.event_type === 'e.v2')).toMatchObject({
      ...{ priority: 'info', context, publisher_id: 'node.v2', payload: { a: [1] } },
      metadata: { message_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    });
    expect(all.find((note) => note.event_type === 'e.v1')).toMatchObject({ priority: 'error', payload: null });
    await peer.call('stop', { server: topic });
  });

  testEach('Python → Node', 'a notification, with and without an envelope', async () => {
    const topic = unique('notes');
    const heard: Notification[] = [];
    await using _ = await listen(topic, heard);
    await peer.call('notify', { topics: [topic], event_type: 'e.v2', payload: { a: [1] } });
    await peer.call('notify', {
      topics: [topic],
      event_type: 'e.v1',
      payload: 'x',
      priority: 'error',
      driver: 'messaging',
    });
    await eventually(() => heard).toHaveLength(2);
    const sorted = heard.toSorted((a, b) => String(b.eventType).localeCompare(String(a.eventType)));
    expect(sorted).toMatchObject([
      {
        ...{ publisherId: 'python.interop', eventType: 'e.v2', payload: { a: [1] } },
        metadata: {
          messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
          timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+$/),
        },
      },
      { eventType: 'e.v1', payload: 'x' },
    ]);
  });

  test('Node → Python', 'kept until there is a listener', async () => {
    const topic = unique('early');
    await new Notifier(transport, { topics: topic, publisherId: 'early' }).info('early', 1);
    await peer.call('listen', { name: topic, topics: [topic] });
    await eventually(async () => (await received()).some((note) => note.event_type === 'early')).toBe(true);
    await peer.call('stop', { server: topic });
  });

  test('Python → Node', 'kept until there is a listener', async () => {
    const topic = unique('early');
    const heard: Notification[] = [];
    await peer.call('notify', { topics: [topic], event_type: 'early', payload: 1 });
    await using _ = await listen(topic, heard);
    await eventually(() => heard).toMatchObject([{ eventType: 'early' }]);
  });

  test('Node → Python', 'pools, giving back, batches', async () => {
    const topic = unique('pools');
    const pool = unique('pool');
    await peer.call('listen', { name: pool, topics: [topic], pool });
    await peer.call('listen', { name: topic, topics: [topic], requeue: 1 });
    await new Notifier(transport, { topics: topic, publisherId: 'p' }).info('pooled', 1);
    await eventually(async () => (await received()).filter((note) => note.event_type === 'pooled')).toHaveLength(2);
    await Promise.all([pool, topic].map((server) => peer.call('stop', { server })));
    const batched = unique('batched');
    await peer.call('listen', { name: batched, topics: [batched], batch: 3 });
    const notifier = new Notifier(transport, { topics: batched, publisherId: 'p' });
    for (const i of [1, 2, 3]) await notifier.info('batched', i);
    await eventually(async () => (await received()) as unknown[]).toContainEqual([1, 2, 3]);
    await peer.call('stop', { server: batched });
  });

  test('Python → Node', 'pools, giving back, batches', async () => {
    const topic = unique('pools');
    const [mine, theirs]: [Notification[], Notification[]] = [[], []];
    await using _pool = await listen(topic, mine, { pool: unique('pool') });
    let tries = 0;
    const listener = new NotificationListener(
      transport,
      [{ topic }],
      [
        {
          info: (notification) => {
            tries += 1;
            if (tries === 1) return 'requeue';
            theirs.push(notification);
            return 'handled';
          },
        },
      ],
      { allowRequeue: true },
    );
    await listener.start();
    await peer.call('notify', { topics: [topic], event_type: 'pooled', payload: 1 });
    await eventually(() => [mine.length, theirs.length]).toEqual([1, 1]);
    await listener.close();
    const batched = unique('batched');
    const batches: unknown[] = [];
    const info = (notes: readonly Notification[]) => void batches.push(notes.map(({ payload }) => payload));
    const batch = new BatchNotificationListener(transport, [{ topic: batched }], [{ info }], {
      batchSize: 3,
      batchTimeout: 5000,
    });
    await batch.start();
    for (const payload of [1, 2, 3]) await peer.call('notify', { topics: [batched], event_type: 'b', payload });
    await eventually(() => batches).toEqual([[1, 2, 3]]);
    await batch.close();
  });
}
