/** Kombu and Wakame in the same folders: files, names, bindings, locks, and who holds what. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Connection, Exchange, type MessagingError, Queue } from 'wakame';
import { type PeerName, peerVersion } from '../scripts/lib/peers/index.ts';
import { eventually, pack, take } from './support/bench.ts';
import { Peer } from './support/peer.ts';
import { runTypeScript } from './support/programs.ts';

const taker = fileURLToPath(new URL('support/taker.ts', import.meta.url));
const scale = Number(process.env['WAKAME_TEST_SCALE'] ?? 1);

/** New folders, for both sides. */
class Place {
  readonly data: string;
  readonly control: string;
  readonly peer: PeerName;
  readonly problems: MessagingError[] = [];

  constructor(peer: PeerName) {
    const folder = mkdtempSync(join(tmpdir(), 'wakame-interop-'));
    this.peer = peer;
    this.data = join(folder, 'data');
    this.control = join(folder, 'control');
    mkdirSync(this.data);
    onTestFinished(() => rmSync(folder, { recursive: true }));
  }

  get options() {
    return { data_folder_in: this.data, data_folder_out: this.data, control_folder: this.control };
  }

  node(options: Record<string, unknown> = {}): Connection {
    const connection = new Connection('filesystem://', {
      transportOptions: { ...this.options, fsync: false, ...options },
    });
    connection.on('problem', (problem) => this.problems.push(problem));
    onTestFinished(() => connection.close());
    return connection;
  }

  async python(): Promise<Peer> {
    const peer = await Peer.connect(this.peer, 'filesystem://', { ...this.options, polling_interval: 0.02 });
    onTestFinished(() => peer[Symbol.asyncDispose]());
    return peer;
  }

  /** Messages that are ready. */
  get files(): string[] {
    return readdirSync(this.data)
      .filter((name) => name.endsWith('.msg'))
      .sort();
  }

  bindings(exchange: string): [string, string, string][] {
    return JSON.parse(readFileSync(join(this.control, `${exchange}.exchange`), 'utf8'));
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

describe.each<{ peer: PeerName; title: string }>(
  (['current', 'old'] as const).map((peer) => ({ peer, title: `Kombu ${peerVersion(peer, 'kombu')}` })),
)('filesystem: $title', { timeout: 60_000 }, ({ peer: name }) => {
  test('Node → Python: whole, in order, under the names that Kombu gives', async () => {
    const place = new Place(name);
    const connection = place.node();
    const queue = new Queue('orders');
    const producer = connection.producer();
    const python = await place.python();
    const sent = numbers(60);
    const options = { routingKey: 'orders', declare: [queue], headers: { way: 'to Python' }, correlationId: 'c' };
    await Promise.all(sent.map((i) => producer.publish({ i, text: 'ü' }, options)));
    for (const file of place.files) {
      expect(file).toMatch(/^\d+_[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}\.orders\.msg$/);
    }
    const taken = await python.take('orders', { count: sent.length });
    expect(taken.map(({ body }) => body)).toEqual(sent.map((i) => pack({ i, text: 'ü' })));
    expect(taken[0]).toMatchObject({ headers: pack({ way: 'to Python' }), routing_key: 'orders' });
    expect(place.files).toEqual([]);
  });

  test('Python → Node: whole, in order, also while it is being written', async () => {
    const place = new Place(name);
    const connection = place.node();
    const python = await place.python();
    const queue = new Queue<{ i: number; text: string }>('orders');
    await queue.bind(connection).declare();
    // Python writes into the file that everybody sees.
    const text = 'x'.repeat(300_000);
    const sent = numbers(40);
    const published = Promise.all(
      sent.map((i) => python.call('publish', { body: pack({ i, text }), routing_key: 'orders', headers: pack({ i }) })),
    );
    const taken = await take(connection, queue, sent.length);
    await published;
    expect(taken.map(({ payload }) => payload.i)).toEqual(sent);
    expect(taken.every(({ payload }) => payload.text === text)).toBe(true);
    expect(taken.map(({ headers }) => headers['i'])).toEqual(sent);
    expect(place.problems).toEqual([]);
  });
});

describe(`filesystem: Kombu ${peerVersion('current', 'kombu')}, sharing bindings and messages`, {
  timeout: 60_000,
}, () => {
  // Kombu before 5.3 keeps its bindings to itself.
  const name = 'current';

  test('bindings of either are those of both: direct, topic, fanout', async () => {
    const place = new Place(name);
    const connection = place.node();
    const python = await place.python();
    const routes = [
      { type: 'direct', key: 'k', sent: 'k' },
      { type: 'topic', key: 'a.*.c', sent: 'a.b.c' },
      { type: 'fanout', key: '', sent: 'whatever' },
    ] as const;
    for (const { type, key, sent } of routes) {
      const exchange = new Exchange(type, { type });
      await new Queue(`${type}.node`, { exchange, routingKey: key }).bind(connection).declare();
      const theirs = { name: `${type}.python`, exchange: { name: type, type }, routing_key: key };
      await python.call('declare', { queue: theirs });
      expect(place.bindings(type).map(([routingKey, , queue]) => [routingKey, queue])).toEqual([
        [key, `${type}.python`],
        [key, `${type}.node`],
      ]);
      await connection.producer({ exchange }).publish('from Node', { routingKey: sent });
      await python.call('publish', { body: pack('from Python'), exchange: { name: type, type }, routing_key: sent });
      const here = await take(connection, `${type}.node`, 2);
      const there = await python.take(`${type}.python`, { count: 2 });
      expect(here.map(({ payload }) => payload)).toEqual(['from Node', 'from Python']);
      expect(there.map(({ body }) => body)).toEqual([pack('from Node'), pack('from Python')]);
    }
    expect(place.bindings('topic')[1]).toEqual(['a.*.c', '^a\\.[^\\.]+\\.c$', 'topic.node']);
    expect(place.bindings('direct')[1]).toEqual(['k', '', 'direct.node']);
  });

  test('both bind to one exchange at the same time, and no binding is lost', async () => {
    const place = new Place(name);
    const [first, second, python] = [place.node(), place.node(), await place.python()];
    const exchange = new Exchange('crowd', { type: 'direct' });
    const count = 25;
    // Kombu itself loses a binding when two make the file at the same time.
    await new Queue('first', { exchange, routingKey: 'first' }).bind(first).declare();
    const ours = [first, second].flatMap((connection, n) =>
      numbers(count).map((i) =>
        new Queue(`node.${n}.${i}`, { exchange, routingKey: `${i}` }).bind(connection).declare(),
      ),
    );
    const theirs = numbers(count).map((i) =>
      python.call('declare', {
        queue: { name: `python.${i}`, exchange: { name: 'crowd', type: 'direct' }, routing_key: `${i}` },
      }),
    );
    await Promise.all([...ours, ...theirs]);
    const bound = place.bindings('crowd').map(([, , queue]) => queue);
    const expected = numbers(count).flatMap((i) => [`node.0.${i}`, `node.1.${i}`, `python.${i}`]);
    expect(bound.sort()).toEqual(['first', ...expected].sort());
  });

  test('what Node holds is nobody else’s, and comes to Python when its holder was killed', async () => {
    const place = new Place(name);
    const connection = place.node({ lease: 1 });
    await connection.producer().publish('survives', { routingKey: 'held', declare: [new Queue('held')] });
    const query = new URLSearchParams({ ...place.options, lease: '1' });
    const child = spawn(process.execPath, [...runTypeScript, taker, `filesystem://?${query}`, 'held'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('"')) break;
    const python = await place.python();
    expect(await python.take('held', { timeout: 0.5 })).toEqual([]);
    child.kill('SIGKILL');
    await once(child, 'close');
    const [again] = await python.take('held');
    expect(again?.body).toEqual(pack('survives'));
  });

  test('kombu#2646: queues whose names end alike are told apart', async () => {
    const place = new Place(name);
    const connection = place.node();
    const python = await place.python();
    for (const queue of ['b', 'a.b']) await new Queue(queue).bind(connection).declare();
    await python.call('publish', { body: pack('for a.b'), routing_key: 'a.b' });
    expect(await new Queue('b').bind(connection).get()).toBeUndefined();
    expect((await take(connection, 'a.b'))[0]?.payload).toBe('for a.b');
  });

  test('two consumers each empty a queue: every message to one of them', async () => {
    const place = new Place(name);
    const [producer, ...consumers] = [place.node(), place.node(), place.node()];
    const pythons = await Promise.all([place.python(), place.python()]);
    const count = Math.ceil(300 * scale);
    const queue = new Queue<number>('shared');
    const publish = producer.producer();
    await Promise.all(numbers(count).map((i) => publish.publish(i, { routingKey: 'shared', declare: [queue] })));
    const handled: number[] = [];
    for (const connection of consumers) {
      const consumer = connection.consumer(queue, {
        prefetch: 5,
        onMessage: async (message) => {
          handled.push(message.payload);
          await message.ack();
        },
      });
      await consumer.consume();
    }
    const emptied = pythons.map(async (python) => {
      for (let idle = 0; idle < 2; ) {
        const taken = await python.take('shared', { count: 10, timeout: 0.3 });
        idle = taken.length === 0 ? idle + 1 : 0;
        handled.push(...taken.map(({ body }) => Number((body as { number: string }).number)));
      }
    });
    await Promise.all(emptied);
    await eventually(() => handled.length).toBeGreaterThanOrEqual(count);
    expect(handled.sort((a, b) => a - b)).toEqual(numbers(count));
  });
});
