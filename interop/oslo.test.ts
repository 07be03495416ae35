/** RPC with oslo.messaging, either side being the server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import {
  MessageUndeliverable,
  MessagingTimeout,
  PythonError,
  RemoteError,
  RpcClient,
  RpcServer,
  remoteFailureOf,
  type Transport,
} from '@wakame/oslo';
import { afterAll, beforeAll, expect } from 'vitest';
import { deferred } from 'wakame/util';
import { peerPython } from '../scripts/lib/peers/index.ts';
import { eventually } from './support/bench.ts';
import type { Column } from './support/columns.ts';
import { cell, type Direction } from './support/matrix.ts';
import { newestOnly, openPeer, openTransport, osloUrl, type Settings, unique, withEachOslo } from './support/oslo.ts';
import type { Peer } from './support/peer.ts';
import { runTypeScript } from './support/programs.ts';

withEachOslo('RPC of oslo.messaging', define);

class ValueError extends Error {}

type Call = (method: string, args?: object) => Promise<unknown>;

/** Starting Python programs takes its time. */
const PROGRAMS = 60_000;

function define(column: Column): void {
  const test = (direction: Direction, feature: string, run: () => Promise<void>, timeout?: number) =>
    cell(column, direction, feature, run, newestOnly, timeout);
  /** With each release. */
  const testEach = (direction: Direction, feature: string, run: () => Promise<void>) =>
    cell(column, direction, feature, run);

  let transport: Transport;
  let peer: Peer;
  let client: RpcClient;
  const pythonTopic = unique('python');
  const nodeTopic = unique('node');
  const notes: unknown[] = [];
  const gates = new Map<string, ReturnType<typeof deferred<string>>>();

  const endpoint = (name: string) => ({
    target: { version: '1.3' },
    add: ({ a, b }: { a: number; b: number }) => a + b,
    echo: ({ value }: { value: unknown }) => value,
    context: (_args: object, { context }: { context: object }) => ({ ...context }),
    who: () => name,
    note: ({ value }: { value: unknown }) => void notes.push(value),
    fails: ({ kind }: { kind: string }) => {
      if (kind === 'python') throw new PythonError('ValueError', 'not this');
      if (kind === 'module') throw new PythonError('Unlucky', 'no luck', { module: '__main__' });
      throw new TypeError('wrong type');
    },
    slow: () => {
      const gate = deferred<string>();
      gates.set(name, gate);
      return gate.promise;
    },
  });
  const spaced = { target: { namespace: 'space', version: '2.5' }, where: () => 'in space' };

  beforeAll(async () => {
    transport = openTransport({ rpc_ping_enabled: true }, { allowedRemoteExmods: { builtins: { ValueError } } });
    client = new RpcClient(transport, { topic: pythonTopic }, { timeout: 10_000 });
    peer = await openPeer(column, {}, ['__main__']);
    await Promise.all(['one', 'two'].map((server) => peer.call('serve', { topic: pythonTopic, server })));
    for (const server of ['one', 'two']) {
      await new RpcServer(transport, { topic: nodeTopic, server }, [endpoint(server), spaced]).start();
    }
  });
  afterAll(async () => {
    // Its own ways to end take many seconds; what it leaves at the broker goes by itself.
    await peer?.kill();
    await transport?.close();
  });

  const values = { list: [1, 2.5, 'é漢', null, true], nested: { deep: { er: [] } }, big: 123456789012345 };

  testEach('Node → Python', 'a call', async () => {
    expect(await client.call('add', { a: 2, b: 3 })).toBe(5);
    expect(await client.call('echo', { value: values })).toEqual(values);
    expect(await client.call('echo', { value: 2n ** 80n })).toBe(2n ** 80n);
    expect(await client.call('note', { value: 0 })).toBeNull();
  });

  testEach('Python → Node', 'a call', async () => {
    expect(await peer.call('call', { topic: nodeTopic, method: 'add', args: { a: 2, b: 3 } })).toBe(5);
    expect(await peer.call('call', { topic: nodeTopic, method: 'echo', args: { value: values } })).toEqual(values);
  });

  test('Node → Python', 'many calls at once', async () => {
    const calls = Array.from({ length: 200 }, (_, a) => client.call('add', { a, b: a }));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 200 }, (_, a) => 2 * a));
  });

  test('Python → Node', 'many calls at once', async () => {
    expect(await peer.call('calls', { topic: nodeTopic, count: 60 })).toEqual([]);
  });

  test('Node → Python', 'the context', async () => {
    const context = { user: 'demo', roles: ['admin'] };
    expect(await client.call('context', {}, { context })).toMatchObject(context);
  });

  test('Python → Node', 'the context', async () => {
    const context = { user: 'demo', roles: ['admin'] };
    expect(await peer.call('call', { topic: nodeTopic, method: 'context', context })).toEqual(context);
  });

  testEach('Node → Python', 'a cast; one server; all servers', async () => {
    await client.cast('note', { value: 'cast' });
    await eventually(async () => peer.call('received')).toContain('cast');
    expect(await client.prepare({ server: 'two' }).call('who')).toBe('two');
    await client.prepare({ fanout: true }).cast('note', { value: 'all' });
    await eventually(async () => (await peer.call<unknown[]>('received')).filter((note) => note === 'all').length).toBe(
      2,
    );
  });

  testEach('Python → Node', 'a cast; one server; all servers', async () => {
    const note = (value: string) => ({ topic: nodeTopic, method: 'note', args: { value } });
    await peer.call('cast', note('cast'));
    await eventually(() => notes).toContain('cast');
    expect(await peer.call('call', { topic: nodeTopic, method: 'who', server: 'two' })).toBe('two');
    await peer.call('cast', { ...note('all'), fanout: true });
    await eventually(() => notes.filter((value) => value === 'all').length).toBe(2);
  });

  testEach('Node → Python', 'namespaces and versions', async () => {
    const space = client.prepare({ namespace: 'space', version: '2.4' });
    expect(await space.call('where')).toBe('in space');
    const unsupported = { code: 'UNSUPPORTED_VERSION' };
    await expect(space.prepare({ version: '2.6' }).call('where')).rejects.toMatchObject(unsupported);
    await expect(client.prepare({ version: '1.4' }).call('who')).rejects.toMatchObject(unsupported);
    await expect(client.call('nothing')).rejects.toMatchObject({ code: 'NO_SUCH_METHOD' });
  });

  testEach('Python → Node', 'namespaces and versions', async () => {
    const space = { topic: nodeTopic, method: 'where', namespace: 'space' };
    expect(await peer.call('call', { ...space, version: '2.4' })).toBe('in space');
    const failure = (options: object) => peer.call('failure', { topic: nodeTopic, ...options });
    const remote = { class: 'RemoteError', exc_type: 'UnsupportedVersion' };
    expect(await failure({ ...space, version: '2.6' })).toMatchObject(remote);
    expect(await failure({ method: 'who', version: '1.4' })).toMatchObject(remote);
    expect(await failure({ method: 'nothing' })).toMatchObject({ exc_type: 'NoSuchMethod' });
    expect(await failure({ method: 'who', version: '1.3', cap: '1.2' })).toMatchObject({ class: 'RPCVersionCapError' });
  });

  testEach('Node → Python', 'failures', async () => {
    const divided = await client.call('divide', { a: 1, b: 0 }).catch((error: unknown) => error);
    expect(divided).toBeInstanceOf(RemoteError);
    expect(divided).toMatchObject({ className: 'ZeroDivisionError', module: 'builtins' });
    expect(remoteFailureOf(divided)?.traceback.join('')).toContain('return a // b');
    await expect(client.call('refuse')).rejects.toThrow(ValueError);
    await expect(client.call('unlucky')).rejects.toMatchObject({ className: 'Unlucky', value: 'no luck' });
    await expect(client.call('add', { a: 1 })).rejects.toMatchObject({ className: 'TypeError' });
  });

  testEach('Python → Node', 'failures', async () => {
    const failure = (kind: string) => peer.call('failure', { topic: nodeTopic, method: 'fails', args: { kind } });
    expect(await failure('python')).toMatchObject({
      class: 'ValueError',
      bases: expect.arrayContaining(['ValueError']),
      text: expect.stringContaining('not this'),
    });
    expect(await failure('module')).toMatchObject({
      class: 'Unlucky_Remote',
      bases: expect.arrayContaining(['Unlucky']),
    });
    expect(await failure('node')).toMatchObject({ class: 'RemoteError', exc_type: 'TypeError', value: 'wrong type' });
  });

  testEach('Node → Python', 'nobody there: time-out, undeliverable', async () => {
    const lonely = client.prepare({ topic: unique('lonely'), timeout: 300 });
    await expect(lonely.call('who')).rejects.toThrow(MessagingTimeout);
    await expect(lonely.prepare({ atLeastOnce: true }).call('who')).rejects.toThrow(MessageUndeliverable);
  });

  testEach('Python → Node', 'nobody there: time-out, undeliverable', async () => {
    const lonely = { topic: unique('lonely'), method: 'who', timeout: 1 };
    expect(await peer.call('failure', lonely)).toMatchObject({ class: 'MessagingTimeout' });
    expect(await peer.call('failure', { ...lonely, at_least_once: true })).toMatchObject({
      class: 'MessageUndeliverable',
    });
  });

  test('Node → Python', 'signs of life during a long call', async () => {
    const slow = client.prepare({ server: 'one', callMonitorTimeout: 2000 }).call('slow');
    // Two seconds of silence would end it.
    await new Promise((resolve) => setTimeout(resolve, 2600));
    await peer.call('release', { server: 'one' });
    expect(await slow).toBe('done');
  });

  test('Python → Node', 'signs of life during a long call', async () => {
    const slow = peer.call('call', { topic: nodeTopic, server: 'one', method: 'slow', monitor: 2, timeout: 10 });
    await new Promise((resolve) => setTimeout(resolve, 2600));
    gates.get('one')?.resolve('done');
    expect(await slow).toBe('done');
  });

  test('Python → Node', 'ping', async () => {
    const ping = { topic: nodeTopic, server: 'two', method: 'oslo_rpc_server_ping' };
    expect(await peer.call('call', ping)).toBe('pong');
  });

  test('both', 'a server of each on one topic', async () => {
    const topic = unique('shared');
    await using server = new RpcServer(transport, { topic, server: 'node' }, [endpoint('node')]);
    await server.start();
    await peer.call('serve', { topic, server: 'python' });
    const shared = client.prepare({ topic, version: '1.3' });
    // It starts in a thread of its own.
    expect(await shared.prepare({ server: 'python' }).call('who')).toBe('python');
    const who = new Set(await Promise.all(Array.from({ length: 20 }, () => shared.call('who'))));
    expect(who).toEqual(new Set(['node', 'python']));
    await peer.call('stop', { server: 'python' });
    expect(await shared.call('who')).toBe('node');
  });

  /** A service and a client of each language, on a bus where both declare as `settings` say. */
  const bothWays = async (
    bus: string,
    settings: Settings,
    check: (calls: { python: Call; node: Call; pythonToAll: Call; nodeToAll: Call }) => Promise<void>,
  ) => {
    const exchange = unique('exchange');
    await using other = openTransport({ ...settings, control_exchange: exchange });
    await peer.call('also', { bus, url: osloUrl(settings) });
    const topics = { node: unique('node'), python: unique('python') };
    await new RpcServer(other, { topic: topics.node, server: 's' }, [endpoint('node')]).start();
    await peer.call('serve', { topic: topics.python, server: bus, exchange, bus });
    await check({
      python: (method, args) => peer.call('call', { topic: topics.node, exchange, bus, method, args }),
      node: (method, args) => new RpcClient(other, { topic: topics.python }).call(method, args),
      pythonToAll: (method, args) => peer.call('cast', { topic: topics.node, bus, method, args, fanout: true }),
      nodeToAll: (method, args) => new RpcClient(other, { topic: topics.python, fanout: true }).cast(method, args),
    });
    await peer.call('stop', { server: bus });
    const channel = other.connection.channel();
    const queues = [topics.python, `${topics.python}.${bus}`, topics.node, `${topics.node}.s`];
    const streams = Object.values(topics).map((topic) => `${topic}_fanout`);
    for (const queue of [...queues, ...streams]) await channel.queueDelete(queue);
    await channel.exchangeDelete(exchange);
  };

  testEach('both', 'compressed, durable', () => {
    const settings = { kombu_compression: 'gzip', amqp_durable_queues: true, amqp_auto_delete: false };
    return bothWays('durable', settings, async ({ python, node }) => {
      const args = { value: 'long '.repeat(1000) };
      expect(await python('echo', args)).toBe(args.value);
      expect(await node('echo', args)).toBe(args.value);
    });
  });

  test('both', 'quorum queues', () => {
    const settings = { rabbit_quorum_queue: true, rabbit_transient_quorum_queue: true, amqp_auto_delete: false };
    return bothWays('quorum', settings, async ({ python, node }) => {
      expect(await python('who')).toBe('node');
      expect(await node('who')).toBe('quorum');
    });
  });

  test('both', 'streams for fanouts, the queue manager', () => {
    const quorum = { rabbit_quorum_queue: true, rabbit_transient_quorum_queue: true, amqp_auto_delete: false };
    const settings = {
      ...quorum,
      ...{ rabbit_stream_fanout: true, rabbit_qos_prefetch_count: 10, use_queue_manager: true },
    };
    return bothWays('stream', settings, async ({ python, node, pythonToAll, nodeToAll }) => {
      expect(await python('who')).toBe('node');
      expect(await node('who')).toBe('stream');
      await pythonToAll('note', { value: 'by stream' });
      await eventually(() => notes).toContain('by stream');
      await nodeToAll('note', { value: 'by stream' });
      await eventually(async () => peer.call('received')).toContain('by stream');
    });
  });

  const example = (name: string) => {
    const place = fileURLToPath(new URL('../examples/openstack/', import.meta.url));
    const env = { ...process.env, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' };
    const [command, args] = name.endsWith('.py') ? [peerPython(column.peer), []] : [process.execPath, runTypeScript];
    return spawn(command, [...args, join(place, name), osloUrl()], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  };
  const printed = 'servers: 7\nserver 7: rebooting\nserver 8: LookupError: no server 8\n';

  test(
    'Node → Python',
    'the example',
    async () => {
      const service = example('service.py');
      await once(service.stdout, 'data');
      expect(await text(example('client.ts').stdout)).toBe(printed);
      service.kill('SIGKILL');
      await once(service, 'exit');
    },
    PROGRAMS,
  );

  test(
    'Python → Node',
    'the example',
    async () => {
      const service = example('service.ts');
      await once(service.stdout, 'data');
      expect(await text(example('client.py').stdout)).toBe(printed);
      service.kill('SIGINT');
      expect(await once(service, 'exit')).toEqual([0, null]);
    },
    PROGRAMS,
  );
}
