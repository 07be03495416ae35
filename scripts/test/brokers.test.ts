import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findProcesses, isListening, signal, waitUntil } from '../lib/brokers/processes.ts';
import { root } from '../setup.mjs';

/** The brokers of a checkout that is not this one: the tests beside this one use those. */
const folder = mkdtempSync(join(tmpdir(), 'wakame-brokers-'));
const command = join(root, 'scripts', 'lib', 'brokers', 'main.ts');

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: string[], variables: NodeJS.ProcessEnv = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('WAKAME_'));
  const env = { ...Object.fromEntries(inherited), WAKAME_BROKERS_FOLDER: folder, ...variables };
  const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.stderr += chunk;
  });
  const done = new Promise<Result>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...text }));
  });
  return { child, done };
}

const brokers = (...args: string[]) => start(args).done;
const servers = () => findProcesses((line) => line.includes(folder) && line.includes(' -s rabbit boot '));
/** Servers, and the epmd of each, whose port is the last of the four neighbours. */
const leftovers = (port: number) => [
  ...findProcesses((line) => line.includes(folder) && !line.includes('main.ts')),
  ...findProcesses((line) => line.startsWith('epmd ') && line.includes(` -port ${port + 3} `)),
];
const portIn = (stdout: string) =>
  Number(/WAKAME_TEST_RABBITMQ_URL='amqp:\/\/guest:guest@127\.0\.0\.1:(\d+)\/\/'/.exec(stdout)?.[1]);

describe('scripts/brokers', () => {
  afterAll(async () => {
    await brokers('down');
    rmSync(folder, { recursive: true, force: true });
  });

  it('starts one server, however many ask for it at once', async () => {
    const up = (...options: string[]) => brokers('up', 'rabbitmq', ...options);
    const results = await Promise.all([up(), brokers('up'), up('--json')]);
    expect(results.map(({ code, stderr }) => code ?? stderr)).toEqual([0, 0, 0]);
    const [first, second, third] = results.map(({ stdout }) => stdout);
    expect(second).toContain(first);
    expect(second).toContain('WAKAME_TEST_REDIS_URL=');
    expect(first).toContain(JSON.parse(third ?? '').WAKAME_TEST_RABBITMQ_URL);
    expect(first).toContain(JSON.parse(third ?? '').WAKAME_TEST_RABBITMQ_MANAGEMENT_URL);
    expect(servers()).toHaveLength(1);
    expect(await isListening(portIn(first ?? ''))).toBe(true);
  });

  it('tells where the servers are, and starts them at the same place after a crash', async () => {
    const before = await brokers('status', 'rabbitmq');
    expect(before).toMatchObject({ code: 0, stderr: 'rabbitmq: running\n' });

    for (const pid of servers()) signal(pid, 'SIGKILL');
    await waitUntil('the server to die', 5000, () => servers().length === 0);
    expect(await brokers('status', 'rabbitmq')).toEqual({ code: 1, stdout: '', stderr: 'rabbitmq: stopped\n' });

    const again = await brokers('up', 'rabbitmq');
    expect(again.code).toBe(0);
    expect(portIn(again.stdout)).toBe(portIn(before.stdout));
    expect(servers()).toHaveLength(1);
  });

  it('stops what a start left behind that was cut short, and stopping again is no error', async () => {
    const port = portIn((await brokers('status', 'rabbitmq')).stdout);
    expect((await brokers('down')).code).toBe(0);
    expect(leftovers(port)).toEqual([]);

    const cut = start(['up', 'rabbitmq']);
    await waitUntil('a server to begin', 10_000, () => servers().length > 0);
    cut.child.kill('SIGKILL');
    await cut.done;
    // Its lock is still there, too.
    expect(readdirSync(folder)).toContain('lock');

    expect((await brokers('down')).code).toBe(0);
    expect(leftovers(port)).toEqual([]);
    expect((await brokers('down')).code).toBe(0);
  });

  it('takes over the lock of a process that died', async () => {
    const dead = start(['status']);
    await dead.done;
    writeFileSync(join(folder, 'lock'), String(dead.child.pid));
    expect((await brokers('down')).code).toBe(0);
    expect(readdirSync(folder)).not.toContain('lock');
  });

  it('uses the broker that is given, once it answers, and neither starts nor stops anything', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const given = { WAKAME_TEST_RABBITMQ_URL: `amqp://guest:guest@127.0.0.1:${port}//` };
    const up = await start(['up', 'rabbitmq'], given).done;
    expect(up).toMatchObject({
      code: 0,
      stdout: `export WAKAME_TEST_RABBITMQ_URL='${given.WAKAME_TEST_RABBITMQ_URL}'\n`,
    });
    expect((await start(['down'], given).done).code).toBe(0);
    expect(servers()).toEqual([]);
    await new Promise((resolve) => other.close(resolve));

    const gone = await start(['up', 'rabbitmq'], given).done;
    expect(gone.code).toBe(2);
    expect(gone.stderr).toContain(`RabbitMQ at 127.0.0.1:${port}, given by WAKAME_TEST_RABBITMQ_URL`);
  });

  it('refuses what it does not know', async () => {
    expect(await brokers('up', 'rabitmq')).toMatchObject({ code: 2, stderr: expect.stringContaining("'rabitmq'") });
    expect(await brokers('sideways')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('usage: scripts/brokers'),
    });
    expect(await brokers('up', '--force')).toMatchObject({ code: 2 });
  });
}, 120_000);
