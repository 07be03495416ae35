/** Node and Python on one database: whose tables they are, who gets what, and that nobody gets what the other has. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, Queue } from 'wakame';
import { mysqlDatabases, postgresqlDatabases, scaled, temporaryFolder } from '../packages/wakame/test/sql/support.ts';
import { pack, take, unpacked } from './support/bench.ts';
import { Peer, type PeerMessage } from './support/peer.ts';

const folder = temporaryFolder();
const { newUrl } = postgresqlDatabases();
let files = 0;

interface Ends {
  readonly node: string;
  readonly python: string;
  /** Kombu's transactions may be ended as the victims of deadlocks, here as without us. */
  readonly hasDeadlocks?: boolean;
}

const databases: readonly (readonly [string, () => Promise<Ends>])[] = [
  [
    'sqlite',
    async () => {
      const file = `${folder}/${++files}.db`;
      return { node: `sqlite:${file}`, python: `sqla+sqlite:///${file}` };
    },
  ],
  [
    'postgresql',
    async () => {
      const url = await newUrl();
      return { node: url, python: url.replace('postgresql:', 'sqla+postgresql+psycopg2:') };
    },
  ],
  ...(['mariadb', 'mysql'] as const).map((name): (typeof databases)[number] => {
    const { newUrl } = mysqlDatabases(name);
    const locate = async () => {
      const url = await newUrl();
      return { node: url, python: url.replace('mysql:', 'sqla+mysql+pymysql:'), hasDeadlocks: true };
    };
    return [name, locate];
  }),
];

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function connect(url: string): Connection {
  const connection = new Connection(url);
  open.push(() => connection.close());
  return connection;
}

async function python(url: string): Promise<Peer> {
  // What the guide says that Kombu should be told there.
  const peer = await Peer.connect('current', url, url.includes('mysql') ? { isolation_level: 'READ COMMITTED' } : {});
  open.push(() => peer[Symbol.asyncDispose]());
  return peer;
}

const headers = { text: 'é漢😀', number: 300, nothing: null, list: [1, { two: 2 }] };

/** A message each way, with what belongs to it. */
async function exchangeMessages(connection: Connection, peer: Peer, name: string): Promise<void> {
  const queue = new Queue(name).bind(connection);
  await queue.declare();
  await connection.producer().publish({ from: 'Node' }, { routingKey: name, headers, correlationId: 'an id' });
  const [fromNode] = await peer.take(name);
  expect(unpacked(fromNode?.body)).toEqual(pack({ from: 'Node' }));
  expect(unpacked(fromNode?.headers)).toEqual(pack(headers));
  expect(unpacked(fromNode?.properties)).toEqual(pack({ correlation_id: 'an id', delivery_mode: 2, priority: 0 }));
  await peer.call('publish', { body: pack({ from: 'Python' }), routing_key: name, headers: pack(headers) });
  const [fromPython] = await take(connection, queue);
  expect(fromPython?.payload).toEqual({ from: 'Python' });
  expect(fromPython?.headers).toEqual(headers);
  expect(await queue.get()).toBeUndefined();
  expect(await peer.call('get', { queue: name })).toBeUndefined();
}

describe.each(databases)('%s', (_name, locate) => {
  test('Node makes the tables, and Python uses them', async () => {
    const { node, python: url } = await locate();
    const connection = connect(node);
    await connection.connect();
    await exchangeMessages(connection, await python(url), 'q');
  });

  test('Python makes the tables, and Node uses them with what is in them', async () => {
    const { node, python: url } = await locate();
    const peer = await python(url);
    await peer.call('declare', { queue: { name: 'q' } });
    await peer.call('publish', { body: pack('early'), routing_key: 'q' });
    const connection = connect(node);
    const [early] = await take(connection, 'q');
    expect(early?.payload).toBe('early');
    await exchangeMessages(connection, peer, 'q');
  });

  test('what one holds the other does not get; what is given back it does; what is settled does not come back', async () => {
    const { node, python: url } = await locate();
    const connection = connect(node);
    const queue = new Queue<string>('q').bind(connection);
    await queue.declare();
    const producer = connection.producer({ routingKey: 'q' });
    for (const text of ['a', 'b', 'c']) await producer.publish(text);
    const peer = await python(url);
    const a = await queue.get();
    expect(a?.payload).toBe('a');
    const b = await peer.call<PeerMessage>('get', { queue: 'q' });
    expect(unpacked(b.body)).toEqual(pack('b'));
    const c = await queue.get();
    expect(c?.payload).toBe('c');
    expect(await peer.call('get', { queue: 'q' })).toBeUndefined();
    // Back in its place, and it is Python's.
    await a?.requeue();
    const again = await peer.call<PeerMessage>('get', { queue: 'q' });
    expect(unpacked(again.body)).toEqual(pack('a'));
    await peer.call('settle', { tag: again.tag, how: 'ack' });
    // Python gives back by inserting a copy.
    await peer.call('settle', { tag: b.tag, how: 'requeue' });
    const back = await queue.get();
    expect(back?.payload).toBe('b');
    expect([await back?.ack(), await c?.ack()]).toEqual([true, true]);
    expect(await queue.get()).toBeUndefined();
    expect(await peer.call('get', { queue: 'q' })).toBeUndefined();
  });

  test('two Node processes and two Python processes empty a queue: each message is handled once', {
    timeout: 300_000,
  }, async () => {
    const { node, python: url, hasDeadlocks = false } = await locate();
    const connection = connect(node);
    await new Queue('fleet').bind(connection).declare();
    const producer = connection.producer({ routingKey: 'fleet' });
    const numbers = new Map<string, number>();
    const publish = async (count: number) => {
      const next = Array.from({ length: count }, (_, i) => numbers.size + i);
      for (const n of next) numbers.set(JSON.stringify(pack(n)), n);
      await Promise.all(next.map((n) => producer.publish(n)));
    };
    await publish(scaled(400));

    const handled: number[] = [];
    const by = { python: [0, 0], node: [0, 0] };
    // Kombu looks once a second where there was nothing; ours are told at once. So they begin when Python is at work.
    const nodes = [0, 1].map(() => startNode(node));
    await Promise.all(nodes.map((child) => once(child, 'message')));
    nodes.forEach((child, i) => {
      child.on('message', (some: number[]) => {
        handled.push(...some);
        by.node[i] = (by.node[i] ?? 0) + some.length;
      });
    });
    const peers = await Promise.all([python(url), python(url)]);
    let state: 'Python begins' | 'all at work' | 'done' = 'Python begins';
    const consuming = peers.map(async (first, i) => {
      let peer = first;
      const consume = () => peer.call('consume', { queue: { name: 'fleet', no_declare: true } });
      let consumer = await consume();
      while (state !== 'done') {
        let messages: PeerMessage[];
        try {
          // What a consumer has when it fails is lost.
          messages = await peer.call('next', { consumer, count: hasDeadlocks ? 1 : 5, timeout: 0.5 });
        } catch (error) {
          if (!hasDeadlocks || !/Deadlock found/.test(String(error))) throw error;
          // As Celery does.
          peer = await python(url);
          consumer = await consume();
          continue;
        }
        for (const { tag, body } of messages) {
          await peer.call('settle', { tag, how: 'ack' });
          handled.push(numbers.get(JSON.stringify(unpacked(body))) ?? Number.NaN);
        }
        by.python[i] = (by.python[i] ?? 0) + messages.length;
        if (state !== 'Python begins' || by.python.includes(0)) continue;
        state = 'all at work';
        for (const child of nodes) child.send('go');
      }
      await peer.call('cancel', { consumer });
    });
    const feeding = (async () => {
      const allHandled = () =>
        expect.poll(() => handled.length, { timeout: 120_000 }).toBeGreaterThanOrEqual(numbers.size);
      await allHandled();
      // One of ours may be quick enough to leave the other nothing: there is more until it was not.
      while (by.node.includes(0)) {
        await publish(50);
        await allHandled();
      }
    })();
    await Promise.all([feeding.finally(() => (state = 'done')), ...consuming]);
    const ended = nodes.map((child) => once(child, 'exit'));
    for (const child of nodes) child.send('stop');
    await Promise.all(ended);
    expect(Math.min(...by.python, ...by.node), `handled: ${JSON.stringify(by)}`).toBeGreaterThan(0);
    expect(handled.sort((a, b) => a - b)).toEqual([...numbers.values()]);
  });
});

function startNode(url: string): ChildProcess {
  const tests = new URL('../packages/wakame/test/', import.meta.url);
  const loader = new URL('support/source-loader.mjs', tests).href;
  const program = fileURLToPath(new URL('sql/fleet-child.ts', tests));
  const child = fork(program, [url, 'consume', '5', 'told'], { execArgv: ['--import', loader] });
  open.push(() => child.kill('SIGKILL'));
  return child;
}
