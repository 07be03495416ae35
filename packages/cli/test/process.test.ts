/** Signals, pipes and kill -9, with real processes. On RabbitMQ, which gives back at once what the process had; a store waits until its lease is over. */
import { describe, expect, it, vi } from 'vitest';
import { bench, range } from './support/command.js';

// Processes need their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 60_000 });

const { url, succeed, start, queue, fill, numbers, depth } = bench('cli-process', 'rabbitmq');

describe('a process that is killed', () => {
  it('move loses nothing when the process is killed in the midst of it', async () => {
    const [from, to] = [await queue(), await queue()];
    await fill(from, 800);
    const running = start('move', from, to);
    while ((await depth(to)) < 20) if (running.process.exitCode !== null) break;
    running.process.kill('SIGKILL');
    await running.ended;
    // The broker gives back what the process had, once it has seen the end of its connection.
    const seen = async () => new Set([...(await numbers(from)), ...(await numbers(to))]);
    await expect.poll(async () => (await seen()).size, { timeout: 30_000, interval: 200 }).toBe(800);
    expect(await depth(to)).toBeGreaterThan(0);
    await succeed('move', from, to);
    expect(new Set(await numbers(to))).toEqual(new Set(range(800)));
    expect(await depth(from)).toBe(0);
  });

  it('bridge loses nothing when it is killed in the midst of it', async () => {
    const [from, to] = [await queue(), await queue()];
    await fill(from, 800);
    const running = start('bridge', url, from, url, '', '--to-key', to);
    while ((await depth(to)) < 20) if (running.process.exitCode !== null) break;
    running.process.kill('SIGKILL');
    await running.ended;
    const seen = async () => new Set([...(await numbers(from)), ...(await numbers(to))]);
    await expect.poll(async () => (await seen()).size, { timeout: 30_000, interval: 200 }).toBe(800);
  });
});

describe('a process that is told to end', () => {
  it('Ctrl-C lets the program at work finish, and gives the rest back', async () => {
    const name = await queue();
    await fill(name, 3);
    const running = start('consume', name, '--exec', 'echo started; read line; sleep 0.3; echo finished');
    await running.until(({ stdout }) => stdout.includes('started'));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect([code, stdout]).toEqual([130, 'started\nfinished\n']);
    expect(await numbers(name)).toEqual([1, 2]);
  });

  it('SIGTERM ends a consumer that waits', async () => {
    const name = await queue();
    const running = start('consume', name, '--format', 'body');
    await fill(name, 1);
    await running.until(({ stdout }) => stdout === '{"n":0}\n');
    running.process.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ code: 143, signal: null });
    expect(await depth(name)).toBe(0);
  });

  it('a reader that goes away loses nothing', async () => {
    const name = await queue();
    await fill(name, 500);
    const running = start('consume', name, '--format', 'body', '--prefetch', '1');
    await running.until(({ stdout }) => stdout.includes('\n'));
    running.process.stdout.destroy();
    expect((await running.ended).code).toBe(0);
    const left = await numbers(name);
    const printed = running.stdout.trim().split('\n').length;
    // What the reader never saw may have been in the pipe: nothing else is missing.
    expect(left).toEqual(range(left.length, 500 - left.length));
    expect(left.length).toBeGreaterThan(0);
    expect(printed).toBeLessThanOrEqual(500 - left.length);
  });
});
