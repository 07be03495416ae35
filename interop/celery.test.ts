/** Celery: Node among its clients and workers, by the modules of examples/celery. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Consumer, type Mailbox, PyDateTime } from 'wakame';
import {
  TaskClient,
  TaskFailed,
  taskWorker,
  type WorkerEvent,
  workerEvents,
  workerMailbox,
} from '../examples/celery/celery.ts';
import { celeryCommands } from '../packages/cli/src/celery.ts';
import { runHere } from '../packages/cli/test/support/command.ts';
import { type Bench, eventually, inEachColumn, pack, unpacked } from './support/bench.ts';
import { CeleryWorker, celeryEnvironment, celeryFolder } from './support/celery.ts';
import { cell, type Direction, type Unless } from './support/matrix.ts';
import { Peer } from './support/peer.ts';
import { capturePython, runTypeScript } from './support/programs.ts';

const only: Unless = ({ peer, lacks }) =>
  lacks.fanout ?? (peer === 'current' ? undefined : 'Celery 5.6 needs the current Kombu');

inEachColumn('Celery', define, only);

function define(bench: Bench): void {
  const { column } = bench;
  const test = (direction: Direction, feature: string, run: () => Promise<void>) =>
    cell(column, direction, feature, run, only);

  let worker: CeleryWorker;
  let workers: Mailbox;
  let client: TaskClient;
  let python: Peer;
  let listener: Consumer;
  const queue = `interop.celery.${randomUUID().slice(0, 8)}`;
  const nodeQueue = `interop.node.${randomUUID().slice(0, 8)}`;
  const events: WorkerEvent[] = [];
  const seen = (type: string, uuid?: string) =>
    events.find((event) => event.type === type && event.hostname === worker.hostname && event.uuid === uuid);

  beforeAll(async () => {
    for (const name of [queue, nodeQueue]) bench.deleteLater(name);
    listener = await workerEvents(bench.connection, (event) => events.push(event)).consume();
    worker = new CeleryWorker(column.peer, bench, queue);
    workers = workerMailbox(bench.connection);
    client = new TaskClient(bench.connection);
    python = new Peer(column.peer, 'celery_client.py');
    await Promise.all([
      worker.ready(workers),
      python.call('open', { url: bench.pythonUrl, options: bench.pythonOptions, queue }),
    ]);
  });
  afterAll(async () => {
    await worker?.stop();
    await python?.[Symbol.asyncDispose]();
    await Promise.all([client, listener, workers].map((one) => (one as { close?(): unknown } | undefined)?.close?.()));
    await client?.[Symbol.asyncDispose]();
  });

  test('Node → Python', 'a task, and its result over rpc://', async () => {
    expect(await client.call('tasks.add', [2, 3], { queue })).toBe(5);
    expect(await client.call('tasks.add', ['é', '漢'], { queue })).toBe('é漢');
    expect(await client.call('tasks.add', [1], { queue, kwargs: { y: 2n ** 64n } })).toBe(2n ** 64n + 1n);
    const calls = Array.from({ length: 50 }, (_, i) => client.call('tasks.add', [i, i], { queue }));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
  });
  test('Node → Python', 'a task that fails, and its exception', async () => {
    const failed = await client.call('tasks.divide', [1, 0], { queue }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(TaskFailed);
    expect((failed as TaskFailed).result).toMatchObject({
      status: 'FAILURE',
      result: { exc_type: 'ZeroDivisionError', exc_message: ['division by zero'], exc_module: 'builtins' },
      traceback: expect.stringContaining('Traceback'),
    });
  });
  test('Node → Python', 'eta and expires of a task', async () => {
    const eta = new Date(Date.now() + 1200);
    expect(await client.call('tasks.add', [1, 1], { queue, eta })).toBe(2);
    expect(Date.now()).toBeGreaterThanOrEqual(eta.getTime());
    const expired = await client.send('tasks.add', [1, 1], { queue, expires: new Date(Date.now() - 1000) });
    await expect(expired.result).rejects.toMatchObject({ result: { status: 'REVOKED' } });
  });

  test('Python → Node', 'tasks that Node carries out, their results and exceptions', async () => {
    const received: unknown[] = [];
    const ours = await taskWorker(bench.connection, nodeQueue, {
      'js.upper': ([text]) => String(text).toUpperCase(),
      'js.keep': (args, kwargs) => {
        received.push(args, kwargs);
        return args[0];
      },
      'js.fail': () => Promise.reject(new Error('Node cannot')),
    }).consume();
    try {
      const call = (task: string, options: object) => python.call('call', { task, queue: nodeQueue, ...options });
      expect(unpacked(await call('js.upper', { args: pack(['hello']) }))).toEqual(pack('HELLO'));
      const when = new PyDateTime('2024-01-02T03:04:05.000006+00:00');
      const answer = await call('js.keep', { args: pack([when, 2n ** 70n]), kwargs: { a: 1 } });
      expect(received).toEqual([[when, 2n ** 70n], { a: 1 }]);
      // A date becomes text in our JSON, unless it is typed.
      expect(unpacked(answer)).toEqual(pack(when.isoformat()));
      await expect(call('js.fail', {})).rejects.toThrow(/Node cannot/);
      const group = { task: 'js.upper', arguments: [['a'], ['b'], ['c']], queue: nodeQueue };
      expect(await python.call('group', group)).toEqual(['A', 'B', 'C'].map(pack));
    } finally {
      await ours.close();
    }
  });

  test('Node → Python', 'ping, and what inspect asks', async () => {
    const ask = async (command: string, args = {}) => {
      const [reply] = await workers.call([worker.hostname], command, args);
      expect([reply?.hostname, reply?.error]).toEqual([worker.hostname, undefined]);
      return reply?.value as Record<string, unknown>;
    };
    expect(await ask('ping')).toEqual({ ok: 'pong' });
    expect(await ask('registered')).toEqual(expect.arrayContaining(['tasks.add', 'tasks.divide']));
    expect(await ask('active_queues')).toMatchObject([{ name: queue, routing_key: queue }]);
    expect(await ask('stats')).toMatchObject({
      pid: expect.any(Number),
      total: { 'tasks.add': expect.any(Number) },
    });
    expect(await ask('conf')).toMatchObject({ task_default_queue: queue });
    expect(await ask('active')).toEqual([]);
    expect(await ask('clock')).toMatchObject({ clock: expect.any(Number) });
    const eta = new Date(Date.now() + 3_600_000);
    const { id } = await client.send('tasks.add', [1, 1], { queue, eta });
    await eventually(() => ask('scheduled')).toMatchObject([{ request: { id, name: 'tasks.add' } }]);
    await workers.call([worker.hostname], 'revoke', { task_id: id });
  });
  test('Node → Python', 'a command that the worker refuses', async () => {
    const [reply] = await workers.call([worker.hostname], 'rate_limit', { task_name: 'tasks.nope', rate_limit: '1/s' });
    expect(reply?.error).toMatch(/unknown task/);
    const [other] = await workers.call([worker.hostname], 'no_such_command');
    expect(other?.error).toMatch(/no_such_command/);
  });
  test('Node → Python', 'rate_limit', async () => {
    const limit = { task_name: 'tasks.limited', rate_limit: '1/h' };
    const [reply] = await workers.call([worker.hostname], 'rate_limit', limit);
    expect(reply?.value).toEqual({ ok: 'new rate limit set successfully' });
    expect(await client.call('tasks.limited', [], { queue })).toBe('ran');
    const { id } = await client.send('tasks.limited', [], { queue });
    // The next one is held back; a task that comes after it is not.
    const later = await client.send('tasks.add', [1, 1], { queue });
    expect(await later.result).toBe(2);
    await eventually(() => seen('task-succeeded', later.id)).toBeDefined();
    await eventually(() => seen('task-received', id)).toBeDefined();
    expect(seen('task-started', id)).toBeUndefined();
  });
  test('Node → Python', 'revoke', async () => {
    const id = randomUUID();
    const [reply] = await workers.call([worker.hostname], 'revoke', { task_id: id });
    expect(reply?.value).toMatchObject({ ok: expect.stringContaining(id) });
    const { result } = await client.send('tasks.add', [1, 1], { queue, id });
    await expect(result).rejects.toMatchObject({ result: { status: 'REVOKED', task_id: id } });
    await eventually(() => seen('task-revoked', id)).toBeDefined();
  });
  test('Node → Python', 'add_consumer and cancel_consumer', async () => {
    const added = bench.queueName('added');
    const options = { queue: added, exchange: added, exchange_type: 'direct', routing_key: added };
    bench.deleteExchange(added);
    expect((await workers.call([worker.hostname], 'add_consumer', options))[0]?.value).toHaveProperty('ok');
    expect(await client.call('tasks.add', [1, 2], { queue: added })).toBe(3);
    expect((await workers.call([worker.hostname], 'cancel_consumer', { queue: added }))[0]?.value).toHaveProperty('ok');
  });

  test('Python → Node', 'the events of a worker and its tasks', async () => {
    const { id, result } = await client.send('tasks.add', [20, 22], { queue });
    expect(await result).toBe(42);
    await eventually(() => seen('task-succeeded', id)).toMatchObject({ result: '42' });
    expect(seen('task-received', id)).toMatchObject({ name: 'tasks.add', args: '[ 20, 22 ]' });
    await eventually(() => seen('task-started', id)).toMatchObject({
      clock: expect.any(Number),
      timestamp: expect.any(Number),
    });
    await eventually(() => seen('worker-heartbeat')).toMatchObject({ sw_ident: 'py-celery' });
  });

  test('Python → Node', 'a Node process answers celery inspect', async () => {
    const hostname = `node-${randomUUID().slice(0, 8)}@interop`;
    const handlers = { ping: () => ({ ok: 'pong' }), stats: () => ({ uptime: 1 }) };
    await using node = workers.node(hostname, { handlers });
    await node.listen();
    const destination = [hostname];
    expect(await python.call('inspect', { command: 'ping', destination })).toEqual({ [hostname]: { ok: 'pong' } });
    expect(await python.call('inspect', { command: 'stats', destination })).toEqual({ [hostname]: { uptime: 1 } });
    // The command itself.
    const args = [
      '-m',
      'celery',
      '--workdir',
      celeryFolder,
      '-A',
      'tasks',
      'inspect',
      'ping',
      '-d',
      hostname,
      '--json',
    ];
    const said = await capturePython(column.peer, args, celeryEnvironment(bench));
    expect(JSON.parse(said)).toEqual({ [hostname]: { ok: 'pong' } });
  });

  test('both', 'the examples do what they say', async () => {
    const example = (name: string, ...args: string[]) => {
      const file = fileURLToPath(new URL(`../examples/celery/${name}`, import.meta.url));
      const child = spawn(process.execPath, [...runTypeScript, file, bench.url, ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      onTestFinished(() => void child.kill('SIGKILL'));
      return child;
    };
    const printed = async (child: ReturnType<typeof example>) => {
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      expect(await once(child, 'close')).toEqual([0, null]);
      return text;
    };
    const [calling, controlling] = [printed(example('call.ts', queue)), printed(example('control.ts'))];
    const listening = example('events.ts');
    const working = example('worker.ts', nodeQueue);
    await Promise.all([once(listening.stdout, 'data'), once(working.stdout, 'data')]);
    const call = { task: 'js.upper', args: pack(['hello']), queue: nodeQueue };
    expect(unpacked(await python.call('call', call))).toEqual(pack('HELLO'));
    expect(await calling).toBe('2 + 3 = 5\n4 + 5 = 9\n1 / 0: ZeroDivisionError: division by zero\n');
    expect(await controlling).toContain(`${worker.hostname} { ok: 'pong' }`);
    await client.call('tasks.add', [1, 1], { queue });
    await once(listening.stdout, 'data');
    for (const child of [listening, working]) {
      child.kill('SIGINT');
      expect(await once(child, 'close')).toEqual([0, null]);
    }
  });

  describe('the command wakame celery', () => {
    let second: CeleryWorker;
    beforeAll(async () => {
      const own = bench.queueName('cli');
      bench.deleteExchange(own);
      second = new CeleryWorker(column.peer, bench, own);
      await second.ready(workers);
    });
    afterAll(() => second?.stop());
    const wakame = (...words: string[]) => {
      const options = ['--destination', second.hostname, '--timeout', '10s', '--json'];
      return runHere(bench.url, ['celery', ...words, ...options]);
    };
    const ask = async (...words: string[]) => {
      const { code, stdout, stderr } = await wakame(...words);
      expect([code, stderr]).toEqual([0, '']);
      const [{ hostname, value }] = JSON.parse(stdout) as [{ hostname: string; value: unknown }];
      expect(hostname).toBe(second.hostname);
      return value;
    };

    it('knows the commands of a worker and their arguments', async () => {
      const program = `
import json
from celery.worker.control import Panel
print(json.dumps([[meta.type, name, [arg for arg, kind in meta.args or []] + (['…' + meta.variadic] if meta.variadic else [])]
                  for name, meta in Panel.meta.items()]))`;
      const known = JSON.parse(await capturePython(column.peer, ['-c', program])) as ['inspect', string, string[]][];
      for (const [kind, name, args] of known) {
        // Of workers among themselves; and headers, which look like options here.
        if (name === 'hello' || name === 'election' || name === 'revoke_by_stamped_headers') continue;
        const ours = celeryCommands[kind][name]?.map((arg) => arg.replace('#', ''));
        expect(ours, `${kind} ${name}`).toEqual(args);
      }
    });
    it('asks', async () => {
      expect(await ask('inspect', 'ping')).toEqual({ ok: 'pong' });
      expect(await ask('inspect', 'stats')).toMatchObject({ pid: expect.any(Number) });
      expect(await ask('inspect', 'registered')).toContain('tasks.add');
      expect(await ask('inspect', 'active')).toEqual([]);
      expect(await ask('inspect', 'active_queues')).toMatchObject([{ name: second.queue }]);
    });
    it('commands', async () => {
      const done = { ok: 'new rate limit set successfully' };
      expect(await ask('control', 'rate_limit', 'tasks.limited', '1/h')).toEqual(done);
      expect(await ask('inspect', 'registered', 'rate_limit')).toContain('tasks.limited [rate_limit=1/h]');
      const ids = [randomUUID(), randomUUID()];
      expect(await ask('control', 'revoke', ...ids)).toHaveProperty('ok');
      expect(await ask('inspect', 'revoked')).toEqual(expect.arrayContaining(ids));
      const tasks = ids.map((id) => client.send('tasks.add', [1, 1], { queue: second.queue, id }));
      for (const task of tasks) {
        await expect((await task).result).rejects.toMatchObject({ result: { status: 'REVOKED' } });
      }
    });
    it('tells of what a worker refuses, by exit code 1', async () => {
      const { code, stdout, stderr } = await wakame('control', 'rate_limit', 'tasks.none', '1/h');
      expect(JSON.parse(stdout)).toEqual([{ hostname: second.hostname, error: expect.stringMatching(/unknown task/) }]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/answered with an error/)]);
    });
    it('shuts a worker down; then nobody answers', async () => {
      expect(await ask('control', 'shutdown')).toEqual({ ok: 'told to shut down' });
      expect(await second.exited()).toBe(0);
      const { code } = await runHere(bench.url, [
        'celery',
        'control',
        'shutdown',
        '-d',
        second.hostname,
        '-t',
        '500ms',
      ]);
      expect(code).toBe(3);
    });
  });

  test('Node → Python', 'shutdown', async () => {
    await workers.cast([worker.hostname], 'shutdown');
    expect(await worker.exited()).toBe(0);
    await eventually(() => seen('worker-offline')).toBeDefined();
  });
}
