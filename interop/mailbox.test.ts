/** Mailboxes (kombu.pidbox): commands and replies between nodes and clients of both languages. */
import { randomUUID } from 'node:crypto';
import { afterAll, expect } from 'vitest';
import { Mailbox, type Node } from 'wakame';
import { type Bench, eventually, inEachColumn } from './support/bench.ts';
import { cell, type Direction, type Unless } from './support/matrix.ts';
import type { Peer } from './support/peer.ts';

const unless: Unless = ({ lacks }) => lacks.fanout;

inEachColumn('Mailboxes', define, unless);

function define(bench: Bench): void {
  const { column } = bench;
  const mailboxCell = (direction: Direction, feature: string, run: () => Promise<void>) =>
    cell(column, direction, feature, run, unless);
  const namespaces: string[] = [];

  for (const type of ['direct', 'fanout'] as const) {
    const title = (feature: string) => `${type}: ${feature}`;

    /** A mailbox of our own to each test. */
    function open(): { namespace: string; ours: Mailbox; broadcast: (options: object) => Promise<unknown> } {
      const namespace = `interop-${randomUUID().slice(0, 8)}`;
      namespaces.push(namespace);
      const ours = new Mailbox(namespace, { type, connection: bench.connection });
      const broadcast = (options: object) => bench.peer.call('broadcast', { namespace, type, ...options });
      return { namespace, ours, broadcast };
    }

    async function pythonNode(peer: Peer, namespace: string, hostname: string) {
      const node = await peer.call<number>('node_listen', { namespace, type, hostname });
      /** Lets it answer, until it has had so many commands. */
      return (count = 1) => peer.call<{ handled: string[]; clock: number }>('node_run', { node, count });
    }

    async function nodeNode(ours: Mailbox, hostname: string): Promise<Node> {
      const node = ours.node(hostname, {
        handlers: {
          echo: ({ value }) => value ?? null,
          fail: ({ text }) => {
            throw new Error(String(text));
          },
        },
      });
      await node.listen();
      return node;
    }

    mailboxCell('Node → Python', title('call, cast, and a failing handler'), async () => {
      const { namespace, ours } = open();
      const run = await pythonNode(bench.peer, namespace, 'py@a');
      const value = { list: [1, 'é😀', null, { deep: 0.5 }] };
      const [replies, { handled, clock }] = await Promise.all([ours.call(['py@a'], 'echo', { value }), run()]);
      expect(replies).toEqual([{ hostname: 'py@a', value }]);
      expect(handled).toEqual(['echo']);
      // Each side's clock is past what it has seen of the other's.
      expect(clock).toBeGreaterThan(0);
      expect(ours.clock.value).toBeGreaterThan(clock);
      await ours.cast(['py@a'], 'echo', { value: 1 });
      expect((await run()).handled).toEqual(['echo']);
      const [[failed]] = await Promise.all([ours.call(['py@a'], 'fail', { text: 'no' }), run()]);
      expect(failed).toEqual({ hostname: 'py@a', error: "ValueError('no')" });
      const [[unknown]] = await Promise.all([ours.call(['py@a'], 'nope', {}), run()]);
      expect(unknown?.error).toContain('nope');
      await ours.close();
    });
    mailboxCell('Python → Node', title('call, cast, and a failing handler'), async () => {
      const { ours, broadcast } = open();
      await using node = await nodeNode(ours, 'node@a');
      const handled: unknown[] = [];
      node.handler('note', ({ value }) => void handled.push(value));
      const value = { list: [1, 'é😀', null, { deep: 0.5 }] };
      const to = { destination: ['node@a'], timeout: 5 };
      expect(await broadcast({ command: 'echo', arguments: { value }, reply: true, ...to })).toEqual([
        { 'node@a': value },
      ]);
      await broadcast({ command: 'note', arguments: { value: 7 }, ...to });
      await eventually(() => handled).toEqual([7]);
      const failed = await broadcast({ command: 'fail', arguments: { text: 'no' }, reply: true, ...to });
      expect(failed).toEqual([{ 'node@a': { error: expect.stringContaining('no') } }]);
      const unknown = await broadcast({ command: 'nope', reply: true, ...to });
      expect(unknown).toEqual([{ 'node@a': { error: expect.stringContaining('nope') } }]);
    });

    mailboxCell('both', title('one command to nodes of both, by all, by name, by pattern'), async () => {
      const { namespace, ours } = open();
      const run = await pythonNode(bench.peer, namespace, 'py@a');
      const second = await bench.another();
      const secondRun = await pythonNode(second, namespace, 'py@b');
      await using _first = await nodeNode(ours, 'node@a');
      await using _second = await nodeNode(ours, 'node@b');
      const args = { value: 1 };
      const names = (replies: readonly { hostname: string }[]) => replies.map(({ hostname }) => hostname).sort();

      // `handled` counts every command that came by, heeded or not.
      const [all] = await Promise.all([ours.multiCall('echo', args, { limit: 4, timeout: 5000 }), run(), secondRun()]);
      expect(names(all)).toEqual(['node@a', 'node@b', 'py@a', 'py@b']);
      const byName = ours.call(['py@b', 'node@a'], 'echo', args);
      const [some] = await Promise.all([byName, run(), secondRun()]);
      expect(names(some)).toEqual(['node@a', 'py@b']);
      const byPattern = ours.multiCall('echo', args, { pattern: '*@a', limit: 2, timeout: 5000 });
      const [matching] = await Promise.all([byPattern, run(), secondRun()]);
      expect(names(matching)).toEqual(['node@a', 'py@a']);

      // A client in Python counts what its own nodes do as replies: it needs a process of its own.
      await using client = await bench.another();
      const ask = (options: object) =>
        client.call<object[]>('broadcast', { namespace, type, command: 'echo', arguments: args, ...options });
      const asked = ask({ reply: true, limit: 4, timeout: 5 });
      const [answers] = await Promise.all([asked, run(), secondRun()]);
      expect(answers.flatMap(Object.keys).sort()).toEqual(['node@a', 'node@b', 'py@a', 'py@b']);
      const pattern = { pattern: 'n*@b', matcher: 'glob', reply: true, limit: 1, timeout: 5 };
      expect(await ask(pattern)).toEqual([{ 'node@b': 1 }]);
      await second[Symbol.asyncDispose]();
      await ours.close();
    });
  }

  afterAll(async () => {
    const channel = bench.connection.channel();
    for (const namespace of namespaces) {
      for (const exchange of [`${namespace}.pidbox`, `reply.${namespace}.pidbox`])
        await channel.exchangeDelete(exchange);
    }
  });
}
