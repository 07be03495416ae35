import { once } from 'node:events';
import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  Connection,
  InconsistencyError,
  Mailbox,
  type MailboxRequest,
  type Message,
  matcher,
  type Node,
  type PooledProducer,
  type PublishResult,
} from 'wakame';
import { deferred } from '../../src/util/deferred.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { Count, eventually, failure, onEachTransport, sequence } from '../messaging/support.js';
import { mailboxOf } from './support.js';

const box = new Mailbox('box', { connection: new Connection('memory://never') });

describe('options', () => {
  test('a node is named as its machine, unless told otherwise', () => {
    expect(box.node().hostname).toBe(hostname());
    expect(box.node('a').hostname).toBe('a');
    expect(box.node(undefined, { state: 1 }).state).toBe(1);
  });

  test('handlers: an object, a Map, one by one', () => {
    const ping = () => 'pong';
    expect(box.node('a', { handlers: { ping } }).commands).toEqual(['ping']);
    expect(box.node('a', { handlers: new Map([['ping', ping]]) }).handler('pong', ping).commands).toEqual([
      'ping',
      'pong',
    ]);
  });

  test.each<[() => unknown, string]>([
    [() => box.node(''), 'hostname must not be empty'],
    [() => box.node('a', { handler: {} } as never), "no option 'handler'"],
    [() => box.node('a', { channel: {} as never }), 'a Channel or a Connection is needed'],
    [() => box.node('a', { handlers: { ping: 1 as never } }), 'handler must be a function'],
    [() => box.node('a').handler('', () => 1), 'command must not be empty'],
    [() => box.node('a').handler('x', () => 1, { schema: {} as never }), 'schema must be a Standard Schema'],
    [() => box.node('a').handler('x', () => 1, { shema: 1 } as never), "no option 'shema'"],
  ])('%s is refused', (make, message) => {
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(make).toThrow(message);
  });

  test('listen', async () => {
    expect(await failure(box.node('a').listen({ callback: 1 as never }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await failure(box.node('a').listen({ concurrency: 0 }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await failure(box.node('a').listen({ calback: 1 } as never))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await failure(box.node('x'.repeat(250)).listen())).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('which commands are for a node', () => {
  const asked = (request: object): Promise<unknown> => {
    const node = box.node('worker-1', { handlers: { ping: () => 'pong' } });
    return node.handleMessage({ method: 'ping', ...request });
  };

  test.each<[object, unknown]>([
    [{}, 'pong'],
    [{ destination: null, pattern: null, matcher: null }, 'pong'],
    [{ destination: ['x', 'worker-1'] }, 'pong'],
    [{ destination: ['worker-2'] }, undefined],
    [{ destination: ['worker-2'], pattern: '*', matcher: 'glob' }, undefined],
    // As a node of Kombu's.
    [{ destination: [] }, 'pong'],
    [{ pattern: 'worker-*', matcher: 'glob' }, 'pong'],
    [{ pattern: 'x*', matcher: 'glob' }, undefined],
    [{ matcher: 'glob' }, 'pong'],
  ])('%j: %s', async (request, result) => {
    expect(await asked(request)).toBe(result);
  });

  test('kombu runs a command for a pattern everywhere when there is no matcher: here it is a glob', async () => {
    expect(await asked({ pattern: 'x*' })).toBeUndefined();
    expect(await asked({ pattern: 'w*' })).toBe('pong');
  });

  test('a regular expression of a peer is not run, unless that was turned on', async () => {
    const request = { pattern: 'w.*-\\d$', matcher: 'pcre' };
    expect(await failure(asked(request))).toMatchObject({ code: 'NOT_SUPPORTED' });
    expect(await failure(asked({ pattern: 'x', matcher: 'soundex' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    matcher.enablePcre();
    expect(await asked(request)).toBe('pong');
    matcher.unregister('pcre');
  });
});

test('dispatch: the handler gets arguments, state, node and request; errors become replies', async () => {
  const node: Node<{ n: number }> = box.node('a', { state: { n: 1 } });
  const requests: MailboxRequest[] = [];
  node.handler('add', ({ x }, context) => {
    requests.push(context.request);
    expect(context.node).toBe(node);
    context.state.n += Number(x);
    return context.state.n;
  });
  node.handler('nothing', () => undefined);
  node.handler('later', async () => {
    throw new RangeError('no');
  });
  node.on('handlerError', () => undefined);
  expect(await node.dispatch('add', { x: 2 })).toBe(3);
  expect(requests).toMatchObject([{ method: 'add', arguments: { x: 2 }, replyTo: undefined }]);
  expect(await node.dispatch('nothing')).toBeUndefined();
  expect(await node.dispatch('later')).toEqual({ error: "RangeError('no')" });
  for (const name of ['__proto__', 'constructor', 'toString']) {
    expect(await node.dispatch(name)).toEqual({ error: `KeyError('${name}')` });
  }
});

test('arguments are checked and typed by a schema', async () => {
  const validate = (value: unknown) => {
    const { x } = value as { x?: unknown };
    return typeof x === 'string'
      ? { value: { x: Number(x) } }
      : { issues: [{ message: 'a text is needed', path: ['x'] }] };
  };
  const schema = { '~standard': { version: 1 as const, vendor: 'test', validate } };
  const node = box.node('a').handler('double', ({ x }) => 2 * x, { schema });
  node.on('handlerError', () => undefined);
  expect(await node.dispatch('double', { x: '4' })).toBe(8);
  expect(await node.dispatch('double', { x: 4 })).toEqual({
    error: "DecodeError('the payload does not fit the schema: x: a text is needed')",
  });
});

test('an unheard failure of a command that wants no reply is warned of, once for each command', async () => {
  resetWarnings();
  const warnings: string[] = [];
  const hear = ({ message }: Error) => warnings.push(message);
  process.on('warning', hear);
  const node = box.node('quiet');
  await node.dispatch('nope');
  await node.dispatch('nope');
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', hear);
  expect(warnings).toEqual(["command 'nope' failed on node 'quiet': KeyError: nope"]);
});

onEachTransport('Node', (bench) => {
  test('commands are carried out one by one, in order, unless told otherwise', async () => {
    const mailbox = mailboxOf(bench);
    for (const concurrency of [undefined, 5]) {
      const node = mailbox.node(`node${concurrency}`);
      const done = new Count();
      let [atWork, most] = [0, 0];
      const order: unknown[] = [];
      node.handler('work', async ({ n }) => {
        atWork += 1;
        most = Math.max(most, atWork);
        order.push(n);
        await new Promise((resolve) => setTimeout(resolve, 5));
        atWork -= 1;
        done.up();
      });
      await node.listen({ concurrency });
      await Promise.all(sequence(10).map((n) => mailbox.cast([node.hostname], 'work', { n })));
      await done.reach(10);
      expect(order).toEqual(sequence(10));
      expect(most).toBe(concurrency ?? 1);
      await node.close();
    }
  });

  test('kombu never looks at expires: a command that its caller has given up is not carried out', async () => {
    const mailbox = mailboxOf(bench);
    const order: unknown[] = [];
    const done = new Count();
    const node = mailbox.node('a').handler('note', ({ n }) => {
      order.push(n);
      done.up();
    });
    const expired: unknown[] = [];
    node.on('expired', (request, late) => expired.push(request.arguments['n'], late));
    await node.listen();
    const producer = bench.producer({ exchange: mailbox.exchange });
    const now = Date.now() / 1000;
    for (const [n, expires] of [now - 5, now + 60, 0, null].entries()) {
      await producer.publish({ method: 'note', arguments: { n } }, { headers: { expires } });
    }
    // Not for this node, so that it is none of its business.
    await producer.publish({ method: 'note', destination: ['b'] }, { headers: { expires: now - 5 } });
    await mailbox.cast(['a'], 'note', { n: 'last' });
    await done.reach(4);
    expect(order).toEqual([1, 2, 3, 'last']);
    expect(expired).toEqual([0, expect.any(Number)]);
    expect(expired[1]).toBeGreaterThan(4_990);
  });

  test('what is no command is told of and dropped; the node goes on', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a', { handlers: { ping: () => 'pong' } });
    const codes: string[] = [];
    node.on('decodeError', (error, message: Message) => codes.push(`${error.code} ${message.state}`));
    await node.listen();
    const producer = bench.producer({ exchange: mailbox.exchange });
    await producer.publish('{', { contentType: 'application/json' });
    await producer.publish({ method: 'ping' }, { serializer: 'yaml' });
    await producer.publish([1, 2]);
    await producer.publish({ method: 'ping', pattern: '(a+)+$', matcher: 'pcre' });
    await producer.publish({ method: 'ping', pattern: 'a', matcher: 'soundex' });
    expect(await mailbox.call(['a'], 'ping')).toEqual([{ hostname: 'a', value: 'pong' }]);
    expect(codes).toEqual([
      'DECODE_FAILED RECEIVED',
      'CONTENT_DISALLOWED RECEIVED',
      'DECODE_FAILED ACK',
      'NOT_SUPPORTED ACK',
      'INVALID_ARGUMENT ACK',
    ]);
  });

  test('a result that cannot be written is an error for its caller', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a', { handlers: { ping: () => new Map([[1, 2]]) } });
    const failed = once(node, 'handlerError');
    await node.listen();
    const [reply] = await mailbox.call(['a'], 'ping');
    expect(reply?.error).toMatch(/^EncodeError\(/);
    expect(await failed).toMatchObject([{ code: 'ENCODE_FAILED' }, { method: 'ping' }]);
  });

  test('a reply may go to any queue; where there is no exchange of that name, it is a problem and no more', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a', { handlers: { ping: () => 'pong' } });
    await node.listen();
    const inbox = bench.queue('inbox');
    await inbox.declare();
    await node.dispatch('ping', {}, { exchange: '', routingKey: inbox.name, ticket: 't' });
    const [reply] = await bench.drain(inbox);
    expect([reply?.payload, reply?.headers['ticket']]).toEqual([{ a: 'pong' }, 't']);
    const replyTo = { exchange: bench.name('nowhere'), routing_key: 'x' };
    await bench.producer().publish({ method: 'ping', reply_to: replyTo }, { exchange: mailbox.exchange.name });
    await eventually('the problem', () => bench.problems.some(({ code }) => code === 'NOT_FOUND'));
    expect(await mailbox.call(['a'], 'ping')).toHaveLength(1);
  });

  test('a second node of one name is a problem where it is not refused', async () => {
    const mailbox = mailboxOf(bench, { queueExclusive: false, queueDurable: true });
    const other = bench.connect();
    const [first, second] = [mailbox.node('a'), mailbox.node('a', { channel: other })];
    await first.listen();
    expect(first.listening).toBe(true);
    expect(await failure(first.listen())).toMatchObject({ code: 'CONSUMER_BUSY' });
    const problem = once(other, 'problem');
    await second.listen();
    const [error] = await problem;
    expect(error).toBeInstanceOf(InconsistencyError);
    expect(error.message).toContain(`a node named 'a' uses mailbox '${mailbox.namespace}' already`);
    await Promise.all([first.close(), second.close()]);
    await mailbox.getQueue('a').bind(bench.connection).delete();
  });

  test('listening ends by the consumer, by close, by a signal; and can begin again, elsewhere too', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a', { handlers: { ping: () => 'pong' } });
    const ping = () => mailbox.call(['a'], 'ping');
    expect(node.listening).toBe(false);
    const consumer = await node.listen();
    expect(await ping()).toHaveLength(1);
    await consumer.cancel();
    expect(node.listening).toBe(false);

    const abort = new AbortController();
    const other = bench.connect();
    await node.listen({ signal: abort.signal, channel: other });
    expect(node.channel).toBe(other);
    expect(await ping()).toHaveLength(1);
    abort.abort();
    await eventually('the end of listening', () => !node.listening);

    node.channel = bench.connection;
    await eventually('the queue to be free', () =>
      node.listen().then(
        () => true,
        () => false,
      ),
    );
    expect(await ping()).toHaveLength(1);
    await node.close();
    expect(node.listening).toBe(false);
    await node.close();
  });

  test('close waits for handlers at work and their replies', async () => {
    const mailbox = mailboxOf(bench);
    const other = new Mailbox(mailbox.namespace, { connection: bench.connect() });
    const started = new Count();
    const node = other.node('a', {
      handlers: {
        slow: async () => {
          started.up();
          await new Promise((resolve) => setTimeout(resolve, 100));
          return 'done';
        },
      },
    });
    await node.listen();
    const inbox = bench.queue('inbox');
    await inbox.declare();
    const request = { method: 'slow', reply_to: { exchange: '', routing_key: inbox.name } };
    await bench.producer().publish(request, { exchange: mailbox.exchange.name });
    await started.reach(1);
    await node.close();
    expect(await bench.depth(inbox)).toBe(1);
  });

  test('a node is back after a loss in the middle of a command, and does not carry that out again', async () => {
    // Durable: what is not acknowledged would come again.
    const mailbox = mailboxOf(bench, { type: 'fanout', queueDurable: true });
    const atWork = new Count();
    const node = mailbox.node('a', {
      handlers: {
        ping: () => 'pong',
        slow: async () => {
          atWork.up();
          await once(bench.connection, 'recovered');
        },
      },
    });
    const consumer = await node.listen();
    await mailbox.cast(['a'], 'slow');
    await atWork.reach(1);
    // Answered after the acknowledgement: the broker has that.
    await consumer.qos({ prefetch: 100 });
    const recovered = once(bench.connection, 'recovered');
    await bench.drop();
    await recovered;
    expect(await mailbox.call(['a'], 'ping')).toEqual([{ hostname: 'a', value: 'pong' }]);
    expect(atWork.value).toBe(1);
    await node.close();
    await mailbox.getQueue('a').bind(bench.connection).delete();
  });

  test('while replies cannot be sent, commands wait', async () => {
    const gate = deferred<PublishResult>();
    const stuck = bench.producer();
    stuck.publish = () => gate.promise;
    stuck.release = () => Promise.resolve();
    const producerPool = { acquire: () => Promise.resolve(stuck as PooledProducer) };
    const mailbox = mailboxOf(bench, { producerPool });
    const handled = new Count();
    await mailbox.node('a', { handlers: { ping: () => handled.up() } }).listen();
    const producer = bench.producer({ exchange: mailbox.exchange });
    const request = { method: 'ping', reply_to: { exchange: '', routing_key: 'nowhere' } };
    await Promise.all(sequence(400).map(() => producer.publish(request)));
    await handled.reach(256);
    const queue = mailbox.getQueue('a').bind(bench.connection);
    // Those it has beside are within its prefetch.
    await eventually('the rest to wait', async () => {
      const { messageCount } = await queue.queueDeclare({ passive: true });
      return messageCount >= 400 - 256 - 101;
    });
    expect(handled.value).toBe(256);
    gate.resolve({ attempts: 1 });
    await handled.reach(400);
  });

  test('more commands than anybody handles stay with the broker', async () => {
    const mailbox = mailboxOf(bench);
    const node = mailbox.node('a');
    const handled = new Count();
    let release = () => undefined as void;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    node.handler('work', () => gate.then(() => handled.up()));
    const consumer = await node.listen();
    await Promise.all(sequence(300).map(() => mailbox.cast(['a'], 'work')));
    const queue = mailbox.getQueue('a').bind(bench.connection);
    await eventually('the queue to hold the rest', async () => {
      // One at work, and at most 100 on their way to it.
      const { messageCount } = await queue.queueDeclare({ passive: true });
      return messageCount >= 199;
    });
    release();
    await handled.reach(300);
    await consumer.close();
  });
});
