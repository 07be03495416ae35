import { deepEqual, equal } from 'node:assert/strict';
import {
  type Connection,
  type ConnectionOptions,
  Mailbox,
  type MailboxOptions,
  type MailboxType,
  type Node,
  type Reply,
} from '../../index.js';
import { sleep } from '../../util/abort.js';
import { deferred } from '../../util/deferred.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { event, failure, ignore, rejection, sequence } from '../support.js';

/** A mailbox whose exchanges go with the case. */
function mailboxOf(t: ConformanceContext, options: MailboxOptions = {}): Mailbox {
  const mailbox = new Mailbox(t.name('box'), options);
  t.onEnd(async () => {
    const channel = t.connection.defaultChannel();
    for (const { name } of [mailbox.exchange, mailbox.replyExchange]) await channel.exchangeDelete(name).catch(ignore);
  });
  return mailbox;
}

/** A node that listens, and answers `whoami` and `add`. */
async function nodeOf(
  t: ConformanceContext,
  mailbox: Mailbox,
  hostname: string,
  connection: Connection = t.connection,
): Promise<Node> {
  const node = mailbox.bind(connection).node(hostname, {
    handlers: {
      whoami: () => hostname,
      add: ({ x, y }) => Number(x) + Number(y),
      fail: () => {
        throw new TypeError('out of kelp');
      },
    },
  });
  await t.within(`node ${hostname} to listen`, node.listen());
  return node;
}

function nodesOf(t: ConformanceContext, mailbox: Mailbox, hostnames: readonly string[]): Promise<Node[]> {
  return Promise.all(hostnames.map((hostname) => nodeOf(t, mailbox, hostname)));
}

/** Values by hostname, in the order of names. */
function byHost(replies: readonly Reply[]): readonly (readonly [string, unknown])[] {
  const entries = replies.map(({ hostname, value, error }) => [hostname, error ?? value] as const);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A connection that the test bench can break. */
function fragile(t: ConformanceContext, options: ConnectionOptions = {}): Connection {
  return t.connect(options, t.disruptor.url);
}

export const mailboxes = group('mailboxes', (test) => {
  for (const type of ['direct', 'fanout'] satisfies MailboxType[]) {
    const needs = [`exchange:${type}`, 'exchange:direct', 'exclusive'] as const;

    test(
      `${type}: a command reaches the nodes it is for, and their replies come back`,
      async (t) => {
        const mailbox = mailboxOf(t, { type });
        await nodesOf(t, mailbox, ['a', 'b', 'c']);
        const bound = mailbox.bind(t.connect());
        deepEqual(byHost(await bound.call(['b'], 'add', { x: 1, y: 2 })), [['b', 3]]);
        deepEqual(byHost(await bound.call(['c', 'a'], 'whoami')), [
          ['a', 'a'],
          ['c', 'c'],
        ]);
        const all = await bound.multiCall('whoami', {}, { limit: 3, timeout: t.patience });
        deepEqual(byHost(all), [
          ['a', 'a'],
          ['b', 'b'],
          ['c', 'c'],
        ]);
        const some = await bound.multiCall('whoami', {}, { limit: 1, timeout: t.patience });
        equal(some.length, 1);
        const named = await bound.multiCall('whoami', {}, { pattern: '[ab]', limit: 2, timeout: t.patience });
        deepEqual(byHost(named), [
          ['a', 'a'],
          ['b', 'b'],
        ]);
        deepEqual(await bound.multiCall('whoami', {}, { pattern: 'z*', timeout: 50 }), []);
      },
      { needs },
    );

    test(
      `${type}: cast and abcast are carried out in order, and nobody waits`,
      async (t) => {
        const mailbox = mailboxOf(t, { type });
        const heard: string[] = [];
        const done = deferred();
        for (const hostname of ['a', 'b']) {
          const node = mailbox.bind(t.connection).node(hostname);
          node.handler('note', ({ text }) => {
            heard.push(`${hostname} ${String(text)}`);
            if (heard.length === 5) done.resolve();
          });
          await node.listen();
        }
        const bound = mailbox.bind(t.connect());
        await bound.cast(['a'], 'note', { text: 1 });
        await bound.abcast('note', { text: 2 });
        await bound.abcast('note', { text: 3 });
        await t.within('five notes', done.promise);
        deepEqual(
          heard.filter((text) => text.startsWith('a')),
          ['a 1', 'a 2', 'a 3'],
        );
        deepEqual(
          heard.filter((text) => text.startsWith('b')),
          ['b 2', 'b 3'],
        );
      },
      { needs },
    );
  }

  const needs = ['exchange:fanout', 'exchange:direct', 'exclusive'] as const;

  test(
    'a failed handler is a reply with an error, and so is a command that there is no handler for',
    async (t) => {
      const mailbox = mailboxOf(t);
      const node = await nodeOf(t, mailbox, 'a');
      const told: string[] = [];
      node.on('handlerError', (error, request) => told.push(`${request.method} ${error.message}`));
      const bound = mailbox.bind(t.connect());
      deepEqual(await bound.call(['a'], 'fail'), [{ hostname: 'a', error: "TypeError('out of kelp')" }]);
      deepEqual(await bound.call(['a'], 'nope'), [{ hostname: 'a', error: "KeyError('nope')" }]);
      deepEqual(told, ['fail out of kelp', 'nope nope']);
      deepEqual(byHost(await bound.call(['a'], 'whoami')), [['a', 'a']]);
    },
    { needs },
  );

  test(
    'a thousand calls of 50 collectors to 10 nodes: every reply arrives at its caller',
    async (t) => {
      const mailbox = mailboxOf(t, { type: 'fanout' });
      const hostnames = sequence(10).map((n) => `node${n}`);
      for (const hostname of hostnames) {
        const node = mailbox.bind(t.connection).node(hostname);
        node.handler('echo', ({ value }) => value);
        await node.listen();
      }
      const bound = mailbox.bind(t.connect());
      const calls = t.scaled(1_000);
      let next = 0;
      const collect = async () => {
        for (let call = next++; call < calls; call = next++) {
          const replies = await bound.call(hostnames, 'echo', { value: call }, { timeout: 3 * t.patience });
          deepEqual(
            byHost(replies),
            hostnames.map((hostname) => [hostname, call]),
          );
        }
      };
      await Promise.all(sequence(50).map(collect));
      equal(bound.unclaimed.size, 0);
    },
    { needs, timeout: 120_000 },
  );

  test(
    'a reply that comes too late is nobody else’s: it is kept as unclaimed',
    async (t) => {
      const mailbox = mailboxOf(t);
      const node = mailbox.bind(t.connection).node('a');
      const gate = deferred();
      node.handler('slow', () => gate.promise.then(() => 'late'));
      node.handler('quick', () => 'at once');
      await node.listen({ concurrency: 2 });
      const bound = mailbox.bind(t.connect());
      deepEqual(await bound.call(['a'], 'slow', {}, { timeout: 300 }), []);
      const quick = bound.call(['a'], 'quick');
      gate.resolve();
      deepEqual(byHost(await quick), [['a', 'at once']]);
      await t.eventually('the late reply', () => bound.unclaimed.size === 1);
      const [[, late] = []] = bound.unclaimed;
      deepEqual(late, [{ hostname: 'a', value: 'late' }]);
    },
    { needs },
  );

  test(
    'a command that its caller has given up is not carried out later',
    async (t) => {
      const mailbox = mailboxOf(t, { queueDurable: true });
      const queue = mailbox.getQueue('a').bind(t.connection);
      t.onEnd(() => queue.delete());
      // Commands wait for the node here.
      await queue.declare();
      const bound = mailbox.bind(t.connect());
      t.onEnd(async () => {
        await bound.close();
        await bound.replyQueue.bind(t.connection).delete();
      });
      deepEqual(await bound.call(['a'], 'note', { text: 'stale' }, { timeout: 50 }), []);
      await bound.cast(['a'], 'note', { text: 'for ever' });
      // Clocks of store and process may differ by little.
      await sleep(20);
      const node = mailbox.bind(t.connection).node('a');
      const heard = deferred<unknown>();
      const expired = event<{ readonly method: string }>(t, node, 'expired');
      node.handler('note', ({ text }) => heard.resolve(text));
      await node.listen();
      equal(await t.within('the other command', heard.promise), 'for ever');
      equal((await expired).method, 'note');
      await node.close();
    },
    { needs },
  );

  test(
    'a name belongs to one node: where another connection has it, listening is refused',
    async (t) => {
      const mailbox = mailboxOf(t);
      const first = await nodeOf(t, mailbox, 'a');
      const second = mailbox.bind(t.connect()).node('a');
      await rejection(second.listen(), 'RESOURCE_LOCKED');
      await rejection(first.listen(), 'CONSUMER_BUSY');
      await first.close();
      // Without its consumer its queue goes; a store may take a moment for it.
      const free = () => second.listen().then(() => true, ignore);
      await t.eventually('the name to be free', free);
      equal(second.listening, true);
    },
    { needs },
  );

  test(
    'calls under way end with their connection, or by their signal',
    async (t) => {
      const mailbox = mailboxOf(t);
      const connection = t.connect();
      const bound = mailbox.bind(connection);
      const reason = new Error('stop');
      const abort = new AbortController();
      const aborted = failure(bound.call(['nobody'], 'whoami', {}, { signal: abort.signal }));
      const closed = failure(bound.call(['nobody'], 'whoami'));
      // Both are waiting: a third has got through.
      await nodeOf(t, mailbox, 'a');
      deepEqual(byHost(await bound.call(['a'], 'whoami')), [['a', 'a']]);
      abort.abort(reason);
      equal(await t.within('the aborted call', aborted), reason);
      await connection.close();
      equal((await t.within('the other call', closed)).code, 'CONNECTION_CLOSED');
    },
    { needs },
  );

  test(
    'nodes and callers go on after a lost connection',
    async (t) => {
      const mailbox = mailboxOf(t, { type: 'fanout' });
      const connections = [fragile(t), fragile(t)] as const;
      const [here, there] = connections;
      await nodeOf(t, mailbox, 'a', here);
      await nodeOf(t, mailbox, 'b', here);
      const bound = mailbox.bind(there);
      for (let round = 0; round < 3; round++) {
        deepEqual(byHost(await bound.call(['a', 'b'], 'add', { x: round, y: 1 })), [
          ['a', round + 1],
          ['b', round + 1],
        ]);
        const recovered = connections.map((connection) => event(t, connection, 'recovered'));
        await t.disruptor.drop();
        await Promise.all(recovered);
      }
      deepEqual(byHost(await bound.call(['a', 'b'], 'whoami')), [
        ['a', 'a'],
        ['b', 'b'],
      ]);
    },
    { needs: [...needs, 'disrupt'] },
  );
});
