/** RPC between Node processes' clients and servers, in memory and over brokers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import {
  type DispatchContext,
  expectedExceptions,
  expose,
  InvalidTarget,
  JsonPayloadSerializer,
  MessageUndeliverable,
  MessagingTimeout,
  NoOpSerializer,
  NoSuchMethod,
  osloTracing,
  PythonError,
  RemoteError,
  type RequestContext,
  type RpcCall,
  RpcClient,
  RpcServer,
  type RpcServerOptions,
  RpcVersionCapError,
  remoteFailureOf,
  type Transport,
  UnsupportedVersion,
} from '@wakame/oslo';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Message } from 'wakame';
import { deferred } from 'wakame/util';
import { runTypeScript } from '../../../interop/support/programs.ts';
import { buses, eventually, open, unique } from './support/bus.ts';

interface MathApi {
  add(args: { a: number; b: number }): number;
  zero(): number;
}

class NotFound extends Error {}

describe.each(buses)('rpc over $name', ({ url }) => {
  let transport: Transport;
  const topic = unique('math');
  const failures: Error[] = [];
  const seen: unknown[] = [];

  const endpoint = {
    add: ({ a, b }: { a: number; b: number }) => a + b,
    zero: () => 0,
    nothing: () => undefined,
    echo: ({ value }: { value: unknown }) => value,
    context: (_args: object, { context }: RpcCall) => ({ ...context }),
    told: ({ value }: { value: unknown }) => void seen.push(value),
    fails: ({ kind }: { kind: string }) => {
      if (kind === 'python') throw new PythonError('ValueError', 'no value', { args: ['no value', 7] });
      if (kind === 'own') throw new NotFound('not there');
      throw new TypeError('wrong type');
    },
    expected: expectedExceptions([NotFound], () => {
      throw new NotFound('as the interface says');
    }),
    _hidden: () => 'never',
  };
  const second = { target: { namespace: 'two', version: '2.3' }, which: () => 'two' };

  const serve = async (on: Transport, server: string, endpoints: object[], options: RpcServerOptions = {}) => {
    const one = new RpcServer(on, { topic, server }, endpoints, options);
    one.on('handlerError', (error) => failures.push(error));
    await one.start();
    return one;
  };
  let client: RpcClient;

  beforeAll(async () => {
    transport = open(url(), { allowedRemoteExmods: { node: { NotFound, TypeError } } });
    await serve(transport, 'one', [endpoint, second]);
    client = new RpcClient(transport, { topic }, { timeout: 10_000 });
  });
  afterAll(() => transport.close());

  test('a call, by name and by interface', async () => {
    expect(await client.call('add', { a: 1, b: 2 })).toBe(3);
    const math = client.for<MathApi>();
    expect(await math.add({ a: 2, b: 2 })).toBe(4);
    expect(await math.zero()).toBe(0);
    expect(await client.call('nothing')).toBeNull();
    const big = 2n ** 70n;
    const value = { list: [1, 'é漢', null, true], big, nested: { __proto__: null, a: 1.5 } };
    expect(await client.call('echo', { value })).toEqual({ list: [1, 'é漢', null, true], big, nested: { a: 1.5 } });
  });

  test('many calls at once get each their own answer', async () => {
    const calls = Array.from({ length: 300 }, (_, a) => client.call('add', { a, b: a }));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 300 }, (_, a) => 2 * a));
    expect(transport.replies.waiting).toBe(0);
  });

  test('an argument may have any name', async () => {
    const own = unique('names');
    const names = async (args: object) => Object.keys(args);
    await using server = new RpcServer(transport, { topic: own, server: 's' }, [{ names }]);
    await server.start();
    const args = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1, "a": 2}') as object;
    expect(await client.prepare({ topic: own }).call('names', args)).toEqual(['__proto__', 'constructor', 'a']);
  });

  test('a context goes along', async () => {
    const context = { user: 'demo', roles: ['admin'] };
    expect(await client.call('context', {}, { context })).toEqual(context);
    expect(await client.prepare({ context }).call('context')).toEqual(context);
  });

  test('namespaces and versions find their endpoint', async () => {
    const two = client.prepare({ namespace: 'two', version: '2.1' });
    expect(await two.call('which')).toBe('two');
    await expect(two.call('add')).rejects.toThrow(NoSuchMethod);
    await expect(two.prepare({ version: '2.4' }).call('which')).rejects.toThrow(UnsupportedVersion);
    await expect(two.prepare({ version: '1.0' }).call('which')).rejects.toThrow(UnsupportedVersion);
    await expect(client.prepare({ namespace: 'three' }).call('which')).rejects.toThrow(UnsupportedVersion);
    for (const method of ['_hidden', 'constructor', 'toString', '__proto__', 'target', 'none']) {
      await expect(client.call(method)).rejects.toThrow(NoSuchMethod);
    }
  });

  test('a version cap', async () => {
    const capped = client.prepare({ versionCap: '1.5' });
    expect(await capped.call('zero')).toBe(0);
    expect([capped.canSendVersion('1.5'), capped.canSendVersion('1.6'), capped.canSendVersion('2.0')]).toEqual([
      true,
      false,
      false,
    ]);
    await expect(capped.prepare({ version: '1.6' }).call('zero')).rejects.toThrow(RpcVersionCapError);
  });

  test('failures', async () => {
    failures.length = 0;
    const python = await client.call('fails', { kind: 'python' }).catch((error: unknown) => error);
    expect(python).toBeInstanceOf(RemoteError);
    expect(python).toMatchObject({
      code: 'REMOTE_ERROR',
      className: 'ValueError',
      module: 'builtins',
      value: 'no value',
    });
    expect(remoteFailureOf(python)?.args).toEqual(['no value', 7]);
    const own = await client.call('fails', { kind: 'own' }).catch((error: unknown) => error);
    expect(own).toBeInstanceOf(NotFound);
    expect(own).toMatchObject({ name: 'NotFound_Remote', message: 'not there' });
    expect((own as Error).stack).toContain('rpc.test.ts');
    await expect(client.call('fails', { kind: 'js' })).rejects.toThrow(TypeError);
    expect(failures).toHaveLength(3);
    await expect(client.call('expected')).rejects.toThrow('as the interface says');
    expect(failures).toHaveLength(3);
  });

  test('what cannot be sent says so at once; a result that cannot be is an error there', async () => {
    await expect(client.call('echo', { value: () => 1 })).rejects.toMatchObject({ code: 'ENCODE_FAILED' });
    for (const args of [7, null, [1, 2], Buffer.from('x')]) {
      await expect(client.call('add', args as never)).rejects.toThrow('args must be an object of arguments by name');
    }
    await expect(client.prepare({ fanout: true }).call('zero')).rejects.toThrow(InvalidTarget);
    await expect(new RpcClient(transport, {}).call('zero')).rejects.toThrow(InvalidTarget);
    const other = unique('odd');
    await using server = new RpcServer(transport, { topic: other, server: 'odd' }, [{ odd: () => new Map() }]);
    await server.start();
    const told = once(server, 'handlerError');
    await expect(client.prepare({ topic: other }).call('odd')).rejects.toThrow('Map');
    expect((await told)[0]).toMatchObject({ code: 'ENCODE_FAILED' });
  });

  test('what is for all servers finds those who came after the last had gone', async () => {
    const other = unique('come-and-go');
    const all = client.prepare({ topic: other, fanout: true });
    const heard: unknown[] = [];
    const note = ({ value }: { value: unknown }) => void heard.push(value);
    const here = open(url());
    const one = new RpcServer(here, { topic: other, server: 'one' }, [{ note }]);
    await one.start();
    await all.cast('note', { value: 1 });
    await eventually(() => heard).toEqual([1]);
    // With its last queue goes the exchange.
    await one.close();
    await Promise.all([2, 3].map((value) => all.cast('note', { value })));
    await one.start();
    await all.cast('note', { value: 4 });
    await eventually(() => heard).toEqual([1, 4]);
    await here.close();
  });

  test('one server, all servers', async () => {
    const got: string[] = [];
    const all = deferred();
    const note = (name: string) => ({
      hello: () => {
        if (got.push(name) === 3) all.resolve();
        return name;
      },
    });
    const own = unique('servers');
    const servers = ['a', 'b', 'c'].map((server) => new RpcServer(transport, { topic: own, server }, [note(server)]));
    await Promise.all(servers.map((server) => server.start()));
    const there = client.prepare({ topic: own });
    expect(await there.prepare({ server: 'b' }).call('hello')).toBe('b');
    got.length = 0;
    await there.prepare({ fanout: true }).cast('hello');
    await all.promise;
    expect(got.sort()).toEqual(['a', 'b', 'c']);
    await Promise.all(servers.map((server) => server.close()));
  });

  test('nobody there: a call times out, and is undeliverable at once where that is asked for', async () => {
    const lonely = client.prepare({ topic: unique('lonely'), timeout: 100 });
    await expect(lonely.call('zero')).rejects.toThrow(MessagingTimeout);
    await expect(lonely.prepare({ atLeastOnce: true, timeout: 5000 }).call('zero')).rejects.toThrow(
      MessageUndeliverable,
    );
    await expect(lonely.prepare({ atLeastOnce: true }).cast('zero')).rejects.toMatchObject({ code: 'UNROUTABLE' });
    const controller = new AbortController();
    const aborted = lonely.call('zero', {}, { timeout: 10_000, signal: controller.signal });
    controller.abort(new Error('changed my mind'));
    await expect(aborted).rejects.toThrow('changed my mind');
    expect(transport.replies.waiting).toBe(0);
  });

  test('signs of life keep a long call going; their end does not', async () => {
    const own = unique('slow');
    const gate = deferred<string>();
    await using server = new RpcServer(transport, { topic: own, server: 's' }, [{ slow: () => gate.promise }]);
    await server.start();
    const patient = client.prepare({ topic: own, callMonitorTimeout: 2000 });
    const call = patient.call('slow');
    // Longer than the silence that it would bear.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    gate.resolve('done');
    expect(await call).toBe('done');
    const silent = client.prepare({ topic: unique('silent'), callMonitorTimeout: 200 });
    await expect(silent.call('slow')).rejects.toThrow('no sign of life');
  });

  test('a server stops in good order: what it is at is answered, the rest is left for others', async () => {
    const own = unique('drain');
    const begun = deferred();
    const gate = deferred();
    const work = async () => {
      begun.resolve();
      await gate.promise;
      return 'first';
    };
    const first = new RpcServer(transport, { topic: own, server: 'first' }, [{ work }], { concurrency: 1 });
    await first.start();
    const there = client.prepare({ topic: own });
    const one = there.call('work');
    await begun.promise;
    const two = there.call('work');
    await using second = new RpcServer(transport, { topic: own, server: 'second' }, [{ work: () => 'second' }]);
    await second.start();
    await first.stop();
    gate.resolve();
    await first.wait();
    expect(await Promise.all([one, two])).toEqual(['first', 'second']);
    await first.start();
    expect(await there.prepare({ server: 'first' }).call('work')).toBe('first');
    await first.close();
  });

  test('at most so many at once', async () => {
    const own = unique('limit');
    let running = 0;
    let most = 0;
    const work = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
    };
    await using server = new RpcServer(transport, { topic: own, server: 's' }, [{ work }], { concurrency: 3 });
    await server.start();
    const there = client.prepare({ topic: own });
    await Promise.all(Array.from({ length: 20 }, () => there.call('work')));
    expect(most).toBe(3);
  });

  test('access: only what is exposed', async () => {
    const own = unique('access');
    const exposed = { open: expose(() => 'open'), closed: () => 'closed', _under: () => 'under' };
    const start = async (server: string, options: RpcServerOptions) => {
      const one = new RpcServer(transport, { topic: own, server }, [exposed], options);
      await one.start();
      return client.prepare({ topic: own, server });
    };
    const explicit = await start('explicit', { accessPolicy: 'explicit' });
    expect(await explicit.call('open')).toBe('open');
    await expect(explicit.call('closed')).rejects.toThrow(NoSuchMethod);
    const legacy = await start('legacy', { accessPolicy: 'legacy' });
    expect(await legacy.call('_under')).toBe('under');
    const own2 = await start('own', { accessPolicy: (_endpoint, method) => method === 'closed' });
    expect(await own2.call('closed')).toBe('closed');
    await expect(own2.call('open')).rejects.toThrow(NoSuchMethod);
  });

  test('serializers on both sides', async () => {
    class Wrapping extends NoOpSerializer {
      override serializeEntity(_context: object, entity: unknown): unknown {
        return { wrapped: entity };
      }
      override deserializeEntity(_context: object, entity: unknown): unknown {
        return (entity as { wrapped: unknown }).wrapped;
      }
    }
    const own = unique('wrapped');
    const serializer = new Wrapping();
    const received: unknown[] = [];
    const echo = ({ value }: { value: unknown }) => {
      received.push(value);
      return value;
    };
    await using server = new RpcServer(transport, { topic: own, server: 's' }, [{ echo }], { serializer });
    await server.start();
    const wrapped = new RpcClient(transport, { topic: own }, { serializer });
    expect(await wrapped.call('echo', { value: [1] })).toEqual([1]);
    expect(await new RpcClient(transport, { topic: own }).call('echo', { value: { wrapped: 2 } })).toEqual({
      wrapped: 2,
    });
    expect(received).toEqual([[1], 2]);
    const json = new RpcClient(transport, { topic }, { serializer: new JsonPayloadSerializer() });
    expect(await json.call('echo', { value: { toJSON: () => 'text' } })).toBe('text');
  });

  test('a request that came before is not carried out again', async () => {
    seen.length = 0;
    const body = JSON.stringify({ method: 'told', args: { value: 1 }, _unique_id: 'same' });
    const again = JSON.stringify({ method: 'told', args: { value: 2 }, _unique_id: 'other' });
    const exchange = transport.topology.exchange();
    for (const text of [body, body, again]) await transport.send(text, { exchange, routingKey: `${topic}.one` });
    await eventually(() => seen).toEqual([1, 2]);
  });

  test('servers of old: an answer in two parts, to an exchange of the reply queue’s name', async () => {
    const own = unique('old');
    const queue = transport.topology.topicQueue(undefined, own);
    await using producer = transport.connection.producer();
    await using consumer = transport.connection.consumer(queue, {
      settle: 'auto',
      onMessage: async ({ payload }) => {
        const request = JSON.parse((payload as { 'oslo.message': string })['oslo.message']) as Record<string, string>;
        const { _reply_q: exchange = '', _msg_id } = request;
        const answer = { exchange, routingKey: exchange };
        await producer.publish({ result: 'old', failure: null, ending: false, _msg_id }, answer);
        await producer.publish({ result: null, failure: null, ending: true, _msg_id }, answer);
      },
    });
    await consumer.consume();
    expect(await client.prepare({ topic: own }).call('any')).toBe('old');
  });

  test('each call has a deadline of its own', async () => {
    const lonely = client.prepare({ topic: unique('lonely') });
    const over: number[] = [];
    const timeouts = [400, 50, 200, Number.POSITIVE_INFINITY];
    const controller = new AbortController();
    const calls = timeouts.map(async (timeout) => {
      const { signal } = controller;
      const start = performance.now();
      const error: unknown = await lonely.call('zero', {}, { timeout, signal }).catch((thrown: unknown) => thrown);
      if (signal.aborted) return expect(error).toBe(signal.reason);
      over.push(timeout);
      expect(error).toMatchObject({ message: `no answer to 'zero' within ${timeout} ms` });
      expect(performance.now() - start).toBeGreaterThanOrEqual(timeout - 1);
    });
    await Promise.all(calls.slice(0, 3));
    expect(over).toEqual([50, 200, 400]);
    controller.abort();
    await calls[3];
  });

  test('answers that were received do not come again, though their acks wait a moment', async () => {
    const other = open(url());
    const asking = new RpcClient(other, { topic });
    expect(await Promise.all([1, 2, 3].map((a) => asking.call('add', { a, b: 1 })))).toEqual([2, 3, 4]);
    const { name } = other.replies.queue;
    await other.close();
    // Its exchange went with the last consumer; the queue stays for a while.
    expect(await transport.connection.channel().queueDeclare(name, { passive: true })).toMatchObject({
      messageCount: 0,
    });
  });

  test('the transport closes: calls under way reject', async () => {
    const other = open(url());
    const waiting = new RpcClient(other, { topic: unique('nobody') }).call('zero');
    const rejected = expect(waiting).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await new RpcClient(other, { topic: unique('nobody') }).cast('zero');
    await other.close();
    await rejected;
    await expect(new RpcClient(other, { topic: 't' }).cast('zero')).rejects.toThrow('closed');
    await expect(new RpcClient(other, { topic: 't' }).call('zero')).rejects.toThrow('closed');
  });
});

test('a request whose ack came too late comes again, and is carried out then', async () => {
  await using transport = open('fake:///stale');
  const topic = unique('stale');
  const seen: unknown[] = [];
  const told = ({ value }: { value: unknown }) => void seen.push(value);
  await new RpcServer(transport, { topic, server: 's' }, [{ told }]).start();
  const send = (value: number, uniqueId: string) =>
    transport.send(JSON.stringify({ method: 'told', args: { value }, _unique_id: uniqueId }), {
      exchange: transport.topology.exchange(),
      routingKey: topic,
    });
  const ack = vi.spyOn(Message.prototype, 'ack').mockResolvedValueOnce(false);
  try {
    await send(1, 'first');
    await send(2, 'second');
    await eventually(() => seen).toEqual([2]);
    await send(1, 'first');
    await eventually(() => seen).toEqual([2, 1]);
  } finally {
    ack.mockRestore();
  }
});

test('a process that has closed its transport ends, though a method is still at work', async () => {
  const leaver = fileURLToPath(new URL('support/leaver.ts', import.meta.url));
  const child = spawn(process.execPath, [...runTypeScript, leaver], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = text(child.stdout);
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(await said).toBe('the connection was closed\n');
});

test('bz2, as the help of oslo.messaging calls it, compresses', async () => {
  await using transport = open('fake:///bz2', { conf: { kombu_compression: 'bz2' } });
  const topic = unique('bz2');
  const headers: unknown[] = [];
  const queue = transport.topology.topicQueue(undefined, `${topic}-spy`);
  const spy = transport.connection.consumer(queue, { onMessage: (message) => void headers.push(message.headers) });
  await spy.consume();
  await new RpcServer(transport, { topic, server: 's' }, [{ echo: ({ value }: { value: string }) => value }]).start();
  const value = 'long '.repeat(1000);
  expect(await new RpcClient(transport, { topic }).call('echo', { value })).toBe(value);
  await new RpcClient(transport, { topic: `${topic}-spy` }).cast('anything');
  await eventually(() => headers).toEqual([{ compression: 'application/x-bz2' }]);
});

test('what clients and servers do is told to those who measure', async () => {
  await using transport = open('fake:///measured');
  const topic = unique('measured');
  const told: string[] = [];
  const request = {
    start: ({ type, method, target }: RequestContext) => told.push(`${type} ${method} to ${target.topic}`),
    asyncEnd: ({ method, result, error }: RequestContext) =>
      told.push(`${method}: ${error instanceof Error ? error.message : result}`),
    end: () => undefined,
    asyncStart: () => undefined,
    error: () => undefined,
  };
  const dispatch = {
    ...request,
    start: ({ target, request: { method } }: DispatchContext) => told.push(`${method} at ${target.server}`),
    asyncEnd: ({ result, error }: DispatchContext) => told.push(error instanceof Error ? 'threw' : `gives ${result}`),
  };
  const endpoint = { add: ({ a }: { a: number }) => a + 1, fail: () => Promise.reject(new TypeError('no')) };
  await new RpcServer(transport, { topic, server: 's' }, [endpoint]).start();
  const client = new RpcClient(transport, { topic });
  osloTracing.request.subscribe(request);
  osloTracing.dispatch.subscribe(dispatch);
  await client.call('add', { a: 1 });
  await client.call('fail').catch(() => undefined);
  await client.call('add', 7 as never).catch(() => undefined);
  osloTracing.request.unsubscribe(request);
  osloTracing.dispatch.unsubscribe(dispatch);
  await client.call('add', { a: 1 });
  expect(told).toEqual([
    ...[`call add to ${topic}`, 'add at s', 'gives 2', 'add: 2'],
    ...[`call fail to ${topic}`, 'fail at s', 'threw', 'fail: no'],
    ...[`call add to ${topic}`, 'add: args must be an object of arguments by name, not 7'],
  ]);
});
