/** Kombu and Wakame in the same folders, beyond what the matrix has: files, names, order, locks, who holds what. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Connection, Exchange, type MessagingError, Queue } from 'wakame';
import { type PeerName, peerVersion } from '../scripts/lib/peers/index.ts';
import { eventually, pack, take, unpacked } from './support/bench.ts';
import { Peer, type PeerMessage } from './support/peer.ts';

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

/** A message each way. */
async function exchangeMessages(connection: Connection, python: Peer, name: string): Promise<void> {
  const queue = new Queue(name).bind(connection);
  await queue.declare();
  await connection.producer().publish({ from: 'Node' }, { routingKey: name });
  const [fromNode] = await python.take(name);
  expect(unpacked(fromNode?.body)).toEqual(pack({ from: 'Node' }));
  await python.call('publish', { body: pack({ from: 'Python' }), routing_key: name });
  const [fromPython] = await take(connection, queue);
  expect(fromPython?.payload).toEqual({ from: 'Python' });
  expect(await queue.get()).toBeUndefined();
}

describe.each<{ peer: PeerName; title: string }>(
  (['current', 'old'] as const).map((peer) => ({ peer, title: `Kombu ${peerVersion(peer, 'kombu')}` })),
)('filesystem: $title', { timeout: 60_000 }, ({ peer: name }) => {
  test('Node makes the folders, and Python uses them', async () => {
    const place = new Place(name);
    const connection = place.node();
    await connection.connect();
    expect(existsSync(place.control)).toBe(true);
    await exchangeMessages(connection, await place.python(), 'q');
  });

  test('Python makes the folders, and Node uses them with what is in them', async () => {
    const place = new Place(name);
    const python = await place.python();
    await python.call('declare', { queue: { name: 'q', exchange: { name: 'ex' }, routing_key: 'k' } });
    await python.call('publish', { body: pack('early'), exchange: { name: 'ex' }, routing_key: 'k' });
    // Kombu before 5.3 has no use for it.
    expect(existsSync(place.control)).toBe(name === 'current');
    expect(place.files).toHaveLength(1);
    const connection = place.node();
    const [early] = await take(connection, 'q');
    expect(early?.payload).toBe('early');
    await exchangeMessages(connection, python, 'q');
  });

  test('what one holds the other does not get; what is given back it does; what is settled does not come back', async () => {
    const place = new Place(name);
    const connection = place.node();
    const queue = new Queue<string>('q').bind(connection);
    await queue.declare();
    for (const text of ['a', 'b', 'c']) await connection.producer().publish(text, { routingKey: 'q' });
    const python = await place.python();
    const theirs = () => python.call<PeerMessage | undefined>('get', { queue: 'q' });
    const a = await queue.get();
    const b = await theirs();
    const c = await queue.get();
    expect([a?.payload, unpacked(b?.body), c?.payload]).toEqual(['a', pack('b'), 'c']);
    expect(await theirs()).toBeUndefined();
    await a?.requeue();
    const again = await theirs();
    expect(unpacked(again?.body)).toEqual(pack('a'));
    await python.call('settle', { tag: again?.tag, how: 'ack' });
    // Python gives back by writing a copy.
    await python.call('settle', { tag: b?.tag, how: 'requeue' });
    const back = await queue.get();
    expect(back?.payload).toBe('b');
    expect([await back?.ack(), await c?.ack()]).toEqual([true, true]);
    expect([await queue.get(), await theirs(), place.files]).toEqual([undefined, undefined, []]);
  });

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

describe(`filesystem: Kombu ${peerVersion('current', 'kombu')}, sharing bindings`, {
  timeout: 60_000,
}, () => {
  // Kombu before 5.3 keeps its bindings to itself.
  const name = 'current';

  test('the files of bindings are as Kombu writes them', async () => {
    const place = new Place(name);
    const connection = place.node();
    const python = await place.python();
    for (const [type, key] of [
      ['direct', 'k'],
      ['topic', 'a.*.c'],
      ['fanout', ''],
    ] as const) {
      const exchange = new Exchange(type, { type });
      await new Queue(`${type}.node`, { exchange, routingKey: key }).bind(connection).declare();
      const theirs = { name: `${type}.python`, exchange: { name: type, type }, routing_key: key };
      await python.call('declare', { queue: theirs });
    }
    const of = (exchange: string) => place.bindings(exchange).map(([key, , queue]) => [key, queue]);
    expect(of('fanout')).toEqual([
      ['', 'fanout.python'],
      ['', 'fanout.node'],
    ]);
    expect(of('topic')[0]).toEqual(['a.*.c', 'topic.python']);
    expect(place.bindings('topic')[1]).toEqual(['a.*.c', '^a\\.[^\\.]+\\.c$', 'topic.node']);
    expect(place.bindings('direct')).toEqual([
      ['k', '', 'direct.python'],
      ['k', '', 'direct.node'],
    ]);
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
