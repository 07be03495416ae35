/** What is measured of the clients of AMQP. */

import { type Budget, repeat, type Sample, timed } from '../lib/sample.ts';
import type { Adapter, Message, Publisher } from './adapter.ts';
import { celeryBody, celeryProperties, jsonObject } from './messages.ts';

export interface Scenario {
  readonly title: string;
  /** What it does to queues of a real broker: leaves messages in them, needs them there, neither, or has no use for one. */
  readonly broker: 'fills' | 'drains' | 'neutral' | 'none';
  run(adapter: Adapter, url: string, budget: Budget): Promise<Sample>;
}

const NONE = undefined;

function message(bytes: number, properties: Message['properties'] = NONE): Message {
  return { body: Buffer.alloc(bytes, 'x'), properties, json: undefined };
}

const json: Message = {
  body: Buffer.alloc(0),
  properties: { contentType: 'application/json', deliveryMode: 2 },
  json: jsonObject,
};

/** In batches: as many as make 64 KiB, at most 256. */
function publish(title: string, one: Message): Scenario {
  const batch = Math.max(1, Math.min(256, Math.floor(65_536 / Math.max(one.body.length, 1))));
  return {
    title,
    broker: 'fills',
    async run(adapter, url, budget) {
      const publisher = await adapter.publisher(url, { confirm: false, channels: 1 });
      return repeat(
        budget,
        async () => {
          await publisher.batch('bench', one, batch, 0);
          return batch;
        },
        () => publisher.sync(),
      );
    },
  };
}

/** With at most `window` messages unconfirmed on each channel, and as many as that whenever there is room. */
function confirmed(title: string, one: Message, window: number, channels = 1): Scenario {
  return {
    title,
    broker: 'fills',
    async run(adapter, url, budget) {
      const publisher = await adapter.publisher(url, { confirm: true, channels });
      return timed(budget, window === 1, (more, finished) =>
        keepWindow(publisher, one, window, channels, more, finished),
      );
    },
  };
}

function keepWindow(
  publisher: Publisher,
  one: Message,
  window: number,
  channels: number,
  more: () => boolean,
  finished: (error?: unknown) => void,
): void {
  let inFlight = 0;
  let going = true;
  const send = (channel: number) => {
    inFlight++;
    publisher.confirmed('bench', one, settled[channel]!, channel);
  };
  const settled = Array.from({ length: channels }, (_, channel) => (error?: unknown) => {
    if (error !== undefined) return finished(error);
    inFlight--;
    going &&= more();
    if (going) send(channel);
    else if (inFlight === 0) finished();
  });
  for (let i = 0; i < window; i++) for (let channel = 0; channel < channels; channel++) send(channel);
}

interface Consuming {
  readonly queue: string;
  readonly ack: boolean;
  readonly read?: boolean;
  readonly json?: boolean;
  readonly consumers?: number;
  readonly prefetch?: number;
}

function consume(
  title: string,
  { queue, ack, read = false, json = false, consumers = 1, prefetch = 256 }: Consuming,
): Scenario {
  return {
    title,
    broker: 'drains',
    async run(adapter, url, budget) {
      return timed(budget, false, (more, finished) => {
        let going = true;
        const onMessage = () => {
          if (!going || more()) return;
          going = false;
          finished();
        };
        adapter.consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage).catch(finished);
      });
    },
  };
}

/** Publishes to a queue and waits until it has got the message, one at a time. */
const roundTrip: Scenario = {
  title: 'round trip, 100 B',
  broker: 'neutral',
  async run(adapter, url, budget) {
    const publisher = await adapter.publisher(url, { confirm: false, channels: 1 });
    const one = message(100);
    let arrived = () => {};
    const options = { queue: 'echo', ack: false, prefetch: 1, read: false, json: false, consumers: 1 };
    await adapter.consumer(url, options, () => arrived());
    return timed(budget, true, (more, finished) => {
      const send = () => {
        publisher.batch('echo', one, 1, 0).catch(finished);
      };
      arrived = () => {
        if (more()) send();
        else finished();
      };
      send();
    });
  },
};

const connectTime: Scenario = {
  title: 'connect, open a channel, close',
  broker: 'none',
  run: (adapter, url, budget) =>
    repeat(budget, async () => {
      const connection = await adapter.channels(url, 1);
      await connection.close();
      return 1;
    }),
};

/** Bytes a channel: what the process grew by. */
const idleChannels: Scenario = {
  title: 'memory of 1,000 idle channels',
  broker: 'none',
  async run(adapter, url) {
    await adapter.channels(url, 10);
    return grown(async () => {
      await adapter.channels(url, 1000);
    }, 1000);
  },
};

function holding(title: string, count: number): Scenario {
  return {
    title,
    broker: 'none',
    async run(adapter, url) {
      const publisher = await adapter.publisher(url, { confirm: true, channels: 1 });
      const { body } = message(100);
      const publish = async (messages: number) => {
        for (let i = 0; i < messages; i++) {
          publisher.confirmed('hold', { body: Buffer.from(body), properties: undefined, json: undefined }, () => {}, 0);
          if (i % 1000 === 999) await new Promise((resolve) => setImmediate(resolve));
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
      };
      return grown(() => publish(count), count);
    },
  };
}

async function grown(action: () => Promise<void>, count: number): Promise<Sample> {
  const collect = (globalThis as { gc?: () => void }).gc ?? (() => {});
  const used = () => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  await action();
  return { messages: count, bytes: (used() - before) / count };
}

const celery: Message = { body: celeryBody, properties: celeryProperties, json: undefined };

export const scenarios: Readonly<Record<string, Scenario>> = {
  'publish-100': publish('publish 100 B', message(100)),
  'publish-1k': publish('publish 1 KiB', message(1024)),
  'publish-64k': publish('publish 64 KiB', message(65_536)),
  'publish-1m': publish('publish 1 MiB', message(1_048_576)),
  'publish-celery': publish('publish 1 KiB + Celery headers', celery),
  'confirm-256': confirmed('confirmed, window 256, 100 B', message(100), 256),
  'confirm-1': confirmed('confirmed, window 1, 100 B', message(100), 1),
  'confirm-json': confirmed('confirmed, window 256, JSON object of 200 B', json, 256),
  'consume-ack-100': consume('consume + ack, 100 B', { queue: 'deliver-100', ack: true }),
  'consume-100': consume('consume, no ack, 100 B', { queue: 'deliver-100', ack: false }),
  'consume-ack-1k': consume('consume + ack, 1 KiB', { queue: 'deliver-1024', ack: true }),
  'consume-64k': consume('consume, no ack, 64 KiB', { queue: 'deliver-65536', ack: false }),
  'consume-celery': consume('consume 1 KiB + Celery headers, unread', { queue: 'deliver-1024-celery', ack: false }),
  'consume-celery-read': consume('consume 1 KiB + Celery headers, read', {
    ...{ queue: 'deliver-1024-celery', ack: false, read: true },
  }),
  'consume-json': consume('consume + ack, JSON object of 200 B', { queue: 'deliver-json', ack: true, json: true }),
  'round-trip': roundTrip,
  'channels-100': confirmed('confirmed on 100 channels, window 4 each, 100 B', message(100), 4, 100),
  'consumers-100': consume('consume + ack with 100 consumers, prefetch 16, 100 B', {
    ...{ queue: 'deliver-100', ack: true, consumers: 100, prefetch: 16 },
  }),
  connect: connectTime,
  'idle-channels': idleChannels,
  unconfirmed: holding('memory of 100,000 unconfirmed messages of 100 B', 100_000),
};

/** The same with one thing growing: `<scenario>@<how many>`. */
export const growing: Readonly<Record<string, (count: number) => Scenario>> = {
  'publish-size': (bytes) => publish(`publish ${bytes} B`, message(bytes)),
  'consume-size': (bytes) => consume(`consume ${bytes} B`, { queue: `deliver-${bytes}`, ack: true }),
  headers: (count) => {
    const members = Array.from({ length: count }, (_, i) => [`header-${i}`, i % 2 === 0 ? `value ${i}` : i] as const);
    return publish(`publish with ${count} headers`, message(100, { headers: Object.fromEntries(members) }));
  },
  channels: (count) => confirmed(`confirmed on ${count} channels`, message(100), Math.ceil(1000 / count), count),
  consumers: (count) =>
    consume(`consume + ack with ${count} consumers`, {
      ...{ queue: 'deliver-100', ack: true, consumers: count, prefetch: Math.ceil(1000 / count) },
    }),
  unconfirmed: (count) => holding(`memory of ${count} unconfirmed messages`, count),
};

export function scenarioNamed(name: string): Scenario | undefined {
  const [grown = '', count] = name.split('@');
  return count === undefined ? scenarios[name] : growing[grown]?.(Number(count));
}
